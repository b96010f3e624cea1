//! The configuration of `rollcall dev`: that of both services in one file, one environment and one list of flags, over
//! defaults of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use domain::topics::Names;
use ingest::config::{RawBodyKey, Security};
use service::Secret;
use service::config::Faults;
use service::settings::{Admin, Http, Kafka};
use simulator::encrypt::Encryption;
use toml::Table;

use super::broker::{Broker, PARTITIONS};
use crate::environment::now;
use crate::sources::Sources;

/// The length of the generated secret in bytes.
const SECRET_BYTES: usize = 16;
/// The sections with an address, and the flags for its port.
const LISTEN: [(&str, &str); 2] =
    [("http", "--port-webhooks and --port-queries"), ("admin", "--port-ingest-admin and --port-projector-admin")];
/// The log level where none is set. Each delivery is a line: of the refused ones, whatever the level.
const FILTER: &str = "warn,librdkafka=error,ingest::http=debug";
/// The same beside a simulated vendor, which prints each delivery.
const FILTER_SIMULATED: &str = "warn,librdkafka=error";

/// What was configured, before there is a broker.
pub(super) struct Settings {
    sources: Sources,
    /// The keys that are set, whatever their values.
    set: Table,
    ingest: ingest::config::Raw,
    projector: projector::Raw,
    /// The secret that is made up where none is set.
    generated: Option<Secret>,
}

/// What the services run with.
pub(super) struct Configs {
    pub(super) ingest: ingest::Config,
    pub(super) projector: projector::Config,
}

impl Settings {
    /// Returns what the sources say.
    ///
    /// # Errors
    /// All faults of both services, if one of them does not need validation; if a flag sets an address.
    pub(super) fn load(sources: &Sources) -> anyhow::Result<Self> {
        for (section, flags) in LISTEN {
            anyhow::ensure!(
                !sources.has_flag(section, "listen")?,
                "{section}.listen cannot be set: the services listen on the loopback; use {flags}"
            );
        }
        let raw = both(
            sources.raw_beside::<ingest::config::Raw, projector::Raw>(),
            sources.raw_beside::<projector::Raw, ingest::config::Raw>(),
        );
        let (ingest, projector) = raw.map_err(|faults| all_faults(sources).unwrap_or(faults))?;
        let set = sources.load()?;
        let Security { secret_keys, secret_key_files, allow_unauthenticated, .. } = &ingest.security;
        let has_secret = !secret_keys.is_empty() || !secret_key_files.is_empty() || *allow_unauthenticated;
        let generated = if has_secret { None } else { Some(generated_secret()?) };
        Ok(Self { sources: sources.clone(), set, ingest, projector, generated })
    }

    fn is_set(&self, section: &str, key: &str) -> bool {
        self.set.get(section).is_some_and(|section| section.get(key).is_some())
    }

    /// Returns the address of a cluster, if one is named.
    pub(super) fn cluster(&self) -> Option<String> {
        self.is_set("kafka", "bootstrap").then(|| self.ingest.kafka.bootstrap.clone())
    }

    pub(super) fn log_format(&self) -> service::telemetry::Format {
        self.ingest.log.format
    }

    /// Returns the filter of log lines, if `flag` does not give it.
    pub(super) fn log_filter(&self, flag: Option<String>, is_simulated: bool) -> String {
        let configured = self.is_set("log", "filter").then(|| self.ingest.log.filter.clone());
        let default = if is_simulated { FILTER_SIMULATED } else { FILTER };
        flag.or(configured).unwrap_or_else(|| default.to_owned())
    }

    /// Returns the folder of the table, if one is set.
    pub(super) fn table_folder(&self) -> Option<PathBuf> {
        self.is_set("store", "dir").then(|| self.projector.store.dir.clone())
    }

    /// Returns the names of the topics.
    pub(super) fn topics(&self) -> Names {
        let state = &self.ingest.state_topic;
        Names { state: state.enabled.then(|| state.topic.clone()), ..self.ingest.topics.clone().into() }
    }

    /// Returns the partitions of a new users topic.
    pub(super) fn partitions(&self) -> i32 {
        if self.is_set("topics", "partitions") { self.ingest.topics.partitions } else { PARTITIONS }
    }

    /// Returns the configurations of both services. Their addresses are the caller's, the loopback.
    ///
    /// # Errors
    /// All faults of both.
    pub(super) fn configs(&self, broker: &Broker, folder: PathBuf) -> Result<Configs, Faults> {
        let shared = |http: &mut Http, admin: &mut Admin, kafka: &mut Kafka, partitions: &mut i32| {
            http.listen.clear();
            admin.listen.clear();
            if !self.is_set("http", "close_delay_ms") {
                http.close_delay_ms = 0;
            }
            broker.tune(kafka);
            *partitions = self.partitions();
        };
        let ingest = self.sources.config_beside::<ingest::config::Raw, projector::Raw, ingest::Config>(|raw| {
            shared(&mut raw.http, &mut raw.admin, &mut raw.kafka, &mut raw.topics.partitions);
            raw.security.secret_keys.extend(self.generated.clone());
        });
        let projector = self.sources.config_beside::<projector::Raw, ingest::config::Raw, projector::Config>(|raw| {
            shared(&mut raw.http, &mut raw.admin, &mut raw.kafka, &mut raw.topics.partitions);
            raw.store.dir = folder;
        });
        let (ingest, mut projector) = both(ingest, projector)?;
        projector.projection.clock = now;
        Ok(Configs { ingest, projector })
    }

    /// Returns the file of the certificate, where the services speak TLS.
    pub(super) fn certificate(&self) -> Option<&PathBuf> {
        self.ingest.http.tls_certificate_file.as_ref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Returns the address of a service with its scheme.
    pub(super) fn base_url(&self, listen: SocketAddr) -> String {
        match self.certificate() {
            None => format!("http://{listen}"),
            // A certificate is rarely of an address.
            Some(_) => format!("https://localhost:{}", listen.port()),
        }
    }

    /// Returns whether readers need a token.
    pub(super) fn has_readers(&self) -> bool {
        let auth = &self.projector.auth;
        !auth.token_file.as_os_str().is_empty() || auth.jwt != projector::Jwt::default()
    }

    /// Returns the address of the webhook with the first of the secrets.
    ///
    /// # Errors
    /// When the file of the secret cannot be read.
    pub(super) fn webhook_url(&self, listen: SocketAddr) -> anyhow::Result<String> {
        let url = format!("{}{}", self.base_url(listen), self.ingest.webhook.path);
        let Security { secret_keys, secret_key_files, .. } = &self.ingest.security;
        let secret = match (self.generated.as_ref().or(secret_keys.first()), secret_key_files.first()) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => read_secret(path)?,
            (None, None) => return Ok(url),
        };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("secret-key", secret.expose()).finish();
        Ok(format!("{url}?{query}"))
    }

    /// Returns how bodies are encrypted, by the first of the keys; `None` where clear text is taken.
    ///
    /// # Errors
    /// When the cipher or the key cannot be used.
    pub(super) fn encryption(&self) -> anyhow::Result<Option<Encryption>> {
        let Security { body_keys, clear_text_too, .. } = &self.ingest.security;
        let Some(RawBodyKey { cipher, key, key_file }) = body_keys.first().filter(|_| !clear_text_too) else {
            return Ok(None);
        };
        let key = match (key, key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(path)) => read_secret(path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Encryption::new(cipher, key.expose())?))
    }
}

/// Returns the results of both services.
///
/// # Errors
/// The faults of both.
fn both<I, P>(ingest: Result<I, Faults>, projector: Result<P, Faults>) -> Result<(I, P), Faults> {
    match (ingest, projector) {
        (Ok(ingest), Ok(projector)) => Ok((ingest, projector)),
        (Err(mut faults), Err(others)) => {
            faults.extend_with(others);
            Err(faults)
        }
        (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults),
    }
}

/// Returns the faults of both services, those of validation too. What `dev` has of its own is no fault: the secret, the
/// folder of the table, the addresses.
fn all_faults(sources: &Sources) -> Option<Faults> {
    let ingest = sources.config_beside::<ingest::config::Raw, projector::Raw, ingest::Config>(|raw| {
        raw.http.listen.clear();
        if raw.security.secret_keys.is_empty() && raw.security.secret_key_files.is_empty() {
            raw.security.allow_unauthenticated = true;
        }
    });
    let projector = sources.config_beside::<projector::Raw, ingest::config::Raw, projector::Config>(|raw| {
        raw.http.listen.clear();
        if raw.store.dir == projector::Raw::default().store.dir {
            raw.store.dir = std::env::temp_dir();
        }
    });
    both(ingest, projector).err()
}

fn read_secret(path: &std::path::Path) -> anyhow::Result<Secret> {
    Secret::from_file(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn generated_secret() -> anyhow::Result<Secret> {
    let mut bytes = [0; SECRET_BYTES];
    openssl::rand::rand_bytes(&mut bytes).context("no secret can be generated")?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
