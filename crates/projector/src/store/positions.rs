//! The order of the users by their newest records, in which a subscriber is sent the table.
//!
//! An index of the users would cost each commit two pages for each of them: the place where the user was, and the end.
//! Here a row is added at the end, and the former one stays until the sweep comes by: each commit looks at some rows
//! after those that the one before looked at, and removes those that are no longer of a user. There are never more rows
//! of no user than of users for long.

use domain::{Position, UserId};
use rusqlite::{Connection, params};

/// How many rows a commit looks at for each user that it has moved. The sweep takes more than are added.
const LOOKS_PER_MOVE: usize = 2;

/// Joins each row with its user.
pub(super) const OF_POSITION: &str = "positions CROSS JOIN users ON users.user_id = positions.user_id \
     AND users.partition = positions.partition AND winner_offset = positions.offset";

/// Where the sweep goes on.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    after: Option<(i32, i64)>,
}

/// Adds the position of a user.
pub(super) fn note(connection: &Connection, at: Position, user_id: UserId) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3)")?.execute(params![
        at.partition,
        at.offset,
        user_id.get()
    ])?;
    Ok(())
}

/// Adds the positions of all users.
pub(crate) fn fill_positions(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("INSERT INTO positions SELECT partition, winner_offset, user_id FROM users ORDER BY 1, 2", [])?;
    Ok(())
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
    use super::*;
    use crate::store::create_tables;

    const USERS: i64 = 50;

    #[test]
    fn the_sweep_leaves_the_rows_of_users_and_not_many_others() {
        let connection = Connection::open_in_memory().unwrap();
        create_tables(&connection).unwrap();
        let (mut sweep, mut offset) = (Sweep::default(), 0);
        let count = || connection.query_row("SELECT count(*) FROM positions", [], |row| row.get::<_, i64>(0)).unwrap();
        for round in 0..20 {
            for id in 0..USERS {
                let at = Position { partition: i32::try_from(id % 3).unwrap(), offset };
                let sql = "INSERT OR REPLACE INTO users (user_id, partition, winner_offset, gaps, sort_name, event) \
                           VALUES (?1, ?2, ?3, 0, '', x'')";
                connection.execute(sql, params![id, at.partition, offset]).unwrap();
                note(&connection, at, UserId::new(id).unwrap()).unwrap();
                sweep.step(&connection, 1).unwrap();
                // A commit that moves nobody does not send the sweep back.
                sweep.step(&connection, 0).unwrap();
                offset += 1;
            }
            assert!(count() <= 3 * USERS, "round {round}: {}", count());
        }
        let in_order = connection
            .prepare(&format!("SELECT count(*) FROM {OF_POSITION}"))
            .unwrap()
            .query_row([], |row| row.get::<_, i64>(0))
            .unwrap();
        assert_eq!(in_order, USERS, "each user has its row");
        for _ in 0..3 {
            sweep.step(&connection, usize::try_from(USERS).unwrap()).unwrap();
        }
        assert_eq!(count(), USERS, "and in the end no other is there");
    }
}
