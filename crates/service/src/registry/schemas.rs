//! The schemas that are known by their ids, looked up as records name them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::roll::Unread;
use domain::wire::{Flat, Framed, Framing, Ids, Listed, SCHEMAS, STATE_SCHEMA};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Options;
use super::api::{self, Error, subject};
use crate::Metrics;
use crate::client::Endpoint;
use crate::metrics::Counted;

/// The pause after a look-up that was not answered. It doubles with each, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often a thread that waits looks whether it must stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long an id that cannot be looked up is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Option<Duration>);

impl Patience {
    /// Until the registry answers.
    pub const SERVICE: Self = Self(None);
    /// A minute: a command then ends with an error.
    pub const COMMAND: Self = Self::of(Duration::from_secs(60));

    pub const fn of(most: Duration) -> Self {
        Self(Some(most))
    }
}

/// An id that a record names could not be looked up in time, or before the reader had to stop.
#[derive(Debug, thiserror::Error)]
#[error("schema id {id}, which a record names, could not be looked up")]
pub struct Unsettled {
    id: u32,
    source: Option<Error>,
}

/// Records on their way to be translated, once the ids that they name are looked up.
pub type Settling<R> = Pin<Box<dyn Future<Output = Result<Vec<R>, Unsettled>> + Send>>;

/// The schemas that are known by their ids. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Schemas(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<Arc<Ids>>,
    registry: Option<Registry>,
}

#[derive(Debug)]
struct Registry {
    endpoint: Endpoint,
    auto_register: bool,
    patience: Patience,
    /// For readers on threads that may block.
    runtime: Handle,
    /// Held during look-ups, so that each id is asked for once.
    asking: Mutex<()>,
    waiting: Gauge,
    lookups: Counter,
}

impl Registry {
    /// Returns the id of a schema under the subject of a topic, which must have the compatibility that it should.
    async fn register(&self, topic: &str, schema: &str) -> Result<u32, Error> {
        let subject = subject(topic);
        let id = if self.auto_register {
            api::register(&self.endpoint, &subject, schema).await?
        } else {
            let found = api::look_up(&self.endpoint, &subject, schema).await?;
            found.ok_or_else(|| Error::NotRegistered { subject: subject.clone() })?
        };
        api::check_compatibility(&self.endpoint, &subject).await?;
        tracing::info!(subject, schema.id = id, "the schema is registered");
        Ok(id)
    }
}

/// Returns the newest released schema of events.
fn newest() -> &'static str {
    SCHEMAS.last().expect("there is a version 1")
}

impl Schemas {
    /// Asks the registry, if there is one, for the id of the newest schema on the topic of users.
    ///
    /// # Errors
    /// [`Error`] when the registry does not answer as it should. It is no error that the schema is not registered.
    pub async fn open(options: Options, users: &str, patience: Patience, metrics: &Metrics) -> Result<Self, Error> {
        let Options { endpoint, auto_register, mut ids } = options;
        let Some(endpoint) = endpoint else { return Ok(Self::of(ids, None)) };
        if let Some(id) = api::look_up(&endpoint, &subject(users), newest()).await? {
            ids.list_released(id, SCHEMAS.len());
        }
        let (waiting, lookups) = (Gauge::default(), Counter::default());
        metrics.register(|registry| {
            let help = "Whether a reader waits for a schema id that cannot be looked up";
            registry.register("rollcall_registry_waiting", help, waiting.clone());
            let help = "Schema ids of records that the schema registry was asked for";
            registry.register("rollcall_registry_lookups", help, lookups.clone());
        });
        let (runtime, asking) = (Handle::current(), Mutex::new(()));
        Ok(Self::of(ids, Some(Registry { endpoint, auto_register, patience, runtime, asking, waiting, lookups })))
    }

    fn of(ids: Ids, registry: Option<Registry>) -> Self {
        Self(Arc::new(Shared { known: RwLock::new(Arc::new(ids)), registry }))
    }

    /// Returns the framing of events on `topics`, the first being that of users. With a registry, the schema is under
    /// the subject of each topic, and these have the compatibility that they must have.
    ///
    /// # Errors
    /// [`Error`] when the registry does not answer, or refuses.
    pub async fn register(&self, topics: &[&str]) -> Result<Framing, Error> {
        let Some(registry) = &self.0.registry else { return Ok(Framing::SingleObject) };
        let mut first = None;
        for topic in topics {
            let id = registry.register(topic, newest()).await?;
            self.list(|ids| {
                ids.list_released(id, SCHEMAS.len());
            });
            first = first.or(Some(id));
        }
        Ok(first.map_or(Framing::SingleObject, Framing::Registered))
    }

    /// Returns the format of the state topic's values: Avro where there is a registry, with the schema under the
    /// topic's subject, else JSON.
    ///
    /// # Errors
    /// As [`Schemas::register`].
    pub async fn register_state(&self, topic: &str) -> Result<Flat, Error> {
        match &self.0.registry {
            Some(registry) => Ok(Flat::Registered(registry.register(topic, STATE_SCHEMA).await?)),
            None => Ok(Flat::Json),
        }
    }

    /// Returns whether there is a registry.
    pub fn has_registry(&self) -> bool {
        self.0.registry.is_some()
    }

    /// Returns what is known.
    pub fn known(&self) -> Arc<Ids> {
        Arc::clone(&self.0.known.read())
    }

    /// Returns the records in the encoding that `domain` reads. Where a record names an id that must be looked up, it
    /// returns a future that does so first. Meanwhile the reader must not go on.
    ///
    /// # Errors
    /// The future. It gives [`Unsettled`] as [`Schemas::settle`] does.
    pub fn translated<R: Framed + Send + 'static>(&self, mut records: Vec<R>) -> Result<Vec<R>, Settling<R>> {
        let ids = self.known();
        if self.0.registry.is_none() || !records.iter().any(|record| record.unlisted(&ids).next().is_some()) {
            records.iter_mut().for_each(|record| record.translate(&ids));
            return Ok(records);
        }
        let schemas = self.clone();
        Err(Box::pin(async move {
            let unlisted: Vec<u32> =
                records.iter().flat_map(|record| record.unlisted(&ids).collect::<Vec<_>>()).collect();
            let ids = schemas.settle(unlisted).await?;
            records.iter_mut().for_each(|record| record.translate(&ids));
            Ok(records)
        }))
    }

    /// Looks these ids up, and returns what is known then. Without a registry they stay unlisted, and their records are
    /// unknown.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Unsettled`] when the patience is over. A service's never is.
    pub async fn settle(&self, unlisted: impl IntoIterator<Item = u32>) -> Result<Arc<Ids>, Unsettled> {
        if let Some(registry) = &self.0.registry {
            for id in unlisted {
                self.look_up(registry, id).await?;
            }
        }
        Ok(self.known())
    }

    /// Reads one record with what is known, `ids`. Settles the id that it names if that is the reason why it cannot be
    /// read, and reads it again; gives up soon after `goes_on` returns false. For threads that may block.
    ///
    /// # Errors
    /// As [`Schemas::settle`].
    ///
    /// # Panics
    /// On a thread of the runtime.
    pub fn read<T>(
        &self,
        ids: &mut Arc<Ids>,
        goes_on: impl Fn() -> bool,
        mut read: impl FnMut(&Ids) -> Result<T, Unread>,
    ) -> Result<Result<T, Unread>, Unsettled> {
        loop {
            let unread = match read(ids) {
                Ok(read) => return Ok(Ok(read)),
                Err(unread) => unread,
            };
            let unlisted = unread.schema_id().filter(|id| !ids.is_listed(*id));
            let (Some(id), Some(registry)) = (unlisted, &self.0.registry) else { return Ok(Err(unread)) };
            registry.runtime.block_on(async {
                tokio::select! {
                    settled = self.look_up(registry, id) => settled,
                    () = until_not(&goes_on) => Err(Unsettled { id, source: None }),
                }
            })?;
            *ids = self.known();
        }
    }

    /// Returns a record in the encoding that `domain` reads, once the ids that it names are settled. For threads that
    /// may block.
    ///
    /// # Errors
    /// As [`Schemas::settle`].
    ///
    /// # Panics
    /// On a thread of the runtime.
    pub fn translated_blocking<R: Framed>(&self, ids: &mut Arc<Ids>, mut record: R) -> Result<R, Unsettled> {
        if let Some(registry) = &self.0.registry {
            let unlisted: Vec<u32> = record.unlisted(ids).collect();
            if !unlisted.is_empty() {
                *ids = registry.runtime.block_on(self.settle(unlisted))?;
            }
        }
        record.translate(ids);
        Ok(record)
    }

    async fn look_up(&self, registry: &Registry, id: u32) -> Result<(), Unsettled> {
        let _asking = registry.asking.lock().await;
        if self.known().is_listed(id) {
            return Ok(());
        }
        let (began, mut pause, mut waiting) = (Instant::now(), RETRY_FIRST, None);
        loop {
            registry.lookups.inc();
            let error = match api::schema(&registry.endpoint, id).await {
                Ok(Some(text)) => {
                    self.list(|ids| note(id, &ids.list(id, &text)));
                    return Ok(());
                }
                Ok(None) => {
                    tracing::warn!(
                        schema.id = id,
                        "the schema registry does not know this id; its records are unknown"
                    );
                    self.list(|ids| ids.list_missing(id));
                    return Ok(());
                }
                Err(error) => error,
            };
            if registry.patience.0.is_some_and(|most| began.elapsed() + pause > most) {
                return Err(Unsettled { id, source: Some(error) });
            }
            waiting.get_or_insert_with(|| Counted::by(&registry.waiting));
            tracing::warn!(
                schema.id = id,
                error = &error as &dyn std::error::Error,
                "a record names a schema id that cannot be looked up now: reading waits"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    fn list(&self, list: impl FnOnce(&mut Ids)) {
        list(Arc::make_mut(&mut self.0.known.write()));
    }
}

async fn until_not(goes_on: impl Fn() -> bool) {
    while goes_on() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn note(id: u32, listed: &Listed) {
    match listed {
        Listed::Released(version) => tracing::info!(schema.id = id, version, "a released schema"),
        Listed::Resolved => {
            tracing::info!(schema.id = id, "a schema that this build does not have: its events are resolved");
        }
        Listed::Stranger(why) => {
            tracing::warn!(schema.id = id, why, "the schema is not one of user events; its records are unknown");
        }
    }
}
