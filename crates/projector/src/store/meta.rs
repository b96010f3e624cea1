//! The topic and the versions that a store is of, read at start to decide whether it can go on.

use domain::order::RULE_VERSION;
use domain::{Checkpoint, LeaderEpochs, LogId, TopicId, UnixMillis};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::SCHEMA_VERSION;

const NO_TOPIC: TopicId = TopicId::from_bytes([0; 16]);

/// The facts about a store that decide whether it belongs to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMeta {
    pub schema_version: i64,
    pub rule_version: i64,
    pub topic: String,
    /// Differs for a topic that was created again under the same name, where the broker gives topics an id.
    pub log: LogId,
    pub created_at: UnixMillis,
    /// When the store was last known to be up to date with what it had read.
    pub committed_at: UnixMillis,
    pub records_unreadable: u64,
}

impl StoreMeta {
    /// Returns the facts of a store that is made now, from this version of the code.
    pub fn new(topic: &str, log: &LogId, now: UnixMillis) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            rule_version: RULE_VERSION,
            topic: topic.to_owned(),
            log: log.clone(),
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
            // What cannot be read is of no log: Kafka gives no topic the id zero.
            log: text("log")?.parse().unwrap_or(LogId { cluster: String::new(), topic: NO_TOPIC }),
            created_at: UnixMillis::from_millis(number(text("created_at")?)),
            committed_at: UnixMillis::from_millis(number(text("committed_at")?)),
            records_unreadable: number(text("records_unreadable")?).try_into().unwrap_or_default(),
        })
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (name, value) in [
            ("rule_version", self.rule_version.to_string()),
            ("topic", self.topic.clone()),
            ("log", self.log.to_string()),
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
    read_offsets(connection, "SELECT partition, next_offset, leader_epoch FROM checkpoint")
}

/// Returns from where on each partition's changes are all in the table of changes.
pub(super) fn read_history_floor(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    read_offsets(connection, "SELECT partition, history_offset, NULL FROM checkpoint")
}

pub(super) fn read_late_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    read_offsets(connection, "SELECT partition, next_offset, leader_epoch FROM late_checkpoint")
}

fn read_offsets(connection: &Connection, sql: &str) -> rusqlite::Result<Checkpoint> {
    let mut statement = connection.prepare_cached(sql)?;
    let offsets = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Checkpoint::from_entries(offsets.collect::<rusqlite::Result<Vec<_>>>()?))
}

/// Returns which leader epoch appended which part of the log, as far as it was read.
pub(super) fn read_epochs(connection: &Connection) -> rusqlite::Result<LeaderEpochs> {
    let mut statement =
        connection.prepare_cached("SELECT partition, leader_epoch, first_offset, last_offset FROM leader_epochs")?;
    let spans = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(LeaderEpochs::from_spans(spans.collect::<rusqlite::Result<Vec<_>>>()?))
}

/// Adds records of these leader epochs, those of each partition after all that are there.
pub(crate) fn write_epochs(connection: &Connection, epochs: &LeaderEpochs) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO leader_epochs VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET last_offset = excluded.last_offset",
    )?;
    for (partition, epoch, first, last) in epochs.spans() {
        put.execute(params![partition, epoch, first, last])?;
    }
    Ok(())
}

/// Returns the log of the topic of late deliveries that was read; `None` before its first record.
pub(super) fn read_late_log(connection: &Connection) -> rusqlite::Result<Option<LogId>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = 'late_log'")?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Returns when the newest of the changes was seen that are no longer kept; `None` while all are.
pub(super) fn read_history_since(connection: &Connection) -> rusqlite::Result<Option<UnixMillis>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = 'history_since'")?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()).map(UnixMillis::from_millis))
}
