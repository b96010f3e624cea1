//! The keys of some partitions in memory: the state of each, with the bytes of its events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;

use domain::roll::{Member, Reading, Unread};
use domain::{Position, UnixMillis, UserId};
use rustc_hash::FxBuildHasher;

use super::slab::Slab;
use super::slot::{Arrived, KeySlot};
use crate::store::{UNKNOWN_BYTES_PER_KEY, UnknownTail};

/// How many slots one piece of the list holds: a list that grows by pieces is never copied.
const SLOTS_PER_PIECE: usize = 4096;
/// The memory of an entry of the index: key, value, padding and a control byte.
const INDEX_BYTES_PER_KEY: usize = size_of::<(i64, u32)>() + 1;

/// How many records are folded together. Each of them waits for memory that no cache holds (the index, the slot, the
/// bytes); asked for one after the other those waits add up, asked for together they overlap.
const RECORDS_PER_BATCH: usize = 64;

/// Records on their way into a table.
#[derive(Debug, Default)]
struct FoldBatch {
    records: Vec<Pending>,
    values: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    /// Without its value, which is in the batch.
    reading: Reading<'static>,
    /// Where in the batch's values; nothing for a marker.
    value: (usize, usize),
}

impl FoldBatch {
    /// Takes what a record says, and its value; refuses a record that carries other events too.
    fn push(&mut self, reading: &Reading<'_>, value: Option<&[u8]>) -> bool {
        let Some(reading) = reading.moved(&[]) else { return false };
        let start = self.values.len();
        self.values.extend_from_slice(value.unwrap_or_default());
        self.records.push(Pending { reading, value: (start, self.values.len()) });
        true
    }

    fn is_full(&self) -> bool {
        self.records.len() >= RECORDS_PER_BATCH
    }
}

/// The keys of one thread.
#[derive(Debug, Default)]
pub(super) struct Table {
    index: HashMap<i64, u32, FxBuildHasher>,
    slots: Vec<Vec<KeySlot>>,
    values: Slab,
    batch: FoldBatch,
    /// The users that end in unknown records.
    unknown: HashMap<i64, UnknownTail, FxBuildHasher>,
}

impl Table {
    /// Returns how much memory the table takes, as an estimate.
    pub(super) fn bytes(&self) -> usize {
        let slots = self.slots.len() * SLOTS_PER_PIECE * size_of::<KeySlot>();
        let unknown = self.unknown.len() * UNKNOWN_BYTES_PER_KEY;
        slots + self.index.capacity() * INDEX_BYTES_PER_KEY + self.values.bytes() + unknown
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Takes what a record says, and its value. It is applied with those that come after it, by [`Table::flush`] at the
    /// latest.
    pub(super) fn take(&mut self, reading: &Reading<'_>, value: Option<&[u8]>) {
        if !self.unknown.is_empty() {
            self.note_known(reading.user_id, reading.position);
        }
        let is_taken = self.batch.push(reading, value);
        if !is_taken || self.batch.is_full() {
            self.flush();
        }
        if !is_taken {
            self.apply(Arrived { reading, moved: None });
        }
    }

    /// Passes over an unreadable or unknown record with that Kafka timestamp.
    pub(super) fn pass_over(&mut self, position: Position, timestamp: UnixMillis, fault: &Unread) {
        let Some(user_id) = fault.user_id() else { return };
        if fault.is_unknown() {
            self.unknown.entry(user_id.get()).or_default().unknown(position, timestamp);
        } else {
            self.note_known(user_id, position);
        }
    }

    fn note_known(&mut self, user_id: UserId, position: Position) {
        if let Entry::Occupied(mut tail) = self.unknown.entry(user_id.get()) {
            tail.get_mut().known(position);
            if tail.get().is_empty() {
                tail.remove();
            }
        }
    }

    /// Yields the users that end in unknown records on the partitions of the table, in no order.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (UserId, &UnknownTail)> {
        self.unknown.iter().filter_map(|(key, tail)| Some((UserId::new(*key).ok()?, tail)))
    }

    /// Applies the records that were taken, in their order.
    pub(super) fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.touch(&batch.records);
        for Pending { reading, value: (start, end) } in &batch.records {
            self.apply(Arrived { reading, moved: Some(&batch.values[*start..*end]) });
        }
        batch.records.clear();
        batch.values.clear();
        self.batch = batch;
    }

    /// Reads a little of everything that the records will need, so that all of it is on its way into the cache at once.
    fn touch(&self, records: &[Pending]) {
        let mut places = [None; RECORDS_PER_BATCH];
        for (place, record) in places.iter_mut().zip(records) {
            *place = self.index.get(&record.reading.user_id.get()).copied();
        }
        let mut spans = [None; RECORDS_PER_BATCH];
        for (span, place) in spans.iter_mut().zip(places.iter().flatten()) {
            let slot = self.slot(*place);
            black_box(slot.roll.rank());
            *span = slot.winner();
        }
        let first_bytes =
            spans.iter().flatten().map(|span| self.values.get(*span).first().copied().unwrap_or_default());
        black_box(first_bytes.fold(0, |all, byte| all ^ byte));
    }

    /// Applies what one record says.
    fn apply(&mut self, arrived: Arrived<'_>) {
        let key = arrived.reading.user_id.get();
        if let Some(&place) = self.index.get(&key) {
            let slot = &mut self.slots[place as usize / SLOTS_PER_PIECE][place as usize % SLOTS_PER_PIECE];
            slot.apply(arrived, &mut self.values);
        } else {
            let slot = KeySlot::begin(arrived, &mut self.values);
            let place = self.push(slot);
            self.index.insert(key, place);
        }
    }

    /// Joins a key with the same key of another table.
    pub(super) fn join(&mut self, place: u32, other: &Self, other_place: u32) {
        let slot = &mut self.slots[place as usize / SLOTS_PER_PIECE][place as usize % SLOTS_PER_PIECE];
        slot.join(&mut self.values, other.slot(other_place), &other.values);
    }

    pub(super) fn slot(&self, place: u32) -> &KeySlot {
        &self.slots[place as usize / SLOTS_PER_PIECE][place as usize % SLOTS_PER_PIECE]
    }

    /// Returns the event that wins; `None` when the user is forgotten.
    pub(super) fn winner(&self, slot: &KeySlot) -> Option<&[u8]> {
        slot.winner().map(|span| self.values.get(span))
    }

    /// Returns an event of the state of a key.
    pub(super) fn event(&self, slot: &KeySlot, member: &Member) -> Option<&[u8]> {
        slot.span(member).map(|span| self.values.get(span))
    }

    /// Yields every key with the place of its slot, in no order, and lets go of the index: the table takes no further
    /// records.
    pub(super) fn take_keys(&mut self) -> impl Iterator<Item = (i64, u32)> + use<> {
        std::mem::take(&mut self.index).into_iter()
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
        let (values, batch) = (std::mem::take(&mut self.values), std::mem::take(&mut self.batch));
        let mut unknown = std::mem::take(&mut self.unknown);
        unknown.retain(|key, _| *key < bound);
        let mut kept = Self { values, batch, unknown, ..Self::default() };
        for slot in std::mem::take(&mut self.slots).into_iter().flatten() {
            if slot.user_id.get() < bound {
                let key = slot.user_id.get();
                let place = kept.push(slot);
                kept.index.insert(key, place);
            } else {
                slot.clear(&mut kept.values);
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

#[cfg(test)]
mod tests {
    use domain::roll;

    use super::*;

    fn forget(table: &mut Table, id: i64, offset: i64) {
        let (position, key) = (Position { partition: 0, offset }, id.to_string());
        let at = UnixMillis::from_millis(offset);
        table.take(&roll::read(position, Some(key.as_bytes()), None, |_| None, at).unwrap(), None);
        table.flush();
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
        for (key, place) in table.take_keys() {
            let slot = table.slot(place);
            assert_eq!(slot.user_id.get(), key);
            assert_eq!(slot.roll.position().offset, if key == 17 { 20_000 } else { key });
        }
    }
}
