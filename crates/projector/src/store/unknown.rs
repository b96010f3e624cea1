//! Users whose last records are unknown to this build: they are answered as last known, and since when. The same as
//! [`KeyState::unknown_since`](domain::roll::KeyState::unknown_since), for one who keeps no whole key.

use std::collections::BTreeMap;

use domain::{Position, UnixMillis, UserId};
use rusqlite::{Connection, Row, params};

use super::rows::{signed, user_id};

/// The unknown records in which a key ends, by partition. Nearly every key has none. The user is known as of the
/// records before them, and a later build may know better.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnknownTail(BTreeMap<i32, FirstUnknown>);

/// The first of the unknown records in which a key ends on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstUnknown {
    offset: i64,
    /// Its Kafka timestamp.
    since: UnixMillis,
}

impl UnknownTail {
    /// Adds an unknown record at `position`. Returns whether it is the first one on its partition.
    pub(crate) fn unknown(&mut self, position: Position, timestamp: UnixMillis) -> bool {
        let first = FirstUnknown { offset: position.offset, since: timestamp };
        let is_first = !self.0.contains_key(&position.partition);
        self.0.entry(position.partition).or_insert(first);
        is_first
    }

    /// Adds a record that this build knows, readable or not, after which the key no longer ends in unknown records on
    /// that partition. Returns whether it did before.
    pub(crate) fn known(&mut self, position: Position) -> bool {
        self.0.remove(&position.partition).is_some()
    }

    /// Returns the time since which the key may have records that this build does not know; `None` when it knows all.
    pub(crate) fn since(&self) -> Option<UnixMillis> {
        self.0.values().map(|first| first.since).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Yields each partition with the first of its unknown records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, FirstUnknown)> {
        self.0.iter().map(|(partition, first)| (*partition, *first))
    }
}

impl FromIterator<(i32, FirstUnknown)> for UnknownTail {
    fn from_iter<I: IntoIterator<Item = (i32, FirstUnknown)>>(firsts: I) -> Self {
        Self(firsts.into_iter().collect())
    }
}

/// The memory of a user that ends in unknown records, in a map: the entry, and a leaf of a B-tree, which has room for
/// eleven.
pub(crate) const UNKNOWN_BYTES_PER_KEY: usize = size_of::<(i64, UnknownTail)>() + 11 * size_of::<(i32, FirstUnknown)>();

/// The column of a query of `users` that [`since`] reads.
pub(super) const UNKNOWN_SINCE: &str = "(SELECT min(since) FROM unknown WHERE unknown.user_id = users.user_id)";

/// Returns the time in a column, if there is one.
pub(super) fn since(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UnixMillis>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(UnixMillis::from_millis))
}

/// Returns the unknown records in which a user ends.
pub(super) fn read_unknown(connection: &Connection, user_id: UserId) -> rusqlite::Result<UnknownTail> {
    let mut statement = connection.prepare_cached("SELECT partition, offset, since FROM unknown WHERE user_id = ?1")?;
    let rows = statement.query_map([user_id.get()], |row| {
        let since = UnixMillis::from_millis(row.get(2)?);
        Ok((row.get(0)?, FirstUnknown { offset: row.get(1)?, since }))
    })?;
    rows.collect()
}

pub(crate) fn write_unknown(connection: &Connection, user_id: UserId, tail: &UnknownTail) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO unknown VALUES (?1, ?2, ?3, ?4)")?;
    for (partition, FirstUnknown { offset, since }) in tail.iter() {
        statement.execute(params![user_id.get(), partition, offset, since.millis()])?;
    }
    Ok(())
}

pub(super) fn replace_unknown(connection: &Connection, user_id: UserId, tail: &UnknownTail) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM unknown WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_unknown(connection, user_id, tail)
}

/// Returns up to `limit` users whose last records are unknown, and since when.
pub(super) fn listed(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(UserId, UnixMillis)>> {
    let mut statement =
        connection.prepare_cached("SELECT user_id, min(since) FROM unknown GROUP BY user_id ORDER BY 1 LIMIT ?1")?;
    let rows =
        statement.query_map([signed(limit)], |row| Ok((user_id(row, 0)?, UnixMillis::from_millis(row.get(1)?))))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_last_records_counts_on_each_partition() {
        let (at, time) = (|partition, offset| Position { partition, offset }, UnixMillis::from_millis);
        let mut tail = UnknownTail::default();
        assert!(!tail.known(at(0, 0)) && tail.is_empty());
        assert!(tail.unknown(at(0, 1), time(10)));
        assert!(!tail.unknown(at(0, 2), time(20)), "not the first");
        assert_eq!(tail.since(), Some(time(10)));
        assert!(tail.unknown(at(1, 0), time(5)));
        assert_eq!(tail.since(), Some(time(5)));
        assert!(tail.known(at(1, 1)));
        assert_eq!(tail.since(), Some(time(10)), "the other partition still ends in one");
        assert!(tail.known(at(0, 3)));
        assert!(tail.unknown(at(0, 4), time(40)));
        assert_eq!(tail.iter().collect::<Vec<_>>(), [(0, FirstUnknown { offset: 4, since: time(40) })]);
        assert_eq!(tail.iter().collect::<UnknownTail>(), tail);
    }
}
