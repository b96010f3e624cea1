//! The options of a projection.

use std::path::PathBuf;
use std::time::Duration;

use domain::UnixMillis;
use kafka::ClientOptions;
use service::registry::Schemas;

/// The topic that a projection follows, and the folder of its table.
#[derive(Clone, Debug)]
pub struct Options {
    pub kafka: ClientOptions,
    pub topic: String,
    /// The schemas that records name by ids; none by default.
    pub schemas: Schemas,
    /// The expected number of partitions; another one is reported. `None` expects none.
    pub partitions: Option<i32>,
    /// The topic of deliveries that came after a newer one; they close gaps. It may be missing.
    pub late_topic: Option<String>,
    /// A folder that this projection alone uses; created if it is missing.
    pub store: PathBuf,
    /// Rebuilds the table from the log even if the stored one could go on.
    pub rebuild: bool,
    /// How much memory a rebuild may use for its tables; more users than fit are folded in several passes.
    pub rebuild_memory_bytes_max: usize,
    /// How many changes wait for the slowest subscriber; one that falls further behind is cut off.
    pub changes_waiting_max: usize,
    /// How many subscribers are served over HTTP at once.
    pub subscribers_max: usize,
    /// How often the ends of the log are asked for.
    pub look_interval: Duration,
    /// How old the table may be while the service is ready.
    pub behind_max: Duration,
    /// Returns the time, for the age of the store.
    pub clock: fn() -> UnixMillis,
}

impl Options {
    /// The memory of a rebuild by default: about two million users in one pass.
    pub const REBUILD_MEMORY_BYTES_MAX: usize = 1 << 30;

    /// How many changes wait for the slowest subscriber by default.
    const CHANGES_WAITING_MAX: usize = 16 * 1024;

    /// How many subscribers are served over HTTP at once by default: half of the places for connections.
    pub const SUBSCRIBERS_MAX: usize = 512;

    /// How often the ends of the log are asked for by default: a table that is cut off from the cluster knows it within
    /// ten seconds.
    const LOOK_INTERVAL: Duration = Duration::from_secs(5);

    /// How old the table may be by default while the service is ready.
    pub(crate) const BEHIND_MAX: Duration = Duration::from_secs(300);

    /// Returns options for that cluster, topic and folder, with defaults for the rest.
    pub fn new(bootstrap: &str, topic: &str, store: impl Into<PathBuf>) -> Self {
        Self {
            kafka: ClientOptions::new(bootstrap),
            topic: topic.to_owned(),
            schemas: Schemas::default(),
            partitions: None,
            late_topic: Some(format!("{topic}.late")),
            store: store.into(),
            rebuild: false,
            rebuild_memory_bytes_max: Self::REBUILD_MEMORY_BYTES_MAX,
            changes_waiting_max: Self::CHANGES_WAITING_MAX,
            subscribers_max: Self::SUBSCRIBERS_MAX,
            look_interval: Self::LOOK_INTERVAL,
            behind_max: Self::BEHIND_MAX,
            clock: system_clock,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the default for those who embed; the service is given the CLI's clock")]
fn system_clock() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
