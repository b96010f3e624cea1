//! Questions about the table.

use domain::{Position, UnixMillis, UserId, wire};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::positions::OF_POSITION;
use super::rows::{read_gaps, signed, user_id};
use super::sealed::Sealed;
use super::unknown::{self, UNKNOWN_SINCE};
use super::{STEP_BYTES_MAX, UserRow};

/// The answer to a look for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(UserRow),
    /// The user was forgotten, by the record at this position, and has not come back.
    Forgotten(Position),
    Unknown,
}

/// Which users to return: those for which everything holds that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    pub state: Option<String>,
    pub is_agent: Option<bool>,
    pub priv_group: Option<i64>,
    /// Text that the username, name, e-mail address or extension begins with; the case of ASCII letters does not
    /// matter.
    pub begins: Option<String>,
    /// Whether the beginning of an e-mail address does not count.
    pub without_email: bool,
    /// Exact but for the case of ASCII letters, as the next two.
    pub username: Option<String>,
    pub email: Option<String>,
    pub extension: Option<String>,
}

/// Some users in the order of their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRows {
    pub users: Vec<UserRow>,
    /// Where the next page begins: after this user. `None` when this page is the last.
    pub next_after: Option<UserId>,
}

/// The columns of [`user_row`].
fn columns() -> String {
    format!("user_id, partition, winner_offset, gaps, event, {UNKNOWN_SINCE}")
}

/// The largest character: what begins with a text sorts below the text with this behind it.
const LAST_CHARACTER: char = '\u{10FFFF}';

pub(super) fn get(connection: &Connection, user_id: UserId) -> rusqlite::Result<Lookup> {
    // The text is written out: it is looked up for every answer.
    let mut statement = connection.prepare_cached(
        "SELECT user_id, partition, winner_offset, gaps, event, \
         (SELECT min(since) FROM unknown WHERE unknown.user_id = ?1) FROM users WHERE user_id = ?1",
    )?;
    if let Some(user) = statement.query_row([user_id.get()], |row| user_row(connection, row)).optional()? {
        return Ok(Lookup::Found(user));
    }
    let forgotten = connection
        .prepare_cached("SELECT partition, winner_offset FROM forgotten WHERE user_id = ?1")?
        .query_row([user_id.get()], |row| Ok(Position { partition: row.get(0)?, offset: row.get(1)? }))
        .optional()?;
    Ok(forgotten.map_or(Lookup::Unknown, Lookup::Forgotten))
}

/// Returns the latest receipt among the events that win with the last record of their partition.
pub(super) fn last_event(connection: &Connection) -> rusqlite::Result<Option<UnixMillis>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT (SELECT event FROM {OF_POSITION} WHERE positions.partition = checkpoint.partition \
           ORDER BY positions.offset DESC LIMIT 1) FROM checkpoint",
    ))?;
    let mut rows = statement.query([])?;
    let mut receipts = Vec::new();
    while let Some(row) = rows.next()? {
        let event: Option<Sealed<Vec<u8>>> = row.get(0)?;
        let head = event.and_then(|Sealed(event)| wire::decode_head(&event).ok());
        receipts.extend(head.map(|head| head.received_at));
    }
    Ok(receipts.into_iter().max())
}

/// Returns up to `limit` users, and fewer when their events have as many bytes as a step may have.
pub(super) fn find(
    connection: &Connection,
    filter: &UserFilter,
    after: Option<UserId>,
    limit: usize,
) -> rusqlite::Result<UserRows> {
    let (sql, values) = filter.sql(after, limit.saturating_add(1));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut users, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if users.len() == limit || bytes >= STEP_BYTES_MAX {
            return Ok(UserRows { next_after: users.last().map(|user: &UserRow| user.user_id), users });
        }
        let user = user_row(connection, row)?;
        bytes += user.event.len();
        users.push(user);
    }
    Ok(UserRows { next_after: None, users })
}

fn user_row(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let user_id = user_id(row, 0)?;
    let gaps: i64 = row.get(3)?;
    let Sealed(event) = row.get(4)?;
    Ok(UserRow {
        user_id,
        position: Position { partition: row.get(1)?, offset: row.get(2)? },
        event,
        gaps: if gaps > 0 { read_gaps(connection, user_id)? } else { Vec::new() },
        unknown_since: unknown::since(row, 5)?,
    })
}

impl UserFilter {
    /// Returns the indexes without which the answer would be a walk over the whole table.
    pub(super) fn needs(&self) -> Vec<&'static str> {
        let Self { state, is_agent, priv_group, begins, without_email, username, email, extension } = self;
        let is_begun = begins.is_some();
        [
            (username.is_some() || is_begun, "users_by_username"),
            (email.is_some() || (is_begun && !without_email), "users_by_email"),
            (extension.is_some() || is_begun, "users_by_extension"),
            (is_begun, "users_by_name"),
            (state.is_some(), "users_by_state"),
            (priv_group.is_some(), "users_by_priv_group"),
            (is_agent.is_some(), "users_by_is_agent"),
        ]
        .into_iter()
        .filter_map(|(needs, name)| needs.then_some(name))
        .collect()
    }

    /// Returns the statement and its values. Only the set of conditions shapes the text, so that few statements are
    /// prepared.
    fn sql(&self, after: Option<UserId>, limit: usize) -> (String, Vec<Value>) {
        let mut conditions = vec!["user_id > ?".to_owned()];
        let mut values = vec![Value::Integer(after.map_or(-1, UserId::get))];
        let mut equal = |column: &str, value: Option<Value>| {
            if let Some(value) = value {
                conditions.push(format!("{column} = ?"));
                values.push(value);
            }
        };
        equal("state", self.state.clone().map(Value::Text));
        equal("is_agent", self.is_agent.map(|is_agent| Value::Integer(is_agent.into())));
        equal("priv_group", self.priv_group.map(Value::Integer));
        equal("username", self.username.clone().map(Value::Text));
        equal("email", self.email.clone().map(Value::Text));
        equal("extension", self.extension.clone().map(Value::Text));
        if let Some(begins) = &self.begins {
            let range = |column: &str| format!("SELECT user_id FROM users WHERE {column} >= ? AND {column} < ?");
            let columns = ["username", "name", "extension", "email"];
            let columns = if self.without_email { &columns[..3] } else { &columns[..] };
            let ranges: Vec<String> = columns.iter().map(|column| range(column)).collect();
            conditions.push(format!("user_id IN ({})", ranges.join(" UNION ALL ")));
            for _ in columns {
                values.push(Value::Text(begins.clone()));
                values.push(Value::Text(format!("{begins}{LAST_CHARACTER}")));
            }
        }
        values.push(Value::Integer(signed(limit)));
        let conditions = conditions.join(" AND ");
        (format!("SELECT {} FROM users WHERE {conditions} ORDER BY user_id LIMIT ?", columns()), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{create_indexes, create_secondary, create_tables};

    fn plan(filter: &UserFilter) -> String {
        let connection = Connection::open_in_memory().unwrap();
        create_tables(&connection).unwrap();
        create_indexes(&connection).unwrap();
        create_secondary(&connection).unwrap();
        let (sql, values) = filter.sql(None, 10);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_condition_uses_its_index_and_none_sorts() {
        let text = || Some("x".to_owned());
        for (filter, index) in [
            (UserFilter { state: text(), ..UserFilter::default() }, "users_by_state"),
            (UserFilter { is_agent: Some(true), ..UserFilter::default() }, "users_by_is_agent"),
            (UserFilter { priv_group: Some(1), ..UserFilter::default() }, "users_by_priv_group"),
            (UserFilter { username: text(), ..UserFilter::default() }, "users_by_username"),
            (UserFilter { email: text(), ..UserFilter::default() }, "users_by_email"),
            (UserFilter { extension: text(), ..UserFilter::default() }, "users_by_extension"),
            (UserFilter { begins: text(), ..UserFilter::default() }, "users_by_name"),
            (UserFilter::default(), "PRIMARY KEY"),
        ] {
            let plan = plan(&filter);
            assert!(plan.contains(index), "{filter:?}: {plan}");
            let needs = filter.needs();
            assert!(needs.is_empty() || needs.contains(&index), "{filter:?} needs {needs:?}");
            assert!(!plan.contains("ORDER BY"), "{filter:?}: {plan}");
        }
    }
}
