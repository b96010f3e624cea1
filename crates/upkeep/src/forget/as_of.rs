//! Chooses the time of a tombstone. A tombstone older than the user's newest event would count as a late delivery, and
//! the keeper would bring the user back.

use domain::UnixMillis;
use domain::roll::Roll;

use super::Error;

/// Returns the time of a tombstone that wins against `newest`: `asked`, or without it the later of `now` and the time
/// of the newest record, because the vendor's clock may be ahead. (An event ahead of its own receipt does not count:
/// any marker ranks above it.)
///
/// # Errors
/// [`Error::Future`] when the time that is asked for is after `now`: later changes would be superseded without a word.
/// [`Error::Outdated`] when it would lose.
pub(super) fn as_of(asked: Option<UnixMillis>, now: UnixMillis, newest: Option<&Roll>) -> Result<UnixMillis, Error> {
    match (asked, newest) {
        (None, newest) => Ok(newest.map_or(now, |newest| newest.marker_time(now))),
        (Some(at), _) if at > now => Err(Error::Future { at, now }),
        (Some(at), Some(newest)) if !newest.is_forgotten_by(at) => {
            Err(Error::Outdated { at, newest: newest.rank().time() })
        }
        (Some(at), _) => Ok(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;
    use crate::fixture::{record, tombstone};
    use domain::{Facts, Position, User, UserEvent, UserId};

    /// The time of receipt of every event; the times of the table are seconds.
    const RECEIVED: UnixMillis = UnixMillis::from_millis(0);

    fn seconds(at: i64) -> UnixMillis {
        UnixMillis::from_millis(at * 1_000)
    }

    fn event(is_changed: bool, at: i64) -> Roll {
        let user = User::new(UserId::new(1).unwrap());
        let event = UserEvent::new(Facts {
            old: is_changed.then(|| user.clone()),
            new: user,
            timestamp: seconds(at).to_string(),
            received_at: RECEIVED,
            password_changed: false,
            extra: Default::default(),
            omitted: Vec::new(),
        });
        state(&record(Position { partition: 0, offset: 0 }, &event.unwrap()))
    }

    fn state(record: &kafka::Record) -> Roll {
        let mut table = Table::default();
        let (user_id, _) = table.take(record).unwrap();
        table.key(user_id).unwrap().roll.clone()
    }

    #[test]
    fn a_tombstone_is_as_new_as_it_takes_or_refused() {
        let now = 100;
        let changed = |at| Some(event(true, at));
        let forgotten = |at| {
            let marker = tombstone(Position { partition: 0, offset: 0 }, 1, 0);
            let headers = vec![("ce_time".to_owned(), seconds(at).to_string().into_bytes())];
            Some(state(&kafka::Record { headers, ..marker }))
        };
        // Within the quarter of an hour that clocks may differ by, and beyond.
        let (fast, ahead) = (200, 2_000);
        let table = [
            ("nothing is known", None, None, Some(now)),
            ("nothing is known, and a time is asked for", Some(50), None, Some(50)),
            ("the newest is past", None, changed(99), Some(now)),
            ("the newest is ahead of now", None, changed(fast), Some(fast)),
            ("the newest is ahead of its own receipt", None, changed(ahead), Some(now)),
            ("a creation ahead of now", None, Some(event(false, fast)), Some(fast)),
            ("asked for in the future", Some(101), None, None),
            ("asked for in the future, after the newest", Some(201), changed(fast), None),
            ("asked for now, before the newest", Some(100), changed(fast), None),
            ("asked for now", Some(100), changed(99), Some(100)),
            ("asked for after the newest", Some(60), changed(50), Some(60)),
            ("asked for at the newest", Some(50), changed(50), Some(50)),
            ("asked for before the newest", Some(49), changed(50), None),
            ("a user is created before all else", Some(49), Some(event(false, 50)), Some(49)),
            ("forgotten before", None, forgotten(50), Some(now)),
            ("forgotten ahead", None, forgotten(200), Some(200)),
            ("asked for before it was forgotten", Some(49), forgotten(50), None),
        ];
        for (what, asked, newest, expected) in table {
            let at = as_of(asked.map(seconds), seconds(now), newest.as_ref());
            assert_eq!(at.ok(), expected.map(seconds), "{what}");
        }
    }
}
