//! As of when a user is forgotten: a tombstone that is older than the user's newest event would be passed over like a late
//! delivery, and the keeper would bring the user back.

use std::ops::ControlFlow;

use domain::fold::{self, KeyState, RecordHead};
use domain::headers::CE_TIME;
use domain::order::{Order, compare};
use domain::{UnixMillis, UserId, record};
use kafka::placement::partition_for;
use kafka::{ClientOptions, scan};

use super::{Error, SILENCE_MAX};

/// Returns the newest record of the user, out of the partition that the user's key belongs to. Blocks.
pub(super) fn newest(
    kafka: &ClientOptions,
    topic: &str,
    user_id: UserId,
) -> Result<Option<RecordHead>, kafka::tail::Error> {
    let key = user_id.to_string();
    let mut ranges = scan::ranges(kafka, topic, SILENCE_MAX)?;
    let own = partition_for(key.as_bytes(), i32::try_from(ranges.len()).unwrap_or(i32::MAX));
    ranges.retain(|range| range.partition == own);
    let mut state: Option<KeyState> = None;
    scan::scan(kafka, topic, &ranges, SILENCE_MAX, |record| {
        if record.key() == Some(key.as_bytes())
            && let Ok((_, head)) =
                record::read(record.key(), record.value(), record.header(CE_TIME), record.timestamp())
        {
            state = Some(fold::apply(state, record.position().offset, head).0);
        }
        ControlFlow::Continue(())
    })?;
    Ok(state.map(|state| state.winner))
}

/// Returns when a record says that it happened.
pub(super) fn time(head: &RecordHead) -> UnixMillis {
    match head {
        RecordHead::Event(head) => head.occurred_at,
        RecordHead::Forgotten { at } => *at,
    }
}

/// Returns the time of a tombstone that wins against `newest`: `asked`, or when nothing is asked the later of `now` and the time
/// of the newest event, for the vendor's clock may be ahead.
///
/// # Errors
/// [`Error::Outdated`] when the time that is asked for would lose.
pub(super) fn as_of(
    asked: Option<UnixMillis>,
    now: UnixMillis,
    newest: Option<&RecordHead>,
) -> Result<UnixMillis, Error> {
    let at = asked.unwrap_or(now);
    let Some(newest) = newest else { return Ok(at) };
    match (compare(&RecordHead::Forgotten { at }, newest), asked) {
        (Order::Newer | Order::Same, _) => Ok(at),
        (Order::Stale, None) => Ok(time(newest)),
        (Order::Stale, Some(at)) => Err(Error::Outdated { at, newest: time(newest) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EventId, EventType, Head, Version};

    fn millis(at: i64) -> UnixMillis {
        UnixMillis::from_millis(at)
    }

    fn event(kind: EventType, at: i64) -> RecordHead {
        let (user_id, version) = (UserId::new(180).unwrap(), Version::from_bytes([1; 16]));
        let event_id = EventId::derive(user_id, kind, "then", version, None);
        RecordHead::Event(Head {
            user_id,
            kind,
            occurred_at: millis(at),
            version,
            parent: None,
            event_id,
            received_at: UnixMillis::from_millis(0),
        })
    }

    #[test]
    fn a_tombstone_is_as_new_as_it_takes_or_refused() {
        let now = 100;
        let changed = |at| Some(event(EventType::Changed, at));
        let forgotten = |at| Some(RecordHead::Forgotten { at: millis(at) });
        let table = [
            ("nothing is known", None, None, Some(now)),
            ("nothing is known, and a time is asked for", Some(50), None, Some(50)),
            ("the newest is past", None, changed(99), Some(now)),
            ("the newest is ahead", None, changed(200), Some(200)),
            ("asked for after the newest", Some(60), changed(50), Some(60)),
            ("asked for at the newest", Some(50), changed(50), Some(50)),
            ("asked for before the newest", Some(49), changed(50), None),
            ("a user is created before all else", Some(49), Some(event(EventType::Created, 50)), Some(49)),
            ("forgotten before", None, forgotten(50), Some(now)),
            ("forgotten ahead", None, forgotten(200), Some(200)),
            ("asked for before it was forgotten", Some(49), forgotten(50), None),
        ];
        for (what, asked, newest, expected) in table {
            let at = as_of(asked.map(millis), millis(now), newest.as_ref());
            assert_eq!(at.ok(), expected.map(millis), "{what}");
        }
    }
}
