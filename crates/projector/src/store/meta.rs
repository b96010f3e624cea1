//! The topic and the versions that a store is of, read at start to decide whether it can go on.

use domain::order::RULE_VERSION;
use domain::{Checkpoint, UnixMillis};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::SCHEMA_VERSION;

/// The facts about a store that decide whether it belongs to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMeta {
    pub schema_version: i64,
    pub rule_version: i64,
    pub topic: String,
    /// `kafka::topics::Description::identity`: differs for a topic that was recreated under the same
    /// name, where the broker gives topics an id.
    pub topic_identity: String,
    pub created_at: UnixMillis,
    /// When the store was last known to be up to date with what it had read.
    pub committed_at: UnixMillis,
    pub records_unreadable: u64,
}

impl StoreMeta {
    /// Returns the facts of a store that is made now, from this version of the code.
    pub fn new(topic: &str, topic_identity: &str, now: UnixMillis) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            rule_version: RULE_VERSION,
            topic: topic.to_owned(),
            topic_identity: topic_identity.to_owned(),
            created_at: now,
            committed_at: now,
            records_unreadable: 0,
        }
    }

    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let schema_version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let mut statement = connection.prepare("SELECT value FROM meta WHERE name = ?1")?;
        let mut text = |name: &str| -> rusqlite::Result<String> {
            Ok(statement.query_row([name], |row| row.get(0)).optional()?.unwrap_or_default())
        };
        let number = |text: String| text.parse::<i64>().unwrap_or_default();
        Ok(Self {
            schema_version,
            rule_version: number(text("rule_version")?),
            topic: text("topic")?,
            topic_identity: text("topic_identity")?,
            created_at: UnixMillis::from_millis(number(text("created_at")?)),
            committed_at: UnixMillis::from_millis(number(text("committed_at")?)),
            records_unreadable: number(text("records_unreadable")?).try_into().unwrap_or_default(),
        })
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (name, value) in [
            ("rule_version", self.rule_version.to_string()),
            ("topic", self.topic.clone()),
            ("topic_identity", self.topic_identity.clone()),
            ("created_at", self.created_at.millis().to_string()),
            ("committed_at", self.committed_at.millis().to_string()),
            ("records_unreadable", self.records_unreadable.to_string()),
        ] {
            put(connection, name, &value)?;
        }
        Ok(())
    }
}

/// Sets one fact.
pub(super) fn put(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute(params![name, value])?;
    Ok(())
}

pub(crate) fn read_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    read_offsets(connection, "SELECT partition, next_offset FROM checkpoint")
}

/// Returns from where on each partition's changes are all in the table of changes.
pub(super) fn read_history_floor(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    read_offsets(connection, "SELECT partition, history_offset FROM checkpoint")
}

pub(super) fn read_late_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    read_offsets(connection, "SELECT partition, next_offset FROM late_checkpoint")
}

fn read_offsets(connection: &Connection, sql: &str) -> rusqlite::Result<Checkpoint> {
    let mut statement = connection.prepare_cached(sql)?;
    let offsets = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Checkpoint::from_next_offsets(offsets.collect::<rusqlite::Result<Vec<_>>>()?))
}
