//! Compares a contract with a description and returns findings. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::position::PARTITIONS_MAX;
use domain::topics::{
    CLEANUP_POLICY, DELETE_RETENTION, MAX_COMPACTION_LAG, MAX_MESSAGE_BYTES, MIN_COMPACTION_LAG, MIN_INSYNC, RETENTION,
    SEGMENT, Spec,
};

use super::Description;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The state is unknown.
    Note,
    /// The service can run, with weaker guarantees.
    Warn,
    /// The service must not run: it would lose data.
    Refuse,
}

/// One deviation of a topic from its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    /// The setting, or `topic`, `settings`, `partitions`, `replication`.
    pub subject: String,
    pub expected: String,
    pub found: String,
    pub severity: Severity,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, subject, expected, found, .. } = self;
        write!(f, "{topic}: {subject} is {found}, expected {expected}")
    }
}

/// Returns the finding of a topic that has not as many partitions as the one that it follows. `partitions` has those of
/// the topics that exist.
pub(super) fn judge_partitions(spec: &Spec, partitions: &BTreeMap<&str, i32>) -> Option<Finding> {
    let leader = spec.partitions_of.as_deref()?;
    let (found, expected) = (partitions.get(spec.topic.as_str())?, partitions.get(leader)?);
    (found != expected).then(|| Finding {
        topic: spec.topic.clone(),
        subject: "partitions".to_owned(),
        expected: format!("{expected}, as many as {leader} has"),
        found: found.to_string(),
        severity: Severity::Refuse,
    })
}

/// Returns the findings of a topic; `None` stands for a missing topic.
pub fn judge(spec: &Spec, description: Option<&Description>) -> Vec<Finding> {
    let finding = |subject: &str, expected: &str, found: &str, severity| Finding {
        topic: spec.topic.clone(),
        subject: subject.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        severity,
    };
    let Some(description) = description else {
        return vec![finding("topic", "present", "missing", Severity::Refuse)];
    };
    let mut findings = Vec::new();
    if description.partitions > PARTITIONS_MAX {
        let expected = format!("at most {PARTITIONS_MAX}: readers name a position of each in one header");
        findings.push(finding("partitions", &expected, &description.partitions.to_string(), Severity::Refuse));
    }
    if spec.partitions_fixed && description.partitions != spec.partitions {
        let (expected, found) = (spec.partitions.to_string(), description.partitions.to_string());
        findings.push(finding("partitions", &expected, &found, Severity::Warn));
    }
    if description.replication < spec.replication {
        findings.push(finding(
            "replication",
            &format!("at least {}", spec.replication),
            &description.replication.to_string(),
            Severity::Warn,
        ));
    }
    let Some(settings) = &description.settings else {
        findings.push(finding("settings", "known", "unknown: the broker does not describe them", Severity::Note));
        return findings;
    };
    if let Some(found) = settings.get(MAX_MESSAGE_BYTES)
        && number(found).is_some_and(|bytes| bytes < spec.record_bytes_max() as i128)
    {
        let Spec { events_per_record_max: events, body_bytes_max, .. } = spec;
        let expected = format!(
            "at least {}, for {events} of the largest events (bodies of {body_bytes_max} bytes)",
            spec.record_bytes_max()
        );
        findings.push(finding(MAX_MESSAGE_BYTES, &expected, found, Severity::Warn));
    }
    for (name, expected) in &spec.settings {
        let found = settings.get(name).map_or("unknown", String::as_str);
        if let Some((expected, severity)) = compare(name, expected, found) {
            findings.push(finding(name, &expected, found, severity));
        }
    }
    findings
}

/// Returns a finding if `other`, a topic with deletion by age, keeps its records for as long as `users` keeps
/// tombstones: such a record could be replayed after the tombstone of its user is gone. Retention counts from the time
/// that a segment is closed.
pub(super) fn judge_together(users: &Description, other: &Description) -> Option<Finding> {
    let setting = |description: &Description, name: &str| number(description.settings.as_ref()?.get(name)?);
    let kept_ms = setting(other, RETENTION)?.saturating_add(setting(other, SEGMENT)?);
    let tombstone_ms = setting(users, DELETE_RETENTION)?;
    (kept_ms >= tombstone_ms).then(|| Finding {
        topic: other.topic.clone(),
        subject: format!("{RETENTION} + {SEGMENT}"),
        expected: format!("below {DELETE_RETENTION} of {}, which is {}", users.topic, shown(tombstone_ms)),
        found: shown(kept_ms),
        severity: Severity::Warn,
    })
}

/// Returns the expectation of a setting as text, and the severity of not meeting it. Returns `None` if it is met.
fn compare(name: &str, expected: &str, found: &str) -> Option<(String, Severity)> {
    match name {
        CLEANUP_POLICY => compare_policy(expected, found),
        // A longer time or more replicas also meet the contract.
        MIN_COMPACTION_LAG | DELETE_RETENTION | RETENTION | MIN_INSYNC => {
            let kept = match (number(expected), number(found)) {
                (Some(least), Some(is)) => is >= least,
                _ => false,
            };
            (!kept).then(|| (format!("at least {expected}"), Severity::Warn))
        }
        // A segment that closes earlier lets retention delete earlier.
        MAX_COMPACTION_LAG | SEGMENT => {
            let kept = match (number(expected), number(found)) {
                (Some(most), Some(is)) => is <= most,
                _ => false,
            };
            (!kept).then(|| (format!("at most {expected}"), Severity::Warn))
        }
        _ => (expected != found).then(|| (expected.to_owned(), Severity::Warn)),
    }
}

/// Parses one of Kafka's numbers; -1 means no limit.
fn number(text: &str) -> Option<i128> {
    match text.trim().parse::<i128>().ok()? {
        -1 => Some(i128::MAX),
        number => Some(number),
    }
}

/// Formats a number as Kafka does.
fn shown(number: i128) -> String {
    if number == i128::MAX { "-1 (no limit)".to_owned() } else { number.to_string() }
}

fn compare_policy(expected: &str, found: &str) -> Option<(String, Severity)> {
    let set = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|policy| policy.trim().to_owned()).filter(|policy| !policy.is_empty()).collect()
    };
    let (wanted, is) = (set(expected), set(found));
    if wanted == is {
        return None;
    }
    // A topic with compaction only is the sole copy of the state. Without compaction the log grows without bound. With
    // deletion it loses users that have not changed for a while.
    let keeps_state = wanted.len() == 1 && wanted.contains("compact");
    let severity = if keeps_state { Severity::Refuse } else { Severity::Warn };
    Some((expected.to_owned(), severity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::topics::{Names, RETENTION_MS, SEGMENT_MS};
    use domain::{LogId, TopicId};

    fn as_asked(spec: &Spec) -> Description {
        Description {
            topic: spec.topic.clone(),
            partitions: spec.partitions,
            replication: spec.replication,
            settings: Some(spec.settings.clone()),
            log: LogId { cluster: "c".to_owned(), topic: TopicId::from_bytes([0; 16]) },
        }
    }

    fn found_with(setting: &str, value: &str) -> Vec<(String, Severity)> {
        let spec = Spec::users("vcc.users", 6, 3);
        let mut description = as_asked(&spec);
        let settings: &mut BTreeMap<_, _> = description.settings.as_mut().unwrap();
        settings.insert(setting.to_owned(), value.to_owned());
        judge(&spec, Some(&description)).into_iter().map(|finding| (finding.subject, finding.severity)).collect()
    }

    #[test]
    fn what_was_asked_for_is_right() {
        for spec in Spec::contract(&Names::default(), 6, 3) {
            assert_eq!(judge(&spec, Some(&as_asked(&spec))), vec![]);
        }
    }

    #[test]
    fn a_topic_with_a_fixed_number_of_partitions_keeps_it() {
        let spec = Spec::users("vcc.users", 6, 3);
        for (found, fixed, wrong) in [(6, true, false), (7, true, true), (5, true, true), (7, false, false)] {
            let spec = if fixed { spec.clone().with_partitions_fixed() } else { spec.clone() };
            let findings = judge(&spec, Some(&Description { partitions: found, ..as_asked(&spec) }));
            assert_eq!(!findings.is_empty(), wrong, "{found} {fixed}: {findings:?}");
        }
    }

    #[test]
    fn the_state_topic_has_as_many_partitions_as_that_of_users() {
        let specs = Spec::contract(&Names { state: Some("state".to_owned()), ..Names::default() }, 6, 3);
        let found = |state| {
            let partitions = BTreeMap::from([("vcc.users", 6), ("state", state)]);
            let findings: Vec<_> = specs.iter().filter_map(|spec| judge_partitions(spec, &partitions)).collect();
            findings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(found(6).is_empty());
        assert_eq!(found(7), ["state: partitions is 7, expected 6, as many as vcc.users has"]);
    }

    #[test]
    fn settings_of_the_users_topic() {
        let day = 86_400_000_u64;
        let table = [
            ("cleanup.policy", "delete".to_owned(), Some(Severity::Refuse)),
            ("cleanup.policy", "compact,delete".to_owned(), Some(Severity::Refuse)),
            ("min.compaction.lag.ms", "0".to_owned(), Some(Severity::Warn)),
            ("min.compaction.lag.ms", (4 * day).to_string(), None),
            ("max.compaction.lag.ms", i64::MAX.to_string(), Some(Severity::Warn)),
            ("max.compaction.lag.ms", (5 * day).to_string(), None),
            ("delete.retention.ms", day.to_string(), Some(Severity::Warn)),
            ("delete.retention.ms", (24 * day).to_string(), None),
            ("min.insync.replicas", "1".to_owned(), Some(Severity::Warn)),
            ("min.insync.replicas", "3".to_owned(), None),
            ("segment.bytes", "1048576".to_owned(), None),
        ];
        for (setting, value, severity) in table {
            let expected: Vec<_> = severity.map(|severity| (setting.to_owned(), severity)).into_iter().collect();
            assert_eq!(found_with(setting, &value), expected, "{setting}={value}");
        }
    }

    #[test]
    fn endless_retention_is_long_enough() {
        let spec = Spec::late("vcc.users.late", 1, 1);
        let mut description = as_asked(&spec);
        description.settings = Some(spec.clone().with("retention.ms", "-1").settings);
        assert_eq!(judge(&spec, Some(&description)), vec![]);
    }

    #[test]
    fn a_topic_takes_the_fullest_record_that_ingest_can_make() {
        let table = [
            (64 * 1024, "1048588", None),
            (64 * 1024, "532480", None),
            (64 * 1024, "532479", Some(Severity::Warn)),
            (256 * 1024, "1048588", Some(Severity::Warn)),
            (256 * 1024, "2105344", None),
        ];
        for (body_bytes_max, found, expected) in table {
            let spec = Spec { body_bytes_max, ..Spec::users("vcc.users", 6, 3) };
            let mut description = as_asked(&spec);
            description.settings.as_mut().unwrap().insert(MAX_MESSAGE_BYTES.to_owned(), found.to_owned());
            let severity = judge(&spec, Some(&description)).first().map(|finding| finding.severity);
            assert_eq!(severity, expected, "{body_bytes_max} {found}");
        }
        let late = Spec { body_bytes_max: 256 * 1024, ..Spec::late("vcc.users.late", 6, 3) };
        let mut description = as_asked(&late);
        description.settings.as_mut().unwrap().insert(MAX_MESSAGE_BYTES.to_owned(), "1048588".to_owned());
        assert_eq!(judge(&late, Some(&description)), vec![], "a late delivery is one event");
    }

    #[test]
    fn late_deliveries_and_letters_end_before_tombstones() {
        let [users, late, letters] = Spec::contract(&Names::default(), 6, 3).try_into().unwrap();
        let hour = 3_600_000_i64;
        let table = [
            (RETENTION_MS, SEGMENT_MS, false),
            (RETENTION_MS, 23 * hour, false),
            (RETENTION_MS, 24 * hour, true),
            (23 * 24 * hour, 1, true),
            (-1, SEGMENT_MS, true),
        ];
        for (retention, segment, found) in table {
            for spec in [&late, &letters] {
                let spec = spec.clone().with(RETENTION, retention.to_string()).with(SEGMENT, segment.to_string());
                let finding = judge_together(&as_asked(&users), &as_asked(&spec));
                assert_eq!(finding.is_some(), found, "{retention} {segment}: {finding:?}");
            }
        }
        let unknown = Description { settings: None, ..as_asked(&late) };
        assert_eq!(judge_together(&as_asked(&users), &unknown), None);
    }

    #[test]
    fn more_partitions_than_a_header_holds_are_refused() {
        for (partitions, severity) in [(PARTITIONS_MAX, None), (PARTITIONS_MAX + 1, Some(Severity::Refuse))] {
            let spec = Spec::users("vcc.users", partitions, 3);
            let findings = judge(&spec, Some(&as_asked(&spec)));
            assert_eq!(findings.first().map(|finding| finding.severity), severity, "{findings:?}");
        }
    }

    #[test]
    fn a_policy_is_a_set() {
        assert_eq!(compare_policy("compact,delete", "delete, compact"), None);
    }

    #[test]
    fn a_missing_topic_is_refused_and_unknown_settings_are_not() {
        let spec = Spec::users("vcc.users", 6, 1);
        let missing = judge(&spec, None);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].severity, Severity::Refuse);
        assert_eq!(missing[0].to_string(), "vcc.users: topic is missing, expected present");

        let mut unknown = as_asked(&spec);
        unknown.settings = None;
        let findings = judge(&spec, Some(&unknown));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Note);
    }

    #[test]
    fn too_few_replicas_are_a_warning() {
        let spec = Spec::users("vcc.users", 6, 3);
        let mut single = as_asked(&spec);
        single.replication = 1;
        let findings = judge(&spec, Some(&single));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warn);
    }
}
