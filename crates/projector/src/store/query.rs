//! Questions about the table.

use domain::{Position, UnixMillis, UserId, wire};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::matches::Matches;
use super::positions::of_position;
use super::rows::{read_gaps, user_id};
use super::sealed::Sealed;
use super::unknown::{self, UNKNOWN_SINCE};
use super::{STEP_BYTES_MAX, UserRow, names};

/// The answer to a look for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(UserRow),
    /// The user was forgotten, by the record at this position, and has not come back.
    Forgotten(Position),
    Unknown,
}

/// Which users to return, and in which order: those for which everything holds that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    pub state: Option<String>,
    pub is_agent: Option<bool>,
    /// One of these; any without them.
    pub priv_groups: Vec<i64>,
    /// Text that is in the username, name, e-mail address or extension; case and accents do not matter.
    pub contains: Option<String>,
    /// Whether what is in an e-mail address does not count.
    pub without_email: bool,
    /// Exact but for the case of ASCII letters, as the next two.
    pub username: Option<String>,
    pub email: Option<String>,
    pub extension: Option<String>,
    pub order: Order,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    UserId,
    /// By the first 64 bytes of the name, without case and accents; users of the same name by their identifiers, and
    /// those without one first.
    Name,
}

/// A place in the order of a list: behind this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub user_id: UserId,
    /// What the user is sorted by beside the identifier: nothing in the order of identifiers.
    pub sort_name: Option<String>,
}

/// Some users in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRows {
    pub users: Vec<UserRow>,
    /// Where the next page begins. `None` when this page is the last.
    pub next_after: Option<Place>,
}

impl UserFilter {
    pub(super) fn is_by_name(&self) -> bool {
        self.order == Order::Name
    }

    /// Returns whether a page takes searches of indexes alone, and no walk over texts.
    pub(crate) fn is_short(&self) -> bool {
        self.contains.is_none() && !self.is_by_name()
    }
}

impl From<UserId> for Place {
    fn from(user_id: UserId) -> Self {
        Self { user_id, sort_name: None }
    }
}

pub(super) fn get(connection: &Connection, user_id: UserId) -> rusqlite::Result<Lookup> {
    if let Some(user) = user(connection, user_id.get())? {
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
    let last = |table: &str| {
        format!(
            "SELECT * FROM (SELECT event, winner_offset FROM {} WHERE {table}.partition = checkpoint.partition \
               ORDER BY {table}.offset DESC LIMIT 1)",
            of_position(table)
        )
    };
    let (settled, moved) = (last("positions"), last("moved"));
    let mut statement = connection.prepare_cached(&format!(
        "SELECT (SELECT event FROM ({settled} UNION ALL {moved}) ORDER BY winner_offset DESC LIMIT 1) FROM checkpoint",
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
    after: Option<&Place>,
    limit: usize,
) -> rusqlite::Result<UserRows> {
    let page = Page { users: Vec::new(), bytes: 0, limit };
    match filter.order {
        Order::Name => by_name(connection, filter, after, page),
        Order::UserId => by_user_id(connection, filter, after.map_or(0, |after| after.user_id.get() + 1), page),
    }
}

fn by_user_id(
    connection: &Connection,
    filter: &UserFilter,
    mut from: i64,
    mut page: Page,
) -> rusqlite::Result<UserRows> {
    let mut matches = Matches::new(connection, filter, false)?;
    if matches.is_everybody() {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT user_id, partition, winner_offset, gaps, event, {UNKNOWN_SINCE} FROM users \
             WHERE user_id >= ?1 ORDER BY user_id"
        ))?;
        let mut rows = statement.query([from])?;
        while let Some(row) = rows.next()? {
            if page.is_full() {
                return Ok(page.before_others(None));
            }
            page.add(user_row(connection, row)?);
        }
        return Ok(page.last());
    }
    while let Some(user_id) = matches.seek(from)? {
        if page.is_full() {
            return Ok(page.before_others(None));
        }
        page.add(user(connection, user_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?);
        from = user_id + 1;
    }
    Ok(page.last())
}

fn by_name(
    connection: &Connection,
    filter: &UserFilter,
    after: Option<&Place>,
    mut page: Page,
) -> rusqlite::Result<UserRows> {
    let mut last = None;
    for (sort_name, user_id) in names::sorted(connection, filter, after, page.limit.saturating_add(1))? {
        if page.is_full() {
            return Ok(page.before_others(last));
        }
        page.add(user(connection, user_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?);
        last = Some(sort_name);
    }
    Ok(page.last())
}

/// A page that is being filled.
struct Page {
    users: Vec<UserRow>,
    bytes: usize,
    limit: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.users.len() >= self.limit || self.bytes >= STEP_BYTES_MAX
    }

    fn add(&mut self, user: UserRow) {
        self.bytes += user.event.len();
        self.users.push(user);
    }

    fn last(self) -> UserRows {
        UserRows { users: self.users, next_after: None }
    }

    /// Returns a page after which others follow.
    fn before_others(self, sort_name: Option<String>) -> UserRows {
        let next_after = self.users.last().map(|user| Place { user_id: user.user_id, sort_name });
        UserRows { users: self.users, next_after }
    }
}

fn user(connection: &Connection, user_id: i64) -> rusqlite::Result<Option<UserRow>> {
    // The text is written out: it is looked up for every answer.
    let mut statement = connection.prepare_cached(
        "SELECT user_id, partition, winner_offset, gaps, event, \
         (SELECT min(since) FROM unknown WHERE unknown.user_id = ?1) FROM users WHERE user_id = ?1",
    )?;
    statement.query_row([user_id], |row| user_row(connection, row)).optional()
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
