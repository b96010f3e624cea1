//! An event as the table keeps it: with a checksum behind it. SQLite notices a page that is none, but no letter that
//! has become another.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// An event that is written with its checksum, or was read and had the right one.
#[derive(Debug)]
pub(super) struct Sealed<E>(pub(super) E);

/// The checksum is that of other bytes.
#[derive(Debug, thiserror::Error)]
#[error("the checksum of a stored event is wrong")]
struct Broken;

impl ToSql for Sealed<&[u8]> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let mut bytes = Vec::with_capacity(self.0.len() + size_of::<u32>());
        seal(self.0, &mut bytes);
        Ok(bytes.into())
    }
}

/// Appends an event and its checksum.
pub(crate) fn seal(event: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(event);
    to.extend_from_slice(&crc32fast::hash(event).to_be_bytes());
}

impl FromSql for Sealed<Vec<u8>> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (event, checksum) = value.as_blob()?.split_last_chunk().ok_or_else(broken)?;
        if crc32fast::hash(event).to_be_bytes() != *checksum {
            return Err(broken());
        }
        Ok(Self(event.to_vec()))
    }
}

fn broken() -> FromSqlError {
    FromSqlError::Other(Box::new(Broken))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_letter_that_became_another_is_noticed() {
        let connection = Connection::open_in_memory().unwrap();
        let sealed =
            |event: &[u8]| -> Vec<u8> { connection.query_row("SELECT ?1", [Sealed(event)], |row| row.get(0)).unwrap() };
        let read = |bytes: &[u8]| -> rusqlite::Result<Sealed<Vec<u8>>> {
            connection.query_row("SELECT ?1", [bytes], |row| row.get(0))
        };
        for event in [&b"an event"[..], b""] {
            let mut bytes = sealed(event);
            assert_eq!(read(&bytes).unwrap().0, event);
            for place in 0..bytes.len() {
                bytes[place] ^= 1;
                assert!(read(&bytes).is_err(), "{place}");
                bytes[place] ^= 1;
            }
        }
        assert!(read(b"abc").is_err());
    }
}
