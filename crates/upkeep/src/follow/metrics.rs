//! The metrics of gate and keeper.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use service::Metrics;

use super::horizon::Horizon;
use crate::gate::Gate;
use crate::keeper::Plan;

/// The gauges of the upkeep.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    behind: Gauge,
    partitions: Gauge,
    pub(super) dirty: Gauge,
    pub(super) unreadable: Gauge,
    pub(super) unknown: Gauge,
    ignored: Gauge,
    pub(super) dropped: Counter,
    pub(super) oldest_tombstone: Gauge,
    pub(super) keeper: KeeperCounters,
}

/// The outcomes of what the keeper appends.
#[derive(Clone, Debug, Default)]
pub(super) struct KeeperCounters {
    pub(super) repairs: Counter,
    pub(super) renewals: Counter,
    pub(super) failed: Counter,
    pub(super) lost: Counter,
    pub(super) copied: Counter,
    pub(super) not_copied: Counter,
}

impl Gauges {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let gauges = Self::default();
        metrics.register(|registry| {
            let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
            let behind = "Offsets that the gate has yet to read, up to the end of the topic when it was last asked for";
            gauge("rollcall_gate_behind_records", behind, &gauges.behind);
            gauge("rollcall_keeper_partitions", "Partitions that this keeper owns", &gauges.partitions);
            gauge("rollcall_keeper_dirty_keys", "Keys whose last record is not the newest", &gauges.dirty);
            let unreadable = "Records with broken bytes in the partitions that this keeper owns";
            gauge("rollcall_keeper_unreadable_records", unreadable, &gauges.unreadable);
            let unknown = "Records of an unknown format in the partitions that this keeper owns";
            gauge("rollcall_keeper_unknown_records", unknown, &gauges.unknown);
            let ignored = "Entries of rollcall-second of another user or rank in the partitions that this keeper owns";
            gauge("rollcall_keeper_ignored_entries", ignored, &gauges.ignored);
            let oldest = "Unix time of the oldest tombstone that the keeper has to renew, 0 without one";
            gauge("rollcall_keeper_oldest_tombstone_timestamp_seconds", oldest, &gauges.oldest_tombstone);
            let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
            counter("rollcall_keeper_repairs", "Records appended again", &gauges.keeper.repairs);
            let renewals = "Tombstones appended again so that they do not expire";
            counter("rollcall_keeper_renewals", renewals, &gauges.keeper.renewals);
            let failed = "Attempts to append a record or tombstone again that Kafka did not acknowledge";
            counter("rollcall_keeper_failed_repairs", failed, &gauges.keeper.failed);
            let copied = "Unreadable records copied to the dead letters";
            counter("rollcall_keeper_copied_records", copied, &gauges.keeper.copied);
            let not_copied = "Attempts to copy an unreadable record that Kafka did not acknowledge";
            counter("rollcall_keeper_failed_copies", not_copied, &gauges.keeper.not_copied);
            let lost = "Records that compaction had removed before they were appended again";
            counter("rollcall_keeper_lost", lost, &gauges.keeper.lost);
            let dropped = "Events of one user and second beyond the eight that are kept";
            counter("rollcall_keeper_dropped_events", dropped, &gauges.dropped);
        });
        gauges
    }

    pub(super) fn set(&self, plan: &Plan, gate: &Gate, horizon: &Horizon) {
        self.partitions.set(signed(plan.owned().count()));
        self.dirty.set(signed(plan.dirty()));
        self.oldest_tombstone.set(plan.oldest_tombstone().map_or(0, |appended_at| appended_at.millis() / 1_000));
        gate.look(|table| {
            self.behind.set(horizon.behind(|partition| table.checkpoint().next(partition)));
            let counts = || plan.owned().map(|partition| table.unread(partition));
            self.unreadable.set(counts().map(|count| count.unreadable).sum());
            self.unknown.set(counts().map(|count| count.unknown).sum());
            self.ignored.set(counts().map(|count| count.ignored_entries).sum());
        });
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
