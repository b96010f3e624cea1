//! The tables. They are documented here because people read them: `sqlite3 -readonly users.db` works while the service
//! runs.

use rusqlite::Connection;

/// Version of the tables, in `PRAGMA user_version`. A store of another version is made again from the log.
pub(crate) const SCHEMA_VERSION: i64 = 11;

const TABLES: &str = "
-- What the store is: topic, log (cluster id and topic id), late_log, rule_version, created_at and committed_at
-- (milliseconds since 1970, UTC), records_unreadable (how many there were in all), users and forgotten (how many are in
-- the tables of these names), history_since (milliseconds: when the newest of the changes was seen that are no longer
-- kept), changes_indexed (the last of the changes that are in changes_of).
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the log was read. The rows of all other tables are exactly what the records below next_offset make,
-- but for gaps that events of the late topic have closed.
CREATE TABLE checkpoint (
  partition      INTEGER PRIMARY KEY,
  next_offset    INTEGER NOT NULL,
  history_offset INTEGER NOT NULL, -- every change at or above this offset is in changes
  leader_epoch   INTEGER           -- of the last record below next_offset, by which a log that was cut is noticed
) STRICT;

-- Which leaders appended the records that were read. A position that names another epoch than is here is of a log that
-- was cut and has grown again.
CREATE TABLE leader_epochs (
  partition    INTEGER NOT NULL,
  leader_epoch INTEGER NOT NULL,
  first_offset INTEGER NOT NULL,
  last_offset  INTEGER NOT NULL,
  PRIMARY KEY (partition, leader_epoch)
) STRICT, WITHOUT ROWID;

-- How far the topic of late deliveries was read, which closes gaps.
CREATE TABLE late_checkpoint (
  partition    INTEGER PRIMARY KEY,
  next_offset  INTEGER NOT NULL,
  leader_epoch INTEGER
) STRICT;

-- One row per user that is known and not forgotten: the event that wins.
CREATE TABLE users (
  user_id       INTEGER PRIMARY KEY,
  partition     INTEGER NOT NULL,
  winner_offset INTEGER NOT NULL,  -- the newest record that carries the event, as its value or in a header
  gaps          INTEGER NOT NULL,  -- number of the user's rows in gaps
  username      TEXT COLLATE NOCASE,
  name          TEXT,
  email         TEXT COLLATE NOCASE,
  extension     TEXT COLLATE NOCASE,
  state         TEXT,
  is_agent      INTEGER,
  priv_group    INTEGER,
  sort_name     TEXT NOT NULL,     -- the beginning of the name, without case and accents
  -- As framed on the log (Avro, schemas/user-event.v1.avsc), then its CRC-32 in four bytes; as every event here.
  event         BLOB NOT NULL
) STRICT;

-- The users in the order of winner_offset, but for those in moved. Rows of positions that are no longer those of a user
-- are removed later.
CREATE TABLE positions (
  partition INTEGER NOT NULL,
  offset    INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  PRIMARY KEY (partition, offset)
) STRICT, WITHOUT ROWID;

-- The users that have moved last, in the order of the commits. They are put into positions many at once.
CREATE TABLE moved (
  nth       INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  offset    INTEGER NOT NULL,
  user_id   INTEGER NOT NULL
) STRICT;

-- What users are searched by: their names, usernames and extensions, and their e-mail addresses, without case and
-- accents, of 64 users in one row.
CREATE TABLE search (
  block  INTEGER PRIMARY KEY,      -- user_id divided by 64
  names  BLOB NOT NULL,
  emails BLOB NOT NULL
) STRICT;

-- The other events of the winner's second, where there are any: one of them can win later.
CREATE TABLE seconds (
  user_id   INTEGER NOT NULL,
  event_id  TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset    INTEGER NOT NULL,
  event     BLOB NOT NULL,
  PRIMARY KEY (user_id, event_id)
) STRICT, WITHOUT ROWID;

-- One row per user that was forgotten and has not come back.
CREATE TABLE forgotten (
  user_id       INTEGER PRIMARY KEY,
  partition     INTEGER NOT NULL,
  winner_offset INTEGER NOT NULL,
  forgotten_at  INTEGER NOT NULL   -- milliseconds since 1970, UTC
) STRICT;

-- Breaks in the lineage of users: deliveries that are missing. One is awaited for 22 days 18 hours and 7 minutes after
-- received_at, and lost from then on. held and missing are versions (SHA-256, 16 bytes).
CREATE TABLE gaps (
  user_id     INTEGER NOT NULL,
  partition   INTEGER NOT NULL,
  offset      INTEGER NOT NULL,    -- the event that was built on a state never seen
  received_at INTEGER NOT NULL,    -- when that event was received: milliseconds since 1970, UTC
  held        BLOB NOT NULL,       -- the state that was known before
  missing     BLOB NOT NULL,       -- the state that the event was built on
  fields      TEXT NOT NULL,       -- JSON array: the fields in which the two differ
  PRIMARY KEY (user_id, partition, offset)
) STRICT, WITHOUT ROWID;

-- Events that came late, on the users topic or on the late topic, of each user the newest 64: the states that they lead
-- from and to. A gap that they bridge is none, and they may be seen before it. They are of the late topic as far as it
-- was read.
CREATE TABLE late_events (
  user_id      INTEGER NOT NULL,
  from_version BLOB NOT NULL,
  to_version   BLOB NOT NULL,
  nth          INTEGER NOT NULL,   -- the order in which they were seen
  PRIMARY KEY (user_id, from_version, to_version)
) STRICT, WITHOUT ROWID;

-- Tombstones whose users are in no row any more, and may still be in free space of this file or in its write-ahead
-- log; no row when there are none.
CREATE TABLE erasures (
  partition    INTEGER PRIMARY KEY,
  first_offset INTEGER NOT NULL,   -- the first of them
  tombstones   INTEGER NOT NULL,   -- how many
  since        INTEGER NOT NULL    -- the time of the first, milliseconds since 1970, UTC
) STRICT;

-- Users whose last records on a partition have a framing, a schema or a type of event that this build does not know:
-- what is known of them may be outdated. Their rows in the other tables are of the records before.
CREATE TABLE unknown (
  user_id   INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  offset    INTEGER NOT NULL,      -- the first of these records
  since     INTEGER NOT NULL,      -- its Kafka timestamp: milliseconds since 1970, UTC
  PRIMARY KEY (user_id, partition)
) STRICT, WITHOUT ROWID;

-- The newest changes in the order of their commits, so that a subscriber who was away misses none and a user has a
-- history, with the deliveries that changed nobody. Of a user who was forgotten, those before are removed.
CREATE TABLE changes (
  seq          INTEGER PRIMARY KEY,
  partition    INTEGER NOT NULL,
  offset       INTEGER NOT NULL,   -- the record
  user_id      INTEGER NOT NULL,
  -- 0 a change; a delivery that changed nobody: 1 late, 2 late and on the topic of late deliveries, 3 of the winner's
  -- second, 4 repeated.
  kind         INTEGER NOT NULL,
  seen_at      INTEGER NOT NULL,   -- what the table was as of with this record: milliseconds since 1970, UTC
  gap_fields   TEXT,               -- JSON array, where the record showed a gap: as fields in gaps
  gaps_closed  TEXT,               -- JSON array of [partition, offset]: the gaps that the record has closed
  -- The event that wins with this record, or that changed nobody; NULL when the user was forgotten.
  event        BLOB,
  forgotten_at INTEGER,
  unknown_since INTEGER,           -- as in unknown, with this record
  -- What there was of the user before: 0 nothing, 1 what could not be read, 2 a user with what follows.
  before            INTEGER NOT NULL,
  before_state      TEXT,
  before_is_agent   INTEGER,
  before_priv_group INTEGER
) STRICT;

-- The changes of each user, up to changes_indexed.
CREATE TABLE changes_of (
  user_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (user_id, seq)
) STRICT, WITHOUT ROWID;

-- The same with the changes after that.
CREATE VIEW user_changes AS
  SELECT user_id, seq FROM changes_of
  UNION ALL
  SELECT user_id, seq FROM changes
    WHERE seq > coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'changes_indexed'), 0);

-- Records that could not be read: they stay in the log, and are listed here (the newest of them).
CREATE TABLE unreadable (
  partition INTEGER NOT NULL,
  offset    INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  PRIMARY KEY (partition, offset)
) STRICT, WITHOUT ROWID;

-- Ids of schemas that records name and that were not known. Once one is, the table is made again from the log.
CREATE TABLE unnamed_ids (
  id INTEGER PRIMARY KEY
) STRICT;
";

/// The indexes without which no record is folded and no change is read. Those that look-ups and filters need are made
/// later ([`super::indexes`]).
const INDEXES: &str = "
CREATE INDEX gaps_by_receipt ON gaps (received_at);
CREATE INDEX unknown_by_position ON unknown (partition, offset);
CREATE INDEX seconds_by_position ON seconds (partition, offset);
CREATE INDEX forgotten_by_position ON forgotten (partition, winner_offset);
";

pub(crate) fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

pub(crate) fn create_indexes(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(INDEXES)
}
