//! The parts of `/status` that are of the process, not of the table: what the system's page shows.

use domain::UnixMillis;
use serde::Serialize;
use service::Readiness;
use utoipa::ToSchema;

use crate::hour::{Hour, LATENESS};
use crate::phase::Phase;
use crate::rebuild::Stage;
use crate::shared::Shared;

/// What `/readyz` on the admin port says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct ReadyStatus {
    pub(super) is_ready: bool,
    /// The conditions that do not hold.
    pub(super) lacks: Vec<LackingCondition>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct LackingCondition {
    pub(super) condition: &'static str,
    pub(super) reason: String,
    /// What to do, in words.
    pub(super) todo: &'static str,
}

/// How far a rebuild is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct RebuildStatus {
    pub(super) stage: RebuildStage,
    /// Which reading of the log this is.
    pub(super) pass: u64,
    /// The part of this reading that is done.
    #[schema(minimum = 0, maximum = 1)]
    pub(super) share: f64,
    pub(super) records: u64,
    pub(super) users: u64,
    pub(super) elapsed_ms: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum RebuildStage {
    Reading,
    Loading,
}

/// Subscribers to changes over HTTP.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct SubscriberStatus {
    pub(super) now: i64,
    /// How many there may be.
    pub(super) max: usize,
    /// Those cut off for being slow, since the process started.
    pub(super) cut_off: u64,
    /// Those that got no place, since the process started.
    pub(super) refused: u64,
}

/// How many deliveries, since the process started, were received within that time after they occurred, and not within
/// the time of the bucket before. Those on the topic of late deliveries are not counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct LatenessBucket {
    /// Null for the last bucket, of all that were later.
    pub(super) up_to: Option<&'static str>,
    pub(super) up_to_ms: Option<i64>,
    pub(super) deliveries: u64,
}

/// One minute of the last hour, of those in which anything was seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct MinuteStatus {
    /// Its beginning.
    #[schema(format = DateTime)]
    pub(super) at: String,
    /// The deliveries that were read.
    pub(super) events: u64,
    /// From occurrence to receipt, of the latest of them; null without any.
    pub(super) lateness_max_ms: Option<i64>,
    /// The greatest lag of all partitions together; null while it was not known.
    pub(super) lag: Option<i64>,
    /// The most at one time.
    pub(super) subscribers: i64,
}

impl ReadyStatus {
    pub(super) fn of(readiness: &Readiness) -> Self {
        let lacks = readiness.missing().into_iter();
        let lacks: Vec<_> =
            lacks.map(|(condition, reason)| LackingCondition { condition, reason, todo: todo(condition) }).collect();
        Self { is_ready: lacks.is_empty(), lacks }
    }
}

/// Returns what to do while a condition does not hold.
fn todo(condition: &str) -> &'static str {
    match condition {
        "table" => {
            "wait, if the reason is a rebuild or a table that catches up; otherwise check that Kafka can be reached"
        }
        "reader" => "wait: the reader was opened again; if it stays so, look at the brokers of these partitions",
        "permissions" => "grant what is missing, which `rollcall config check --online` names",
        "topics" => "mend the topic's settings, which `rollcall topics check` names",
        "service" => "nothing: the process ends; ask another replica",
        _ => "see the runbook in deploy/README.md",
    }
}

impl RebuildStatus {
    /// Returns how far the rebuild is; `None` when there is none.
    pub(super) fn of(phase: &Phase) -> Option<Self> {
        let Phase::Rebuilding(progress) = phase else { return None };
        Some(Self {
            stage: match progress.stage {
                Stage::Reading => RebuildStage::Reading,
                Stage::Loading => RebuildStage::Loading,
            },
            pass: progress.pass,
            share: progress.share(),
            records: progress.records,
            users: progress.users,
            elapsed_ms: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl SubscriberStatus {
    pub(super) fn of(shared: &Shared) -> Self {
        let metrics = &shared.metrics;
        Self {
            now: metrics.subscribers.get(),
            max: shared.options.subscribers_max,
            cut_off: metrics.subscribers_cut_off.get(),
            refused: metrics.subscribers_refused.get(),
        }
    }
}

/// Returns the buckets of lateness, the least first.
pub(super) fn lateness(hour: &Hour) -> Vec<LatenessBucket> {
    let bounds = LATENESS.iter().map(|(bound, name)| (Some(*bound), Some(*name))).chain([(None, None)]);
    let buckets = bounds.zip(hour.lateness());
    buckets.map(|((up_to_ms, up_to), deliveries)| LatenessBucket { up_to, up_to_ms, deliveries }).collect()
}

/// Returns the minutes of the last hour, the oldest first.
pub(super) fn recent(hour: &Hour, now: UnixMillis) -> Vec<MinuteStatus> {
    let minutes = hour.minutes(now).map(|minute| MinuteStatus {
        at: minute.begins_at().to_string(),
        events: minute.events,
        lateness_max_ms: minute.lateness_max_ms,
        lag: minute.lag,
        subscribers: minute.subscribers,
    });
    minutes.collect()
}
