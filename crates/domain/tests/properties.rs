//! Properties of the wire format, over arbitrary events.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::collections::BTreeMap;

use domain::{Facts, UnixMillis, User, UserEvent, UserId, wire};
use proptest::collection::vec;
use proptest::prelude::*;

fn user_id() -> UserId {
    UserId::new(180).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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
