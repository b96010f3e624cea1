//! How a raw Kafka record becomes what the fold reads. The one definition, used by every reader of the log.

use crate::fold::RecordHead;
use crate::wire::{self, DecodeError};
use crate::{UnixMillis, UserId, UserIdError};

/// Why a record of `vcc.users` cannot be read. It is counted, kept where it is, and the reader goes on.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("record has no key")]
    NoKey,
    #[error("key is no user id")]
    Key(#[source] UserIdError),
    #[error("value is no user event")]
    Value { key: UserId, source: DecodeError },
    #[error("key says user {key}, value says user {value}")]
    OtherUser { key: UserId, value: UserId },
}

impl Unreadable {
    /// Returns the user whose newest record such a record stands in front of: compaction keeps the last record of a key, whatever
    /// it holds. A value of a schema that this release does not know stands in front of nothing: a newer release writes such
    /// values while a cluster is being upgraded, and knows what it does.
    pub fn hides(&self) -> Option<UserId> {
        match self {
            Self::NoKey | Self::Key(_) => None,
            Self::Value { source: DecodeError::UnknownSchema(_) | DecodeError::UnknownType(_), .. } => None,
            Self::Value { key, .. } | Self::OtherUser { key, .. } => Some(*key),
        }
    }
}

/// Returns whose record this is and the head of it.
///
/// A record without a value forgets its user at `ce_time`, the header of that name, or at `timestamp`, the record's own, when
/// the header is missing or no time (a tombstone that another tool wrote).
///
/// # Errors
/// [`Unreadable`], by what is wrong with the record.
pub fn read(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    ce_time: Option<&[u8]>,
    timestamp: UnixMillis,
) -> Result<(UserId, RecordHead), Unreadable> {
    let key = UserId::from_key(key.ok_or(Unreadable::NoKey)?).map_err(Unreadable::Key)?;
    let Some(value) = value else {
        return Ok((key, RecordHead::Forgotten { at: dated(ce_time).unwrap_or(timestamp) }));
    };
    let head = wire::decode_head(value).map_err(|source| Unreadable::Value { key, source })?;
    if head.user_id != key {
        return Err(Unreadable::OtherUser { key, value: head.user_id });
    }
    Ok((key, RecordHead::Event(head)))
}

/// Returns the time that a `ce_time` header names, if it names one.
pub fn dated(ce_time: Option<&[u8]>) -> Option<UnixMillis> {
    let text = std::str::from_utf8(ce_time?).ok()?;
    UnixMillis::parse_iso8601(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(77);

    #[test]
    fn a_tombstone_is_dated_by_its_header_or_else_by_its_record() {
        let read = |ce_time: Option<&[u8]>| match read(Some(b"180"), None, ce_time, NOW) {
            Ok((_, RecordHead::Forgotten { at })) => at.millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(Some(b"1970-01-01T00:00:01Z")), 1000);
        assert_eq!(read(Some(b"then")), 77);
        assert_eq!(read(Some(&[0xff])), 77);
        assert_eq!(read(None), 77);
    }

    #[test]
    fn records_that_are_not_ours_are_told_apart() {
        assert!(matches!(read(None, None, None, NOW), Err(Unreadable::NoKey)));
        assert!(matches!(read(Some(b"x"), None, None, NOW), Err(Unreadable::Key(_))));
        assert!(matches!(read(Some(b"1"), Some(b"{}"), None, NOW), Err(Unreadable::Value { .. })));
        let golden = include_bytes!("../../../schemas/golden/v1/user-created.avro");
        assert!(matches!(read(Some(b"1"), Some(golden), None, NOW), Err(Unreadable::OtherUser { .. })));
        assert!(matches!(read(Some(b"180"), Some(golden), None, NOW), Ok((_, RecordHead::Event(_)))));
    }

    #[test]
    fn what_cannot_be_read_hides_the_user_of_its_key_unless_a_newer_release_wrote_it() {
        let golden = include_bytes!("../../../schemas/golden/v1/user-created.avro");
        let mut newer = golden.to_vec();
        newer[wire::MARKER.len()] ^= 1;
        assert_eq!(read(None, Some(b"{}"), None, NOW).unwrap_err().hides(), None);
        for (key, value, hidden) in [
            ("x", &b"{}"[..], None),
            ("180", b"{}", Some(180)),
            ("180", &golden[..20], Some(180)),
            ("1", golden, Some(1)),
            ("180", &newer, None),
        ] {
            let error = read(Some(key.as_bytes()), Some(value), None, NOW).unwrap_err();
            assert_eq!(error.hides().map(UserId::get), hidden, "{error}");
        }
    }
}
