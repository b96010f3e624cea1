//! Properties of the order, the fold and the wire format, over arbitrary histories of one user.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeMap;

use domain::fold::{self, Effect, KeyState, RecordHead};
use domain::{EventId, EventType, Facts, Head, UnixMillis, User, UserEvent, UserId, Version, wire};
use proptest::collection::vec;
use proptest::prelude::*;

fn user_id() -> UserId {
    UserId::new(180).unwrap()
}

/// The history of a user with distinct times: created, then changed, perhaps forgotten at some point.
fn history() -> impl Strategy<Value = Vec<RecordHead>> {
    vec((1..1_000_i64, any::<[u8; 16]>(), 0..10_u8), 1..12).prop_map(|steps| {
        let (mut at, mut parent, mut records) = (0, None, Vec::new());
        for (wait, version, dice) in steps {
            at += wait;
            let occurred_at = UnixMillis::from_millis(at);
            if dice == 0 {
                records.push(RecordHead::Forgotten { at: occurred_at });
                continue;
            }
            let version = Version::from_bytes(version);
            let kind = if parent.is_none() { EventType::Created } else { EventType::Changed };
            let event_id = EventId::derive(user_id(), kind, &at.to_string(), version, parent);
            records.push(RecordHead::Event(Head {
                user_id: user_id(),
                kind,
                occurred_at,
                version,
                parent,
                event_id,
                received_at: occurred_at,
            }));
            parent = Some(version);
        }
        records
    })
}

/// A history, and its arrivals: every record at least once, some again, in any order.
fn arrivals() -> impl Strategy<Value = (Vec<RecordHead>, Vec<RecordHead>)> {
    history().prop_flat_map(|history| {
        let repeated = vec(0..history.len(), 0..history.len() * 2);
        let all = repeated.prop_map({
            let history = history.clone();
            move |again| {
                history.iter().copied().chain(again.into_iter().map(|index| history[index])).collect::<Vec<_>>()
            }
        });
        (Just(history), all.prop_shuffle())
    })
}

fn fold_from(state: Option<KeyState>, first_offset: i64, records: &[RecordHead]) -> Option<KeyState> {
    (first_offset..).zip(records).fold(state, |state, (offset, record)| Some(fold::apply(state, offset, *record).0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any permutation and duplication of records with distinct times folds to the same winner.
    #[test]
    fn the_order_of_arrival_does_not_matter((history, arrivals) in arrivals()) {
        let lived = fold_from(None, 0, &history).unwrap();
        let arrived = fold_from(None, 0, &arrivals).unwrap();
        prop_assert_eq!(arrived.winner, lived.winner);
    }

    /// Folding a prefix and then the rest is folding the whole; reading some of it twice changes nothing.
    #[test]
    fn a_fold_can_stop_anywhere_and_go_on((_, arrivals) in arrivals(), cut in any::<prop::sample::Index>(), back in 0..5_usize) {
        let cut = cut.index(arrivals.len() + 1);
        let again = cut.saturating_sub(back);
        let prefix = fold_from(None, 0, &arrivals[..cut]);
        let resumed = fold_from(prefix, i64::try_from(again).unwrap(), &arrivals[again..]);
        prop_assert_eq!(resumed, fold_from(None, 0, &arrivals));
    }

    /// Once the winner of a dirty key is appended again, its last record alone rebuilds the state: compaction is
    /// harmless.
    #[test]
    fn a_repaired_key_survives_compaction((_, mut arrivals) in arrivals()) {
        let state = fold_from(None, 0, &arrivals).unwrap();
        if !state.is_clean() {
            arrivals.push(state.winner);
        }
        let repaired = fold_from(None, 0, &arrivals).unwrap();
        prop_assert!(repaired.is_clean());
        let last = arrivals.len() - 1;
        let rebuilt = fold_from(None, i64::try_from(last).unwrap(), &arrivals[last..]).unwrap();
        prop_assert_eq!(rebuilt, repaired);
    }

    /// A record is stale exactly when it leaves the winner as it was and is not the winner.
    #[test]
    fn effects_tell_the_truth((_, arrivals) in arrivals()) {
        let mut state: Option<KeyState> = None;
        for (offset, record) in (0..).zip(&arrivals) {
            let (next, effect) = fold::apply(state, offset, *record);
            prop_assert_eq!(next.last_offset, offset);
            prop_assert_eq!(next.winner_offset == offset, effect.replaces_payload());
            match effect {
                Effect::Newer { .. } | Effect::Forgotten => prop_assert_eq!(next.winner, *record),
                Effect::Duplicate => prop_assert_eq!(Some(next.winner), state.map(|state| state.winner)),
                Effect::Stale => {
                    prop_assert_eq!(Some(next.winner), state.map(|state| state.winner));
                    prop_assert_ne!(next.winner, *record);
                }
            }
            state = Some(next);
        }
    }

    #[test]
    fn every_event_reads_back(event in event()) {
        let bytes = wire::encode(&event);
        prop_assert_eq!(wire::decode_head(&bytes).unwrap(), event.head());
        let current = wire::decode_current(&bytes).unwrap();
        let facts = (current.occurred_at, current.event_id, current.received_at);
        prop_assert_eq!(facts, (event.occurred_at, event.event_id, event.received_at));
        prop_assert_eq!(serde_json::to_value(&current.user).unwrap(), serde_json::to_value(&event.new).unwrap());
        prop_assert_eq!(wire::decode(&bytes).unwrap(), event);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_not_a_panic(mut bytes in vec(any::<u8>(), 0..300), framed in any::<bool>()) {
        if framed {
            bytes.splice(0..0, wire::encode(&simple_event())[..10].to_vec());
        }
        let _ = (wire::decode(&bytes).is_ok(), wire::decode_head(&bytes).is_ok(), wire::decode_current(&bytes).is_ok());
    }
}

fn simple_event() -> UserEvent {
    UserEvent::new(Facts {
        old: None,
        new: User::new(user_id()),
        timestamp: "2017-06-06T10:53:43Z".into(),
        received_at: UnixMillis::from_millis(0),
        password_changed: false,
        extra: BTreeMap::new(),
        omitted: Vec::new(),
    })
    .unwrap()
}

fn user() -> impl Strategy<Value = User> {
    let text = || proptest::option::of("\\PC{0,12}");
    let number = || proptest::option::of(-domain::SAFE_INTEGER_MAX..=domain::SAFE_INTEGER_MAX);
    let extra = proptest::collection::btree_map("[a-z]{1,6}", prop_oneof!["[0-9]{1,5}", "\"[a-z]{0,5}\""], 0..3);
    (
        (text(), text(), text(), text(), text(), text()),
        (number(), number(), number(), number(), number()),
        (proptest::option::of(any::<bool>()), proptest::option::of(vec("[a-z ]{0,9}", 0..3)), extra),
    )
        .prop_map(|((a, b, c, d, e, f), (g, h, i, j, k), (is_agent, message_lists, extra))| User {
            contact_phone: a.clone(),
            email: b.clone(),
            extension: c.clone(),
            hourly: g,
            is_agent,
            message_lists,
            mobile_phone: d.clone(),
            mobile_project_id: h,
            monthly: i,
            name: e.clone(),
            outbound_phone: f.clone(),
            priv_group: j,
            redistribution: k,
            register_transport: a,
            sample_rate: b,
            state: c,
            username: d,
            extra,
            ..User::new(user_id())
        })
}

fn event() -> impl Strategy<Value = UserEvent> {
    (proptest::option::of(user()), user(), any::<bool>(), 0..4_102_444_800_000_i64).prop_map(
        |(old, new, password_changed, at)| {
            let extra = BTreeMap::from([("source".to_owned(), "\"test\"".to_owned())]);
            let omitted = if password_changed { vec!["hourly".to_owned()] } else { Vec::new() };
            let timestamp = UnixMillis::from_millis(at).to_string();
            let received_at = UnixMillis::from_millis(at + 7);
            UserEvent::new(Facts { old, new, timestamp, received_at, password_changed, extra, omitted }).unwrap()
        },
    )
}
