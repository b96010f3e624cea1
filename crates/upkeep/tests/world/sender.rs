//! The vendor: what happens to its users, and the deliveries that it repeats until they are answered with 200.

use std::collections::BTreeMap;

use domain::topics::RETRIES_MAX_MS;
use domain::{EventId, EventType, Facts, UnixMillis, User, UserEvent, UserId};

use crate::step::Lead;

const STATES: [&str; 4] = ["A", "B", "C", "D"];

/// An event at the vendor.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    user: UserId,
    from: Option<&'static str>,
    to: &'static str,
    kind: EventType,
    /// By the vendor's clock, which has seconds.
    occurred_at: i64,
    /// By the true clock.
    happened_at: i64,
    pub(crate) is_acknowledged: bool,
}

/// The vendor's account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vendor {
    states: BTreeMap<UserId, &'static str>,
    pub(crate) sent: Vec<Sent>,
}

pub(crate) fn user(number: u8) -> UserId {
    UserId::new(180 + i64::from(number)).unwrap()
}

impl Lead {
    fn millis(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Minutes => 10 * 60_000,
            Self::Hours => 2 * 3_600_000,
            Self::Years => 10 * 365 * 86_400_000,
        }
    }
}

impl Vendor {
    pub(crate) fn happen(&mut self, number: u8, to: u8, lead: Lead, now: i64) {
        let (user, to) = (user(number), STATES[usize::from(to) % STATES.len()]);
        let from = self.states.insert(user, to);
        let kind = if from.is_some() { EventType::Changed } else { EventType::Created };
        let sent = Sent::new(user, from, to, kind, now + lead.millis(), now);
        self.sent.push(sent);
    }

    /// Returns the event that is delivered, if the vendor has not given up by `now`. The greatest number is the last.
    pub(crate) fn delivery(&self, number: u8, now: i64) -> Option<usize> {
        let last = self.sent.len().checked_sub(1)?;
        let index = if number == u8::MAX { last } else { usize::from(number) % self.sent.len() };
        (now - self.sent[index].happened_at <= RETRIES_MAX_MS).then_some(index)
    }

    /// Returns the events that the vendor still delivers.
    pub(crate) fn pending(&self, now: i64) -> Vec<usize> {
        let is_pending = |sent: &Sent| !sent.is_acknowledged && now - sent.happened_at <= RETRIES_MAX_MS;
        (0..self.sent.len()).filter(|index| is_pending(&self.sent[*index])).collect()
    }
}

impl Sent {
    fn new(
        user: UserId,
        from: Option<&'static str>,
        to: &'static str,
        kind: EventType,
        occurred_at: i64,
        happened_at: i64,
    ) -> Self {
        Self { user, from, to, kind, occurred_at, happened_at, is_acknowledged: false }
    }

    /// Returns an event of a list of users, as of `now`.
    pub(crate) fn imported(number: u8, to: u8, now: i64) -> Self {
        let to = STATES[usize::from(to) % STATES.len()];
        Self::new(user(number), None, to, EventType::Imported, now, now)
    }

    /// Returns a change that another writer made.
    pub(crate) fn stray(number: u8, to: u8, lead: Lead, now: i64) -> Self {
        let to = STATES[usize::from(to) % STATES.len()];
        Self::new(user(number), Some("Z"), to, EventType::Changed, now + lead.millis(), now)
    }

    pub(crate) fn user(&self) -> UserId {
        self.user
    }

    /// Returns the second of the event.
    pub(crate) fn second(&self) -> i64 {
        self.occurred_at / 1_000
    }

    /// Returns the event as received at `now`.
    pub(crate) fn received(&self, now: i64) -> UserEvent {
        // Copies of one event write a number in two ways: its digest is the same, and its text is not.
        let rate = if now / 1_000 % 2 == 0 { "1.0" } else { "1.00" };
        let extra = BTreeMap::from([("rate".to_owned(), rate.to_owned())]);
        let state = |name: &str| User { name: Some(name.to_owned()), extra: extra.clone(), ..User::new(self.user) };
        let mut event = UserEvent::new(Facts {
            old: self.from.map(state),
            new: state(self.to),
            timestamp: UnixMillis::from_millis(self.occurred_at / 1_000 * 1_000).to_string(),
            received_at: UnixMillis::from_millis(now),
            password_changed: now / 1_000 % 2 == 0,
            extra: BTreeMap::new(),
            omitted: Vec::new(),
        })
        .unwrap();
        if self.kind == EventType::Imported {
            let UserEvent { user_id, version, parent, ref timestamp, .. } = event;
            event.kind = self.kind;
            event.event_id = EventId::derive(user_id, self.kind, timestamp, version, parent);
        }
        event
    }
}
