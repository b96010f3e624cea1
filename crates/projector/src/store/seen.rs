//! The traits that subscriptions choose users by, as one state of a user has them.

use domain::wire::{self, Facets};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Value};

/// A user at one moment, as far as subscriptions choose by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No user: unknown so far, or forgotten.
    Nobody,
    /// A user of whom no more is known: of its record the head alone can be read.
    Somebody,
    User(Traits),
}

/// The fields that a subscription can filter by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Traits {
    pub state: Option<String>,
    pub is_agent: Option<bool>,
    pub priv_group: Option<i64>,
}

/// How many columns it takes in the table of changes.
pub(super) const SEEN_COLUMNS: usize = 4;
const NOBODY: i64 = 0;
const SOMEBODY: i64 = 1;
const USER: i64 = 2;

impl Seen {
    /// Returns the traits in the value of a user's winning record; a user who is forgotten or unknown has no value.
    pub(crate) fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::Nobody };
        match wire::facets(value) {
            Ok(Facets { state, is_agent, priv_group, .. }) => {
                Self::User(Traits { state: state.map(String::from), is_agent, priv_group })
            }
            Err(_) => Self::Somebody,
        }
    }

    /// Returns whether a reader who wants such users may have, or wants, this one.
    pub(crate) fn may_be(&self, wanted: impl FnOnce(&Traits) -> bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Somebody => true,
            Self::User(traits) => wanted(traits),
        }
    }

    pub(super) fn to_columns(&self) -> [Value; SEEN_COLUMNS] {
        let known = |known: i64| [Value::Integer(known), Value::Null, Value::Null, Value::Null];
        match self {
            Self::Nobody => known(NOBODY),
            Self::Somebody => known(SOMEBODY),
            Self::User(Traits { state, is_agent, priv_group }) => [
                Value::Integer(USER),
                Value::from(state.clone()),
                Value::from(is_agent.map(i64::from)),
                Value::from(*priv_group),
            ],
        }
    }

    pub(super) fn from_columns(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        match row.get(first)? {
            NOBODY => Ok(Self::Nobody),
            SOMEBODY => Ok(Self::Somebody),
            USER => Ok(Self::User(Traits {
                state: row.get(first + 1)?,
                is_agent: row.get(first + 2)?,
                priv_group: row.get(first + 3)?,
            })),
            other => Err(FromSqlError::OutOfRange(other).into()),
        }
    }
}
