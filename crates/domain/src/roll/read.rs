//! Reads the content of one record of `vcc.users`.

use xxhash_rust::xxh3::xxh3_64;

use super::Effect;
use super::join::{Member, Roll};
use super::second::{self, HeaderError};
use crate::headers::{CE_TIME, SECOND};
use crate::order::Rank;
use crate::wire::{self, DecodeError};
use crate::{EventId, Head, Position, UnixMillis, UserId, UserIdError};

/// A readable record of `vcc.users`: a state of its user that joins with the states of other records.
#[derive(Clone, Debug)]
pub struct Reading<'r> {
    pub user_id: UserId,
    pub position: Position,
    /// Kafka's timestamp of the record.
    pub timestamp: UnixMillis,
    says: Roll,
    /// The event of the record's value, as framed on the log; `None` when it has none and forgets the user.
    value: Option<(EventId, &'r [u8])>,
    /// The bytes of each event where there are several, the value's among them.
    payloads: Vec<(Member, &'r [u8])>,
    /// The number of header entries with another user or rank. They are not part of the set.
    pub ignored: usize,
}

/// The reason why a record cannot be read. The record is counted and left in place, and the reader continues.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("record has no key")]
    NoKey,
    #[error("key is not a user id")]
    Key(#[source] UserIdError),
    #[error("value is not a user event")]
    Value { key: UserId, source: DecodeError },
    #[error("key says user {key}, value says user {value}")]
    OtherUser { key: UserId, value: UserId },
    #[error("header {SECOND} is malformed")]
    Header { key: UserId, source: HeaderError },
    #[error("header {SECOND} carries an entry that is not a user event")]
    Entry { key: UserId, source: DecodeError },
}

impl Unread {
    /// Returns the user of the record, if its key is a user id.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::NoKey | Self::Key(_) => None,
            Self::Value { key, .. }
            | Self::OtherUser { key, .. }
            | Self::Header { key, .. }
            | Self::Entry { key, .. } => Some(*key),
        }
    }

    /// Returns the id of the schema that the record names and that is not known to be of user events.
    pub fn schema_id(&self) -> Option<u32> {
        match self {
            Self::Value { source: DecodeError::UnknownId(id), .. }
            | Self::Entry { source: DecodeError::UnknownId(id), .. } => Some(*id),
            _ => None,
        }
    }

    /// Returns the effect of the record on its user.
    pub fn effect(&self) -> Effect {
        if self.is_unknown() { Effect::Unknown } else { Effect::Unreadable }
    }

    /// Returns whether a later build or another writer may know the record: its framing, schema or event type is not
    /// known here. Otherwise its bytes are broken.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Value { source, .. } | Self::Entry { source, .. } => source.is_unknown(),
            Self::Header { source, .. } => matches!(source, HeaderError::Version(_)),
            Self::NoKey | Self::Key(_) | Self::OtherUser { .. } => false,
        }
    }
}

/// Reads the record at `position` from its key, its value, its headers by name, and its Kafka timestamp.
///
/// A record without a value forgets its user as of the header `ce_time`. If that header is missing or is not a time (a
/// tombstone written by another tool), `timestamp` applies.
///
/// A record whose timestamp equals its event's `receivedAt` is the delivery itself and carries no other event, so its
/// headers are not read. (librdkafka copies all headers of a record on the first access. That takes three times as long
/// as everything else that a rebuild reads of the record, and nearly all records are deliveries.)
///
/// # Errors
/// [`Unread`], by what is wrong with the record.
pub fn read<'r>(
    position: Position,
    key: Option<&[u8]>,
    value: Option<&'r [u8]>,
    header: impl Fn(&str) -> Option<&'r [u8]>,
    timestamp: UnixMillis,
) -> Result<Reading<'r>, Unread> {
    let user_id = UserId::from_key(key.ok_or(Unread::NoKey)?).map_err(Unread::Key)?;
    let Some(value) = value else {
        let at = dated(header(CE_TIME)).unwrap_or(timestamp);
        let says = Roll::forgotten(at, position);
        return Ok(Reading { user_id, position, timestamp, says, value: None, payloads: Vec::new(), ignored: 0 });
    };
    let head = wire::check(value).map_err(|source| Unread::Value { key: user_id, source })?;
    if head.user_id != user_id {
        return Err(Unread::OtherUser { key: user_id, value: head.user_id });
    }
    let (rank, member) = (Rank::of_event(&head), Member::new(&head, value, position));
    let mut reading = Reading {
        user_id,
        position,
        timestamp,
        says: Roll::event(rank, member),
        value: Some((head.event_id, value)),
        payloads: Vec::new(),
        ignored: 0,
    };
    if timestamp != head.received_at
        && let Some(entries) = header(SECOND)
    {
        reading.payloads.push((member, value));
        reading.take_entries(entries, rank)?;
    }
    Ok(reading)
}

/// Returns whether the record with this value and Kafka timestamp is certainly the delivery itself, whose headers say
/// nothing that its value does not. False for one whose schema is named by an id: only a registry knows it.
pub fn is_delivery(value: &[u8], timestamp: UnixMillis) -> bool {
    wire::decode_head(value).is_ok_and(|head| head.received_at == timestamp)
}

/// Returns the Kafka timestamp of a record that is appended at `now` with `winner` as its value and may carry other
/// events: any but the time of receipt, by which it would be taken for the delivery itself.
pub fn carrier_timestamp(winner: &Member, now: UnixMillis) -> UnixMillis {
    if now == winner.received_at { UnixMillis::from_millis(now.millis() + 1) } else { now }
}

/// Returns the time that a `ce_time` header names, if it names one.
pub fn dated(ce_time: Option<&[u8]>) -> Option<UnixMillis> {
    let text = std::str::from_utf8(ce_time?).ok()?;
    UnixMillis::parse_iso8601(text).ok()
}

impl<'r> Reading<'r> {
    fn take_entries(&mut self, header: &'r [u8], rank: Rank) -> Result<(), Unread> {
        let key = self.user_id;
        let entries = second::decode(header).map_err(|source| Unread::Header { key, source })?;
        for entry in entries {
            let head = wire::check(entry).map_err(|source| Unread::Entry { key, source })?;
            if head.user_id != key || Rank::of_event(&head) != rank {
                self.ignored += 1;
                continue;
            }
            let member = Member::new(&head, entry, self.position);
            self.says.join(&Roll::event(rank, member));
            self.payloads.push((member, entry));
        }
        Ok(())
    }

    /// Returns the state of the user after this record alone.
    #[inline]
    pub fn says(&self) -> &Roll {
        &self.says
    }

    /// Returns whether the record alone yields `state`: every event and copy, with the winner as the record's value.
    pub(super) fn yields(&self, state: &Roll) -> bool {
        let own = self.value.map(|(id, _)| id);
        self.says.is_same(state) && own == state.winner().map(|winner| winner.event_id)
    }

    /// Returns the value that carries this copy of an event, as framed on the log.
    #[inline]
    pub fn payload(&self, member: &Member) -> Option<&'r [u8]> {
        if self.payloads.is_empty() {
            let (_, value) = self.value?;
            return self.says.members().iter().any(|own| own.is_copy_of(member)).then_some(value);
        }
        self.payloads.iter().find(|(own, _)| own.is_copy_of(member)).map(|(_, value)| *value)
    }

    /// Returns the same reading with its value at another place, for one who applies it when the record is gone; `None`
    /// when the record has the header [`SECOND`].
    #[inline]
    pub fn moved<'v>(&self, value: &'v [u8]) -> Option<Reading<'v>> {
        let Self { user_id, position, timestamp, ref says, value: own, ref payloads, ignored } = *self;
        let value = own.map(|(id, _)| (id, value));
        payloads.is_empty().then(|| Reading {
            user_id,
            position,
            timestamp,
            says: says.clone(),
            value,
            payloads: Vec::new(),
            ignored,
        })
    }
}

impl Roll {
    /// Returns the state that the event in `value`, at `position`, gives by itself. A state that was stored as the
    /// values of its events is the join of these.
    ///
    /// # Errors
    /// [`DecodeError`] when the value is no user event.
    pub fn of_value(position: Position, value: &[u8]) -> Result<Self, DecodeError> {
        let head = wire::decode_head(value)?;
        Ok(Self::event(Rank::of_event(&head), Member::new(&head, value, position)))
    }
}

impl Member {
    /// Returns the copy of the event in `value` at `position`.
    fn new(head: &Head, value: &[u8], position: Position) -> Self {
        let Head { user_id: _, kind, occurred_at: _, version, parent, event_id, received_at } = *head;
        let bytes = xxh3_64(wire::unframed(value));
        Self { kind, version, parent, event_id, received_at, bytes, at: position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(77);
    const GOLDEN: &[u8] = include_bytes!("../../../../schemas/golden/v1/user-created.avro");
    const AT: Position = Position { partition: 0, offset: 3 };

    fn read_plain<'r>(key: Option<&[u8]>, value: Option<&'r [u8]>) -> Result<Reading<'r>, Unread> {
        read(AT, key, value, |_| None, NOW)
    }

    fn read_with<'r>(value: &'r [u8], second: &'r [u8]) -> Result<Reading<'r>, Unread> {
        read(AT, Some(b"180"), Some(value), |name| (name == SECOND).then_some(second), NOW)
    }

    #[test]
    fn a_tombstone_is_dated_by_its_header_or_else_by_its_record() {
        let time = |ce_time: Option<&'static [u8]>| {
            let header = |name: &str| ce_time.filter(|_| name == CE_TIME);
            read(AT, Some(b"180"), None, header, NOW).unwrap().says().rank().time().millis()
        };
        assert_eq!(time(Some(b"1970-01-01T00:00:01Z")), 1000);
        assert_eq!(time(Some(b"then")), 77);
        assert_eq!(time(Some(&[0xff])), 77);
        assert_eq!(time(None), 77);
    }

    #[test]
    fn unreadable_records_are_distinguished() {
        let mut later_schema = GOLDEN.to_vec();
        later_schema[wire::MARKER.len()] ^= 1;
        let broken = &GOLDEN[..20];
        // The head can be read, and the body cannot.
        let (cut, longer) = (&GOLDEN[..GOLDEN.len() - 20], [GOLDEN, &[0]].concat());
        for (key, value, user, unknown) in [
            (None, GOLDEN, None, false),
            (Some("x"), GOLDEN, None, false),
            (Some("180"), b"{}", Some(180), true),
            (Some("180"), broken, Some(180), false),
            (Some("180"), cut, Some(180), false),
            (Some("180"), &longer, Some(180), false),
            (Some("1"), GOLDEN, Some(1), false),
            (Some("180"), &later_schema, Some(180), true),
        ] {
            let error = read_plain(key.map(str::as_bytes), Some(value)).unwrap_err();
            assert_eq!((error.user_id().map(UserId::get), error.is_unknown()), (user, unknown), "{error}");
        }
        assert!(read_plain(Some(b"180"), Some(GOLDEN)).is_ok());
    }

    #[test]
    fn a_delivery_carries_nothing_whatever_its_header_says() {
        let received_at = wire::decode_head(GOLDEN).unwrap().received_at;
        let read_at = |timestamp| read(AT, Some(b"180"), Some(GOLDEN), |_| Some(b"broken".as_slice()), timestamp);
        assert!(read_at(received_at).is_ok() && is_delivery(GOLDEN, received_at));
        assert!(read_at(NOW).is_err() && !is_delivery(GOLDEN, NOW));
        assert!(!is_delivery(&GOLDEN[..9], received_at) && !is_delivery(&[0, 0, 0, 0, 1, 2], received_at));
    }

    #[test]
    fn a_moved_reading_says_the_same_and_gives_the_bytes_at_their_new_place() {
        let copy = GOLDEN.to_vec();
        let reading = read_plain(Some(b"180"), Some(GOLDEN)).unwrap();
        let moved = reading.moved(&copy).unwrap();
        assert!(moved.says().is_same(reading.says()) && moved.yields(reading.says()));
        assert_eq!(moved.payload(reading.says().winner().unwrap()), Some(copy.as_slice()));
        let forgets = read_plain(Some(b"180"), None).unwrap().moved(&[]).unwrap();
        assert!(forgets.says().rank().is_forgotten());
        let other = second::encode([GOLDEN].into_iter()).unwrap();
        assert!(read_with(GOLDEN, &other).unwrap().moved(&copy).is_none(), "it carries another event");
    }

    #[test]
    fn a_value_gives_back_the_state_that_its_record_gave() {
        let says = read_plain(Some(b"180"), Some(GOLDEN)).unwrap().says().clone();
        let restored = Roll::of_value(AT, GOLDEN).unwrap();
        assert!(restored.is_same(&says) && restored.position() == AT);
        assert!(Roll::of_value(AT, &GOLDEN[..20]).is_err());
    }

    #[test]
    fn a_header_that_cannot_be_read_makes_the_record_so() {
        let header = |entry: &[u8]| second::encode([entry].into_iter()).unwrap();
        let same = header(GOLDEN);
        assert_eq!(read_with(GOLDEN, &same).unwrap().ignored, 0);
        let other_rank = header(include_bytes!("../../../../schemas/golden/v1/user-changed.avro"));
        assert_eq!(read_with(GOLDEN, &other_rank).unwrap().ignored, 1);
        for (header, unknown) in
            [(&b"\x01\x01"[..], false), (&header(&GOLDEN[..20]), false), (b"\x02", true), (&header(b"{}"), true)]
        {
            assert_eq!(read_with(GOLDEN, header).unwrap_err().is_unknown(), unknown, "{header:?}");
        }
    }
}
