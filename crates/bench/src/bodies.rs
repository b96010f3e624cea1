//! Webhooks, all different: the vendor's sample of a change with the numbers of each written in place.

use std::net::Ipv4Addr;
use std::ops::Range;

use domain::{UnixMillis, UserEvent};
use ingest::pipeline;
use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};
use serde_json::{Value, json};

use crate::Outcome;

/// The vendor's sample of *User Changed*.
const SAMPLE: &str = include_str!("../../../schemas/golden/v1/user-changed.json");
/// The digits that stand for each number in the template.
const USER: &str = "1111111111";
const OLD_NUMBER: &str = "222222222222";
const NEW_NUMBER: &str = "333333333333";
const OLD_ROUND: &str = "444444";
const NEW_ROUND: &str = "555555";
const TIMESTAMP: &str = "2017-06-06T10:44:18Z";
/// The least user and the least round have as many digits as the greatest: every body has the same length.
const USER_MIN: u64 = 1_000_000_000;
const ROUND_MIN: u64 = 100_000;
/// What a reader of `/changes` finds the number of a webhook by.
pub(crate) const NUMBER_FIELD: &[u8] = b"\"contactPhone\":\"";
pub(crate) const NUMBER_DIGITS: usize = NEW_NUMBER.len();
/// The first webhooks occurred so long ago, so that none of a long run is ahead of the clock.
const HEAD_START_MS: i64 = 24 * 3600 * 1000;

/// Writes the webhook of a number: the users in turn, each time round with the next change of each.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    template: Vec<u8>,
    places: Vec<(Range<usize>, Field)>,
    users: u64,
    first: UnixMillis,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    User,
    OldNumber,
    NewNumber,
    OldRound,
    NewRound,
    Timestamp,
}

impl Bodies {
    /// Returns the webhooks of so many users.
    ///
    /// # Errors
    /// If the vendor's sample is not what it was.
    pub(crate) fn new(users: u64) -> Outcome<Self> {
        let mut sample: Value = serde_json::from_str(SAMPLE)?;
        sample["timestamp"] = json!(TIMESTAMP);
        // But for its numbers: the new state of a webhook is the old one of the next.
        sample["old"] = sample["new"].clone();
        for (state, number, round) in [("old", OLD_NUMBER, OLD_ROUND), ("new", NEW_NUMBER, NEW_ROUND)] {
            let user = &mut sample[state];
            user["userId"] = serde_json::from_str(USER)?;
            user["username"] = json!(format!("agent{USER}"));
            user["email"] = json!(format!("agent{USER}@callcenter.example"));
            user["contactPhone"] = json!(number);
            user["hourly"] = serde_json::from_str(round)?;
        }
        let template = sample.to_string();
        let fields = [
            (USER, Field::User),
            (OLD_NUMBER, Field::OldNumber),
            (NEW_NUMBER, Field::NewNumber),
            (OLD_ROUND, Field::OldRound),
            (NEW_ROUND, Field::NewRound),
            (TIMESTAMP, Field::Timestamp),
        ];
        let places = fields.into_iter().flat_map(|(digits, field)| {
            template.match_indices(digits).map(move |(at, _)| (at..at + digits.len(), field)).collect::<Vec<_>>()
        });
        let (places, first) = (places.collect(), UnixMillis::from_millis(now().millis() - HEAD_START_MS));
        Ok(Self { places, template: template.into_bytes(), users: users.max(1), first })
    }

    /// Returns the length of every webhook.
    pub(crate) fn length(&self) -> usize {
        self.template.len()
    }

    /// Appends the webhook of a number.
    pub(crate) fn write(&self, number: u64, to: &mut Vec<u8>) {
        let from = to.len();
        to.extend_from_slice(&self.template);
        let (round, user) = (number / self.users, USER_MIN + number % self.users);
        let occurred_at = self.first.millis() / 1000 * 1000 + i64::try_from(round).unwrap_or(i64::MAX / 2000) * 1000;
        for (place, field) in &self.places {
            let field_bytes = &mut to[from..][place.clone()];
            match field {
                Field::User => digits(field_bytes, user),
                Field::OldNumber => digits(field_bytes, number.saturating_sub(self.users)),
                Field::NewNumber => digits(field_bytes, number),
                Field::OldRound => digits(field_bytes, ROUND_MIN + round),
                Field::NewRound => digits(field_bytes, ROUND_MIN + round + 1),
                Field::Timestamp => {
                    field_bytes.copy_from_slice(UnixMillis::from_millis(occurred_at).to_string().as_bytes());
                }
            }
        }
    }

    /// Appends a whole request with the webhook of a number.
    pub(crate) fn write_request(&self, path: &str, number: u64, to: &mut Vec<u8>) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.length()
        );
        to.extend_from_slice(head.as_bytes());
        self.write(number, to);
    }

    /// Returns the event of a number, as ingest reads it.
    ///
    /// # Errors
    /// If ingest would refuse it.
    pub(crate) fn event(&self, number: u64) -> Outcome<UserEvent> {
        let mut body = Vec::new();
        self.write(number, &mut body);
        let request = RawRequest { query: String::new(), peer: Ipv4Addr::LOCALHOST.into(), forwarded_for: Vec::new() };
        let sender = authenticate(&request, &SenderPolicy::default()).map_err(|refused| format!("{refused:?}"))?;
        let event = pipeline::accept(&sender.sent(body.into()), &BodyPolicy::default(), now());
        Ok(event.map_err(|refused| format!("{refused:?}"))?)
    }
}

/// Writes a number with leading zeros.
fn digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

/// Returns the present time.
pub(crate) fn now() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "a program's edge")]
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_webhook_is_an_event_of_its_own_that_is_built_on_the_one_before() {
        let bodies = Bodies::new(10).unwrap();
        let events = [3, 13, 23].map(|number| bodies.event(number).unwrap());
        assert!(events.iter().all(|event| event.user_id == events[0].user_id));
        assert_eq!(events[1].parent, Some(events[0].version));
        assert_eq!(events[2].parent, Some(events[1].version));
        assert!(events.is_sorted_by_key(|event| event.occurred_at));
        assert_ne!(bodies.event(4).unwrap().user_id, events[0].user_id);
    }

    #[test]
    fn the_number_is_where_a_reader_looks_for_it() {
        let event = Bodies::new(10).unwrap().event(1234).unwrap();
        assert_eq!(event.new.contact_phone.as_deref(), Some("000000001234"));
        assert_eq!(NUMBER_DIGITS, 12);
    }
}
