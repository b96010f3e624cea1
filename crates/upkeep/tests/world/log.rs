//! The topic of users in memory: what Kafka does with records, for good and for ill.
//!
//! Records and their timestamps are real; brokers and the network are not. A partition is a list of records, each with
//! a leader epoch, and its last records are the active segment. The cleaner works as Kafka's does: it leaves the active
//! segment, records younger than `min.compaction.lag.ms`, and what follows an open transaction. A tombstone gets its
//! horizon at the first pass and goes at a later one.

use std::collections::{BTreeMap, BTreeSet};

use domain::roll::{self, Roll};
use domain::topics::{DELETE_RETENTION_MS, MAX_COMPACTION_LAG_MS, MIN_COMPACTION_LAG_MS};
use domain::{Position, UserId};
use kafka::Record;
use kafka::placement::partition_for;
use kafka::publish::Outgoing;

use crate::framing;

/// How long a tombstone lives: for ever, as long as no keeper renews it.
const TOMBSTONES_LIVE_MS: i64 = 100 * DELETE_RETENTION_MS;

/// A record with what the broker knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As it is on the log.
    pub(crate) record: Record,
    /// As readers translate it.
    pub(crate) read: Record,
    pub(crate) epoch: i32,
    /// What the record says of its user by itself, if it can be read.
    pub(crate) says: Option<Roll>,
    pub(crate) user: UserId,
    /// The bytes before they were broken, for a reader that believes the head of a record.
    pub(crate) intact: Option<Record>,
    pub(crate) is_unknown: bool,
    /// Written by a transaction that was aborted.
    pub(crate) is_aborted: bool,
    /// Removed by the cleaner. Kept here for the properties alone.
    pub(crate) is_removed: bool,
    /// The time from which the cleaner may remove the tombstone.
    horizon: Option<i64>,
}

/// A place in one generation of the topic: a position that names one record for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic_id: u64,
    pub(crate) epoch: i32,
    pub(crate) position: Position,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// By offset; the end is their number.
    entries: Vec<Entry>,
    epoch: i32,
    /// The first offset of each epoch.
    epochs: BTreeMap<i32, usize>,
    /// The first offset of the active segment.
    active: usize,
    /// The first record of an open transaction.
    open: Option<usize>,
}

/// The topic.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    partitions: Vec<Partition>,
    pub(crate) topic_id: u64,
    /// Raised whenever every reader loses its connection.
    pub(crate) session: u64,
    /// The number of appended records.
    pub(crate) appended: usize,
}

/// A reader's place in the log, as it outlives a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    topic_id: Option<u64>,
    /// For each partition the next offset, and the epoch of the record before it.
    next: BTreeMap<i32, (usize, i32)>,
    session: u64,
}

/// The log is not the one that the reader has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Replaced,
    Truncated,
}

/// What a reader compares after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compares {
    pub(crate) topic_id: bool,
    pub(crate) epochs: bool,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { partitions: vec![Partition::default()], topic_id: 1, session: 1, appended: 0 }
    }

    pub(crate) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap()
    }

    pub(crate) fn home(&self, user: UserId) -> i32 {
        partition_for(user.to_string().as_bytes(), self.count())
    }

    fn partition(&self, number: i32) -> &Partition {
        &self.partitions[usize::try_from(number).unwrap()]
    }

    fn partition_mut(&mut self, number: i32) -> &mut Partition {
        &mut self.partitions[usize::try_from(number).unwrap()]
    }

    /// Appends a record and returns its place.
    pub(crate) fn append(&mut self, outgoing: Outgoing, intact: Option<Vec<u8>>) -> Place {
        let number = outgoing.partition.unwrap_or_else(|| partition_for(&outgoing.key, self.count()));
        let (topic_id, partition) = (self.topic_id, self.partition_mut(number));
        let position = Position { partition: number, offset: i64::try_from(partition.entries.len()).unwrap() };
        let Outgoing { key, value, headers, timestamp, .. } = outgoing;
        let user = UserId::from_key(&key).unwrap();
        let leader_epoch = Some(partition.epoch);
        let record = Record { position, leader_epoch, timestamp, key: Some(key), value, headers };
        let translated = framing::translated(record.clone());
        let read = translated.read();
        let is_unknown = read.as_ref().is_err_and(roll::Unread::is_unknown);
        let entry = Entry {
            intact: intact.map(|value| framing::translated(Record { value: Some(value), ..record.clone() })),
            says: read.ok().map(|reading| reading.says().clone()),
            epoch: partition.epoch,
            user,
            is_unknown,
            is_aborted: false,
            is_removed: false,
            horizon: None,
            read: translated,
            record,
        };
        partition.epochs.entry(entry.epoch).or_insert(partition.entries.len());
        partition.roll(entry.record.timestamp.millis());
        let epoch = entry.epoch;
        partition.entries.push(entry);
        self.appended += 1;
        Place { topic_id, epoch, position }
    }

    /// Returns every record that was ever appended, and neither cut nor aborted.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Entry> {
        self.partitions.iter().flat_map(|partition| &partition.entries).filter(|entry| !entry.is_aborted)
    }

    /// Returns the records that a reader of the compacted log finds.
    pub(crate) fn compacted(&self) -> impl Iterator<Item = &Entry> {
        self.whole().filter(|entry| !entry.is_removed)
    }

    /// Returns the record at `position` for a reader.
    pub(crate) fn at(&self, position: Position) -> Option<&Entry> {
        let entries = &self.partitions.get(usize::try_from(position.partition).ok()?)?.entries;
        entries.get(usize::try_from(position.offset).ok()?).filter(|entry| !entry.is_removed && !entry.is_aborted)
    }

    pub(crate) fn place_of(&self, entry: &Entry) -> Place {
        Place { topic_id: self.topic_id, epoch: entry.epoch, position: entry.record.position }
    }

    /// Returns whether the record that was at `place` is still part of the log's history.
    pub(crate) fn has(&self, place: Place) -> bool {
        let entries = self.partitions.get(usize::try_from(place.position.partition).unwrap()).map(|p| &p.entries);
        let entry = entries.and_then(|entries| entries.get(usize::try_from(place.position.offset).unwrap()));
        self.topic_id == place.topic_id && entry.is_some_and(|entry| entry.epoch == place.epoch)
    }

    /// Returns the state of a user after the records that the reader has read.
    pub(crate) fn state(&self, user: UserId, read: &Cursor) -> Option<Roll> {
        let mut state: Option<Roll> = None;
        for entry in self.whole().filter(|entry| entry.user == user) {
            let Some(says) = entry.says.as_ref().filter(|_| read.has_read(entry.record.position)) else { continue };
            match &mut state {
                Some(state) => state.join(says),
                None => state = Some(says.clone()),
            }
        }
        state
    }

    /// Returns the partitions that hold a record of the user.
    pub(crate) fn partitions_of(&self, user: UserId) -> BTreeSet<i32> {
        let held = self.compacted().filter(|entry| entry.user == user);
        held.map(|entry| entry.record.position.partition).collect()
    }

    /// Adds a partition, which operators are advised not to do.
    pub(crate) fn widen(&mut self) {
        self.partitions.push(Partition::default());
    }

    /// Cuts the last records of a partition, as an unclean election or a power loss does, and begins a new epoch.
    /// Records older than `since` are on every disk.
    pub(crate) fn truncate(&mut self, number: i32, records: usize, since: i64) {
        let partition = self.partition_mut(number);
        let is_young = |entry: &&Entry| !entry.is_removed && entry.record.timestamp.millis() > since;
        let young = partition.entries.iter().rev().take(records).take_while(is_young).count();
        let cut = partition.entries.len() - young.min(partition.entries.len() - partition.active);
        partition.entries.truncate(cut);
        partition.epochs.retain(|_, start| *start < cut);
        partition.epoch += 1;
        partition.open = partition.open.filter(|open| *open < cut);
        self.session += 1;
    }

    /// Deletes the topic and makes it anew.
    pub(crate) fn replace(&mut self) {
        self.partitions = vec![Partition::default(); self.partitions.len()];
        self.topic_id += 1;
        self.session += 1;
    }

    /// Opens a transaction: what is appended from now on is not read until it is closed.
    pub(crate) fn open(&mut self, number: i32) {
        let partition = self.partition_mut(number);
        let end = partition.entries.len();
        partition.open.get_or_insert(end);
    }

    /// Closes a transaction. Its one record is the first after its beginning, if that is not another writer's.
    pub(crate) fn close(&mut self, number: i32, own: Option<Position>) {
        let partition = self.partition_mut(number);
        partition.open = None;
        if let Some(own) = own
            && let Some(entry) = partition.entries.get_mut(usize::try_from(own.offset).unwrap())
        {
            entry.is_aborted = true;
        }
    }

    pub(crate) fn is_open(&self, number: i32) -> bool {
        self.partition(number).open.is_some()
    }

    /// Compacts every partition.
    pub(crate) fn clean(&mut self, now: i64) {
        self.partitions.iter_mut().for_each(|partition| partition.clean(now));
    }
}

impl Partition {
    /// Closes the active segment when a record is appended so long after its first one.
    fn roll(&mut self, timestamp: i64) {
        let first = self.entries.get(self.active).map(|first| first.record.timestamp.millis());
        if first.is_some_and(|first| timestamp - first > MAX_COMPACTION_LAG_MS) {
            self.active = self.entries.len();
        }
    }

    /// Where readers of committed records end.
    fn stable(&self) -> usize {
        self.open.unwrap_or(self.entries.len())
    }

    fn clean(&mut self, now: i64) {
        let end = self.active.min(self.stable());
        let is_young = |entry: &Entry| entry.record.timestamp.millis() > now - MIN_COMPACTION_LAG_MS;
        let end = self.entries[..end].iter().position(is_young).unwrap_or(end);
        let mut later = BTreeSet::new();
        for entry in self.entries[..end].iter_mut().rev().filter(|entry| !entry.is_removed) {
            let is_last = !entry.is_aborted && later.insert(entry.user);
            let is_over = entry.record.value.is_none() && entry.horizon.is_some_and(|horizon| horizon <= now);
            entry.is_removed = !is_last || is_over;
            entry.horizon.get_or_insert(now + TOMBSTONES_LIVE_MS);
        }
    }

    /// Returns where the records of `epoch` end, or of the last one before it.
    fn end_of(&self, epoch: i32) -> usize {
        let after = self.epochs.range(epoch + 1..).next();
        after.map_or(self.entries.len(), |(_, start)| *start)
    }
}

impl Cursor {
    /// Returns whether the connection of the last read is still there, so that the log is known to be the same.
    pub(crate) fn is_connected(&self, log: &Log) -> bool {
        self.session == log.session
    }

    /// Returns whether the record at `position` was read, or passed over.
    pub(crate) fn has_read(&self, position: Position) -> bool {
        let next = self.next.get(&position.partition);
        next.is_some_and(|(next, _)| position.offset < i64::try_from(*next).unwrap())
    }

    /// Ends the connection, as when the process starts again.
    pub(crate) fn disconnect(&mut self) {
        self.session = 0;
    }

    /// Connects again and compares. After [`Changed`] the reader must begin anew.
    pub(crate) fn connect(&mut self, log: &Log, compares: Compares) -> Result<(), Changed> {
        if self.is_connected(log) {
            return Ok(());
        }
        self.session = log.session;
        let is_same = !compares.topic_id || self.topic_id.is_none_or(|id| id == log.topic_id);
        self.topic_id = Some(log.topic_id);
        if !is_same {
            return Err(Changed::Replaced);
        }
        for (number, (next, epoch)) in &self.next {
            let partition = log.partition(*number);
            let known = if compares.epochs { partition.end_of(*epoch) } else { partition.entries.len() };
            if *next > known {
                return Err(Changed::Truncated);
            }
        }
        Ok(())
    }

    /// Returns the next records of a partition, at most `records`, and moves past them.
    pub(crate) fn read<'l>(&mut self, log: &'l Log, number: i32, records: usize) -> Vec<&'l Entry> {
        let (partition, (from, epoch)) = (log.partition(number), self.next.entry(number).or_insert((0, 0)));
        let (start, end) = (*from, partition.stable().min(*from + records).max(*from));
        if let Some(last) = partition.entries[start..end].last() {
            (*from, *epoch) = (end, last.epoch);
        }
        partition.entries[start..end].iter().filter(|entry| !entry.is_removed && !entry.is_aborted).collect()
    }

    /// Returns whether the partition has been read to its high watermark. An open transaction holds a reader back.
    pub(crate) fn is_at_end(&self, log: &Log, number: i32) -> bool {
        let next = self.next.get(&number).map_or(0, |(next, _)| *next);
        next >= log.partition(number).entries.len()
    }

    /// Returns the place of a record at `position` on the log that was read.
    pub(crate) fn place(&self, position: Position, log: &Log) -> Place {
        let entries = &log.partition(position.partition).entries;
        let epoch = entries.get(usize::try_from(position.offset).unwrap()).map_or(-1, |entry| entry.epoch);
        Place { topic_id: self.topic_id.unwrap_or_default(), epoch, position }
    }
}
