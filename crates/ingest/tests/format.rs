//! From the bytes of a body to those of a record: numbers in all spellings of senders (the bodies are in `cases`), and
//! the length of events.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use bytes::Bytes;
use domain::{UnixMillis, UserEvent, wire};
use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};
use ingest::{Rejection, pipeline};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The most bytes by which an encoded event exceeds its body.
const GROWTH_MAX: usize = 512;

fn accepted(body: &[u8]) -> Result<UserEvent, Rejection> {
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let head = RawRequest { query: String::new(), peer, forwarded_for: Vec::new() };
    let sender = authenticate(&head, &SenderPolicy::default())?;
    let now = UnixMillis::from_millis(i64::MAX);
    pipeline::accept(&sender.sent(Bytes::copy_from_slice(body)), &BodyPolicy::default(), now)
}

fn event(name: &str) -> UserEvent {
    let path = format!("{}/tests/cases/{name}.json", env!("CARGO_MANIFEST_DIR"));
    accepted(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn numbers_of_unknown_members_keep_their_digits() {
    let table = [
        ("big-int-beyond-u64", &[("externalId", "36177777771234567890123")][..]),
        ("big-int-extra", &[("externalId", "9007199254740993"), ("snowflake", "738529527931269425")]),
        ("big-int-u64-extra", &[("externalId", "18446744073709551615")]),
        (
            "decimal-extra",
            &[("money", "12345678901234567.89"), ("rate", "0.1000000000000000055511151231257827"), ("z", "1.10")],
        ),
        ("exp-extra", &[("x", "1e400")]),
    ];
    for (name, members) in table {
        let extra = event(name).new.extra;
        let kept: Vec<_> = extra.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(kept, members, "{name}");
    }
}

#[test]
fn events_that_differ_in_a_digit_are_two_events() {
    let (a, b) = (event("bigint-a"), event("bigint-b-other-value-same-id"));
    assert_ne!(a.event_id, b.event_id);
    let c = event("bigint-c-change");
    assert_eq!((c.parent, c.version), (Some(a.version), b.version));
    assert_ne!(Some(c.version), c.parent);
}

#[test]
fn an_integer_is_that_integer_however_it_is_written() {
    assert_eq!(event("id-as-180.0").user_id.get(), 180);
    assert_eq!(event("int-as-4.0").new.priv_group, Some(4));
    assert_eq!(event("int-as-1e3").new.monthly, Some(1000));
    assert_eq!(event("int-minus-zero").new.redistribution, Some(0));
    assert_eq!(event("bool-1.0").new.is_agent, Some(true));
}

#[test]
fn a_time_is_read_as_php_writes_it() {
    let table = [
        ("ts-expanded6", "2017-06-06T08:53:43Z"),
        ("ts-php82-expanded", "2017-06-06T08:53:43Z"),
        ("ts-h24", "2017-06-07T00:00:00Z"),
        ("ts-leap60", "2017-06-06T10:53:59Z"),
        ("ts-neg-zero", "2017-06-06T10:53:43Z"),
    ];
    for (name, utc) in table {
        assert_eq!(event(name).occurred_at.to_string(), utc, "{name}");
    }
    assert_eq!(event("ts-y9999").occurred_at.millis(), 253_402_300_799_000);
    assert_eq!(event("ts-expanded6").timestamp, "+002017-06-06T10:53:43+02:00", "as sent");
}

#[test]
fn a_year_that_no_time_has_is_refused_by_name() {
    for (timestamp, reason) in [
        ("-0001-11-30T00:00:00+00:00", "before the year 0"),
        ("10000-01-01T00:00:00Z", "after the year 9999"),
        ("292278995-01-01T00:00:00Z", "after the year 9999"),
        ("2017-06-06", "not an ISO 8601 date and time with an offset"),
    ] {
        let body = format!(r#"{{"new":{{"userId":1}},"timestamp":"{timestamp}"}}"#);
        match accepted(body.as_bytes()) {
            Err(Rejection::NotAnEvent { pointer, reason: found }) => {
                assert_eq!(pointer, "/timestamp");
                assert!(found.contains(reason), "{timestamp}: {found}");
            }
            other => panic!("{timestamp}: {other:?}"),
        }
    }
}

#[test]
fn a_number_for_a_text_is_its_text() {
    assert_eq!(event("text-float").new.extension.as_deref(), Some("189"));
    assert_eq!(event("text-u64").new.outbound_phone.as_deref(), Some("18446744073709551615"));
}

#[test]
fn an_amount_with_a_fraction_is_kept_beside_its_field() {
    let read = |new: &str| {
        accepted(format!(r#"{{"new":{{"userId":1,{new}}},"timestamp":"2026-01-02T03:04:05Z"}}"#).as_bytes())
    };
    let event = read(r#""hourly":12.50,"monthly":2e3"#).unwrap().new;
    assert_eq!((event.hourly, event.monthly, event.extra["hourly"].as_str()), (None, Some(2000), "12.50"));
    assert_ne!(event.version(), read(r#""hourly":12.75,"monthly":2e3"#).unwrap().version);
    assert_eq!(event.version(), read(r#""hourly":125e-1,"monthly":2000"#).unwrap().version);
    assert!(read(r#""privGroup":12.5"#).is_err(), "only amounts have fractions");
    assert!(read(r#""x":1e99999999999"#).is_err(), "no reader holds such an exponent");
}

/// Text fields, each at its largest growth: seven bytes of JSON around a number, twenty of text.
const TEXTS: [&str; 10] = [
    "name",
    "email",
    "state",
    "username",
    "extension",
    "sampleRate",
    "mobilePhone",
    "contactPhone",
    "outboundPhone",
    "registerTransport",
];

#[test]
fn the_event_that_grows_most_stays_within_the_bound() {
    let texts: String = TEXTS.map(|name| format!(r#","{name}":1e19"#)).concat();
    let blanked = r#","x":["{\"password\":1}","{\"password\":1}","{\"password\":1}","{\"password\":1}"]"#;
    let users = |extra| format!(r#"{{"userid":9007199254740991{texts}{extra}}}"#);
    let body = format!(
        r#"{{"new":{},"old":{},"timestamp":"2017-06-06T10:53:43Z"}}"#,
        users(blanked.to_owned()),
        users(blanked.replace("\"x\"", "\"y\""))
    );
    let event = accepted(body.as_bytes()).unwrap();
    let (sent, written) = (body.len(), wire::encode(&event).len());
    println!("{sent} bytes of body, {written} bytes of event");
    assert!(written > sent + GROWTH_MAX / 3, "the case is one that grows: {written}");
    assert!(written <= sent + GROWTH_MAX, "{sent} bytes of body became {written}");
}

/// Returns JSON texts that could grow: escapes, exponents, passwords within texts, whitespace, many short items.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?[1-9][0-9]{0,24}(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,8})?",
        select(vec!["1e20", "1e19", "-1e18", "1e400", "0", "null", "true", "\"\"", "[ ]", "{ }"])
            .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        r#""(\\u00[01][0-9a-f]|\\u[1-9][0-9]{3}|\\/|\\"|\\\\|\\n|[a-z\u{7f}\u{e000}]){0,9}""#,
        r#""(\{\\"password\\":[0-9]{1,3}\}|\[\{\\"PassWord\\":\\"\\"\}\])""#,
    ];
    leaf.prop_recursive(3, 60, 20, |inner| {
        let member = (name(), inner.clone()).prop_map(|(name, value)| format!("{name} : {value}"));
        prop_oneof![
            vec(inner, 0..20).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(" , "))),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => r#""[a-z]{1,9}""#,
        1 => r#""(\\u00[01][0-9a-f]|é|\\"){1,3}""#,
        1 => r#""\{\\"password\\":[0-9]\}""#,
    ]
}

/// Returns a user's object: valid fields, in the spelling that grows most or in another, and unknown members.
fn user() -> impl Strategy<Value = String> {
    let number = || select(vec!["1e19", "1e15", "-0", "180.0", "9007199254740991", "-1e18", "18446744073709551615"]);
    let text = (select(TEXTS.to_vec()), number()).prop_map(|(name, value)| format!(r#""{name}":{value}"#));
    let amount = select(vec!["1.5", "1e-300", "4e2", "9e15"]).prop_map(|value| format!(r#""hourly":{value}"#));
    let list = vec(number(), 0..200).prop_map(|items| format!(r#""messageLists":[{}]"#, items.join(",")));
    let unknown = (name(), json()).prop_map(|(name, value)| format!("{name}:{value}"));
    vec(prop_oneof![4 => text, 1 => amount, 1 => list, 4 => unknown], 0..14).prop_map(|members| {
        let mut names = std::collections::BTreeSet::new();
        let members: Vec<String> = members
            .into_iter()
            .filter(|member| names.insert(member.split(':').next().unwrap().to_lowercase()))
            .collect();
        format!("{{{}}}", [&[r#""userId":1"#.to_owned()], &members[..]].concat().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_event_is_no_longer_than_its_body_and_a_bound(
        new in user(),
        old in prop::option::of(user()),
        (name, value) in (name(), json()),
    ) {
        let old = old.unwrap_or_else(|| "null".to_owned());
        let body = format!(r#"{{"new":{new},"old":{old},{name}:{value},"timestamp":"2017-06-06T10:53:43Z"}}"#);
        match accepted(body.as_bytes()) {
            Ok(event) => {
                let written = wire::encode(&event).len();
                let sent = body.len();
                prop_assert!(written <= sent + GROWTH_MAX, "{sent} bytes of body became {written}: {body}");
            }
            Err(rejection) => {
                let reason = rejection.to_string();
                let known = ["given twice", "invalid escape"].into_iter().any(|known| reason.contains(known));
                prop_assert!(known, "{} {}", reason, body);
                prop_assume!(false, "names that are one, a lone surrogate");
            }
        }
    }
}
