//! Deliveries that changed nobody, as the history has them.

use domain::gap::OpenGap;
use domain::headers::REASSERTED;
use domain::roll::Effect;
use domain::{Position, UnixMillis, UserId};
use kafka::Record;
use rusqlite::{Connection, params};

use super::super::sealed::Sealed;

/// Why a delivery changed nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedKind {
    /// It came after a newer one.
    Late,
    /// The same, and it is on the topic of late deliveries.
    Superseded,
    /// It is of the winner's second, and did not win.
    Tied,
    /// The event was there already.
    Repeated,
}

/// A delivery that changed nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) kind: PassedKind,
    pub(crate) position: Position,
    pub(crate) user_id: UserId,
    /// As framed on the log.
    pub(crate) event: Vec<u8>,
}

/// The gaps that a record has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) by: Position,
    pub(crate) gaps: Vec<Position>,
}

impl PassedKind {
    const EACH: [Self; 4] = [Self::Late, Self::Superseded, Self::Tied, Self::Repeated];

    /// Returns the number in the column `kind`.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Late => 1,
            Self::Superseded => 2,
            Self::Tied => 3,
            Self::Repeated => 4,
        }
    }

    /// Returns the kind with that number; `None` for a change.
    pub(super) fn from_number(number: i64) -> Option<Self> {
        Self::EACH.into_iter().find(|kind| kind.number() == number)
    }
}

impl Passed {
    /// Returns what the history keeps of a record on the topic of users that had this effect, and changed nobody;
    /// `None` for no delivery: a tombstone, or a record that was appended again.
    pub(crate) fn of(record: &Record, user_id: UserId, effect: Effect) -> Option<Self> {
        let kind = match effect {
            Effect::Stale => PassedKind::Late,
            Effect::Tied => PassedKind::Tied,
            Effect::Duplicate => PassedKind::Repeated,
            Effect::Newer { .. } | Effect::Forgotten | Effect::Unreadable | Effect::Unknown => return None,
        };
        let event = record.value.clone().filter(|_| record.header(REASSERTED).is_none())?;
        Some(Self { kind, position: record.position, user_id, event })
    }

    pub(super) fn put(
        &self,
        connection: &Connection,
        seq: i64,
        gaps_closed: Option<&str>,
        seen_at: UnixMillis,
    ) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO changes (partition, offset, user_id, kind, seen_at, gaps_closed, event, before, seq) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)",
        )?;
        let Position { partition, offset } = self.position;
        let (user_id, kind, event) = (self.user_id.get(), self.kind.number(), Sealed(self.event.as_slice()));
        insert.execute(params![partition, offset, user_id, kind, seen_at.millis(), gaps_closed, event, seq])?;
        Ok(())
    }

    /// Returns whether the history has it already: the topic of late deliveries may be read again.
    pub(crate) fn is_known(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM changes WHERE seq IN (SELECT seq FROM user_changes WHERE user_id = ?1) \
               AND kind = ?2 AND partition = ?3 AND offset = ?4)",
        )?;
        let Position { partition, offset } = self.position;
        statement.query_row(params![self.user_id.get(), self.kind.number(), partition, offset], |row| row.get(0))
    }
}

impl Closing {
    /// Returns the gaps that the record at `by` has closed, of those that were open before; `None` when there are none.
    pub(crate) fn between(by: Position, before: &[OpenGap], after: &[OpenGap]) -> Option<Self> {
        let is_open = |gap: &&OpenGap| after.iter().any(|open| open.position == gap.position);
        let gaps: Vec<Position> = before.iter().filter(|gap| !is_open(gap)).map(|gap| gap.position).collect();
        (!gaps.is_empty()).then_some(Self { by, gaps })
    }
}
