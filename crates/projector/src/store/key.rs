//! One user during a transaction: its rows as they were read, and as they are to be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::gap::{Followed, Lineage, OpenGap};
use domain::roll::{Applied, Reading, Roll, Unread};
use domain::wire::Facets;
use domain::{EventId, Position, UnixMillis, UserId};
use kafka::Record;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::counts::Moved;
use super::key_row::{FACET_COLUMNS, PutUser, facets_of, put_forgotten, read_facets};
use super::late::{read_late, replace_late};
use super::rows::{differing, read_gaps, replace_gaps, signed};
use super::sealed::{Sealed, seal};
use super::search::Texts;
use super::seconds::{read_seconds, replace_seconds};
use super::unknown::{UnknownTail, read_unknown, replace_unknown};
use super::{Change, Seen, positions, search};

/// One user during a transaction.
pub(super) struct Key {
    user_id: UserId,
    /// `None` before the first record.
    state: Option<Roll>,
    /// The bytes of each event of the state.
    events: BTreeMap<EventId, Vec<u8>>,
    lineage: Lineage,
    /// As the row in `users` has them, if there is one.
    facets_stored: Option<Facets<'static>>,
    has_seconds_stored: bool,
    /// Rows had a state of the user, or traces of one.
    was_stored: bool,
    was_forgotten: bool,
    /// An event of the state, or its marker, is in a record that was read since.
    has_moved: bool,
    followed: Followed,
    unknown: UnknownTail,
    unknown_changed: bool,
}

impl Key {
    /// Reads the rows of a user.
    pub(super) fn load(connection: &Connection, user_id: UserId) -> rusqlite::Result<Self> {
        let mut key = Self {
            user_id,
            state: None,
            events: BTreeMap::new(),
            lineage: Lineage { gaps: Vec::new(), late: read_late(connection, user_id)? },
            facets_stored: None,
            has_seconds_stored: false,
            was_stored: false,
            was_forgotten: false,
            has_moved: false,
            followed: Followed::default(),
            unknown: read_unknown(connection, user_id)?,
            unknown_changed: false,
        };
        key.was_stored = key.load_events(connection)?;
        if !key.was_stored {
            key.state = read_forgotten(connection, user_id)?;
            key.was_forgotten = key.state.is_some();
            key.was_stored = !key.lineage.is_empty();
        }
        Ok(key)
    }

    /// Reads the events of the state, if the user is there.
    fn load_events(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT partition, winner_offset, event, gaps, {FACET_COLUMNS} FROM users WHERE user_id = ?1"
        ))?;
        let row = statement.query_row([self.user_id.get()], |row| {
            let position = Position { partition: row.get(0)?, offset: row.get(1)? };
            let Sealed(winner) = row.get(2)?;
            Ok((position, winner, row.get::<_, i64>(3)?, read_facets(row, 4)?))
        });
        let Some((position, winner, gaps, facets)) = row.optional()? else { return Ok(false) };
        self.facets_stored = Some(facets);
        if gaps > 0 {
            self.lineage.gaps = read_gaps(connection, self.user_id)?;
        }
        let seconds = read_seconds(connection, self.user_id)?;
        self.has_seconds_stored = !seconds.is_empty();
        self.put_back(position, winner)?;
        for (position, event) in seconds {
            self.put_back(position, event)?;
        }
        Ok(true)
    }

    /// Joins the state with one of its events.
    fn put_back(&mut self, position: Position, event: Vec<u8>) -> rusqlite::Result<()> {
        let one = Roll::of_value(position, &event)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, Box::new(error)))?;
        self.events.extend(one.winner().map(|winner| (winner.event_id, event)));
        match &mut self.state {
            Some(state) => state.join(&one),
            None => self.state = Some(one),
        }
        Ok(())
    }

    /// Passes over an unreadable or unknown record. Returns whether the user became unknown or known again by it.
    pub(super) fn pass_over(&mut self, record: &Record, fault: &Unread) -> bool {
        let changed = if fault.is_unknown() {
            self.unknown.unknown(record.position, record.timestamp)
        } else {
            self.unknown.known(record.position)
        };
        self.unknown_changed |= changed;
        changed
    }

    /// Notes a record that can be read. Returns whether the user is known again by it.
    pub(super) fn note_known(&mut self, position: Position) -> bool {
        let changed = self.unknown.known(position);
        self.unknown_changed |= changed;
        changed
    }

    /// Applies what a record says.
    pub(super) fn apply(&mut self, reading: &Reading<'_>) -> (Applied, Followed) {
        let held = self.state.as_ref().and_then(Roll::winner).map(|winner| winner.event_id);
        let applied = match &mut self.state {
            Some(state) => state.apply(reading),
            None => {
                let (state, applied) = Roll::begin(reading);
                self.state = Some(state);
                applied
            }
        };
        let followed = self.follow(&applied, reading, held);
        self.followed = self.followed.then(followed);
        self.take_events(reading);
        (applied, followed)
    }

    /// Follows the lineage, from `held`, the former winner.
    fn follow(&mut self, applied: &Applied, reading: &Reading<'_>, held: Option<EventId>) -> Followed {
        let Some(state) = &self.state else { return Followed::default() };
        self.lineage.follow(state, applied, reading, || {
            let next = state.winner();
            let event = |id: EventId| self.events.get(&id).map(Vec::as_slice);
            let others = self.events.keys().filter(|id| Some(**id) != held).copied();
            let held = held.into_iter().chain(others).filter_map(event);
            differing(held, next.and_then(|next| reading.payload(next).or(event(next.event_id))))
        })
    }

    /// Takes the bytes of what the record carries, and lets go of those that are no longer of the state.
    fn take_events(&mut self, reading: &Reading<'_>) {
        let Some(state) = &self.state else { return };
        let is_here = |at: Position| at == reading.position;
        if !is_here(state.position()) && !state.members().iter().any(|member| is_here(member.at)) {
            return;
        }
        self.has_moved = true;
        let mut before = std::mem::take(&mut self.events);
        for member in state.members() {
            let taken = reading.payload(member).filter(|_| is_here(member.at)).map(<[u8]>::to_vec);
            let event = taken.or_else(|| before.remove(&member.event_id));
            self.events.insert(member.event_id, event.expect("an event is of this record, or was there before"));
        }
    }

    /// Returns whether rows had something of the user that is to be erased when it is forgotten.
    pub(super) fn was_stored(&self) -> bool {
        self.was_stored
    }

    /// The event that wins; `None` when the user is forgotten or unknown.
    pub(super) fn event(&self) -> Option<&[u8]> {
        let winner = self.state.as_ref()?.winner()?;
        self.events.get(&winner.event_id).map(Vec::as_slice)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.rank().is_forgotten())
    }

    /// Returns the change that the record at `position` has made, from the event that won before; `None` where nothing
    /// is known.
    pub(super) fn change(&self, position: Position, former: Option<Arc<[u8]>>) -> Option<Change> {
        let state = self.state.as_ref()?;
        let (gaps, unknown_since) = (self.lineage.gaps.clone(), self.unknown.since());
        let before = Seen::of(former.as_deref());
        let change = Change::new(position, self.user_id, state, self.event(), gaps, unknown_since, before);
        // What somebody was who is forgotten is of no use to anybody.
        Some(Change { former: former.filter(|_| change.forgotten_at.is_none()), ..change })
    }

    /// The open gaps, oldest first.
    pub(super) fn gaps(&self) -> &[OpenGap] {
        &self.lineage.gaps
    }

    /// Returns whether another record is the newest that carries the user's state.
    pub(super) fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Returns by how much the numbers of users and of forgotten users change.
    pub(super) fn moved(&self) -> Moved {
        let now = |is: bool, was: bool| i64::from(is) - i64::from(was);
        Moved {
            users: now(self.event().is_some(), self.facets_stored.is_some()),
            forgotten: now(self.is_forgotten(), self.was_forgotten),
        }
    }

    /// Writes the rows that are to be another than they were.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.followed.gaps_changed {
            replace_gaps(connection, self.user_id, &self.lineage.gaps)?;
        }
        if self.followed.late_changed {
            replace_late(connection, self.user_id, &self.lineage.late)?;
        }
        if self.unknown_changed {
            replace_unknown(connection, self.user_id, &self.unknown)?;
        }
        let Some(state) = self.state.as_ref().filter(|_| self.has_moved || self.followed.gaps_changed) else {
            return Ok(());
        };
        if self.has_seconds_stored || state.members().len() > 1 {
            replace_seconds(connection, self.user_id, state, &self.events)?;
        }
        match self.event() {
            Some(event) => {
                if self.has_moved {
                    positions::note(connection, state.position(), self.user_id)?;
                }
                self.store_user(connection, state.position(), event)
            }
            None => {
                if self.facets_stored.is_some() {
                    connection.prepare_cached("DELETE FROM users WHERE user_id = ?1")?.execute([self.user_id.get()])?;
                    search::remove(connection, self.user_id)?;
                }
                put_forgotten(connection, self.user_id, state.position(), state.rank().time())
            }
        }
    }

    /// Writes the row of the winner, and spares the indexes of the columns that did not change.
    fn store_user(&self, connection: &Connection, position: Position, event: &[u8]) -> rusqlite::Result<()> {
        let (id, gaps, facets) = (self.user_id.get(), self.lineage.gaps.len(), facets_of(event));
        if self.facets_stored.as_ref() != Some(&facets) {
            connection.prepare_cached("DELETE FROM forgotten WHERE user_id = ?1")?.execute([id])?;
            let texts = Texts::of(&facets);
            if self.facets_stored.as_ref().map(Texts::of).as_ref() != Some(&texts) {
                search::put(connection, self.user_id, &texts)?;
            }
            let mut sealed = Vec::new();
            seal(event, &mut sealed);
            let sort_name = texts.sort_name();
            return PutUser::new(connection)?.put(self.user_id, position, gaps, &facets, &sort_name, &sealed);
        }
        connection
            .prepare_cached(
                "UPDATE users SET partition = ?2, winner_offset = ?3, gaps = ?4, event = ?5 WHERE user_id = ?1",
            )?
            .execute(params![id, position.partition, position.offset, signed(gaps), Sealed(event)])?;
        Ok(())
    }
}

fn read_forgotten(connection: &Connection, user_id: UserId) -> rusqlite::Result<Option<Roll>> {
    let mut statement =
        connection.prepare_cached("SELECT forgotten_at, partition, winner_offset FROM forgotten WHERE user_id = ?1")?;
    let state = statement.query_row([user_id.get()], |row| {
        let marker = Position { partition: row.get(1)?, offset: row.get(2)? };
        Ok(Roll::forgotten(UnixMillis::from_millis(row.get(0)?), marker))
    });
    state.optional()
}
