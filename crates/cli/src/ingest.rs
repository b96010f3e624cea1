//! `rollcall ingest`: receives the vendor's webhooks and writes them to Kafka.

use std::process::ExitCode;

use anyhow::Context as _;
use domain::wire::Framing;
use ingest::config::Raw;
use ingest::{Config, Listeners};
use kafka::publish::Publisher;
use service::config::Faults;
use service::registry::Schemas;
use service::{Shutdown, resources, telemetry};
use upkeep::{Table, letters};

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

/// Returns the framing of ingest's events.
///
/// # Errors
/// If there is a registry, and it does not take the schema.
pub(crate) async fn framing(config: &Config, schemas: &Schemas) -> anyhow::Result<Framing> {
    let framing = schemas.register(&[&config.topics.users, &config.topics.late]).await;
    framing.context("the schema registry cannot be used")
}

/// Returns the state of every user, by which the gate's rule judges events.
///
/// # Errors
/// If the users topic cannot be read to its end.
pub(crate) async fn table(config: &Config, schemas: Schemas) -> anyhow::Result<Table> {
    let (options, topic) = (config.kafka.clone(), config.topics.users.clone());
    let read = tokio::task::spawn_blocking(move || letters::table(&options, &topic, &schemas)).await?;
    read.context("the users topic cannot be read, so nothing was written")
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
