//! The history of a simulated call centre: users are hired and change, and each change gives an event.
//!
//! Pure: equal [`Population`]s give equal histories, event by event, on every machine.

mod people;

use std::collections::BTreeMap;

use domain::{Facts, UnixMillis, User, UserEvent, UserId};
use jiff::tz::{Offset, TimeZone};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use people::Person;

/// The offset of the vendor's servers: Budapest in summer, as in its samples.
const VENDOR_OFFSET_HOURS: i8 = 2;
/// One in so many users has a creation stamped later than its first changes, as in the vendor's samples.
const LATE_STAMPED_CREATION_ONE_IN: u32 = 16;
/// The delay of such a stamp: nine minutes in the samples.
const LATE_STAMP_SECONDS: i64 = 9 * 60;

/// The parameters of a history.
#[derive(Clone, Debug)]
pub struct Population {
    pub seed: u64,
    pub users: u32,
    /// The identifier of the first user. The others follow it.
    pub first_user: UserId,
    /// When the first event occurs.
    pub start: UnixMillis,
    pub events_per_second: f64,
    /// Whether users set passwords. The vendor sends them only when bodies are encrypted.
    pub passwords: bool,
}

/// One event with the rest of its webhook.
#[derive(Clone, Debug)]
pub struct Notice {
    pub event: UserEvent,
    /// The name of the change, for people.
    pub what: &'static str,
    password: Option<String>,
}

/// The endless history of a population. Invariant: no two events of one user have the same second, so their order never
/// depends on the order of arrival.
#[derive(Debug)]
pub struct History {
    population: Population,
    rng: ChaCha8Rng,
    created: u64,
    known: Vec<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    newest: UserEvent,
    /// The second of the user's latest event by the simulation's clock. A creation may have another stamp.
    second: i64,
}

impl History {
    pub fn new(population: Population) -> Self {
        let known = (0..population.users.max(1)).map(|_| None).collect();
        Self { rng: ChaCha8Rng::seed_from_u64(population.seed), created: 0, known, population }
    }

    /// Returns the next event.
    pub fn advance(&mut self) -> Notice {
        let second = self.second_of(self.created);
        self.created += 1;
        let index = self.choose(second);
        match self.known[index].take() {
            None => self.hire(index, second),
            Some(known) => self.change(index, known, second),
        }
    }

    /// Yields the newest event of each user so far, ordered by identifier.
    pub fn newest(&self) -> impl Iterator<Item = &UserEvent> {
        self.known.iter().flatten().map(|known| &known.newest)
    }

    /// Returns the second in which an event occurs. It is a function of the event's number, so it does not drift.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a whole second of a simulated time"
    )]
    fn second_of(&self, number: u64) -> i64 {
        let since_start_ms = (number as f64 * 1000.0 / self.population.events_per_second) as i64;
        (self.population.start.millis() + since_start_ms).div_euclid(1000)
    }

    /// Chooses a user without an event in this second, or any user if all have one.
    fn choose(&mut self, second: i64) -> usize {
        let users = self.known.len();
        let picked = self.rng.random_range(0..users);
        let free = |index: &usize| self.known[*index].as_ref().is_none_or(|known| known.second < second);
        (picked..users).chain(0..picked).find(free).unwrap_or(picked)
    }

    fn hire(&mut self, index: usize, second: i64) -> Notice {
        let number = u32::try_from(index).expect("there are at most u32::MAX users");
        let id = UserId::new(self.population.first_user.get() + i64::from(number)).expect("checked with the arguments");
        let user = Person::draw(&mut self.rng).hired(id, &mut self.rng);
        let stamp =
            if number.is_multiple_of(LATE_STAMPED_CREATION_ONE_IN) { second + LATE_STAMP_SECONDS } else { second };
        self.remember(index, second, Facts { old: None, new: user, ..facts_at(stamp) }, "hired")
    }

    fn change(&mut self, index: usize, known: Known, second: i64) -> Notice {
        let second = second.max(known.second + 1);
        let old = known.newest.new;
        let (new, what) = people::changed(&old, self.population.passwords, &mut self.rng);
        let password_changed = what == people::PASSWORD;
        let facts = Facts { old: Some(old), new, password_changed, ..facts_at(second) };
        self.remember(index, second, facts, what)
    }

    fn remember(&mut self, index: usize, second: i64, facts: Facts, what: &'static str) -> Notice {
        let event = UserEvent::new(facts).expect("old and new are the same user, and the timestamp has an offset");
        self.known[index] = Some(Known { newest: event.clone(), second });
        let password = event.password_changed.then(|| people::password(&mut self.rng));
        Notice { event, what, password }
    }
}

impl Notice {
    /// Returns the webhook's body in clear text.
    pub fn body(&self) -> Vec<u8> {
        let mut new = self.event.new.to_json();
        if let Some(password) = &self.password {
            new.insert("password".to_owned(), json!(password));
        }
        let old = self.event.old.as_ref().map(|old| old.to_json());
        let body = Map::from_iter([
            ("old".to_owned(), json!(old)),
            ("new".to_owned(), Value::Object(new)),
            ("timestamp".to_owned(), json!(self.event.timestamp)),
        ]);
        Value::Object(body).to_string().into_bytes()
    }

    pub fn kind(&self) -> &'static str {
        self.event.kind.as_str()
    }
}

/// Returns facts of an event at that second. The caller sets the user.
fn facts_at(second: i64) -> Facts {
    let zone = TimeZone::fixed(Offset::constant(VENDOR_OFFSET_HOURS));
    let timestamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned_datetime(zone);
    Facts {
        old: None,
        new: User::new(UserId::new(0).expect("zero is an identifier")),
        timestamp: timestamp.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        received_at: UnixMillis::from_millis(second.saturating_mul(1000)),
        password_changed: false,
        extra: BTreeMap::new(),
        omitted: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::btree_map::Entry;

    use domain::roll::{self, Roll};
    use domain::{Position, wire};

    use super::*;
    use domain::EventType;
    use std::collections::{BTreeMap, BTreeSet};

    fn population(seed: u64, users: u32, events_per_second: f64) -> Population {
        Population {
            seed,
            users,
            first_user: UserId::new(1000).unwrap(),
            start: UnixMillis::from_millis(1_496_739_223_999),
            events_per_second,
            passwords: true,
        }
    }

    fn notices(population: Population, events: usize) -> Vec<Notice> {
        let mut history = History::new(population);
        (0..events).map(|_| history.advance()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_history() {
        let bodies = |seed| notices(population(seed, 20, 5.0), 200).iter().map(Notice::body).collect::<Vec<_>>();
        assert_eq!(bodies(7), bodies(7));
        assert_ne!(bodies(7), bodies(8));
    }

    #[test]
    fn each_event_of_a_user_is_built_on_the_one_before_and_stamped_after_it() {
        // 3 users at 100 events a second: far more than one event per user and second, so the stamps must spread.
        let mut last: BTreeMap<UserId, UserEvent> = BTreeMap::new();
        for notice in notices(population(1, 3, 100.0), 500) {
            let event = notice.event;
            let before = last.insert(event.user_id, event.clone());
            assert_eq!(event.old, before.as_ref().map(|before| before.new.clone()));
            if let Some(before) = before.filter(|before| before.kind == EventType::Changed) {
                assert!(before.occurred_at.millis() + 1000 <= event.occurred_at.millis());
            }
        }
        assert_eq!(last.len(), 3);
    }

    #[test]
    fn the_newest_event_by_the_order_is_the_last_one_in_any_order_of_arrival() {
        let mut history = History::new(population(2, 16, 50.0));
        let mut events: Vec<_> = (0..400).map(|_| history.advance().event).collect();
        events.reverse();
        let mut states: BTreeMap<UserId, Roll> = BTreeMap::new();
        for (offset, event) in (0..).zip(&events) {
            let (key, value) = (event.user_id.to_string(), wire::encode(event));
            let position = Position { partition: 0, offset };
            let reading =
                roll::read(position, Some(key.as_bytes()), Some(&value), |_| None, event.received_at).unwrap();
            match states.entry(event.user_id) {
                Entry::Vacant(vacant) => drop(vacant.insert(Roll::begin(&reading).0)),
                Entry::Occupied(mut state) => drop(state.get_mut().apply(&reading)),
            }
        }
        let newest: BTreeMap<_, _> = history.newest().map(|event| (event.user_id, Some(event.event_id))).collect();
        let winner = |state: Roll| state.winner().map(|winner| winner.event_id);
        assert_eq!(newest, states.into_iter().map(|(id, state)| (id, winner(state))).collect());
    }

    #[test]
    fn a_timestamp_is_written_as_the_vendor_writes_it() {
        let sent = notices(population(3, 1000, 1.0), 3);
        let stamps: Vec<_> = sent.iter().map(|notice| notice.event.timestamp.as_str()).collect();
        assert!(stamps.contains(&"2017-06-06T10:53:44+02:00"), "{stamps:?}");
    }

    #[test]
    fn a_password_is_in_the_body_only_and_only_when_enabled() {
        let sent = notices(population(4, 4, 1.0), 300);
        let with = sent.iter().filter(|notice| notice.event.password_changed);
        let mut count = 0;
        for notice in with {
            let body: Value = serde_json::from_slice(&notice.body()).unwrap();
            assert!(body["new"]["password"].is_string());
            assert!(body["old"].get("password").is_none());
            count += 1;
        }
        assert!(count > 0, "300 events of 4 users set a password now and then");
        let silent = notices(Population { passwords: false, ..population(4, 4, 1.0) }, 300);
        assert!(silent.iter().all(|notice| !notice.event.password_changed));
    }

    #[test]
    fn changes_are_varied_and_real() {
        let sent = notices(population(5, 8, 1.0), 400);
        let kinds: BTreeSet<_> = sent.iter().map(|notice| notice.what).collect();
        assert!(kinds.len() >= 10, "{kinds:?}");
        for notice in sent.iter().filter(|notice| notice.what != people::PASSWORD) {
            assert_ne!(Some(&notice.event.new), notice.event.old.as_ref(), "{}", notice.what);
        }
    }
}
