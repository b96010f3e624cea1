//! At start: whether the store can be gone on with, or must be made again from the log. Pure.

use std::fmt;

use domain::order::RULE_VERSION;
use domain::topics::{DELETE_RETENTION, DELETE_RETENTION_MS};
use domain::{Checkpoint, LogId, UnixMillis};
use kafka::topics::{Hold, Watermarks};
use service::telemetry::chain;

use crate::facts::Answer;
use crate::store::{self, SCHEMA_VERSION, StoreMeta};

/// Why the table is made again from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RebuildReason {
    NoStore,
    Asked,
    Damaged(String),
    /// The file of the table was removed, or is another one.
    Removed,
    OtherVersion {
        found: i64,
        needed: i64,
    },
    OtherRule {
        found: i64,
        needed: i64,
    },
    OtherTopic {
        found: String,
        needed: String,
    },
    OutsideLog {
        partition: i32,
        next_offset: i64,
        low: i64,
        high: i64,
    },
    PartitionGone {
        partition: i32,
    },
    /// Records were passed over because nobody knew what the id of their schema is, and now it is known.
    SchemaNamed {
        id: u32,
    },
    /// Tombstones written after the store was last up to date may be gone from the log: the store would keep a user
    /// who was forgotten.
    TooOld {
        age_ms: i64,
        limit_ms: i64,
    },
}

/// The topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub name: String,
    pub id: LogId,
    /// The ends of its partitions.
    pub log: Vec<Watermarks>,
    /// The partitions whose readers are held back.
    pub holds: Vec<Hold>,
    /// The time just before the question.
    pub asked_at: UnixMillis,
    pub delete_retention_ms: Option<i64>,
}

impl Topic {
    /// Returns the answer of the cluster where the log ends.
    pub(crate) fn answer(&self) -> Answer {
        let ends = self.log.iter().map(|log| (log.partition, Some(log.high))).collect();
        Answer { asked_at: self.asked_at, ends, holds: self.holds.clone() }
    }

    /// Returns the time that a table is as of when all that can be read of the log now is in it.
    pub(crate) fn as_of(&self) -> UnixMillis {
        let held_since = self.holds.iter().filter_map(|hold| hold.since).min();
        held_since.map_or(self.asked_at, |since| since.min(self.asked_at))
    }
}

/// Returns why the store must not be answered from while the cluster has not been asked yet; `None` when it may.
pub(crate) fn judge_alone(meta: &StoreMeta, topic: &str, now: UnixMillis) -> Option<RebuildReason> {
    if meta.topic != topic {
        return Some(RebuildReason::OtherTopic { found: meta.topic.clone(), needed: topic.to_owned() });
    }
    of_other_version(meta).or_else(|| too_old(meta, DELETE_RETENTION_MS, now))
}

/// Returns why the store cannot be gone on with; `None` when it can.
pub(crate) fn judge(
    meta: &StoreMeta,
    checkpoint: &Checkpoint,
    topic: &Topic,
    now: UnixMillis,
) -> Option<RebuildReason> {
    if let Some(reason) = of_other_version(meta) {
        return Some(reason);
    }
    if meta.topic != topic.name || meta.log != topic.id {
        let found = format!("{} ({})", meta.topic, meta.log);
        return Some(RebuildReason::OtherTopic { found, needed: format!("{} ({})", topic.name, topic.id) });
    }
    for (partition, next_offset) in checkpoint.iter() {
        match topic.log.iter().find(|found| found.partition == partition) {
            None => return Some(RebuildReason::PartitionGone { partition }),
            Some(&Watermarks { low, high, .. }) if !(low..=high).contains(&next_offset) => {
                return Some(RebuildReason::OutsideLog { partition, next_offset, low, high });
            }
            Some(_) => {}
        }
    }
    // Where the broker does not tell its settings, the contract stands in.
    too_old(meta, topic.delete_retention_ms.unwrap_or(DELETE_RETENTION_MS), now)
}

fn of_other_version(meta: &StoreMeta) -> Option<RebuildReason> {
    if meta.schema_version != SCHEMA_VERSION {
        return Some(RebuildReason::OtherVersion { found: meta.schema_version, needed: SCHEMA_VERSION });
    }
    if meta.rule_version != RULE_VERSION {
        return Some(RebuildReason::OtherRule { found: meta.rule_version, needed: RULE_VERSION });
    }
    None
}

fn too_old(meta: &StoreMeta, limit_ms: i64, now: UnixMillis) -> Option<RebuildReason> {
    let age_ms = now.millis().saturating_sub(meta.committed_at.millis());
    (age_ms > limit_ms).then_some(RebuildReason::TooOld { age_ms, limit_ms })
}

impl RebuildReason {
    /// All that a reason can be called in metrics.
    pub(crate) const NAMES: [&'static str; 11] = [
        "no_store",
        "asked",
        "damaged",
        "removed",
        "other_version",
        "other_rule",
        "other_topic",
        "outside_log",
        "partition_gone",
        "schema_named",
        "too_old",
    ];

    /// Returns the reason in an error of the store; `None` when the table is not damaged.
    pub(crate) fn of_damage(error: &store::Error) -> Option<Self> {
        match error {
            store::Error::Removed { .. } => Some(Self::Removed),
            error => error.is_damage().then(|| Self::Damaged(chain(error))),
        }
    }

    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Removed)
    }

    /// Returns the name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        let number = match self {
            Self::NoStore => 0,
            Self::Asked => 1,
            Self::Damaged(_) => 2,
            Self::Removed => 3,
            Self::OtherVersion { .. } => 4,
            Self::OtherRule { .. } => 5,
            Self::OtherTopic { .. } => 6,
            Self::OutsideLog { .. } => 7,
            Self::PartitionGone { .. } => 8,
            Self::SchemaNamed { .. } => 9,
            Self::TooOld { .. } => 10,
        };
        Self::NAMES[number]
    }
}

impl RebuildReason {
    /// Returns whether the table is of a log that is no longer there as it was read.
    pub(crate) fn is_of_another_log(&self) -> bool {
        matches!(self, Self::OtherTopic { .. } | Self::OutsideLog { .. } | Self::PartitionGone { .. })
    }
}

impl fmt::Display for RebuildReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore => f.write_str("there is no table yet"),
            Self::Asked => f.write_str("a rebuild was asked for"),
            Self::Damaged(how) => write!(f, "the store cannot be used: {how}"),
            Self::Removed => f.write_str("the file of the table was removed or replaced"),
            Self::OtherVersion { found, needed } => write!(f, "the store has tables of version {found}, not {needed}"),
            Self::OtherRule { found, needed } => write!(f, "the store was made by rule version {found}, not {needed}"),
            Self::OtherTopic { found, needed } => write!(f, "the store is of topic {found}, not {needed}"),
            Self::OutsideLog { partition, next_offset, low, high } => write!(
                f,
                "the store stands at {partition}:{next_offset}, and the log that it has read holds {low} up to {high}"
            ),
            Self::PartitionGone { partition } => write!(f, "the topic has no partition {partition} any more"),
            Self::SchemaNamed { id } => write!(f, "records of schema id {id} were unknown, and can be read now"),
            Self::TooOld { age_ms, limit_ms } => write!(
                f,
                "the store was last up to date {} hours ago, and tombstones last {} hours ({DELETE_RETENTION})",
                age_ms / 3_600_000,
                limit_ms / 3_600_000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::event::log_id;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(100 * 24 * 60 * 60 * 1000);

    fn topic() -> Topic {
        Topic {
            name: "vcc.users".to_owned(),
            id: log_id(),
            log: vec![Watermarks { partition: 0, low: 10, stable: 20, high: 20 }],
            holds: Vec::new(),
            asked_at: NOW,
            delete_retention_ms: None,
        }
    }

    fn check(change: impl FnOnce(&mut StoreMeta), checkpoint: &str) -> Option<RebuildReason> {
        let mut meta = StoreMeta::new("vcc.users", &log_id(), NOW);
        change(&mut meta);
        judge(&meta, &checkpoint.parse().unwrap(), &topic(), NOW)
    }

    #[test]
    fn a_store_of_this_topic_inside_its_log_goes_on() {
        for checkpoint in ["", "0:10", "0:15", "0:20"] {
            assert_eq!(check(|_| {}, checkpoint), None, "{checkpoint}");
        }
        assert_eq!(
            check(|meta| meta.committed_at = UnixMillis::from_millis(NOW.millis() - DELETE_RETENTION_MS), ""),
            None
        );
    }

    #[test]
    fn what_makes_it_start_over() {
        assert!(matches!(check(|_| {}, "0:9"), Some(RebuildReason::OutsideLog { next_offset: 9, .. })));
        assert!(matches!(check(|_| {}, "0:21"), Some(RebuildReason::OutsideLog { next_offset: 21, .. })));
        assert_eq!(check(|_| {}, "1:0"), Some(RebuildReason::PartitionGone { partition: 1 }));
        assert!(matches!(check(|meta| meta.schema_version = 0, ""), Some(RebuildReason::OtherVersion { .. })));
        assert!(matches!(check(|meta| meta.rule_version += 1, ""), Some(RebuildReason::OtherRule { .. })));
        assert!(matches!(check(|meta| meta.topic = "x".to_owned(), ""), Some(RebuildReason::OtherTopic { .. })));
        assert!(matches!(check(|meta| meta.log.cluster = "x".to_owned(), ""), Some(RebuildReason::OtherTopic { .. })));
        let too_old = UnixMillis::from_millis(NOW.millis() - DELETE_RETENTION_MS - 1);
        assert!(matches!(check(|meta| meta.committed_at = too_old, ""), Some(RebuildReason::TooOld { .. })));
    }

    #[test]
    fn a_store_of_the_topic_s_name_is_answered_from_before_the_cluster_was_asked() {
        let alone = |change: fn(&mut StoreMeta)| {
            let mut meta = StoreMeta::new("vcc.users", &log_id(), NOW);
            change(&mut meta);
            judge_alone(&meta, "vcc.users", NOW)
        };
        assert_eq!(alone(|_| {}), None);
        assert!(matches!(alone(|meta| meta.topic = "x".to_owned()), Some(RebuildReason::OtherTopic { .. })));
        assert!(matches!(alone(|meta| meta.schema_version = 0), Some(RebuildReason::OtherVersion { .. })));
        assert!(matches!(alone(|meta| meta.rule_version += 1), Some(RebuildReason::OtherRule { .. })));
        let old = |meta: &mut StoreMeta| meta.committed_at = UnixMillis::from_millis(0);
        assert!(matches!(alone(old), Some(RebuildReason::TooOld { .. })), "tombstones may be gone from the log");
    }

    #[test]
    fn the_topics_setting_limits_the_age() {
        let committed_at = UnixMillis::from_millis(NOW.millis() - 1_001);
        let meta = StoreMeta { committed_at, ..StoreMeta::new("vcc.users", &log_id(), NOW) };
        for (retention, expected) in [(Some(1_001), None), (Some(1_000), Some(1_000)), (None, None)] {
            let topic = Topic { delete_retention_ms: retention, ..topic() };
            let reason = judge(&meta, &Checkpoint::default(), &topic, NOW);
            let expected = expected.map(|limit_ms| RebuildReason::TooOld { age_ms: 1_001, limit_ms });
            assert_eq!(reason, expected, "{retention:?}");
        }
    }
}
