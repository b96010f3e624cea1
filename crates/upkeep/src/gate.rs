//! The gate: does not append deliveries that are superseded or already stored, so that simple consumers see a clean
//! log.
//!
//! A replica that has read the topic to its end knows the state of every key, and judges deliveries by it. A delivery
//! of a lower rank goes to the late topic. This is never wrong later, because ranks do not fall. A delivery whose event
//! is in the set is answered with the event's position. A tie is appended. Until the replica has read the topic,
//! whenever the topic cannot be followed, while an open transaction holds back its reader, and while a reader that had
//! stalled catches up, everything is appended. So is
//! a delivery while it is not confirmed that the topic is still the log that was read: it may have been created again,
//! or another cluster may stand at the address.
//! Appending is always safe: only the keeper is needed for correctness. Two replicas that receive two deliveries of one
//! user at the same moment can both append; the keeper repairs the log afterwards.

use std::sync::Arc;
use std::time::Duration;

use domain::roll::Standing;
use domain::{Head, LogId};
use kafka::topics::LogProbe;
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::Metrics;

use crate::Table;

/// How long a judgement waits for the cluster's word that the topic is still the log that was read.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(2);

impl Table {
    /// Returns how a delivery whose event has this head stands to what is known of its user.
    ///
    /// Called by [`Gate::judge`] for requests and replays, and by the tests that model a replica.
    pub fn judge(&self, head: &Head) -> Standing {
        self.key(head.user_id).map_or(Standing::News, |key| key.roll.standing(head))
    }
}

/// The gate of one replica; clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    known: Arc<RwLock<Known>>,
    logs: LogProbe,
    in_force: Gauge,
    withdrawn: Family<WithdrawnLabel, Gauge>,
    keys: Gauge,
}

/// Why the gate is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// The topic has not been read to its end.
    Unread,
    /// An open transaction holds back the reader.
    HeldBack,
    /// The reader was opened again after a stall, and has not read to the end since.
    Reopened,
    /// The topic is another log than the one that was read.
    OtherLog,
}

impl Withdrawn {
    const ALL: [Self; 4] = [Self::Unread, Self::HeldBack, Self::Reopened, Self::OtherLog];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::HeldBack => "held_back",
            Self::Reopened => "reopened",
            Self::OtherLog => "other_log",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithdrawnLabel {
    reason: &'static str,
}

#[derive(Debug, Default)]
struct Known {
    table: Table,
    /// The log that has been read to its end.
    log: Option<LogId>,
}

impl Gate {
    /// Returns a gate that passes everything until the topic has been read to its end.
    pub(crate) fn new(logs: LogProbe, metrics: &Metrics) -> Self {
        let (in_force, withdrawn, keys) = (Gauge::default(), Family::default(), Gauge::default());
        let gate = Self { known: Arc::default(), logs, in_force, withdrawn, keys };
        gate.show(Some(Withdrawn::Unread));
        metrics.register(|registry| {
            let in_force = "1 while the topic has been read to its end, else 0";
            registry.register("rollcall_gate_in_force", in_force, gate.in_force.clone());
            let withdrawn = "1 for the reason why the gate is not in force, else 0";
            registry.register("rollcall_gate_withdrawn", withdrawn, gate.withdrawn.clone());
            registry.register("rollcall_gate_keys", "Keys that gate and keeper know", gate.keys.clone());
        });
        gate
    }

    /// Returns what speaks against appending a delivery, and in which log; `None` for a new event, while the gate is
    /// not in force, and where it is not confirmed that the topic is still the log that was read. A new event is judged
    /// without a wait.
    pub async fn judge(&self, head: &Head) -> Option<(Standing, LogId)> {
        let (standing, log) = self.look_up(head)?;
        match self.logs.now(CONFIRM_DEADLINE).await {
            Ok(now) if now == log => Some((standing, log)),
            Ok(now) => {
                tracing::warn!(read = %log, found = %now, "the topic is another log: the gate is withdrawn");
                self.withdraw_from(&log, Withdrawn::OtherLog);
                None
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "a delivery is appended: the log cannot be confirmed now");
                None
            }
        }
    }

    /// Returns what speaks against a delivery, in the log that has been read.
    fn look_up(&self, head: &Head) -> Option<(Standing, LogId)> {
        let known = self.known.read();
        let log = known.log.as_ref()?;
        let standing = known.table.judge(head);
        (standing != Standing::News).then(|| (standing, log.clone()))
    }

    /// Returns the questions about the topic's identity, for those who name its records.
    pub fn logs(&self) -> &LogProbe {
        &self.logs
    }

    /// Returns how many keys are known.
    pub fn keys(&self) -> usize {
        self.look(Table::keys)
    }

    /// Calls `look` with the table.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.known.read().table)
    }

    /// Calls `update` with the table.
    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut Table) -> T) -> T {
        let mut known = self.known.write();
        let updated = update(&mut known.table);
        self.keys.set(i64::try_from(known.table.keys()).unwrap_or(i64::MAX));
        updated
    }

    /// Judges from now on by the table, which is of `log`.
    pub(crate) fn put_in_force(&self, log: &LogId) {
        self.known.write().log = Some(log.clone());
        self.show(None);
        tracing::info!("the gate is in force");
    }

    /// Passes everything again, and clears the table.
    pub(crate) fn withdraw(&self) {
        *self.known.write() = Known::default();
        self.show(Some(Withdrawn::Unread));
        self.keys.set(0);
    }

    /// Passes everything again, unless another log was read meanwhile. The table stays with its reader.
    pub(crate) fn withdraw_from(&self, log: &LogId, reason: Withdrawn) {
        let mut known = self.known.write();
        if known.log.as_ref().is_none_or(|read| read == log) {
            known.log = None;
            self.show(Some(reason));
        }
    }

    /// Shows whether the gate is in force, and why not.
    fn show(&self, withdrawn: Option<Withdrawn>) {
        self.in_force.set(i64::from(withdrawn.is_none()));
        for reason in Withdrawn::ALL {
            let is_reason = withdrawn == Some(reason);
            self.withdrawn.get_or_create(&WithdrawnLabel { reason: reason.as_str() }).set(i64::from(is_reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Position;

    use super::*;
    use crate::fixture::{change, record, tombstone};

    fn judged(table: &Table, delivery: &domain::UserEvent) -> Standing {
        table.judge(&delivery.head())
    }

    #[test]
    fn a_delivery_is_judged_by_the_state_of_its_key() {
        let at = |offset| Position { partition: 3, offset };
        let mut table = Table::default();
        let event = |second: u32| change(1, "A>B", second);
        assert_eq!(judged(&table, &event(5)), Standing::News, "nothing is known");
        table.take(&record(at(0), &event(5))).unwrap();
        assert_eq!(judged(&table, &event(5)), Standing::Known(at(0)));
        assert_eq!(judged(&table, &event(4)), Standing::Older(at(0)));
        assert_eq!(judged(&table, &event(6)), Standing::News);
        assert_eq!(judged(&table, &change(1, "B>C", 5)), Standing::News, "a tie");
        table.take(&record(at(1), &change(1, "B>C", 5))).unwrap();
        assert_eq!(judged(&table, &event(5)), Standing::Known(at(0)), "it has not won, and is there");
        table.take(&tombstone(at(2), 1, 6)).unwrap();
        assert_eq!(judged(&table, &event(5)), Standing::Forgotten(at(2)));
        assert_eq!(judged(&table, &event(7)), Standing::News, "a newer one brings the user back");
        assert_eq!(table.checkpoint().to_string(), "3:3");
    }

    #[test]
    fn an_older_record_in_the_log_does_not_move_the_gate_back() {
        let at = |offset| Position { partition: 0, offset };
        let mut table = Table::default();
        table.take(&record(at(0), &change(1, "A>B", 9))).unwrap();
        table.take(&record(at(1), &change(1, "B>C", 5))).unwrap();
        assert_eq!(judged(&table, &change(1, "B>C", 5)), Standing::Older(at(0)));
        assert_eq!(judged(&table, &change(1, "A>B", 9)), Standing::Known(at(0)));
    }
}
