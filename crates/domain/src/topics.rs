//! The contract of the topics: their names and the settings that Rollcall's guarantees depend on.
//!
//! The vendor repeats a delivery for [`RETRIES_MAX_MS`]. A tombstone must outlive these repeats. It must also outlive
//! every copy of an event outside the topic of users (late deliveries, dead letters): a copy that is delivered or
//! replayed after the tombstone has gone brings an erased user back. Retention drops closed segments only. So retention
//! plus the longest life of an open segment must stay below `delete.retention.ms`.

use std::collections::BTreeMap;

use crate::roll::SET_MAX;

/// Kafka's names of the settings.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
pub const DELETE_RETENTION: &str = "delete.retention.ms";
pub const MAX_COMPACTION_LAG: &str = "max.compaction.lag.ms";
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub const MIN_COMPACTION_LAG: &str = "min.compaction.lag.ms";
pub const MIN_INSYNC: &str = "min.insync.replicas";
pub const RETENTION: &str = "retention.ms";
pub const SEGMENT: &str = "segment.ms";

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The number of delivery attempts of the vendor; the pauses between them are 1, 2, 4, 8 … minutes.
pub const ATTEMPTS_MAX: u32 = 15;
/// The longest time the vendor retries, with a pause after each attempt: 2^15 − 1 = 32,767 minutes, or 22 d 18 h 7 min.
pub const RETRIES_MAX_MS: i64 = ((1 << ATTEMPTS_MAX) - 1) * MINUTE_MS;
/// The time in which the newest record of a key is not compacted. The keeper has this long to repair a late delivery.
pub const MIN_COMPACTION_LAG_MS: i64 = 3 * DAY_MS;
/// The longest time that erased data stays in the log after a later append.
pub const MAX_COMPACTION_LAG_MS: i64 = 7 * DAY_MS;
/// The time that a tombstone is kept.
pub const DELETE_RETENTION_MS: i64 = 23 * DAY_MS;
/// The time that late deliveries and dead letters are kept after their segment is closed.
pub const RETENTION_MS: i64 = 22 * DAY_MS;
/// The longest time that a segment of late deliveries or dead letters stays open.
pub const SEGMENT_MS: i64 = 4 * HOUR_MS;
const _: () = assert!(DELETE_RETENTION_MS > RETRIES_MAX_MS && DELETE_RETENTION_MS > RETENTION_MS + SEGMENT_MS);

/// The number of partitions of a new topic. Changing it later moves users, so it leaves room for growth: 12 divides
/// evenly among 2, 3, 4, 6 or 12 readers.
pub const PARTITIONS_DEFAULT: i32 = 12;
/// The replicas that must have a record before it is acknowledged, on a topic with [`REPLICAS_FOR_PRODUCTION`].
const MIN_INSYNC_REPLICAS: u32 = 2;
/// The number of replicas at which one can fail without stopping writers.
pub const REPLICAS_FOR_PRODUCTION: i32 = 3;

/// The default limit of a webhook's body: 30 times the size of a usual event.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most bytes by which an encoded event exceeds its body.
pub const EVENT_OVERHEAD_BYTES_MAX: usize = 512;
/// The rest of a record in Kafka's count: key, CloudEvents headers, batch header.
const RECORD_OVERHEAD_BYTES_MAX: usize = 4 * 1024;

/// Returns the size of a record with this many events of the largest bodies.
pub const fn record_bytes_max(events: usize, body_bytes_max: usize) -> usize {
    let event = body_bytes_max.saturating_add(EVENT_OVERHEAD_BYTES_MAX);
    event.saturating_mul(events).saturating_add(RECORD_OVERHEAD_BYTES_MAX)
}

/// The names of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub users: String,
    pub late: String,
    pub dead_letter: String,
    /// The state topic, where it is written.
    pub state: Option<String>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            users: "vcc.users".to_owned(),
            late: "vcc.users.late".to_owned(),
            dead_letter: "vcc.users.dead-letter".to_owned(),
            state: None,
        }
    }
}

/// The contract of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub topic: String,
    /// The partitions of a new topic.
    pub partitions: i32,
    /// Whether an existing topic must have as many.
    pub partitions_fixed: bool,
    pub replication: i32,
    /// Kafka's topic settings by their names.
    pub settings: BTreeMap<String, String>,
    /// The most events in a record.
    pub events_per_record_max: usize,
    /// The largest body that an event can come from.
    pub body_bytes_max: usize,
    /// The topic that this one must have as many partitions as.
    pub partitions_of: Option<String>,
}

impl Spec {
    /// Returns the contract of the topics: users, late deliveries, dead letters, and the state topic where there is
    /// one.
    pub fn contract(names: &Names, partitions: i32, replication: i32) -> Vec<Self> {
        let state = names.state.as_ref().map(|topic| Self {
            events_per_record_max: 1,
            partitions_of: Some(names.users.clone()),
            ..Self::users(topic, partitions, replication)
        });
        let topics = [
            Self::users(&names.users, partitions, replication),
            Self::late(&names.late, partitions, replication),
            Self::dead_letter(&names.dead_letter, partitions, replication),
        ];
        topics.into_iter().chain(state).collect()
    }

    /// Returns the contract of the topic of users.
    pub fn users(topic: &str, partitions: i32, replication: i32) -> Self {
        let events_per_record_max = SET_MAX;
        Self { events_per_record_max, ..Self::bare(topic, partitions, replication) }
            .with(CLEANUP_POLICY, "compact")
            .with(MIN_COMPACTION_LAG, MIN_COMPACTION_LAG_MS.to_string())
            .with(MAX_COMPACTION_LAG, MAX_COMPACTION_LAG_MS.to_string())
            .with(DELETE_RETENTION, DELETE_RETENTION_MS.to_string())
    }

    /// Returns the contract of the topic of late deliveries: those that came after a newer one.
    pub fn late(topic: &str, partitions: i32, replication: i32) -> Self {
        Self::bare(topic, partitions, replication).with(CLEANUP_POLICY, "delete").with_retention()
    }

    /// Returns the contract of the topic of dead letters: bodies that could not be read.
    pub fn dead_letter(topic: &str, partitions: i32, replication: i32) -> Self {
        Self::bare(topic, partitions, replication).with(CLEANUP_POLICY, "compact,delete").with_retention()
    }

    /// Returns the contract for an existing topic with exactly this number of partitions: another one moves users.
    #[must_use]
    pub fn with_partitions_fixed(self) -> Self {
        Self { partitions_fixed: true, ..self }
    }

    /// Returns the contract with one setting changed or added.
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<String>) -> Self {
        self.settings.insert(setting.to_owned(), value.into());
        self
    }

    /// Returns the record size that the topic must accept: the largest number of the largest events in one record.
    pub fn record_bytes_max(&self) -> usize {
        record_bytes_max(self.events_per_record_max, self.body_bytes_max)
    }

    fn with_retention(self) -> Self {
        self.with(RETENTION, RETENTION_MS.to_string()).with(SEGMENT, SEGMENT_MS.to_string())
    }

    fn bare(topic: &str, partitions: i32, replication: i32) -> Self {
        let spec = Self {
            topic: topic.to_owned(),
            partitions,
            partitions_fixed: false,
            replication,
            settings: BTreeMap::new(),
            events_per_record_max: 1,
            body_bytes_max: BODY_BYTES_MAX,
            partitions_of: None,
        };
        if replication >= REPLICAS_FOR_PRODUCTION {
            spec.with(MIN_INSYNC, MIN_INSYNC_REPLICAS.to_string())
        } else {
            spec
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's default of `max.message.bytes`.
    const KAFKA_MESSAGE_BYTES_MAX: usize = 1_048_588;

    #[test]
    fn the_retries_are_what_the_vendor_says() {
        assert_eq!(RETRIES_MAX_MS / MINUTE_MS, 32_767);
        assert_eq!((RETRIES_MAX_MS / DAY_MS, RETRIES_MAX_MS % DAY_MS / HOUR_MS), (22, 18));
    }

    #[test]
    fn what_can_be_replayed_ends_before_the_tombstone_of_its_user() {
        let specs = Spec::contract(&Names::default(), PARTITIONS_DEFAULT, REPLICAS_FOR_PRODUCTION);
        let [users, late, letters]: [Spec; 3] = specs.try_into().unwrap();
        let setting = |spec: &Spec, name: &str| spec.settings[name].parse::<i64>().unwrap();
        for spec in [late, letters] {
            assert_eq!(setting(&spec, SEGMENT), 4 * HOUR_MS, "{}", spec.topic);
            assert!(setting(&spec, RETENTION) + setting(&spec, SEGMENT) < setting(&users, DELETE_RETENTION));
        }
    }

    #[test]
    fn the_fullest_record_fits_where_nothing_is_configured() {
        for spec in Spec::contract(&Names::default(), PARTITIONS_DEFAULT, REPLICAS_FOR_PRODUCTION) {
            assert!(spec.record_bytes_max() <= KAFKA_MESSAGE_BYTES_MAX, "{spec:?}");
        }
    }
}
