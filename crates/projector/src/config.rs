//! The configuration of the projector: raw as in the file, then validated.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use kafka::ClientOptions;
use serde::{Deserialize, Serialize};
use service::config::Faults;
use service::origin::is_origin;
use service::registry;
use service::serve::ServerLimits;
use service::settings::{Admin, Http, Kafka, Log, Registry, Topics, listen_address};

use crate::options::Options;

/// Where the service listens by default: this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);
const MIB: usize = 1 << 20;
/// Below this a rebuild would make a pass for every few thousand users.
const REBUILD_MEMORY_MIB_MIN: usize = 64;

/// The configuration as written; `deploy/projector.toml` shows all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub kafka: Kafka,
    pub topics: Topics,
    pub registry: Registry,
    pub http: Http,
    pub admin: Admin,
    pub log: Log,
    pub store: Store,
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
    /// How much memory a rebuild may use for its tables, in MiB.
    pub rebuild_memory_mib: usize,
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
        Self {
            dir: PathBuf::from("projector-data"),
            rebuild: false,
            rebuild_memory_mib: Options::REBUILD_MEMORY_BYTES_MAX / MIB,
        }
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
    /// The listener's section, for its TLS files.
    pub http: Http,
    pub log: Log,
    pub projection: Options,
    /// The registry that [`Options::schemas`] come from.
    pub registry: registry::Options,
    pub cors_origins: Vec<String>,
}

impl TryFrom<Raw> for Config {
    type Error = Faults;

    fn try_from(raw: Raw) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Raw { kafka, topics, registry, http, admin, log, store, cors } = raw;
        let Kafka { bootstrap, client_id, properties, oauth } = kafka;
        let kafka = ClientOptions { bootstrap, client_id, properties, tokens: oauth.tokens(&mut faults) };
        for fault in kafka.validate() {
            faults.push("kafka", fault);
        }
        // Without a name the late deliveries are not followed.
        let late = if topics.late.is_empty() { Topics::default().late } else { topics.late.clone() };
        Topics { late, ..topics.clone() }.check(&mut faults);
        log.check(&mut faults);
        if store.dir.as_os_str().is_empty() {
            faults.push("store.dir", "expected a folder");
        }
        if store.rebuild_memory_mib < REBUILD_MEMORY_MIB_MIN {
            faults.push("store.rebuild_memory_mib", format!("expected at least {REBUILD_MEMORY_MIB_MIN}"));
        }
        for origin in &cors.origins {
            if origin != "*" && !is_origin(origin) {
                let expected = "expected origins, scheme://host[:port] as in https://desk.example, or *";
                faults.push("cors.origins", expected);
            }
        }
        http.check_tls(&mut faults);
        let config = Self {
            listen: listen_address("http.listen", &http.listen, LISTEN, &mut faults),
            admin_listen: listen_address("admin.listen", &admin.listen, ADMIN_LISTEN, &mut faults),
            limits: http.limits(&mut faults),
            preferred: http.preferred(&mut faults),
            http,
            log,
            registry: registry.options(&mut faults),
            projection: Options {
                kafka,
                late_topic: (!topics.late.is_empty()).then_some(topics.late),
                partitions: Some(topics.partitions),
                rebuild: store.rebuild,
                rebuild_memory_bytes_max: store.rebuild_memory_mib.saturating_mul(MIB),
                ..Options::new("", &topics.users, store.dir)
            },
            cors_origins: cors.origins,
        };
        faults.or(config)
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
        let raw: Raw = service::config::load(Some(&example), &[], toml::Table::new()).unwrap();
        let config = Config::try_from(raw.clone()).unwrap();
        assert_eq!((config.listen, config.admin_listen), (LISTEN, ADMIN_LISTEN));
        assert_eq!((raw.store, raw.cors, raw.topics), (Store::default(), Cors::default(), Topics::default()));
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
