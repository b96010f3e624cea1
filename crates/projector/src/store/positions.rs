//! The order of the users by their newest records, in which a subscriber is sent the table.
//!
//! An index of the users would cost each commit two pages for each of them: the place where the user was, and the end.
//! Here a row is added at the end, and the former one stays until the sweep comes by: each commit looks at some rows
//! after those that the one before looked at, and removes those that are no longer of a user. There are never more rows
//! of no user than of users for long.
//!
//! Each partition has an end of its own, which would still be a page for nearly every user of a commit. So a commit
//! adds its users to the one end of another table, and many of them are put in their places at once.

use domain::{Position, UserId};
use rusqlite::{Connection, params};

/// How many rows a commit looks at for each user that it has moved. The sweep takes more than are added.
const LOOKS_PER_MOVE: usize = 2;

/// How many users are in the order of the commits before they are put in their places: a reader of the places sorts
/// them.
const MOVED_MAX: i64 = 2_048;

/// Joins each row of a table with the user whose position it is.
pub(super) fn of_position(table: &str) -> String {
    format!(
        "{table} CROSS JOIN users ON users.user_id = {table}.user_id AND users.partition = {table}.partition \
           AND winner_offset = {table}.offset"
    )
}

/// Where the sweep goes on.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    after: Option<(i32, i64)>,
}

/// Adds the position of a user.
pub(super) fn note(connection: &Connection, at: Position, user_id: UserId) -> rusqlite::Result<()> {
    let sql = "INSERT INTO moved (partition, offset, user_id) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![at.partition, at.offset, user_id.get()])?;
    Ok(())
}

/// Puts the users in their places that have moved, once there are many.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    // They are numbered from 1 on.
    let mut count = connection.prepare_cached("SELECT coalesce(max(nth), 0) FROM moved")?;
    if count.query_row([], |row| row.get::<_, i64>(0))? < MOVED_MAX {
        return Ok(());
    }
    connection.execute(
        "INSERT OR REPLACE INTO positions SELECT partition, offset, user_id FROM moved ORDER BY partition, offset",
        [],
    )?;
    connection.execute("DELETE FROM moved", [])?;
    Ok(())
}

/// Adds the positions of users who are loaded. (Sorted by SQLite, a million of them take three times as long.)
pub(crate) fn write_positions(connection: &Connection, mut rows: Vec<(Position, UserId)>) -> rusqlite::Result<()> {
    rows.sort_unstable_by_key(|(at, _)| (at.partition, at.offset));
    let mut statement = connection.prepare_cached("INSERT INTO positions VALUES (?1, ?2, ?3)")?;
    rows.into_iter()
        .try_for_each(|(at, user_id)| statement.execute(params![at.partition, at.offset, user_id.get()]).map(drop))
}

impl Sweep {
    /// Removes the rows of no user among the next ones, for so many users that were moved.
    pub(super) fn step(&mut self, connection: &Connection, moved: usize) -> rusqlite::Result<()> {
        if moved == 0 {
            return Ok(());
        }
        let looks = moved * LOOKS_PER_MOVE;
        let (partition, offset) = self.after.unwrap_or((i32::MIN, i64::MIN));
        let mut next = connection.prepare_cached(
            "SELECT partition, offset, NOT EXISTS (SELECT 1 FROM users WHERE users.user_id = positions.user_id \
               AND users.partition = positions.partition AND winner_offset = offset) \
             FROM positions WHERE (partition, offset) > (?1, ?2) ORDER BY partition, offset LIMIT ?3",
        )?;
        let rows = next.query_map(params![partition, offset, super::rows::signed(looks)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let rows: Vec<(i32, i64, bool)> = rows.collect::<rusqlite::Result<_>>()?;
        let mut remove = connection.prepare_cached("DELETE FROM positions WHERE partition = ?1 AND offset = ?2")?;
        for (partition, offset, _) in rows.iter().filter(|(.., is_of_no_user)| *is_of_no_user) {
            remove.execute(params![partition, offset])?;
        }
        let last = rows.last().filter(|_| rows.len() == looks);
        self.after = last.map(|(partition, offset, _)| (*partition, *offset));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::history;
    use super::*;
    use crate::store::create_tables;

    const USERS: i64 = 50;
    const PARTITIONS: i32 = 3;
    /// How many users a step of a subscription reads.
    const STEP: usize = 7;

    fn count(connection: &Connection, table: &str) -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// Returns how many users a subscription is sent of a partition, each once and in order.
    fn sent(connection: &Connection, partition: i32) -> i64 {
        let (mut from, mut sent) = (0, 0);
        loop {
            let (users, _) = history::latest(connection, None, partition, from, STEP).unwrap();
            let Some(last) = users.last() else { return sent };
            assert!(users.is_sorted_by(|one, next| one.position.offset < next.position.offset), "{users:?}");
            from = last.position.offset + 1;
            sent += i64::try_from(users.len()).unwrap();
        }
    }

    #[test]
    fn the_sweep_leaves_the_rows_of_users_and_not_many_others() {
        let connection = Connection::open_in_memory().unwrap();
        create_tables(&connection).unwrap();
        let (mut sweep, mut offset) = (Sweep::default(), 0);
        let rounds = 3 * MOVED_MAX / USERS;
        for round in 0..rounds {
            for id in 0..USERS {
                let at = Position { partition: i32::try_from(id).unwrap() % PARTITIONS, offset };
                let sql = "INSERT OR REPLACE INTO users (user_id, partition, winner_offset, gaps, sort_name, event) \
                           VALUES (?1, ?2, ?3, 0, '', x'00000000')";
                connection.execute(sql, params![id, at.partition, offset]).unwrap();
                // A record of its second, which did not win.
                let noted = if id % 10 == 0 { 2 } else { 1 };
                (0..noted).for_each(|_| note(&connection, at, UserId::new(id).unwrap()).unwrap());
                sweep.step(&connection, 1).unwrap();
                // A commit that moves nobody does not send the sweep back.
                sweep.step(&connection, 0).unwrap();
                settle(&connection).unwrap();
                offset += 1;
            }
            assert!(count(&connection, "positions") <= MOVED_MAX + 3 * USERS, "round {round}");
            assert!(count(&connection, "moved") < MOVED_MAX, "round {round}");
            let all: i64 = (0..PARTITIONS).map(|partition| sent(&connection, partition)).sum();
            assert_eq!(all, USERS, "round {round}: each user has its row");
        }
        assert!(count(&connection, "positions") > 0, "some were put in their places");
        for _ in 0..rounds {
            sweep.step(&connection, usize::try_from(USERS).unwrap()).unwrap();
        }
        assert!(count(&connection, "positions") <= USERS, "and in the end no other is there");
    }
}
