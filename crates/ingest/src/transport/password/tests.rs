//! The rule by tables, and by passwords at any place.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn blanked(body: &str) -> String {
    String::from_utf8(blank(body.as_bytes())).unwrap()
}

#[test]
fn json_keeps_everything_but_passwords() {
    let table = [
        (r#"{"new":{"userId":1}}"#, r#"{"new":{"userId":1}}"#),
        (r#"{"password":"hunter2"}"#, r#"{"password":"[redacted]"}"#),
        (r#"{ "PassWord" : "hun\"ter2\\" , "a":1}"#, r#"{ "PassWord" : "[redacted]" , "a":1}"#),
        (r#"{"password":"hunter2","password":"hunter2"}"#, r#"{"password":"[redacted]","password":"[redacted]"}"#),
        (r#"{"p\u0061ssword":"hunter2"}"#, r#"{"p\u0061ssword":"[redacted]"}"#),
        (r#"{"password":{"a":["hunter2"]},"b":[]}"#, r#"{"password":"[redacted]","b":[]}"#),
        (r#"{"password":12345}"#, r#"{"password":"[redacted]"}"#),
        (r#"["password","hunter"]"#, r#"["password","hunter"]"#),
        (r#"{"passwordChanged":true}"#, r#"{"passwordChanged":true}"#),
        // A name and a value; a user of that name is none.
        (r#"{"a":[{"name":"password","value":"hunter2"},1]}"#, r#"{"a":["[redacted]",1]}"#),
        (r#"[{"value":"hunter2","name":"PassWord"}]"#, r#"["[redacted]"]"#),
        (r#"{"new":{"userId":1,"name":"password"}}"#, r#"{"new":{"userId":1,"name":"password"}}"#),
        (r#"{"a":["password",{"b":1,"c":2}],"d":1}"#, r#"{"a":["password",{"b":1,"c":2}],"d":1}"#),
        // JSON within JSON: a string in a member, the body encoded twice, and a name.
        (r#"{"new":"{\"password\":\"hunter2\"}"}"#, r#"{"new":"{\"password\":\"[redacted]\"}"}"#),
        (r#""{\"a\":[{\"password\":\"hunter2\"}]}""#, r#""{\"a\":[{\"password\":\"[redacted]\"}]}""#),
        (r#"{"{\"password\":\"hunter2\"}":1}"#, r#"{"{\"password\":\"[redacted]\"}":1}"#),
        (r#"{"a":" [\u007b\"p\\u0061ssword\":1}]"}"#, r#"{"a":" [{\"p\\u0061ssword\":\"[redacted]\"}]"}"#),
        (r#"{"log":"sent {\"password\": \"hunter2"}"#, r#"{"log":"sent {\"[redacted from here]"}"#),
        (r#"{"a":"{\"name\":\"Rachel\", \"id\":\u0031}"}"#, r#"{"a":"{\"name\":\"Rachel\", \"id\":\u0031}"}"#),
        (r#"{"note":"forgot the password: help"}"#, r#"{"note":"forgot the password: help"}"#),
        (r#"{"note":"[vip] says \"password\" a lot"}"#, r#"{"note":"[vip] says \"password\" a lot"}"#),
    ];
    for (body, kept) in table {
        assert_eq!(blanked(body), kept, "{body}");
    }
}

#[test]
fn what_is_not_json_is_cut_off_at_the_word() {
    let table = [
        (r#"{"new":{"password":"hunter2"#, r#"{"new":{"[redacted from here]"#),
        ("user=1&Password=hunter2", "user=1&[redacted from here]"),
        (r#"{"new":{"p\u0061ssword":"hunter2""#, "[redacted from here]"),
        ("p%61ssword=hunter2", "[redacted from here]"),
        ("p%61ssword=hunter2&password=", "[redacted from here]"),
        ("hello", "hello"),
        ("", ""),
    ];
    for (body, kept) in table {
        assert_eq!(blanked(body), kept, "{body}");
    }
}

#[test]
fn no_encoding_of_characters_hides_the_password() {
    let json = r#"{"new":{"password":"hunter2","name":"Zoë"}}"#;
    let kept = r#"{"new":{"password":"[redacted]","name":"Zoë"}}"#;
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    assert_eq!(blank(&utf16(json)), kept.as_bytes());
    assert_eq!(blank(&[b"\xef\xbb\xbf", json.as_bytes()].concat()), [b"\xef\xbb\xbf", kept.as_bytes()].concat());
    assert_eq!(blank(&utf16(json)[..40]), br#"{"new":{"[redacted from here]"#);
    let base64 = openssl::base64::encode_block(json.as_bytes());
    assert_eq!(blanked(&base64), kept);
    let without = openssl::base64::encode_block(br#"{"new":{}}"#);
    assert_eq!(blanked(&without), without);
    // The same in EBCDIC (code page 037).
    let ebcdic = b"\xc0\x7f\x97\x81\xa2\xa2\xa6\x96\x99\x84\x7f\x7a\x7f\x88\xa4\x95\xa3\x85\x99\xf2\x7f\xd0";
    assert!(blanked_bytes(ebcdic).starts_with("[22 bytes that are not UTF-8, with SHA-256 "));
    // A text of one byte a character is cut like UTF-8 only if it is JSON.
    assert_eq!(blank(b"{\"a\":\"\xff\",\"password\":1}"), b"{\"a\":\"\xff\",\"password\":\"[redacted]\"}");
}

#[test]
fn no_coding_hides_the_password() {
    let json = r#"{"new":{"password":"hunter2","name":"Zo"}}"#;
    let kept = r#"{"new":{"password":"[redacted]","name":"Zo"}}"#;
    let base64 = |bytes: &[u8]| openssl::base64::encode_block(bytes);
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [base64(&utf16), base64(base64(json.as_bytes()).as_bytes()), hex::encode(json)] {
        assert_eq!(blanked(&body), kept, "{body}");
    }
    let several = [json, json].join("\n");
    assert_eq!(blanked(&base64(several.as_bytes())), r#"{"new":{"[redacted from here]"#);
    let packed = base64(&[GZIP, b"hunter2 hunter2"].concat());
    assert!(blanked(&packed).starts_with("[18 bytes that are not UTF-8, with SHA-256 "));
    let often = (0..=ENCODINGS_MAX + 1).fold(json.to_owned(), |text, _| base64(text.as_bytes()));
    assert!(blanked(&often).contains(NOT_UTF_8));
    // With the prefix of hexadecimal digits, as in URLs and without padding, and as the field of a form.
    let url = base64(r#"{"new":{"password":"?>~hunter2"}}"#.as_bytes()).replace('+', "-").replace('/', "_");
    let url = url.trim_end_matches('=').to_owned();
    assert!(url.contains(['-', '_']), "{url}");
    let escaped = base64(json.as_bytes()).replace('=', "%3D").replacen('e', "%65", 1);
    for (body, kept) in [
        (format!("0x{}", hex::encode(json)), kept.to_owned()),
        (url.clone(), r#"{"new":{"password":"[redacted]"}}"#.to_owned()),
        (format!("a=1&data={}&b=2", base64(json.as_bytes())), format!("a=1&data={BLANK_REST}")),
        (format!("a=1&data=0x{}", hex::encode(json)), format!("a=1&data={BLANK_REST}")),
        (format!("a=1&data={url}"), format!("a=1&data={BLANK_REST}")),
        (format!("a=1&data={escaped}"), BLANK_REST.to_owned()),
    ] {
        assert_eq!(blanked(&body), kept, "{body}");
        assert_eq!(blanked(&json!({ "a": body }).to_string()), json!({ "a": BLANK_TEXT }).to_string(), "{body}");
    }
    // As a text within JSON.
    let member = |text: &str| json!({ "a": text }).to_string();
    assert_eq!(blanked(&member(&base64(json.as_bytes()))), member(BLANK_TEXT));
    for other in ["AdministratorsOfThisAccount", "0123456789abcdef0123456789abcdef", &base64(b"{\"name\":\"Rachel\"}")]
    {
        assert_eq!((blanked(other), blanked(&member(other))), (other.to_owned(), member(other)));
    }
}

fn blanked_bytes(body: &[u8]) -> String {
    String::from_utf8(blank(body)).unwrap()
}

#[test]
fn json_within_json_need_not_be_utf_8() {
    let kept = blanked_bytes(b"{\"new\":\"{\\\"password\\\":\\\"hunter2\xff\\\"}\"}");
    assert_eq!(kept, r#"{"new":"{\"password\":\"[redacted]\"}"}"#);
}

/// Encodes `json` as a string within JSON, `times` times.
fn encoded(json: &str, times: usize) -> String {
    (0..times).fold(json.to_owned(), |json, _| Value::from(json).to_string())
}

#[test]
fn what_is_encoded_too_often_is_blanked_as_a_whole() {
    let json = r#"{"name":"Rachel"}"#;
    assert_eq!(blanked(&encoded(json, ENCODINGS_MAX)), encoded(json, ENCODINGS_MAX));
    assert_eq!(blanked(&encoded(json, ENCODINGS_MAX + 1)), encoded(BLANK_TEXT, ENCODINGS_MAX + 1));
}

proptest! {
    /// At any level of JSON within JSON, as itself or as a member, and with any cut, the password is removed.
    /// Blanking is idempotent.
    #[test]
    fn no_encoding_hides_the_password(
        within in prop::collection::vec(any::<bool>(), 0..=ENCODINGS_MAX + 2),
        name in prop::sample::select(vec!["password", "PassWord", r"p\u0061ssword"]),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let innermost = format!(r#"{{"{name}":"hunter2","name":"Rachel"}}"#);
        let body = within.iter().fold(innermost, |json, member| {
            if *member { json!({"note": json, "id": 1}).to_string() } else { encoded(&json, 1) }
        });
        let end = cut.map_or(body.len(), |cut| cut.index(body.len() + 1));
        let kept = blanked(body.get(..end).unwrap());
        prop_assert!(!kept.contains("hunter2"), "{} became {}", body, kept);
        prop_assert_eq!(&blanked(&kept), &kept);
        // The same as the value of an unknown member, which may be incomplete.
        let kept = blank_text(body.get(..end).unwrap()).unwrap_or_default();
        prop_assert!(!kept.contains("hunter2"), "{} became {}", body, kept);
    }

    /// At any place in JSON, and with any cut, the password is removed.
    #[test]
    fn no_cut_leaves_the_password(
        depth in 0..5_usize,
        cut in any::<prop::sample::Index>(),
        noise in "[a-z\"{}:, ]{0,8}",
    ) {
        let open = r#"{"user":[{"x":1},"#.repeat(depth);
        let close = "]}".repeat(depth);
        let whole = format!(r#"{open}{{"password":"hunter2","name":"Rachel"}}{close}"#);
        let end = cut.index(whole.len() + 1);
        let body = format!("{}{noise}", whole.get(..end).unwrap());
        prop_assert!(!blanked(&body).contains("hunter2"), "{} became {}", body, blanked(&body));
    }
}
