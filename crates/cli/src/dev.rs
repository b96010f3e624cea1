//! `rollcall dev`: the whole system in one process, for demonstration and development.

mod broker;

mod vendor;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use service::telemetry::{self, Format};
use service::{Secret, Shutdown, resources};
use tokio::net::TcpListener;

use crate::command::filter;
use crate::environment::now;
use crate::listen::bind;
use crate::output::print;
use broker::Broker;

/// The default port of webhooks.
const WEBHOOK_PORT: u16 = 8080;
/// The default port of queries.
const QUERY_PORT: u16 = 8081;
const INGEST_ADMIN_PORT: u16 = 8090;
const PROJECTOR_ADMIN_PORT: u16 = 8091;
/// The vendor's own sample of a User Created webhook.
const SAMPLE: &str = include_str!("../../../schemas/golden/v1/user-created.json");
/// The user of the sample.
const SAMPLE_USER: i64 = 180;
/// The length of the generated secret in bytes.
const SECRET_BYTES: usize = 16;

/// Runs the whole system in one process with an in-memory broker, for demonstration and development
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Uses this Kafka cluster instead of an in-memory broker, and creates missing topics there
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
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
    /// The log level (info), or levels by target (warn,ingest=debug)
    #[arg(long, value_name = "FILTER", default_value = "warn,librdkafka=error")]
    log: String,
}

/// Runs until the shutdown.
pub(crate) async fn run(args: Args, verbose: bool, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    telemetry::init(Format::Text, &filter(&args.log, verbose)).context("logging cannot start")?;
    resources::log_threads();
    let ports = Ports::bind(&args).await?;
    let folder = TableFolder::open(args.data_dir.clone())?;
    let broker = Broker::start(args.bootstrap.as_deref()).await?;
    let secret = generated_secret()?;

    let webhooks = ports.ingest.http.local_addr()?;
    let queries = ports.projector.http.local_addr()?;
    let webhook_url = format!("http://{webhooks}/webhooks/users?secret-key={}", secret.expose());
    print(&welcome(&broker, &webhook_url, queries, &ports, &folder, args.simulate)?)?;

    let ingest_stop = Shutdown::new();
    let projector_stop = Shutdown::new();
    let ingest = ingest::run(ingest_config(&broker, secret)?, ports.ingest, now, ingest_stop.clone());
    let mut ingest = tokio::spawn(ingest);
    let projector = projector::run(projector_config(&broker, folder.path())?, ports.projector, projector_stop.clone());
    let mut projector = tokio::spawn(projector);
    let vendor = args.simulate.then(|| tokio::spawn(vendor::play(webhook_url, shutdown.clone())));

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

fn generated_secret() -> anyhow::Result<Secret> {
    let mut bytes = [0; SECRET_BYTES];
    openssl::rand::rand_bytes(&mut bytes).context("no secret can be generated")?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn ingest_config(broker: &Broker, secret: Secret) -> anyhow::Result<ingest::Config> {
    let mut raw = ingest::config::Raw { kafka: broker.settings(), ..Default::default() };
    raw.http.close_delay_ms = 0;
    raw.security.secret_keys = vec![secret];
    raw.topics.partitions = broker.partitions;
    Ok(ingest::Config::try_from(raw)?)
}

fn projector_config(broker: &Broker, folder: PathBuf) -> anyhow::Result<projector::Config> {
    let mut raw = projector::Raw { kafka: broker.settings(), ..Default::default() };
    raw.http.close_delay_ms = 0;
    raw.store.dir = folder;
    raw.topics.partitions = broker.partitions;
    let mut config = projector::Config::try_from(raw)?;
    config.projection.clock = now;
    Ok(config)
}

fn welcome(
    broker: &Broker,
    webhook_url: &str,
    queries: SocketAddr,
    ports: &Ports,
    folder: &TableFolder,
    simulated: bool,
) -> anyhow::Result<String> {
    let address = |listener: &TcpListener| listener.local_addr();
    let sample: String = SAMPLE.lines().map(str::trim).collect();
    let memory = match (broker.is_in_memory(), folder) {
        (true, TableFolder::Temporary(_)) => {
            "Everything is in memory or in a temporary folder: nothing outlives this process.\n"
        }
        (true, TableFolder::Given(_)) => "The broker is in memory: no event outlives this process.\n",
        (false, TableFolder::Temporary(_)) => {
            "The table is in a temporary folder, and rebuilt from the log each time.\n"
        }
        (false, TableFolder::Given(_)) => "",
    };
    Ok(format!(
        "Rollcall {version}, for a look and for development. {memory}
  page       http://{queries}/
  webhooks   {webhook_url}
  queries    http://{queries}/users
  changes    http://{queries}/changes
  admin      http://{ingest_admin}/metrics  http://{projector_admin}/metrics
  Kafka      {bootstrap}
             kcat -C -e -b {bootstrap} -t vcc.users -f '%p:%o %k %h\\n'

The vendor's sample in, the user out:

curl -sS -w '\\n' '{webhook_url}' -H 'content-type: application/json' -d '{sample}'
{query}

",
        version = env!("CARGO_PKG_VERSION"),
        ingest_admin = address(&ports.ingest.admin)?,
        projector_admin = address(&ports.projector.admin)?,
        bootstrap = broker.options.bootstrap,
        query = broker.sample_query(SAMPLE_USER, queries, simulated),
    ))
}
