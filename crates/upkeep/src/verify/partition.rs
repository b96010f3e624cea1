//! One partition, read from its beginning to its end.

use std::collections::HashMap;

use domain::fold::{self, Effect, KeyState, RecordHead};
use domain::headers::{CE_TIME, REASSERTED};
use domain::{Position, UserId, record};
use kafka::placement::partition_for;
use kafka::scan::Scanned;

use super::gaps::{self, Late, Suspect};
use super::{Dirty, Found, Misplaced, Report, Unreadable, Winner};

/// What is known of a partition.
pub(super) struct Partition {
    number: i32,
    /// How many partitions the topic has.
    of: i32,
    keep_winners: bool,
    next_offset: i64,
    records: u64,
    reasserted: u64,
    keys: HashMap<UserId, KeyState>,
    values: HashMap<UserId, Vec<u8>>,
    suspects: Vec<Suspect>,
    /// Stale events: they may fill a gap.
    stale: Late,
    unreadable: Found<Unreadable>,
    misplaced: Found<Misplaced>,
}

impl Partition {
    pub(super) fn new(number: i32, of: i32, keep_winners: bool) -> Self {
        Self {
            number,
            of,
            keep_winners,
            next_offset: 0,
            records: 0,
            reasserted: 0,
            keys: HashMap::new(),
            values: HashMap::new(),
            suspects: Vec::new(),
            stale: Late::new(),
            unreadable: Found::default(),
            misplaced: Found::default(),
        }
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.keys.values().any(|state| !state.is_clean())
    }

    pub(super) fn read(&mut self, scanned: &Scanned<'_>) {
        let position = scanned.position();
        self.next_offset = position.offset + 1;
        self.records += 1;
        // Whatever it does: a repair that a newer event overtook is stale, and was appended all the same.
        self.reasserted += u64::from(scanned.header(REASSERTED).is_some());
        let ce_time = if scanned.value().is_none() { scanned.header(CE_TIME) } else { None };
        let (user_id, head) = match record::read(scanned.key(), scanned.value(), ce_time, scanned.timestamp()) {
            Ok(read) => read,
            Err(error) => {
                if let Some(state) = error.hides().and_then(|user_id| self.keys.get_mut(&user_id)) {
                    *state = fold::pass_over(*state, position.offset);
                }
                let reason = error.to_string();
                return self.unreadable.push(Unreadable { position, reason });
            }
        };
        let partition = partition_for(scanned.key().unwrap_or_default(), self.of);
        if partition != self.number {
            self.misplaced.push(Misplaced { user_id, position, partition });
        }
        let before = self.keys.get(&user_id).copied();
        let (state, effect) = fold::apply(before, position.offset, head);
        self.keys.insert(user_id, state);
        if effect.replaces_payload() && self.keep_winners {
            self.values.insert(user_id, scanned.value().unwrap_or_default().to_vec());
        }
        match (effect, before) {
            (Effect::Newer { gap: Some(gap) }, Some(before)) => {
                let held = Position { partition: self.number, offset: before.winner_offset };
                self.suspects.push(Suspect { user_id, gap, held, next: position });
            }
            (Effect::Stale, _) => {
                if let RecordHead::Event(head) = head {
                    gaps::note(&mut self.stale, &head);
                }
            }
            _ => {}
        }
    }

    /// Adds what was found to `report`, and to what gaps are confirmed by.
    pub(super) fn report(mut self, report: &mut Report, suspects: &mut Vec<Suspect>, late: &mut Late) {
        report.records += self.records;
        report.reasserted += self.reasserted;
        let position = |offset| Position { partition: self.number, offset };
        for (user_id, state) in &self.keys {
            match state.winner {
                RecordHead::Event(_) => report.users += 1,
                RecordHead::Forgotten { .. } => report.forgotten += 1,
            }
            if !state.is_clean() {
                let (newest, last) = (position(state.winner_offset), position(state.last_offset));
                report.dirty.push(Dirty { user_id: *user_id, newest, last });
            }
            if self.keep_winners {
                let value = self.values.remove(user_id).unwrap_or_default();
                let winner = Winner { head: state.winner, position: position(state.winner_offset), value };
                report.winners.insert(*user_id, winner);
            }
        }
        for unreadable in self.unreadable.examples {
            report.unreadable.push(unreadable);
        }
        report.unreadable.count += self.unreadable.count.saturating_sub(super::EXAMPLES_MAX as u64);
        for misplaced in self.misplaced.examples {
            report.misplaced.push(misplaced);
        }
        report.misplaced.count += self.misplaced.count.saturating_sub(super::EXAMPLES_MAX as u64);
        suspects.append(&mut self.suspects);
        late.append(&mut self.stale);
    }
}
