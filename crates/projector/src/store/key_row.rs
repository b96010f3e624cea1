//! The row of a key, in `users` or in `forgotten`: the one place that writes them, for the live table and for a
//! rebuild.

use std::borrow::Cow;

use domain::wire::Facets;
use domain::{Position, UnixMillis, UserId};
use rusqlite::{CachedStatement, Connection, Row, params};

use super::rows::signed;
#[cfg(doc)]
use super::sealed::seal;

/// The columns that queries can ask for, in the order of [`read_facets`].
pub(super) const FACET_COLUMNS: &str = "username, name, email, extension, state, is_agent, priv_group";

/// Returns what the user that `event` describes is searched by; nothing when its head alone can be
/// read.
pub(crate) fn facets_of(event: &[u8]) -> Facets<'_> {
    domain::wire::facets(event).unwrap_or_default()
}

pub(super) fn read_facets(row: &Row<'_>, first: usize) -> rusqlite::Result<Facets<'static>> {
    let text = |index: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(first + index)?.map(Cow::Owned));
    Ok(Facets {
        username: text(0)?,
        name: text(1)?,
        email: text(2)?,
        extension: text(3)?,
        state: text(4)?,
        is_agent: row.get(first + 5)?,
        priv_group: row.get(first + 6)?,
    })
}

/// Writes rows of `users`, each in place of one that may be there.
pub(crate) struct PutUser<'c>(CachedStatement<'c>);

impl<'c> PutUser<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let sql = "INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        connection.prepare_cached(sql).map(Self)
    }

    /// Writes the row of a user: where the event that wins is, the number of open gaps, and the event as [`seal`]
    /// writes it, with its facets and what the user is sorted by.
    pub(crate) fn put(
        &mut self,
        user_id: UserId,
        position: Position,
        gaps: usize,
        facets: &Facets<'_>,
        sort_name: &str,
        sealed: &[u8],
    ) -> rusqlite::Result<()> {
        self.0.execute(params![
            user_id.get(),
            position.partition,
            position.offset,
            signed(gaps),
            facets.username,
            facets.name,
            facets.email,
            facets.extension,
            facets.state,
            facets.is_agent,
            facets.priv_group,
            sort_name,
            sealed
        ])?;
        Ok(())
    }
}

/// Writes the row of a forgotten user, in place of one that may be there: the marker, as of when it forgets.
pub(crate) fn put_forgotten(
    connection: &Connection,
    user_id: UserId,
    marker: Position,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO forgotten VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![user_id.get(), marker.partition, marker.offset, at.millis()])?;
    Ok(())
}
