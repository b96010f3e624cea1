//! Every row of the table in the module's doc, and every fault with its place.

use super::*;
use crate::transport::{Plaintext, parse};
use domain::EventType;
use proptest::prelude::*;
use serde_json::json;

const NOW: UnixMillis = UnixMillis::from_millis(1_496_739_300_000);

fn read(body: &str) -> Result<UserEvent, Rejection> {
    parse(&Plaintext::received(body.as_bytes())).and_then(|delivery| validate(delivery, &[], NOW))
}

fn created(new: &str) -> Result<UserEvent, Rejection> {
    read(&format!(r#"{{"old":null,"new":{new},"timestamp":"2017-06-06T10:53:43+02:00"}}"#))
}

#[test]
fn the_vendors_samples_are_events() {
    let created = read(include_str!("../../../../../schemas/golden/v1/user-created.json")).unwrap();
    assert_eq!((created.kind, created.user_id.get()), (EventType::Created, 180));
    let changed = read(include_str!("../../../../../schemas/golden/v1/user-changed.json")).unwrap();
    assert_eq!(changed.kind, EventType::Changed);
    assert_eq!((changed.new.redistribution, changed.new.contact_phone.as_deref()), (Some(1), Some("")));
    assert!(changed.new.extra.is_empty() && changed.extra.is_empty());
    assert_eq!(changed.received_at, NOW);
}

#[test]
fn values_are_read_as_php_writes_them() {
    let plain =
        created(r#"{"userId":180,"privGroup":4,"isAgent":true,"extension":"189","messageLists":["a","b"]}"#).unwrap();
    let table = [
        r#"{"userid":180,"privGroup":"4","isAgent":1,"extension":189,"messageLists":{"0":"a","1":"b"}}"#,
        r#"{"userId":"180","privGroup":4,"isAgent":"1","extension":"189","messageLists":{"2":"a","10":"b"}}"#,
        r#"{"userid":"180","userId":180,"privGroup":"4","isAgent":"true","extension":"189","messageLists":["a","b"],
            "email":null}"#,
    ];
    for new in table {
        let read = created(new).unwrap();
        assert_eq!((&read.new, read.event_id), (&plain.new, plain.event_id), "{new}");
    }
}

#[test]
fn unknown_members_and_values_are_kept() {
    let event = read(
        r#"{"new":{"userId":1,"state":"on-leave","skills":[{"b":1,"a":2.50}]},"source":"test",
            "timestamp":"2017-06-06T10:53:43Z"}"#,
    )
    .unwrap();
    assert_eq!(event.new.state.as_deref(), Some("on-leave"));
    assert_eq!(event.new.extra["skills"], r#"[{"b":1,"a":2.50}]"#);
    assert_eq!(event.extra["source"], r#""test""#);
}

#[test]
fn amounts_with_a_fraction_are_counted() {
    let count = |new| fractional_amounts(&created(new).unwrap());
    assert_eq!(count(r#"{"userId":1,"hourly":1.0,"monthly":2e3,"x":1.5}"#), 0);
    assert_eq!(count(r#"{"userId":1,"hourly":1.5,"monthly":1e-9}"#), 2);
}

#[test]
fn a_body_that_is_not_an_event_is_refused_with_the_place() {
    let user = json!({"userId": 1});
    let at = "2017-06-06T10:53:43Z";
    let new = |member: &str, value: serde_json::Value| json!({"new": {"userId": 1, member: value}, "timestamp": at});
    let table = [
        (json!({}), "/new"),
        (json!({"new": null, "timestamp": at}), "/new"),
        (json!({"new": [], "timestamp": at}), "/new"),
        (json!({"new": {}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userId": null}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userId": "x"}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userid": -1}, "timestamp": at}), "/new/userid"),
        (json!({"new": {"userId": 1.5}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userId": 9_007_199_254_740_992_i64}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userId": "99999999999999999999"}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"userId": 1, "userid": 2}, "timestamp": at}), "/new/userid"),
        (json!({"new": user, "old": {"userId": 2}, "timestamp": at}), "/old/userId"),
        (json!({"new": user, "old": "x", "timestamp": at}), "/old"),
        (json!({"new": user}), "/timestamp"),
        (json!({"new": user, "timestamp": 1_496_739_223}), "/timestamp"),
        (json!({"new": user, "timestamp": "2017-06-06T10:53:43"}), "/timestamp"),
        (json!({"new": user, "timestamp": "yesterday"}), "/timestamp"),
        (new("name", json!({"a": 1})), "/new/name"),
        (new("name", json!(true)), "/new/name"),
        (json!({"new": {"userId": ""}, "timestamp": at}), "/new/userId"),
        (json!({"new": {"USERID": 1}, "timestamp": at}), "/new/USERID"),
        (json!({"New": user, "timestamp": at}), "/New"),
        (json!({"new": user, "OLD": user, "timestamp": at}), "/OLD"),
        (json!({"new": user, "old": "", "timestamp": at}), "/old"),
        (new("hourly", json!(true)), "/new/hourly"),
        (new("name", json!(false)), "/new/name"),
        (new("hourly", json!("1e3")), "/new/hourly"),
        (new("hourly", json!(1e300)), "/new/hourly"),
        (new("isAgent", json!(2)), "/new/isAgent"),
        (new("isAgent", json!([1])), "/new/isAgent"),
        (new("messageLists", json!("technical")), "/new/messageLists"),
        (new("messageLists", json!(["a", {}])), "/new/messageLists/1"),
        (new("messageLists", json!({"x/y": true})), "/new/messageLists/x~1y"),
    ];
    for (body, place) in table {
        match read(&body.to_string()) {
            Err(Rejection::NotAnEvent { pointer, reason }) => {
                assert_eq!(pointer, place, "{body}");
                assert!(!reason.is_empty() && !reason.contains("hunter2"));
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn each_member_in_another_case_is_named_the_required_ones_first() {
    let body = json!({"Old": null, "New": {"userId": 2103}, "Timestamp": "2026-01-02T03:04:05Z"}).to_string();
    let expected = "`New`: expected `new`, `Timestamp`: expected `timestamp`, `Old`: expected `old`";
    match read(&body) {
        Err(Rejection::NotAnEvent { pointer, reason }) => assert_eq!((&*pointer, &*reason), ("/New", expected)),
        other => panic!("{other:?}"),
    }
}

type Fields = Vec<(&'static str, serde_json::Value)>;

/// Returns fields of each type, each with a value or null.
fn fields() -> impl Strategy<Value = Fields> {
    let number = || proptest::option::of(-1_000_000..1_000_000_i64);
    let texts = proptest::option::of(proptest::collection::vec("[a-c]{0,2}", 0..12));
    let text = prop_oneof![Just(None), Just(Some(String::new())), "[0-9]{1,9}".prop_map(Some)];
    (number(), number(), proptest::option::of(0..2_i64), any::<Option<bool>>(), text, texts, "[1-9][0-9]{0,9}")
        .prop_map(|(wage, group, flag, agent, text, texts, digits)| {
            vec![
                ("monthly", json!(wage)),
                ("privGroup", json!(group)),
                ("redistribution", json!(flag)),
                ("isAgent", json!(agent)),
                ("name", json!(text)),
                ("messageLists", json!(texts)),
                ("extension", json!(digits)),
            ]
        })
}

fn with_id(fields: &[(&str, serde_json::Value)], id: serde_json::Value) -> serde_json::Value {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    fields.chain([("userId".to_owned(), id)]).collect::<serde_json::Map<_, _>>().into()
}

/// Returns another spelling of a field's value.
fn spell(name: &str, value: &serde_json::Value, choice: usize) -> serde_json::Value {
    let pick = |spellings: Vec<serde_json::Value>| spellings[choice % spellings.len()].clone();
    match value {
        serde_json::Value::Null if matches!(name, "name" | "extension") => {
            pick(vec![json!(null), json!([]), json!({})])
        }
        serde_json::Value::Null if name == "messageLists" => pick(vec![json!(null), json!(""), json!(false)]),
        serde_json::Value::Null if matches!(name, "isAgent" | FLAG) => {
            pick(vec![json!(null), json!(""), json!([]), json!({})])
        }
        serde_json::Value::Null => pick(vec![json!(null), json!(""), json!(false), json!([]), json!({})]),
        serde_json::Value::Bool(is) => {
            let number = i32::from(*is);
            let text = number.to_string();
            pick(vec![json!(is), json!(number), json!(f64::from(number)), json!(text), json!(is.to_string())])
        }
        serde_json::Value::Number(number) => {
            let integer = number.as_i64().unwrap();
            let spelled = format!("{integer}.00");
            let mut all = vec![json!(integer), json!(integer.to_string()), serde_json::from_str(&spelled).unwrap()];
            if name == FLAG {
                all.push(json!(integer == 1));
            }
            pick(all)
        }
        serde_json::Value::String(text) if name == "extension" => {
            pick(vec![json!(text), serde_json::from_str(text).unwrap()])
        }
        serde_json::Value::Array(items) => {
            let keyed = items.iter().enumerate().map(|(index, item)| (format!("{}", 3 * index), item.clone()));
            pick(vec![json!(items), keyed.rev().collect::<serde_json::Map<_, _>>().into()])
        }
        other => other.clone(),
    }
}

#[test]
fn fields_in_another_case_are_kept_and_named() {
    let event = created(r#"{"userId":1,"Email":"a@b.example","EXTENSION":1,"skills":1,"userid":1}"#).unwrap();
    let mut names: Vec<&str> = miscased(&event).collect();
    names.sort_unstable();
    assert_eq!((names, &event.new.email), (vec!["EXTENSION", "Email"], &None));
}

proptest! {
    /// Every spelling of a user gives the same event.
    #[test]
    fn spelling_does_not_matter(
        user_id in 0..1_000_000_000_i64,
        plain in [fields(), fields()],
        choices in proptest::collection::vec(proptest::array::uniform7(0..8_usize), 2),
    ) {
        let [new, old] = plain;
        let plain = json!({"new": with_id(&new, json!(user_id)), "old": with_id(&old, json!(user_id))});
        let ids = [user_id.to_string(), format!("{user_id}.0"), format!("\"{user_id}\"")];
        let id = |choice: usize| serde_json::from_str(&ids[choice % ids.len()]).unwrap();
        let spelled = [(&new, &choices[0]), (&old, &choices[1])].map(|(user, choices)| {
            let fields = user.iter().zip(choices).map(|((name, value), choice)| (*name, spell(name, value, *choice)));
            with_id(&fields.collect::<Vec<_>>(), id(choices[0]))
        });
        let [new, old] = spelled;
        let event = |users: serde_json::Value| {
            let mut body = users;
            body["timestamp"] = json!("2017-06-06T10:53:43Z");
            read(&body.to_string()).unwrap()
        };
        prop_assert_eq!(event(json!({"new": new, "old": old})), event(plain));
    }

    #[test]
    fn arbitrary_text_is_an_error_or_an_event(body in "[\\{\\}\\[\\]:,\"a-z0-9 ]{0,60}") {
        if let Ok(event) = read(&body) {
            prop_assert_eq!(event.received_at, NOW);
        }
    }
}

#[test]
fn omitted_fields_are_in_no_user_and_in_no_digest() {
    let accept = |omit: &[&str], hourly: &str| {
        let user = format!(r#"{{"userId":1,"hourly":{hourly},"Monthly":4}}"#);
        let body = format!(r#"{{"old":{user},"new":{user},"timestamp":"2017-06-06T10:53:43+02:00"}}"#);
        let omit: Vec<String> = omit.iter().map(|name| (*name).to_owned()).collect();
        parse(&Plaintext::received(body.as_bytes())).and_then(|delivery| validate(delivery, &omit, NOW)).unwrap()
    };
    let omit = &["hourly", "monthly"];
    let event = accept(omit, "7");
    assert_eq!(event.omitted, *omit);
    assert!([&event.new].into_iter().chain(&event.old).all(|user| *user == User::new(user.user_id)));
    for hourly in ["8", "8.5", "null"] {
        let other = accept(omit, hourly);
        assert_eq!((other.version, other.parent, other.event_id), (event.version, event.parent, event.event_id));
        assert_ne!(accept(&[], hourly).version, accept(&[], "7").version);
    }
}
