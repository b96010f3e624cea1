//! Reads the dead letters that are on the topic now.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use domain::{Letter, Position, UnixMillis};
use kafka::ClientOptions;
use kafka::publish::Outgoing;
use kafka::scan;

use service::registry::Schemas;

use crate::reader::{Error, Reader};
use crate::{SILENCE_MAX, Table};

/// A dead letter with its position.
#[derive(Clone, Debug)]
pub struct Kept {
    pub letter: Letter,
    /// The record's key, which identifies the letter.
    pub key: String,
    pub position: Position,
}

/// Returns the dead letters of `topic`, ordered by receipt: the last of each key, without removed ones. Blocks.
///
/// # Errors
/// When the topic cannot be read to its end.
pub fn list(options: &ClientOptions, topic: &str) -> Result<Vec<Kept>, scan::Error> {
    let ranges = scan::ranges(options, topic, SILENCE_MAX)?;
    let mut letters: BTreeMap<Vec<u8>, Kept> = BTreeMap::new();
    scan::scan(options, topic, &ranges, SILENCE_MAX, |record| {
        let key = record.key().unwrap_or_default().to_vec();
        match record.value() {
            Some(value) => {
                let letter = Letter::from_record(value, |name| record.header(name), record.timestamp());
                let name = String::from_utf8_lossy(&key).into_owned();
                letters.insert(key, Kept { letter, key: name, position: record.position() });
            }
            None => drop(letters.remove(&key)),
        }
        ControlFlow::Continue(())
    })?;
    let mut list: Vec<Kept> = letters.into_values().collect();
    list.sort_by_key(|kept| (kept.letter.received_at, kept.position));
    Ok(list)
}

/// Returns the table of the whole `topic` of users, by which the events of letters are judged. Blocks.
///
/// # Errors
/// When the topic cannot be read to its end.
pub fn table(options: &ClientOptions, topic: &str, schemas: &Schemas) -> Result<Table, Error> {
    let (mut table, mut reader) = (Table::default(), Reader::new(schemas));
    let ranges = scan::ranges(options, topic, SILENCE_MAX)?;
    let scanned = scan::scan(options, topic, &ranges, SILENCE_MAX, |record| {
        reader.take(|schemas, ids| {
            let record = schemas.translated_blocking(ids, record.to_record())?;
            // The table counts what cannot be read.
            let _counted = table.take(&record);
            Ok(())
        })
    });
    reader.end(scanned)?;
    Ok(table)
}

impl Kept {
    /// Returns the tombstone that removes the letter from `topic`.
    pub fn removal(&self, topic: &str, now: UnixMillis) -> Outgoing {
        Outgoing {
            topic: topic.to_owned(),
            key: self.key.clone().into_bytes(),
            value: None,
            headers: Vec::new(),
            timestamp: now,
            partition: Some(self.position.partition),
        }
    }
}
