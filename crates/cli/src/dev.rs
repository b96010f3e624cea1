//! `rollcall dev`: the whole system in one process, for demonstration and development.

mod settings;

mod broker;

mod welcome;

mod vendor;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use service::{Shutdown, resources, telemetry};

use crate::command::filter;
use crate::ending::ended_by;
use crate::environment::now;
use crate::files;
use crate::listen::bind;
use crate::output::print;
use crate::sources::Sources;
use broker::Broker;
use settings::{Configs, Settings};
use welcome::welcome;

/// The default port of webhooks.
const WEBHOOK_PORT: u16 = 8080;
/// The default port of queries.
const QUERY_PORT: u16 = 8081;
const INGEST_ADMIN_PORT: u16 = 8090;
const PROJECTOR_ADMIN_PORT: u16 = 8091;

/// Runs the whole system in one process with an in-memory broker, for demonstration and development
#[derive(Debug, clap::Args)]
#[command(after_help = files::DEV)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Keeps the projector's table in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Also simulates the vendor, and prints each delivery
    #[arg(long)]
    simulate: bool,
    /// The port for webhooks; with 0 any free port, as for the other ports
    #[arg(long, value_name = "PORT", default_value_t = WEBHOOK_PORT)]
    port_webhooks: u16,
    /// The port for queries
    #[arg(long, value_name = "PORT", default_value_t = QUERY_PORT)]
    port_queries: u16,
    /// The admin port of ingest
    #[arg(long, value_name = "PORT", default_value_t = INGEST_ADMIN_PORT)]
    port_ingest_admin: u16,
    /// The admin port of the projector
    #[arg(long, value_name = "PORT", default_value_t = PROJECTOR_ADMIN_PORT)]
    port_projector_admin: u16,
    /// The log level (info), or levels by target (warn,ingest=debug); by default one line for each delivery
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs until the shutdown.
pub(crate) async fn run(args: Args, verbose: bool, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&args.sources)?;
    let log = settings.log_filter(args.log.clone(), args.simulate);
    telemetry::init(settings.log_format(), &filter(&log, verbose)).context("logging cannot start")?;
    resources::log_threads();
    let ports = Ports::bind(&args).await?;
    let folder = TableFolder::open(args.data_dir.clone().or_else(|| settings.table_folder()))?;
    let broker = Broker::start(&settings)?;
    let mut configs = settings.configs(&broker, folder.path())?;
    tokio::select! {
        prepared = broker.prepare(&mut configs) => prepared?,
        () = shutdown.requested() => return Ok(shutdown.signal().map_or(ExitCode::FAILURE, ended_by)),
    }
    let Configs { ingest, projector } = configs;
    service::config::log_cautions(&ingest.cautions);
    service::config::log_cautions(&projector.cautions);

    let webhook_url = settings.webhook_url(ports.ingest.http.local_addr()?)?;
    print(&welcome(&settings, &broker, &webhook_url, &ports, &folder, args.simulate)?)?;
    let vendor = if args.simulate { Some(vendor::post(&settings, &webhook_url)?) } else { None };

    let ingest_stop = Shutdown::new();
    let projector_stop = Shutdown::new();
    let mut ingest = tokio::spawn(ingest::run(ingest, ports.ingest, now, ingest_stop.clone()));
    let mut projector = tokio::spawn(projector::run(projector, ports.projector, projector_stop.clone()));
    let vendor = vendor.map(|post| tokio::spawn(vendor::play(post, shutdown.clone())));

    // The services first: a service that ends stops everything, and its error is reported.
    let ended = tokio::select! {
        ended = &mut ingest => Some(ended?.map(drop).context("ingest has ended")),
        ended = &mut projector => Some(ended?.map(drop).context("the projector has ended")),
        () = shutdown.requested() => None,
    };
    shutdown.trigger();
    if let Some(vendor) = vendor {
        vendor.await??;
    }
    ingest_stop.trigger();
    if !ingest.is_finished() {
        ingest.await?.context("ingest has ended")?;
    }
    projector_stop.trigger();
    if !projector.is_finished() {
        projector.await?.context("the projector has ended")?;
    }
    ended.transpose()?;
    Ok(ExitCode::SUCCESS)
}

struct Ports {
    ingest: ingest::Listeners,
    projector: projector::Listeners,
}

impl Ports {
    async fn bind(args: &Args) -> anyhow::Result<Self> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ingest = ingest::Listeners {
            http: bind(local(args.port_webhooks), "--port-webhooks").await?,
            admin: bind(local(args.port_ingest_admin), "--port-ingest-admin").await?,
        };
        let projector = projector::Listeners {
            http: bind(local(args.port_queries), "--port-queries").await?,
            admin: bind(local(args.port_projector_admin), "--port-projector-admin").await?,
        };
        Ok(Self { ingest, projector })
    }
}

/// The folder of the table: given by the user, or temporary and removed at the end.
enum TableFolder {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl TableFolder {
    fn open(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = given else {
            return Ok(Self::Temporary(tempfile::tempdir().context("no temporary folder can be made")?));
        };
        // Creating and removing a file is the only reliable check that a folder is writable.
        let writable = std::fs::create_dir_all(&path).and_then(|()| tempfile::tempfile_in(&path));
        writable.with_context(|| {
            format!("the folder {} cannot be written; choose another with --data-dir", path.display())
        })?;
        Ok(Self::Given(path))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Temporary(folder) => folder.path().to_owned(),
        }
    }
}
