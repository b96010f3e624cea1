//! The table: the state of every key of the topic, kept by one reader for gate and keeper. Pure: [`crate::Upkeep`]
//! calls it, and the tests that model a replica.

mod keys;

use std::collections::{BTreeMap, HashMap};

use domain::roll::{Applied, Ends, KeyState, Unread};
use domain::{Checkpoint, UserId};
use kafka::Record;

use keys::Keys;

/// The state of every key, as far as the topic has been read.
#[derive(Debug, Default)]
pub struct Table {
    keys: Keys,
    /// Keys without a record that can be read.
    stateless: HashMap<UserId, Ends>,
    read: Checkpoint,
    unread: BTreeMap<i32, UnreadCount>,
}

/// The number of records of a partition that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadCount {
    /// Their bytes are broken.
    pub unreadable: i64,
    /// A later build may know them.
    pub unknown: i64,
    /// Entries of their header that are of another user or rank, in records that can be read.
    pub ignored_entries: i64,
}

impl Table {
    /// Applies a record. Returns its user and its effect.
    ///
    /// # Errors
    /// [`Unread`] when the record cannot be read. The table has counted it.
    pub fn take(&mut self, record: &Record) -> Result<(UserId, Applied), Unread> {
        self.read.reach(record.position.partition, record.position.offset + 1);
        let reading = record.read().inspect_err(|unread| self.pass_over(record, unread))?;
        if reading.ignored > 0 {
            let count = self.unread.entry(record.position.partition).or_default();
            count.ignored_entries += i64::try_from(reading.ignored).unwrap_or(i64::MAX);
        }
        let applied = match self.keys.get_mut(reading.user_id) {
            Some(key) => key.apply(&reading),
            None => {
                let ends = self.stateless.remove(&reading.user_id).unwrap_or_default();
                let (key, applied) = KeyState::begin_after(ends, &reading);
                self.keys.insert(reading.user_id, key);
                applied
            }
        };
        Ok((reading.user_id, applied))
    }

    fn pass_over(&mut self, record: &Record, unread: &Unread) {
        let count = self.unread.entry(record.position.partition).or_default();
        *(if unread.is_unknown() { &mut count.unknown } else { &mut count.unreadable }) += 1;
        let Some(user_id) = unread.user_id() else { return };
        match self.keys.get_mut(user_id) {
            Some(key) => {
                key.pass_over(record.position, record.timestamp, unread);
            }
            None => {
                let ends = self.stateless.entry(user_id).or_default();
                ends.pass_over(record.position, record.timestamp, unread);
            }
        }
    }

    /// Records that `partition` has been read up to `next_offset`.
    pub fn reach(&mut self, partition: i32, next_offset: i64) {
        self.read.reach(partition, next_offset);
    }

    /// Returns the state of a key.
    pub fn key(&self, user_id: UserId) -> Option<&KeyState> {
        self.keys.get(user_id)
    }

    /// Yields the users that have a state.
    pub fn user_ids(&self) -> impl Iterator<Item = UserId> + '_ {
        self.keys.user_ids()
    }

    /// Returns the progress of the reader.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.read
    }

    /// Returns the number of keys.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Returns the number of records of `partition` that could not be read.
    pub fn unread(&self, partition: i32) -> UnreadCount {
        self.unread.get(&partition).copied().unwrap_or_default()
    }
}
