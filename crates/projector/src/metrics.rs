//! The numbers of a projection.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::gap::GapState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::store::{Effects, Erasures, Tally};

/// The effect of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: &'static str,
}

/// The state of a gap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct GapLabel {
    pub(crate) state: &'static str,
}

/// A partition of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PartitionLabel {
    pub(crate) messaging_destination_partition_id: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// By the names that [`Effects`] has.
    pub(crate) records: Family<OutcomeLabel, Counter>,
    /// Deliveries that are missing, by the names that [`GapState`] has.
    pub(crate) gaps: Family<GapLabel, Gauge>,
    pub(crate) gaps_found: Counter,
    pub(crate) unknown_users: Gauge,
    pub(crate) gaps_closed_late: Counter,
    pub(crate) commit: Histogram,
    pub(crate) next_offset: Family<PartitionLabel, Gauge>,
    pub(crate) lag: Family<PartitionLabel, Gauge>,
    /// When the end of the log was last known, in seconds since 1970.
    pub(crate) as_of: Gauge<f64, AtomicU64>,
    pub(crate) subscribers: Gauge,
    pub(crate) subscribers_cut_off: Counter,
    pub(crate) waiters: Gauge,
    pub(crate) rebuilds: Counter,
    pub(crate) rebuild_progress: Gauge<f64, AtomicU64>,
    pub(crate) erasures_pending: Gauge,
    /// The time of the first tombstone that waits, in seconds since 1970; 0 when none does.
    pub(crate) erasures_pending_since: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            records: Family::default(),
            gaps: Family::default(),
            gaps_found: Counter::default(),
            unknown_users: Gauge::default(),
            gaps_closed_late: Counter::default(),
            commit: service::metrics::duration_histogram(),
            next_offset: Family::default(),
            lag: Family::default(),
            as_of: Gauge::default(),
            subscribers: Gauge::default(),
            subscribers_cut_off: Counter::default(),
            waiters: Gauge::default(),
            rebuilds: Counter::default(),
            rebuild_progress: Gauge::default(),
            erasures_pending: Gauge::default(),
            erasures_pending_since: Gauge::default(),
        };
        // Each is there from zero.
        metrics.count(Effects::default());
        metrics.tally(Tally::default());
        metrics
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("rollcall_projector_records", "Records read, by effect", self.records.clone());
        registry.register("rollcall_projector_gaps", "Deliveries that are missing, by state", self.gaps.clone());
        let unknown = self.unknown_users.clone();
        registry.register("rollcall_projector_unknown_users", "Users whose last records are unknown", unknown);
        registry.register("rollcall_projector_gaps_found", "Deliveries found missing", self.gaps_found.clone());
        let closed = self.gaps_closed_late.clone();
        registry.register("rollcall_projector_gaps_closed_late", "Gaps that a late delivery has closed", closed);
        let commit = self.commit.clone();
        registry.register_with_unit("rollcall_projector_commit", "Time of a commit", Unit::Seconds, commit);
        let next = self.next_offset.clone();
        registry.register("rollcall_projector_next_offset", "Offset of the next record to be read", next);
        registry.register(
            "rollcall_projector_lag",
            "Records between the table and the end of the log",
            self.lag.clone(),
        );
        registry.register_with_unit(
            "rollcall_projector_as_of_timestamp",
            "When the end of the log was last known, since 1970",
            Unit::Seconds,
            self.as_of.clone(),
        );
        let subscribers = self.subscribers.clone();
        registry.register("rollcall_projector_subscribers", "Subscribers to changes", subscribers);
        let cut_off = self.subscribers_cut_off.clone();
        registry.register("rollcall_projector_subscribers_cut_off", "Subscribers cut off for being slow", cut_off);
        let waiters = self.waiters.clone();
        registry.register("rollcall_projector_waiters", "Requests that wait for a position", waiters);
        registry.register("rollcall_projector_rebuilds", "Rebuilds begun", self.rebuilds.clone());
        let progress = self.rebuild_progress.clone();
        registry.register("rollcall_projector_rebuild_progress", "Part of the rebuild that is done, 0 to 1", progress);
        let pending = self.erasures_pending.clone();
        registry.register(
            "rollcall_projector_erasures_pending",
            "Tombstones whose users are still to be erased from the files of the store",
            pending,
        );
        registry.register_with_unit(
            "rollcall_projector_erasures_pending_since_timestamp",
            "Time of the oldest of them since 1970, 0 without any",
            Unit::Seconds,
            self.erasures_pending_since.clone(),
        );
    }

    pub(crate) fn see_erasures(&self, erasures: &Erasures) {
        self.erasures_pending.set(i64::try_from(erasures.tombstones()).unwrap_or(i64::MAX));
        let since = erasures.since().map_or(0, |since| since.millis().max(0));
        let since = Duration::from_millis(u64::try_from(since).unwrap_or_default());
        self.erasures_pending_since.set(since.as_secs_f64());
    }

    pub(crate) fn count(&self, effects: Effects) {
        for (outcome, count) in effects.named() {
            self.records.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
        }
    }

    /// Sets the gauges of what is amiss.
    pub(crate) fn tally(&self, tally: Tally) {
        let Tally { gaps_awaited, gaps_lost, users_unknown } = tally;
        self.unknown_users.set(gauged(users_unknown));
        for (state, count) in [(GapState::Awaited, gaps_awaited), (GapState::Lost, gaps_lost)] {
            self.gaps.get_or_create(&GapLabel { state: state.as_str() }).set(gauged(count));
        }
    }
}

/// Returns a count as a gauge has it.
fn gauged(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Counts one more in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedIn(Gauge);

impl CountedIn {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for CountedIn {
    fn drop(&mut self) {
        self.0.dec();
    }
}
