//! The configuration of the projector: raw as in the file, then validated.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use kafka::ClientOptions;
use kafka::client::{Credentials, OptionFault};
use serde::{Deserialize, Serialize};
use service::cgroup;
use service::config::{Fault, Faults};
use service::hosts::AllowedHosts;
use service::origin::is_origin;
use service::registry;
use service::serve::ServerLimits;
use service::settings::{Admin, Http, Kafka, Log, Registry, Topics, check_listeners, listen_address};

use crate::auth::{Access, Auth};
use crate::options::Options;

/// Where the service listens by default: this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8091);
const MIB: usize = 1 << 20;
/// Below this a rebuild would make a pass for every few thousand users.
const REBUILD_MEMORY_MIB_MIN: usize = 16;
/// The part of the memory that the process is given which a rebuild's tables may have by default: the rest is for the
/// client that reads the log, the caches of the store, and the requests.
const REBUILD_PART: u64 = 4;
/// The memory without which a projector is killed, whatever the number of users.
const MEMORY_MIB_NEEDED: u64 = 256;
/// Below this the table would be too old between one question for the end of the log and the next.
const BEHIND_MAX_SECONDS_MIN: u64 = 10;

/// The configuration as written; `deploy/projector.toml` shows all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub kafka: Kafka,
    pub topics: Topics,
    pub registry: Registry,
    pub http: Http,
    pub auth: Auth,
    pub admin: Admin,
    pub log: Log,
    pub store: Store,
    pub changes: ChangesSection,
    pub ready: Ready,
    pub cors: Cors,
}

/// `[store]`: where the table is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A folder that one projector uses.
    pub dir: PathBuf,
    /// Rebuilds the table from the log at this start.
    pub rebuild: bool,
    /// How much memory a rebuild may use for its tables, in MiB; 0 for a part of what the process is given.
    pub rebuild_memory_mib: usize,
}

/// `[changes]`: subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangesSection {
    /// How many subscribers there may be at once.
    pub subscribers_max: usize,
}

/// `[ready]`: when the service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// How old the table may be, in seconds: how long ago it was last known to have all of the log.
    pub behind_max_seconds: u64,
}

/// `[cors]`: which web pages may read the answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins, `https://desk.example`, or `*` for all; none means that CORS is off.
    pub origins: Vec<String>,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: PathBuf::from("projector-data"), rebuild: false, rebuild_memory_mib: 0 }
    }
}

impl Default for ChangesSection {
    fn default() -> Self {
        Self { subscribers_max: Options::SUBSCRIBERS_MAX }
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self { behind_max_seconds: Options::BEHIND_MAX.as_secs() }
    }
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub limits: ServerLimits,
    /// The networks whose connections are preferred.
    pub preferred: Vec<IpNet>,
    /// The names by which the service may be asked.
    pub hosts: AllowedHosts,
    /// Who may read.
    pub(crate) access: Access,
    /// The listener's section, for its TLS files.
    pub http: Http,
    pub log: Log,
    pub projection: Options,
    /// The registry that [`Options::schemas`] come from.
    pub registry: registry::Options,
    pub cors_origins: Vec<String>,
    /// What the operator is to be warned of.
    pub cautions: Vec<Fault>,
}

impl TryFrom<Raw> for Config {
    type Error = Faults;

    fn try_from(raw: Raw) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Raw { kafka, topics, registry, http, auth, admin, log, store, changes, ready, cors } = raw;
        kafka.check_files(&mut faults);
        // A password that cannot be read is a fault already.
        let credentials = Credentials::open(kafka.password(&mut faults)).unwrap_or_default();
        let Kafka { bootstrap, client_id, group_prefix, properties, sasl_password_file: _, oauth } = kafka;
        let tokens = oauth.tokens(&mut faults);
        let kafka = ClientOptions { bootstrap, client_id, group_prefix, properties, tokens, credentials };
        for OptionFault { key, reason } in kafka.validate() {
            faults.push(format!("kafka.{key}"), reason);
        }
        // Without a name the late deliveries are not followed.
        let late = if topics.late.is_empty() { Topics::default().late } else { topics.late.clone() };
        Topics { late, ..topics.clone() }.check(&mut faults);
        log.check(&mut faults);
        if store.dir.as_os_str().is_empty() {
            faults.push("store.dir", "expected a folder");
        } else if let Err((path, error)) = can_hold_store(&store.dir) {
            faults.push("store.dir", format!("no folder can be made in {}: {error}", path.display()));
        }
        if store.rebuild_memory_mib > 0 && store.rebuild_memory_mib < REBUILD_MEMORY_MIB_MIN {
            faults.push("store.rebuild_memory_mib", format!("expected 0, or at least {REBUILD_MEMORY_MIB_MIN}"));
        }
        if changes.subscribers_max == 0 {
            faults.push("changes.subscribers_max", "expected at least 1");
        }
        if ready.behind_max_seconds < BEHIND_MAX_SECONDS_MIN {
            faults.push("ready.behind_max_seconds", format!("expected at least {BEHIND_MAX_SECONDS_MIN}"));
        }
        for origin in &cors.origins {
            if origin != "*" && !is_origin(origin) {
                let expected = "expected origins, scheme://host[:port] as in https://desk.example, or *";
                faults.push("cors.origins", expected);
            }
        }
        http.check_tls(&mut faults);
        let limits = ServerLimits { http2: true, ..http.limits(&mut faults) };
        let listen = listen_address("http.listen", &http.listen, LISTEN, &mut faults);
        let mut config = Self {
            listen,
            hosts: http.hosts(AllowedHosts::of(listen), &mut faults),
            access: auth.access(listen, &mut faults),
            admin_listen: listen_address("admin.listen", &admin.listen, ADMIN_LISTEN, &mut faults),
            limits,
            preferred: http.preferred(&mut faults),
            http,
            log,
            registry: registry.options(&mut faults),
            projection: Options {
                kafka,
                late_topic: (!topics.late.is_empty()).then_some(topics.late),
                partitions: Some(topics.partitions),
                rebuild: store.rebuild,
                subscribers_max: changes.subscribers_max,
                behind_max: Duration::from_secs(ready.behind_max_seconds),
                rebuild_memory_bytes_max: match store.rebuild_memory_mib {
                    0 => rebuild_memory(cgroup::memory()),
                    mib => mib.saturating_mul(MIB),
                },
                ..Options::new("", &topics.users, store.dir)
            },
            cors_origins: cors.origins,
            cautions: Vec::new(),
        };
        check_listeners(config.listen, config.admin_listen, &mut faults);
        config.cautions = faults.take_cautions();
        faults.or(config)
    }
}

/// Tries to make a folder in the folder of the store, or in the nearest one above it that is there.
///
/// # Errors
/// The folder in which none can be made, and the reason.
fn can_hold_store(dir: &Path) -> Result<(), (&Path, std::io::Error)> {
    use std::io::ErrorKind::{AlreadyExists, QuotaExceeded, StorageFull};
    let mut parents = dir.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let nearest = parents.find(|path| path.exists()).unwrap_or(dir);
    let trial = nearest.join(format!(".rollcall-trial-{}", std::process::id()));
    match fs::create_dir(&trial) {
        // Whoever else tries removes it. A full disk can be emptied, and a store on it be answered from meanwhile.
        Err(error) if matches!(error.kind(), AlreadyExists | StorageFull | QuotaExceeded) => Ok(()),
        made => made.and_then(|()| fs::remove_dir(&trial)).map_err(|error| (nearest, error)),
    }
}

/// Returns how many of the places for connections subscribers may have: never the last quarter, so that a query finds
/// one.
pub(crate) fn subscribers_max(wanted: usize, limits: &ServerLimits) -> usize {
    let others = limits.connections_max.div_ceil(4);
    wanted.min(limits.connections_max - others).max(1)
}

/// Returns the memory of a rebuild's tables where the process is given so many bytes; `None` is no limit.
fn rebuild_memory(given: Option<u64>) -> usize {
    let part = given.map_or(usize::MAX, |given| usize::try_from(given / REBUILD_PART).unwrap_or(usize::MAX));
    part.clamp(REBUILD_MEMORY_MIB_MIN * MIB, Options::REBUILD_MEMORY_BYTES_MAX)
}

/// Says what the memory is for, and what is missing.
pub(crate) fn log_memory(given: Option<u64>, options: &Options) {
    let Some(given_mib) = given.map(|bytes| bytes / MIB as u64) else { return };
    let tables_mib = (options.rebuild_memory_bytes_max / MIB) as u64;
    let needed_mib = MEMORY_MIB_NEEDED.max(tables_mib.saturating_mul(REBUILD_PART));
    if given_mib < needed_mib {
        tracing::error!(
            memory.given_mib = given_mib,
            memory.needed_mib = needed_mib,
            rebuild.tables_mib = tables_mib,
            "the limit of memory is too low: the process may be killed, above all in a rebuild"
        );
    } else {
        tracing::info!(memory.given_mib = given_mib, rebuild.tables_mib = tables_mib, "memory");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        let raw: Raw = service::config::load(None, &[], toml::Table::new()).unwrap();
        assert_eq!(raw, Raw::default());
        Config::try_from(raw).unwrap();
    }

    #[test]
    fn the_example_is_the_default_written_out() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/projector.toml");
        let raw: Raw = service::config::load(Some(&example.clone().into()), &[], toml::Table::new()).unwrap();
        let config = Config::try_from(raw.clone()).unwrap();
        assert_eq!((config.listen, config.admin_listen), (LISTEN, ADMIN_LISTEN));
        assert_eq!((raw.store, raw.cors, raw.topics), (Store::default(), Cors::default(), Topics::default()));
        assert_eq!(raw.ready, Ready::default());
        assert_eq!(raw.changes, ChangesSection::default());
        assert_eq!(raw.auth, Auth::default());
        let text = std::fs::read_to_string(example).unwrap();
        let shown: toml::Table = text.parse().unwrap();
        for (section, keys) in toml::Table::try_from(Raw::default()).unwrap() {
            for key in keys.as_table().unwrap().keys() {
                assert!(shown[&section].get(key).is_some(), "[{section}] {key} is not in deploy/projector.toml");
            }
        }
    }

    #[test]
    fn subscribers_never_have_the_last_places() {
        for (wanted, places, given) in [(512, 1024, 512), (2000, 1024, 768), (512, 100, 75), (512, 1, 1)] {
            let limits = ServerLimits { connections_max: places, ..ServerLimits::default() };
            assert_eq!(subscribers_max(wanted, &limits), given, "{wanted} of {places}");
        }
    }

    #[test]
    fn a_rebuild_has_a_part_of_the_memory_that_there_is() {
        for (given_mib, mib) in [(None, 1024), (Some(64_000), 1024), (Some(1024), 256), (Some(256), 64), (Some(32), 16)]
        {
            assert_eq!(rebuild_memory(given_mib.map(|mib: u64| mib << 20)), mib * MIB, "{given_mib:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (dir, refused) in [
            (folder.path().join("store"), None),
            (folder.path().join("a/b/store"), None),
            (PathBuf::from("projector-data"), None),
            (file.join("store"), Some(file.as_path())),
            (PathBuf::from("/proc/x"), Some(Path::new("/proc"))),
        ] {
            assert_eq!(can_hold_store(&dir).map_err(|(path, _)| path), refused.map_or(Ok(()), Err), "{dir:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was left there");
        let raw = Raw { store: Store { dir: "/proc/x".into(), ..Store::default() }, ..Raw::default() };
        let faults = Config::try_from(raw).unwrap_err().to_string();
        assert!(faults.starts_with("store.dir: no folder can be made in /proc: "), "{faults}");
    }

    #[test]
    fn all_faults_are_found_together() {
        let raw = Raw {
            topics: Topics { users: String::new(), ..Topics::default() },
            store: Store { dir: PathBuf::new(), rebuild: false, rebuild_memory_mib: 1 },
            cors: Cors { origins: vec!["https://desk.example/".to_owned()] },
            log: Log { filter: "projector=loud".to_owned(), ..Log::default() },
            admin: Admin { listen: "nowhere".to_owned() },
            ..Raw::default()
        };
        let faults = Config::try_from(raw).unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(
            keys,
            ["topics.users", "log.filter", "store.dir", "store.rebuild_memory_mib", "cors.origins", "admin.listen"]
        );
    }
}
