//! The fold in memory: the winner of every key of some partitions, its bytes with it.

use std::collections::HashMap;
use std::hint::black_box;

use domain::fold::{Effect, KeyState, RecordHead};
use domain::{Position, UserId};
use rustc_hash::FxBuildHasher;

use super::slab::{Slab, Span};
use crate::lineage::Lineage;
use crate::store::apply_at;

/// How many slots one piece of the list holds: a list that grows by pieces is never copied.
const SLOTS_PER_PIECE: usize = 4096;
/// The memory of an entry of the index: key, value, padding and a control byte.
const INDEX_BYTES_PER_KEY: usize = size_of::<(i64, u32)>() + 1;

/// How many records are folded together. Each of them waits for memory that no cache holds (the index, the slot, the
/// bytes); asked for one after the other those waits add up, asked for together they overlap.
const RECORDS_PER_BATCH: usize = 64;

/// Records on their way into a table.
#[derive(Debug, Default)]
pub(super) struct FoldBatch {
    records: Vec<Pending>,
    values: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    user_id: UserId,
    position: Position,
    head: RecordHead,
    /// Where in the batch's values; `None` for a tombstone.
    value: Option<(usize, usize)>,
}

impl FoldBatch {
    pub(super) fn push(&mut self, user_id: UserId, position: Position, head: RecordHead, value: Option<&[u8]>) {
        let value = value.map(|value| {
            let start = self.values.len();
            self.values.extend_from_slice(value);
            (start, self.values.len())
        });
        self.records.push(Pending { user_id, position, head, value });
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= RECORDS_PER_BATCH
    }
}

/// One key: its state, and where its winner's bytes are.
#[derive(Debug)]
pub(super) struct KeySlot {
    pub(super) user_id: UserId,
    pub(super) state: KeyState,
    pub(super) partition: i32,
    /// `None` when the winner is a tombstone.
    value: Option<Span>,
    /// Hardly any user has gaps or late events, and every user pays for this field.
    pub(super) lineage: Option<Box<Lineage>>,
}

/// The keys of one thread.
#[derive(Debug, Default)]
pub(super) struct Table {
    index: HashMap<i64, u32, FxBuildHasher>,
    slots: Vec<Vec<KeySlot>>,
    values: Slab,
}

impl Table {
    /// Returns how much memory the table takes, as an estimate.
    pub(super) fn bytes(&self) -> usize {
        let slots = self.slots.len() * SLOTS_PER_PIECE * size_of::<KeySlot>();
        slots + self.index.capacity() * INDEX_BYTES_PER_KEY + self.values.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Folds the records of a batch in their order, and empties it.
    pub(super) fn apply_all(&mut self, batch: &mut FoldBatch) {
        self.touch(&batch.records);
        for Pending { user_id, position, head, value } in batch.records.drain(..) {
            let value = value.map(|(start, end)| &batch.values[start..end]);
            self.apply(user_id, position, head, value);
        }
        batch.values.clear();
    }

    /// Reads a little of everything that the records will need, so that all of it is on its way into the cache at once.
    fn touch(&self, records: &[Pending]) {
        let mut places = [None; RECORDS_PER_BATCH];
        for (place, record) in places.iter_mut().zip(records) {
            *place = self.index.get(&record.user_id.get()).copied();
        }
        let mut spans = [None; RECORDS_PER_BATCH];
        for (span, place) in spans.iter_mut().zip(places.iter().flatten()) {
            *span = self.slot(*place).value;
        }
        let first_bytes =
            spans.iter().flatten().map(|span| self.values.get(*span).first().copied().unwrap_or_default());
        black_box(first_bytes.fold(0, |all, byte| all ^ byte));
    }

    /// Folds one record.
    pub(super) fn apply(&mut self, user_id: UserId, position: Position, head: RecordHead, value: Option<&[u8]>) {
        let Some(&place) = self.index.get(&user_id.get()) else {
            let (state, _) = apply_at(None, 0, position, head);
            let value = value.map(|value| self.values.put(value));
            let place = self.push(KeySlot { user_id, state, partition: position.partition, value, lineage: None });
            self.index.insert(user_id.get(), place);
            return;
        };
        let slot = &mut self.slots[place as usize / SLOTS_PER_PIECE][place as usize % SLOTS_PER_PIECE];
        let (state, effect) = apply_at(Some(slot.state), slot.partition, position, head);
        slot.state = state;
        follow_lineage(slot, &self.values, effect, position, &head, value);
        if effect.replaces_payload() {
            slot.partition = position.partition;
            slot.value = match (slot.value, value) {
                (Some(span), Some(value)) => Some(self.values.replace(span, value)),
                (None, Some(value)) => Some(self.values.put(value)),
                (Some(span), None) => {
                    self.values.remove(span);
                    None
                }
                (None, None) => None,
            };
        }
    }

    pub(super) fn slot(&self, place: u32) -> &KeySlot {
        &self.slots[place as usize / SLOTS_PER_PIECE][place as usize % SLOTS_PER_PIECE]
    }

    pub(super) fn value(&self, slot: &KeySlot) -> Option<&[u8]> {
        slot.value.map(|span| self.values.get(span))
    }

    /// Yields every key with the place of its slot, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        self.index.iter().map(|(key, place)| (*key, *place))
    }

    /// Returns the key in the middle: about half of all are below it.
    pub(super) fn median(&self) -> Option<i64> {
        let mut keys: Vec<i64> = self.index.keys().copied().collect();
        if keys.len() < 2 {
            return None;
        }
        let middle = keys.len() / 2;
        Some(*keys.select_nth_unstable(middle).1)
    }

    /// Removes every key from `bound` on. The memory stays with the table, for the keys below.
    pub(super) fn remove_from(&mut self, bound: i64) {
        let mut kept = Self { values: std::mem::take(&mut self.values), ..Self::default() };
        for slot in std::mem::take(&mut self.slots).into_iter().flatten() {
            if slot.user_id.get() < bound {
                let key = slot.user_id.get();
                let place = kept.push(slot);
                kept.index.insert(key, place);
            } else if let Some(span) = slot.value {
                kept.values.remove(span);
            }
        }
        *self = kept;
    }

    fn push(&mut self, slot: KeySlot) -> u32 {
        if self.slots.last().is_none_or(|piece| piece.len() == SLOTS_PER_PIECE) {
            self.slots.push(Vec::with_capacity(SLOTS_PER_PIECE));
        }
        let pieces = self.slots.len();
        let piece = &mut self.slots[pieces - 1];
        piece.push(slot);
        let place = (pieces - 1) * SLOTS_PER_PIECE + piece.len() - 1;
        u32::try_from(place).expect("four billion users do not fit any memory limit")
    }
}

/// Most records say nothing new about the lineage, and cost nothing here.
fn follow_lineage(
    slot: &mut KeySlot,
    values: &Slab,
    effect: Effect,
    position: Position,
    head: &RecordHead,
    value: Option<&[u8]>,
) {
    let is_news = matches!(effect, Effect::Newer { gap: Some(_) } | Effect::Stale);
    if !is_news && slot.lineage.is_none() {
        return;
    }
    let held = slot.value.map(|span| values.get(span));
    let mut lineage = slot.lineage.take().unwrap_or_default();
    lineage.follow(effect, position, head, &slot.state.winner, held, value);
    slot.lineage = (!lineage.is_empty()).then_some(lineage);
}

#[cfg(test)]
mod tests {
    use domain::UnixMillis;

    use super::*;

    fn forget(table: &mut Table, id: i64, offset: i64) {
        let head = RecordHead::Forgotten { at: UnixMillis::from_millis(offset) };
        table.apply(UserId::new(id).unwrap(), Position { partition: 0, offset }, head, None);
    }

    #[test]
    fn keys_above_a_bound_go_and_the_rest_stay() {
        let mut table = Table::default();
        for id in 0..10_000 {
            forget(&mut table, id, id);
        }
        let bound = table.median().unwrap();
        assert_eq!(bound, 5_000);
        table.remove_from(bound);
        assert_eq!(table.len(), 5_000);
        forget(&mut table, 17, 20_000);
        for (key, place) in table.keys() {
            let slot = table.slot(place);
            assert_eq!(slot.user_id.get(), key);
            assert_eq!(slot.state.winner_offset, if key == 17 { 20_000 } else { key });
        }
    }
}
