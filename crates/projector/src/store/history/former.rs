//! The event of a user before a change, for one who reads the changes in their order.

use std::collections::HashMap;
use std::sync::Arc;

use domain::UserId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::sealed::Sealed;
use super::of_user;

/// The events before the changes from a number on. Each change is told of once it was read.
///
/// The changes that are not indexed by their users are walked over once, not once for each change.
#[derive(Debug)]
pub(super) struct Formers {
    begin: i64,
    /// The number of the last change before `begin`, of each user who has one that is not indexed.
    unindexed: HashMap<i64, i64>,
    /// What the changes since have left.
    read: HashMap<UserId, Option<Arc<[u8]>>>,
}

impl Formers {
    pub(super) fn before(connection: &Connection, begin: i64) -> rusqlite::Result<Self> {
        let mut statement = connection
            .prepare_cached("SELECT user_id, seq FROM changes WHERE kind = 0 AND seq > ?1 AND seq < ?2 ORDER BY seq")?;
        let found =
            statement.query_map([of_user::indexed(connection)?, begin], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { begin, unindexed: found.collect::<rusqlite::Result<_>>()?, read: HashMap::new() })
    }

    /// Returns the event that the user had before its next change; `None` when there was none, or it is no longer kept.
    pub(super) fn of(&self, connection: &Connection, user_id: UserId) -> rusqlite::Result<Option<Arc<[u8]>>> {
        if let Some(event) = self.read.get(&user_id) {
            return Ok(event.clone());
        }
        let mut event = connection.prepare_cached(
            "SELECT event FROM changes WHERE seq = coalesce(?1, (SELECT changes_of.seq \
               FROM changes_of CROSS JOIN changes AS former ON former.seq = changes_of.seq AND former.kind = 0 \
               WHERE changes_of.user_id = ?2 AND changes_of.seq < ?3 ORDER BY changes_of.seq DESC LIMIT 1))",
        )?;
        let unindexed = self.unindexed.get(&user_id.get());
        let event: Option<Option<Sealed<Vec<u8>>>> =
            event.query_row(params![unindexed, user_id.get(), self.begin], |row| row.get(0)).optional()?;
        Ok(event.flatten().map(|Sealed(event)| Arc::from(event)))
    }

    /// Notes the event that a change has left.
    pub(super) fn note(&mut self, user_id: UserId, event: Option<&Arc<[u8]>>) {
        self.read.insert(user_id, event.cloned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::{Which, kept};
    use super::*;
    use crate::store::create_tables;

    /// So often it is looked how many steps SQLite has taken.
    const STEPS_PER_LOOK: i32 = 100;
    /// Some 60 for each of the changes that are not indexed, and for each that is read.
    const STEPS_MAX: i64 = 100_000;

    struct Table(Connection);

    impl Table {
        fn new() -> Self {
            let connection = Connection::open_in_memory().unwrap();
            create_tables(&connection).unwrap();
            Self(connection)
        }

        /// Adds changes, or deliveries that changed nobody, of these users; `None`: the user is forgotten.
        fn add(&self, changes: impl IntoIterator<Item = (i64, i64, Option<String>)>) {
            let sql = "INSERT INTO changes (partition, offset, user_id, kind, seen_at, event, before) \
                       SELECT 0, count(*), ?1, ?2, 0, ?3, 0 FROM changes";
            let mut insert = self.0.prepare(sql).unwrap();
            for (user_id, kind, event) in changes {
                let event = event.as_ref().map(|event| Sealed(event.as_bytes()));
                insert.execute(params![user_id, kind, event]).unwrap();
                of_user::index(&self.0, self.0.last_insert_rowid()).unwrap();
            }
        }

        /// Returns the event before each change, found by a walk over all of them.
        fn walked(&self) -> Vec<(i64, Option<Vec<u8>>)> {
            let sql = "SELECT seq, (SELECT former.event FROM changes AS former \
                         WHERE former.user_id = changes.user_id AND former.kind = 0 AND former.seq < changes.seq \
                         ORDER BY former.seq DESC LIMIT 1) FROM changes WHERE kind = 0 ORDER BY seq";
            let mut statement = self.0.prepare(sql).unwrap();
            let read = |row: &rusqlite::Row<'_>| {
                let event: Option<Sealed<Vec<u8>>> = row.get(1)?;
                Ok((row.get(0)?, event.map(|Sealed(event)| event)))
            };
            statement.query_map([], read).unwrap().map(Result::unwrap).collect()
        }
    }

    #[test]
    fn each_change_has_the_event_before_it_wherever_one_begins_to_read() {
        let table = Table::new();
        let event = |nth: i64| (nth % 11 != 3).then(|| nth.to_string());
        table.add((0..3_000).map(|nth| (nth * nth % 97, nth % 5 / 4, event(nth))));
        let walked = table.walked();
        assert!(walked.iter().any(|(_, former)| former.is_none()) && walked.last().unwrap().1.is_some());
        let users: Vec<UserId> = [1, 4, 9].map(|id| UserId::new(id).unwrap()).into();
        for begin in [0, 1, 500, 2_047, 2_048, 2_049, 2_900, 3_000, 3_001] {
            let all: Vec<_> = walked.iter().filter(|(seq, _)| *seq >= begin).collect();
            let found = kept(&table.0, begin, Which::Below(i64::MAX), usize::MAX).unwrap().changes;
            assert_eq!(found.len(), all.len());
            for (change, (seq, former)) in found.iter().zip(&all) {
                assert_eq!(change.former.as_deref(), former.as_deref(), "{seq} from {begin}");
            }
            // Of some users the same.
            let of_them = kept(&table.0, begin, Which::Of(&users), usize::MAX).unwrap().changes;
            assert_eq!(of_them, found.into_iter().filter(|change| users.contains(&change.user_id)).collect::<Vec<_>>());
        }
    }

    /// Each of another user, of whom nothing is found however far one looks.
    #[test]
    fn what_is_read_takes_as_long_however_many_changes_are_kept() {
        let mut table = Table::new();
        table.add((0..10_000).map(|nth| (nth, 0, Some(String::new()))));
        for begin in [5_000, 9_900] {
            static STEPS: AtomicI64 = AtomicI64::new(0);
            STEPS.store(0, Ordering::Relaxed);
            let look = || {
                STEPS.fetch_add(i64::from(STEPS_PER_LOOK), Ordering::Relaxed);
                false
            };
            table.0.progress_handler(STEPS_PER_LOOK, Some(look)).unwrap();
            assert_eq!(kept(&table.0, begin, Which::Below(i64::MAX), 100).unwrap().changes.len(), 100);
            let steps = STEPS.load(Ordering::Relaxed);
            assert!((1..STEPS_MAX).contains(&steps), "{steps} steps from {begin}");
        }
    }
}
