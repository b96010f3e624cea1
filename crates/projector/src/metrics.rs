//! The numbers of a projection.

use std::sync::atomic::AtomicU64;

use domain::UnixMillis;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::facts::seconds;
use crate::hour::LATENESS;
use crate::start::RebuildReason;
use crate::store::{Effects, Erasures, Resource};

/// The effect of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: &'static str,
}

/// What was used up, by the names that [`crate::store::Resource`] has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResourceLabel {
    pub(crate) resource: &'static str,
}

/// The reason of a rebuild.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// By the names that [`Effects`] has.
    pub(crate) records: Family<OutcomeLabel, Counter>,
    pub(crate) gaps_found: Counter,
    pub(crate) gaps_closed_late: Counter,
    pub(crate) commit: Histogram,
    lateness: Histogram,
    pub(crate) stalled: Gauge,
    pub(crate) subscribers: Gauge,
    pub(crate) subscribers_cut_off: Counter,
    pub(crate) subscribers_refused: Counter,
    pub(crate) subscribers_woken: Counter,
    pub(crate) changes_rendered: Counter,
    pub(crate) waiters: Gauge,
    /// By the names that [`RebuildReason`] has.
    pub(crate) rebuilds: Family<ReasonLabel, Counter>,
    pub(crate) rebuild_progress: Gauge<f64, AtomicU64>,
    pub(crate) indexes_missing: Gauge,
    pub(crate) erasures_pending: Gauge,
    pub(crate) exhausted: Family<ResourceLabel, Counter>,
    /// The time of the first tombstone that waits, in seconds since 1970; 0 when none does.
    pub(crate) erasures_pending_since: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            records: Family::default(),
            gaps_found: Counter::default(),
            gaps_closed_late: Counter::default(),
            commit: service::metrics::duration_histogram(),
            lateness: Histogram::new(LATENESS.map(|(bound_ms, _)| seconds(UnixMillis::from_millis(bound_ms)))),
            stalled: Gauge::default(),
            subscribers: Gauge::default(),
            subscribers_cut_off: Counter::default(),
            subscribers_refused: Counter::default(),
            subscribers_woken: Counter::default(),
            changes_rendered: Counter::default(),
            waiters: Gauge::default(),
            rebuilds: Family::default(),
            rebuild_progress: Gauge::default(),
            indexes_missing: Gauge::default(),
            erasures_pending: Gauge::default(),
            exhausted: Family::default(),
            erasures_pending_since: Gauge::default(),
        };
        // Each is there from zero.
        metrics.count(Effects::default());
        for resource in Resource::EACH {
            drop(metrics.exhausted.get_or_create(&ResourceLabel { resource: resource.as_str() }));
        }
        for reason in RebuildReason::NAMES {
            drop(metrics.rebuilds.get_or_create(&ReasonLabel { reason }));
        }
        metrics
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("rollcall_projector_records", "Records read, by effect", self.records.clone());
        registry.register("rollcall_projector_gaps_found", "Deliveries found missing", self.gaps_found.clone());
        let closed = self.gaps_closed_late.clone();
        registry.register("rollcall_projector_gaps_closed_late", "Gaps that a late delivery has closed", closed);
        let commit = self.commit.clone();
        registry.register_with_unit("rollcall_projector_commit", "Time of a commit", Unit::Seconds, commit);
        registry.register_with_unit(
            "rollcall_projector_lateness",
            "From the occurrence of a delivery on the topic of users to its receipt",
            Unit::Seconds,
            self.lateness.clone(),
        );
        registry.register(
            "rollcall_projector_stalled_partitions",
            "Partitions that the Kafka client had stopped to fetch, until they are read to their end",
            self.stalled.clone(),
        );
        let subscribers = self.subscribers.clone();
        registry.register("rollcall_projector_subscribers", "Subscribers to changes", subscribers);
        let cut_off = self.subscribers_cut_off.clone();
        registry.register("rollcall_projector_subscribers_cut_off", "Subscribers cut off for being slow", cut_off);
        let refused = self.subscribers_refused.clone();
        registry.register("rollcall_projector_subscribers_refused", "Subscribers that got no place", refused);
        let woken = self.subscribers_woken.clone();
        registry.register("rollcall_projector_subscribers_woken", "Subscribers woken for a commit", woken);
        let rendered = self.changes_rendered.clone();
        registry.register("rollcall_projector_changes_rendered", "Forms of changes written for subscribers", rendered);
        let waiters = self.waiters.clone();
        registry.register("rollcall_projector_waiters", "Requests that wait for a position", waiters);
        registry.register("rollcall_projector_rebuilds", "Rebuilds begun, by reason", self.rebuilds.clone());
        let progress = self.rebuild_progress.clone();
        registry.register("rollcall_projector_rebuild_progress", "Part of the rebuild that is done, 0 to 1", progress);
        registry.register(
            "rollcall_projector_indexes_missing",
            "Indexes of the table that are still to be made, and that look-ups and filters wait for",
            self.indexes_missing.clone(),
        );
        let help = "Failures because disk, files, memory or threads were used up, each tried again";
        registry.register("rollcall_projector_exhausted", help, self.exhausted.clone());
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
        self.erasures_pending_since.set(erasures.since().map_or(0.0, seconds));
    }

    pub(crate) fn observe_lateness(&self, lateness_ms: &[i64]) {
        for late in lateness_ms {
            // A clock that is ahead of its receipt is not late.
            self.lateness.observe(seconds(UnixMillis::from_millis(*late)));
        }
    }

    pub(crate) fn count_rebuild(&self, reason: &RebuildReason) {
        self.rebuilds.get_or_create(&ReasonLabel { reason: reason.name() }).inc();
    }

    pub(crate) fn count(&self, effects: Effects) {
        for (outcome, count) in effects.named() {
            self.records.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
        }
    }
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
