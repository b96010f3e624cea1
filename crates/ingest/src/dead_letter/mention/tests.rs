//! The rule by tables of yes and no, and by identifiers that are written in many ways.

use domain::Original;
use domain::{SAFE_INTEGER_MAX, UnixMillis};
use openssl::symm;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use service::Secret;

use super::*;
use crate::transport::{BodyCipher, BodyKey, blank_passwords};

const KEY: &str = "case-key-1";
const POSITION: &str = "zuQxo-W8SfmGVIR3p0wXVg/1:2";

fn letter(body: impl Into<Vec<u8>>) -> Letter {
    Letter {
        body: body.into(),
        iv: None,
        rejection: String::new(),
        reason: String::new(),
        pointer: String::new(),
        received_at: UnixMillis::from_millis(0),
        as_of: None,
        record: None,
    }
}

fn id(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

fn keys() -> BodyPolicy {
    let key = |key| BodyKey { cipher: BodyCipher::named("aes-256-ctr").unwrap(), key: Secret::new(key) };
    BodyPolicy { keys: vec![key("an older key"), key(KEY)], ..BodyPolicy::default() }
}

/// Returns the letter of a body that the vendor encrypted with [`KEY`].
fn encrypted(text: &[u8]) -> Letter {
    let (mut key, iv) = (KEY.as_bytes().to_vec(), [7; 16]);
    key.resize(32, 0);
    let cipher_text = symm::encrypt(symm::Cipher::aes_256_ctr(), &key, Some(&iv), text).unwrap();
    Letter { iv: Some(hex::encode(iv)), ..letter(openssl::base64::encode_block(&cipher_text)) }
}

fn utf_16(text: &str, mark: bool, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = mark.then_some('\u{feff}');
    mark.into_iter().chain(text.chars()).collect::<String>().encode_utf16().flat_map(unit).collect()
}

fn check(expected: Mention, bodies: &[&str]) {
    for body in bodies {
        assert_eq!(mentions(&letter(*body), &BodyPolicy::default(), id(180)), expected, "{body}");
    }
}

#[test]
fn a_letter_in_which_the_identifier_stands_is_about_the_user() {
    check(
        Mention::Yes,
        &[
            r#"{"new":{"userId":180}}"#,
            r#"{"old":{"userid":"180"},"new":{}}"#,
            r#"{"new":{"userId":180.0}}"#,
            r#"{"new":{"userId":1.8e2}}"#,
            r#"{"new":{"userId":1800e-1}}"#,
            r#"{"new":{"userId":"0180"}}"#,
            r#"{"new":{"userId":" 180 "}}"#,
            r#"{"new":{"userId":"user180"}}"#,
            r#"{"new":{"userId":"+180"}}"#,
            r#"{"new":{"userId":"\u00318\u0030"}}"#,
            r#"{"New":{"USER_ID":[180]}}"#,
            r#"{"new":{"user id":{"value":"180"}}}"#,
            r#"{"new.userId":180}"#,
            r#"{"new":{"userId":181,"userId":180}}"#,
            r#"{"new":{"userId":180,"userId":181}}"#,
            r#"{"data":[{"deep":{"userId":180}}],"new":{"userId":181}}"#,
            r#"{"payload":"{\"new\":{\"userId\":180}}"}"#,
            r#"{"payload":"{\"new\":{\"userId\":180},"}"#,
            r#""{\"new\":{\"userId\":\"180\"}}""#,
            r#"{"{\"userId\":180}":1}"#,
            r#"{"new":{"userId":180"#,
            r#"{"new":{"userId":180},}"#,
            r#"{"new":{"userId":"\u0031\u0038\u0030","#,
            r#"{"new":{"userId":"\\n180""#,
            r#"{"new":{'userId':180}}"#,
            r#"{"new":{"userId":180},"x":"\ud800"}"#,
            "userId=180&name=Rachel",
            "new%5BuserId%5D=%31%380",
            "payload=%7B%22userId%22%3A180%7D",
            "<userId>180</userId>",
            r#"a:1:{s:6:"userId";i:180;}"#,
            "users/180.",
            "\u{feff}{\"new\":{\"userId\":180}}",
            "{\"new\":{\"userId\":180},\"x\":\"\0\"}",
        ],
    );
}

#[test]
fn a_letter_about_another_user_is_not() {
    check(
        Mention::No,
        &[
            r#"{"new":{"userId":181}}"#,
            r#"{"new":{"userId":1800}}"#,
            r#"{"new":{"userId":"2180"}}"#,
            r#"{"new":{"userId":180.5}}"#,
            r#"{"new":{"userId":-180}}"#,
            r#"{"new":{"userId":181,"extension":"180","monthly":180,"mobileProjectId":180,"name":"180"}}"#,
            r#"{"new":{"userId":181,"note":"see user 180"}}"#,
            r#"{"new":{"userId":181},"timestamp":"2017-06-06T10:53:43+02:00"}"#,
            r#"{"new":{"userId":1800"#,
            "userId=1800&pay=180.5&temperature=-180&x=180a&y=1.180",
            "[]",
            "{}",
            "",
            "what is this?",
        ],
    );
}

#[test]
fn a_letter_that_does_not_tell_its_user_is_undecided() {
    check(
        Mention::CannotTell,
        &[
            "QmFzZTY0",
            "\"QmFzZTY0\"",
            r#"{"new":{"name":"180"}}"#,
            r#"{"new":{"id":180}}"#,
            r#"{"new":{"userId":"x","monthly":180}}"#,
            r#"{"180":{}}"#,
            r#"{"new":{"name":"Rachel","[redacted from here]"#,
        ],
    );
    let binary: Vec<u8> = (0..=255).collect();
    let digest = blank_passwords(&binary);
    assert_eq!(mentions(&letter(digest), &BodyPolicy::default(), id(180)), Mention::CannotTell);
    assert_eq!(mentions(&letter(binary), &BodyPolicy::default(), id(180)), Mention::CannotTell);
    let other_key = encrypted(br#"{"new":{"userId":180}}"#);
    assert_eq!(mentions(&other_key, &BodyPolicy::default(), id(180)), Mention::CannotTell);
}

#[test]
fn a_date_is_not_an_identifier() {
    let body = r#"{"new":{"name":"x"},"timestamp":"2017-06-06T10:53:43.250+02:00", cut"#;
    for number in [2017, 6, 10, 53, 43, 250, 2, 0] {
        assert_eq!(mentions(&letter(body), &BodyPolicy::default(), id(number)), Mention::No, "{number}");
    }
    let after = r#"{"at":"2017-06-06 10:53 7", cut"#;
    assert_eq!(mentions(&letter(after), &BodyPolicy::default(), id(7)), Mention::Yes);
}

#[test]
fn encrypted_letters_are_told_where_a_key_is_known() {
    let latin = b"{\"new\":{\"userId\":180,\"name\":\"Ren\xe9e\"}}";
    assert_eq!(mentions(&encrypted(latin), &keys(), id(180)), Mention::Yes);
    let wide = utf_16(r#"{"new":{"userId":180}}"#, true, u16::to_le_bytes);
    assert_eq!(mentions(&encrypted(&wide), &keys(), id(180)), Mention::Yes);
    assert_eq!(mentions(&encrypted(br#"{"new":{"userId":181}}"#), &keys(), id(180)), Mention::No);
    assert_eq!(mentions(&encrypted(br#"{"new":{"userId":180"#), &keys(), id(180)), Mention::Yes);
    assert_eq!(mentions(&letter(r#"{"new":{"userId":180}}"#), &keys(), id(180)), Mention::Yes, "clear all the same");
}

#[test]
fn the_copy_of_a_record_is_about_the_user_of_its_key() {
    let record = |user_id| Some(Original { user_id: id(user_id), position: POSITION.parse().unwrap() });
    let copy = |user_id| Letter { record: record(user_id), ..letter(vec![0xc3, 1, 180]) };
    assert_eq!(mentions(&copy(180), &BodyPolicy::default(), id(180)), Mention::Yes);
    assert_eq!(mentions(&copy(181), &BodyPolicy::default(), id(180)), Mention::No);
}

/// Returns the spellings of a number in JSON, and in a text within it.
fn number(id: i64) -> impl Strategy<Value = String> {
    let escaped = |text: String| -> String { text.bytes().map(|byte| format!("\\u{:04x}", u32::from(byte))).collect() };
    let zeros = 1..4_usize;
    prop_oneof![
        Just(id.to_string()),
        zeros.clone().prop_map(move |count| format!("{id}.{}", "0".repeat(count))),
        zeros.clone().prop_map(move |count| format!("{id}{}e-{count}", "0".repeat(count))),
        Just(format!("{id}E+0")),
        Just(format!("\"{id}\"")),
        zeros.prop_map(move |count| format!("\"{}{id}\"", "0".repeat(count))),
        Just(format!("\"{}\"", escaped(id.to_string()))),
        Just(format!("\" {id}\\n\"")),
        Just(format!("[{id}]")),
        Just(format!("{{\"value\":\"{id}\"}}")),
    ]
}

/// Returns an object with the identifier of a user, and fields before and after it.
fn user(id: i64) -> impl Strategy<Value = String> {
    let name = select(vec!["userId", "userid", "UserID", "USER_ID", "user-id", r"user\u0049d", "new.userId"]);
    let space = select(vec!["", " ", "\n\t"]);
    let twice = select(vec!["", r#""userId":null,"#, r#""userId":999999999999,"#]);
    (name, number(id), space, twice).prop_map(|(name, number, space, twice)| {
        format!(r#"{{"name":"Renée",{twice}"{name}"{space}:{space}{number}{space},"isAgent":true}}"#)
    })
}

/// Returns a body about a user as a text: JSON, within JSON, behind more of it, or broken after the user.
fn body(id: i64) -> impl Strategy<Value = String> {
    let side = select(vec!["new", "old", "New", "OLD", "user", "data"]);
    let with_side = (side, user(id))
        .prop_map(|(side, user)| format!(r#"{{"{side}":{user},"timestamp":"2017-06-06T10:53:43+02:00"}}"#));
    let shape = select(vec!["bare", "array", "deep", "text", "twice", "cut", "comma", "surrogate", "form", "xml"]);
    (with_side, shape).prop_map(|(body, shape)| match shape {
        "array" => format!("[{body}]"),
        "deep" => format!("{}{body}{}", r#"{"a":["#.repeat(40), "]}".repeat(40)),
        "text" => json!({ "payload": body }).to_string(),
        "twice" => Value::from(json!({ "payload": body }).to_string()).to_string(),
        "cut" => body.split_once(r#","timestamp""#).unwrap().0.to_owned(),
        "comma" => format!("{body},"),
        "surrogate" => body.replacen('{', r#"{"x":"\ud800","#, 1),
        "form" => form_urlencoded::Serializer::new(String::new()).append_pair("payload", &body).finish(),
        "xml" => format!("<event><![CDATA[{body}]]></event>"),
        _ => body,
    })
}

/// Returns the letter of a text in one of the encodings of senders.
fn sent(text: &str, encoding: &str) -> Letter {
    match encoding {
        "mark" => letter(format!("\u{feff}{text}")),
        "latin-1" => letter(text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect::<Vec<_>>()),
        "utf-16" => letter(utf_16(text, false, u16::to_le_bytes)),
        "utf-16 big" => letter(utf_16(text, false, u16::to_be_bytes)),
        "utf-16 mark" => letter(utf_16(text, true, u16::to_le_bytes)),
        "utf-16 big mark" => letter(utf_16(text, true, u16::to_be_bytes)),
        "encrypted" => encrypted(text.as_bytes()),
        "encrypted utf-16" => encrypted(&utf_16(text, true, u16::to_le_bytes)),
        "base64" => letter(openssl::base64::encode_block(text.as_bytes())),
        _ => letter(text),
    }
}

const CLEAR: [&str; 7] = ["plain", "mark", "latin-1", "utf-16", "utf-16 big", "utf-16 mark", "utf-16 big mark"];
const ENCODED: [&str; 3] = ["encrypted", "encrypted utf-16", "base64"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However the identifier is written and wherever it stands, the letter is removed.
    #[test]
    fn no_spelling_hides_the_identifier(
        (id_number, text) in (0..=SAFE_INTEGER_MAX).prop_flat_map(|id| (Just(id), body(id))),
        encoding in select([&CLEAR[..], &ENCODED[..]].concat()),
    ) {
        // What is deciphered counts only if it begins like JSON.
        prop_assume!(!ENCODED.contains(&encoding) || text.starts_with(['{', '[']));
        let letter = sent(&text, encoding);
        let shown = String::from_utf8_lossy(&letter.body);
        prop_assert_eq!(mentions(&letter, &keys(), id(id_number)), Mention::Yes, "{} {}", text, shown);
    }

    /// In a letter that is readable as another user's, the number may stand anywhere else.
    #[test]
    fn other_fields_are_not_the_identifier(
        id_number in 0..=SAFE_INTEGER_MAX,
        other in 0..=SAFE_INTEGER_MAX,
        field in select(vec!["extension", "monthly", "mobileProjectId", "name", "privGroup", "x"]),
        encoding in select([&CLEAR[..], &ENCODED[..]].concat()),
        as_text: bool,
    ) {
        prop_assume!(id_number != other);
        let value = if as_text { json!(id_number.to_string()) } else { json!(id_number) };
        let body = json!({"new": {"userId": other, field: value}, "timestamp": "2017-06-06T10:53:43+02:00"});
        prop_assert_eq!(mentions(&sent(&body.to_string(), encoding), &keys(), id(id_number)), Mention::No);
    }

    /// A part of another number is not the identifier, even in a text that is not JSON.
    #[test]
    fn a_part_of_a_number_is_not_the_identifier(
        id_number in 1..100_000_000_i64,
        digits in "[1-9]{1,3}",
        shape in select(vec!["before", "after", "fraction", "negative", "word"]),
    ) {
        let number = match shape {
            "before" => format!("{digits}{id_number}"),
            "after" => format!("{id_number}{digits}"),
            "fraction" => format!("{id_number}.{digits}"),
            "negative" => format!("-{id_number}"),
            _ => format!("x{id_number}"),
        };
        let body = format!(r#"{{"userId":{number},"timestamp":"2017-06-06T10:53:43+02:00""#);
        prop_assert_eq!(mentions(&letter(body), &BodyPolicy::default(), id(id_number)), Mention::No, "{}", number);
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), id_number in 0..=SAFE_INTEGER_MAX) {
        mentions(&letter(bytes), &keys(), id(id_number));
    }
}
