//! The states of the keys, by user: in pieces that never move, found through an index of their places. A map that holds
//! the states itself doubles as it grows, and is half empty after that.

use std::hash::{BuildHasher as _, RandomState};

use domain::UserId;
use domain::roll::KeyState;
use hashbrown::HashTable;

/// The states in one piece: 640 KiB nearly whole, as much as the allocator gives for them. The memory of those that are
/// not used yet is not touched.
const PIECE: usize = 4_800;
/// The parts of the index. Only one of them doubles at a time, and those who wait for the table wait for that alone.
const PARTS: usize = 16;

/// The states of the keys. None is ever removed.
#[derive(Debug)]
pub(super) struct Keys {
    /// The places of the states in [`Self::pieces`].
    index: [HashTable<u32>; PARTS],
    pieces: Vec<Vec<Entry>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    user_id: UserId,
    state: KeyState,
}

impl Default for Keys {
    fn default() -> Self {
        let index = std::array::from_fn(|_| HashTable::new());
        Self { index, pieces: Vec::new(), hasher: RandomState::new() }
    }
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.index.iter().map(HashTable::len).sum()
    }

    pub(super) fn get(&self, user_id: UserId) -> Option<&KeyState> {
        let at = self.place(user_id)?;
        Some(&self.pieces[at / PIECE][at % PIECE].state)
    }

    pub(super) fn get_mut(&mut self, user_id: UserId) -> Option<&mut KeyState> {
        let at = self.place(user_id)?;
        Some(&mut self.pieces[at / PIECE][at % PIECE].state)
    }

    /// Puts the state of a user who has none.
    pub(super) fn insert(&mut self, user_id: UserId, state: KeyState) {
        let place = u32::try_from(self.len()).expect("memory ends before");
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        self.pieces.last_mut().expect("there is one now").push(Entry { user_id, state });
        let (hash, Self { index, pieces, hasher }) = (self.hasher.hash_one(user_id), self);
        let hash_at = |place: &u32| hasher.hash_one(entry(pieces, *place).user_id);
        index[part(hash)].insert_unique(hash, place, hash_at);
    }

    pub(super) fn user_ids(&self) -> impl Iterator<Item = UserId> + '_ {
        self.pieces.iter().flatten().map(|entry| entry.user_id)
    }

    fn place(&self, user_id: UserId) -> Option<usize> {
        let hash = self.hasher.hash_one(user_id);
        let is_own = |place: &u32| entry(&self.pieces, *place).user_id == user_id;
        self.index[part(hash)].find(hash, is_own).map(|place| *place as usize)
    }
}

fn entry(pieces: &[Vec<Entry>], place: u32) -> &Entry {
    let at = place as usize;
    &pieces[at / PIECE][at % PIECE]
}

/// Returns the part of the index for a hash, by bits that the part itself uses last.
fn part(hash: u64) -> usize {
    let [_, byte, ..] = hash.to_be_bytes();
    usize::from(byte) % PARTS
}

#[cfg(test)]
mod tests {
    use domain::Position;
    use domain::roll::{self, KeyState};

    use super::*;
    use crate::fixture::{NOW, change};

    #[test]
    fn a_key_takes_as_much_memory_as_ingest_is_told() {
        // The index takes at most 5 bytes by 16/7 for each key.
        assert_eq!(size_of::<Entry>(), 136);
    }

    #[test]
    fn every_state_is_found_and_no_other() {
        let count = 3 * i64::try_from(PIECE).unwrap();
        let value = domain::wire::encode(&change(1, "A>B", 1));
        let state = |offset| {
            let position = Position { partition: 0, offset };
            KeyState::begin(&roll::read(position, Some(b"1"), Some(&value), |_| None, NOW).unwrap()).0
        };
        let (mut keys, id) = (Keys::default(), |id| UserId::new(id).unwrap());
        for number in 0..count {
            assert!(keys.get(id(number * 7)).is_none());
            keys.insert(id(number * 7), state(number));
        }
        assert_eq!(keys.len(), 3 * PIECE);
        assert!(keys.user_ids().map(UserId::get).eq((0..count).map(|number| number * 7)));
        assert!((0..count).all(|number| keys.get(id(number * 7)).unwrap().last().offset == number));
        assert!(keys.get(id(1)).is_none() && keys.get_mut(id(count * 7)).is_none());
        *keys.get_mut(id(7)).unwrap() = state(count);
        assert_eq!(keys.get(id(7)).unwrap().last().offset, count);
    }
}
