//! `rollcall projector`: follows the topic and answers who the users are.

use std::process::ExitCode;

use anyhow::Context as _;
use projector::Raw;
use projector::{Config, Listeners};
use service::{Shutdown, telemetry};

use crate::listen::bind;
use crate::sources::Sources;

/// Follows the topic of users and answers queries about their current state
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Makes the table again from the log at this start
    #[arg(long)]
    rebuild: bool,
}

/// Runs the service until it is told to stop.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let mut raw = args.sources.load::<Raw>()?;
    raw.store.rebuild |= args.rebuild;
    let config = Config::try_from(raw)?;
    telemetry::init(config.log.format, &config.log.filter).context("logging cannot start")?;
    let listeners = Listeners {
        http: bind(config.http_listen, "http.listen").await?,
        admin: bind(config.admin_listen, "admin.listen").await?,
    };
    let (http, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
    tracing::info!(%http, %admin, "projector listens");
    projector::run(config, listeners, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
