//! `rollcall ingest`: receives the vendor's webhooks and writes them to Kafka.

use std::process::ExitCode;

use anyhow::Context as _;
use ingest::config::Raw;
use ingest::{Config, Listeners};
use kafka::publish::Publisher;
use service::config::Faults;
use service::{Shutdown, telemetry};

use crate::environment::now;
use crate::listen::bind;
use crate::sources::Sources;

/// Receives the vendor's webhooks and writes them to Kafka
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

/// Returns ingest's configuration for a command that receives no requests but decrypts bodies with ingest's keys.
///
/// # Errors
/// All faults. A missing secret is not a fault here, because the command authenticates no requests.
pub(crate) fn without_requests(sources: &Sources) -> Result<Config, Faults> {
    let mut raw = sources.load::<Raw>()?;
    let security = &mut raw.security;
    security.allow_unauthenticated = security.secret_keys.is_empty() && security.secret_key_files.is_empty();
    Config::try_from(raw)
}

/// Returns a publisher with ingest's limits.
///
/// # Errors
/// If the options cannot be used.
pub(crate) fn publisher(config: &Config) -> anyhow::Result<Publisher> {
    Publisher::open(&config.kafka, config.publish).context("the Kafka client cannot be created")
}

/// Runs the service until the shutdown.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let config = Config::try_from(args.sources.load::<Raw>()?)?;
    telemetry::init(config.log.format, &config.log.filter).context("logging cannot start")?;
    let listeners = Listeners {
        http: bind(config.http_listen, "http.listen").await?,
        admin: bind(config.admin_listen, "admin.listen").await?,
    };
    let (webhooks, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
    tracing::info!(%webhooks, path = config.path, %admin, "ingest listens");
    ingest::run(config, listeners, now, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
