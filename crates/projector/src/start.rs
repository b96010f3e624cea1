//! At start: whether the store can be gone on with, or must be made again from the log. Pure.

use std::fmt;

use domain::order::RULE_VERSION;
use domain::topics::{DELETE_RETENTION, DELETE_RETENTION_MS};
use domain::{Checkpoint, LogId, UnixMillis};
use kafka::topics::Watermarks;

use crate::store::{SCHEMA_VERSION, StoreMeta};

/// Why the table is made again from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RebuildReason {
    NoStore,
    Asked,
    Damaged(String),
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
    pub delete_retention_ms: Option<i64>,
}

/// Returns why the store cannot be gone on with; `None` when it can.
pub(crate) fn judge(
    meta: &StoreMeta,
    checkpoint: &Checkpoint,
    topic: &Topic,
    now: UnixMillis,
) -> Option<RebuildReason> {
    if meta.schema_version != SCHEMA_VERSION {
        return Some(RebuildReason::OtherVersion { found: meta.schema_version, needed: SCHEMA_VERSION });
    }
    if meta.rule_version != RULE_VERSION {
        return Some(RebuildReason::OtherRule { found: meta.rule_version, needed: RULE_VERSION });
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
    let limit_ms = topic.delete_retention_ms.unwrap_or(DELETE_RETENTION_MS);
    let age_ms = now.millis().saturating_sub(meta.committed_at.millis());
    (age_ms > limit_ms).then_some(RebuildReason::TooOld { age_ms, limit_ms })
}

impl fmt::Display for RebuildReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore => f.write_str("there is no table yet"),
            Self::Asked => f.write_str("a rebuild was asked for"),
            Self::Damaged(how) => write!(f, "the store cannot be used: {how}"),
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
            log: vec![Watermarks { partition: 0, low: 10, high: 20 }],
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
