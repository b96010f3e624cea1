//! `rollcall ingest`: receives the vendor's webhooks and writes them to Kafka.

use std::process::ExitCode;

use anyhow::Context as _;
use ingest::config::Raw;
use ingest::{Config, Listeners};
use service::{Shutdown, telemetry};

use crate::listen::bind;
use crate::sources::Sources;

/// Receives the vendor's webhooks and writes them to Kafka
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

/// Runs the service until it is told to stop.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let config = Config::try_from(args.sources.load::<Raw>()?)?;
    telemetry::init(config.log.format, &config.log.filter).context("logging cannot start")?;
    let listeners = Listeners {
        webhooks: bind(config.listen, "http.listen").await?,
        admin: bind(config.admin_listen, "admin.listen").await?,
    };
    let (webhooks, admin) = (listeners.webhooks.local_addr()?, listeners.admin.local_addr()?);
    tracing::info!(%webhooks, path = config.path, %admin, "ingest listens");
    ingest::run(config, listeners, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
