//! `rollcall ingest`: receives the vendor's webhooks and writes them to Kafka.

use std::process::ExitCode;

use anyhow::Context as _;
use ingest::config::Raw;
use ingest::{Config, Listeners};
use kafka::publish::Publisher;
use service::config::Faults;
use service::{Shutdown, resources, telemetry};

use crate::command::filter;
use crate::environment::now;
use crate::files;
use crate::listen::bind;
use crate::sources::Sources;

/// Receives the vendor's webhooks and writes them to Kafka
#[derive(Debug, clap::Args)]
#[command(after_help = files::INGEST)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

/// Returns ingest's configuration for a command that receives no requests but decrypts bodies with ingest's keys.
///
/// # Errors
/// All faults. A missing secret is not a fault here, because the command authenticates no requests.
pub(crate) fn without_requests(sources: &Sources) -> Result<Config, Faults> {
    sources.ingest(|raw| {
        let security = &mut raw.security;
        security.allow_unauthenticated = security.secret_keys.is_empty() && security.secret_key_files.is_empty();
    })
}

/// Returns a publisher with ingest's limits.
///
/// # Errors
/// If the options cannot be used.
pub(crate) fn publisher(config: &Config) -> anyhow::Result<Publisher> {
    Publisher::open(&config.kafka, config.publish).context("the Kafka client cannot be created")
}

/// Runs the service until the shutdown.
pub(crate) async fn run(args: Args, verbose: bool, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let config = args.sources.ingest(|_| ())?;
    telemetry::init(config.log.format, &filter(&config.log.filter, verbose)).context("logging cannot start")?;
    resources::log_threads();
    args.sources.log_ignored::<Raw, projector::Raw>();
    service::config::log_cautions(&config.cautions);
    let listeners = Listeners {
        http: bind(config.http_listen, "http.listen").await?,
        admin: bind(config.admin_listen, "admin.listen").await?,
    };
    let (webhooks, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
    tracing::info!(%webhooks, path = config.path, %admin, "ingest listens");
    ingest::run(config, listeners, now, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
