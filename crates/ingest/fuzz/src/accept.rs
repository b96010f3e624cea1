//! Arbitrary requests through every stage of the pipeline.
//!
//! The first byte of an input selects the kind of case, the next two are numbers for the case, and the rest is the
//! request. All three may be digits, so that a seed can be a readable text.

use std::net::IpAddr;
use std::sync::LazyLock;

use domain::UserEvent;
use ingest::Rejection;
use ingest::transport::{BodyCipher, BodyKey, BodyPolicy, Policy, RawRequest, SenderPolicy};
use service::Secret;

use super::judge::Refused;
use super::{judge, sender};

/// The query of a sender with the secret.
const QUERY: &str = "secret-key=s3cret";
const SECRET: &str = "s3cret";
/// An address outside every network of a policy.
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
/// From this length on, no wrong key gives readable text by chance: eight random bytes are JSON once in 10^11 times,
/// one byte once in 25.
const TELLING_BYTES: usize = 8;

/// Runs one case. Panics when a property does not hold.
pub fn check(input: &[u8]) {
    let Some((&[kind, first, second], sent)) = input.split_first_chunk() else { return };
    match kind.wrapping_sub(b'0') % 5 {
        0 => clear(sent),
        1 => enciphered(first, second, sent),
        2 => cipher_text(first, sent),
        3 => request(sent),
        _ => password(first, second, sent),
    }
}

/// A clear-text body.
fn clear(body: &[u8]) {
    judge::outcome(&accept(body, QUERY, &CLEAR), &CLEAR.body);
}

/// A body encrypted like the vendor's must have the same outcome as in clear text.
fn enciphered(cipher: u8, line_bytes: u8, text: &[u8]) {
    let policy = pick(&ENCRYPTED, cipher);
    let (body, query) = sender::encrypt(&policy.body.keys[0], line_bytes.into(), text);
    let fared = accept(&body, &format!("{QUERY}&{query}"), policy);
    judge::outcome(&fared, &policy.body);
    if text.len() < TELLING_BYTES {
        return;
    }
    match fared {
        Ok(event) => {
            assert_eq!(Some(event), accept(text, QUERY, &CLEAR).ok(), "an event that clear text does not give")
        }
        Err(Refused { rejection: Rejection::Undecryptable { .. }, .. }) => {
            assert!(!judge::is_json(text), "readable text cannot be decrypted");
        }
        Err(refused) => {
            let clear = accept(text, QUERY, &CLEAR).map_err(|refused| refused.rejection);
            assert_eq!(Err(refused.rejection), clear, "refused otherwise than clear text");
        }
    }
}

/// The request of a sender without a key: an initialization vector on the first line, and a body.
fn cipher_text(cipher: u8, sent: &[u8]) {
    let policy = pick(&ENCRYPTED, cipher);
    let (iv, body) = first_line(sent);
    let query = format!("{QUERY}&iv={}", iv.replace('&', "%26"));
    judge::outcome(&accept(body, &query, policy), &policy.body);
}

/// A query on the first line, `X-Forwarded-For` on the second, and a body.
fn request(sent: &[u8]) {
    let (query, sent) = first_line(sent);
    let (forwarded_for, body) = first_line(sent);
    for (peer, policy) in [(STRANGER, &*CLEAR), (PROXY, &*GUARDED), (STRANGER, &*GUARDED)] {
        let head = RawRequest { query: query.clone(), peer, forwarded_for: vec![forwarded_for.clone()] };
        let outcome = judge::accept(&head, body, policy);
        judge::outcome(&outcome, &policy.body);
        let refused = outcome.err().map(|refused| refused.rejection);
        if !policy.sender.allowed.is_empty() && (peer == STRANGER || !forwarded_for.contains("198.51.100.")) {
            assert_eq!(refused, Some(Rejection::AddressNotAllowed));
        } else if !query.contains('%') && !query.contains(SECRET) {
            assert!(matches!(refused, Some(Rejection::Unauthenticated | Rejection::AddressNotAllowed)));
        }
    }
}

/// Puts a password into the body and possibly cuts the body. The password must not appear in any output.
fn password(place: u8, cut: u8, sent: &[u8]) {
    let Some(body) = sender::with_password(place, cut, sent) else { return };
    for policy in [&*CLEAR, pick(&ENCRYPTED, place)] {
        let outcome = accept(&body, QUERY, policy);
        judge::outcome(&outcome, &policy.body);
        judge::holds_no_password(&outcome);
    }
    // The same as a text within the body: in an unknown member, and as the body itself.
    let Ok(text) = String::from_utf8(body) else { return };
    for body in [sender::with_text(&text), serde_json::Value::from(text).to_string()] {
        let outcome = accept(body.as_bytes(), QUERY, &CLEAR);
        judge::outcome(&outcome, &CLEAR.body);
        judge::holds_no_password(&outcome);
    }
}

fn accept(body: &[u8], query: &str, policy: &Policy) -> Result<UserEvent, Refused> {
    let head = RawRequest { query: query.to_owned(), peer: STRANGER, forwarded_for: Vec::new() };
    let outcome = judge::accept(&head, body, policy);
    let stranger = outcome.as_ref().err().is_some_and(|refused| refused.rejection == Rejection::Unauthenticated);
    assert!(!stranger, "the secret was given");
    outcome
}

fn first_line(sent: &[u8]) -> (String, &[u8]) {
    let end = sent.iter().position(|byte| *byte == b'\n').unwrap_or(sent.len());
    (String::from_utf8_lossy(&sent[..end]).into_owned(), sent.get(end + 1..).unwrap_or_default())
}

fn pick(policies: &[Policy], number: u8) -> &Policy {
    &policies[usize::from(number.wrapping_sub(b'0')) % policies.len()]
}

/// A service whose sender does not encrypt.
static CLEAR: LazyLock<Policy> = LazyLock::new(|| Policy {
    sender: SenderPolicy { secrets: vec![Secret::new(SECRET)], ..SenderPolicy::default() },
    body: BodyPolicy::default(),
});

/// The same behind a proxy, for one network.
static GUARDED: LazyLock<Policy> = LazyLock::new(|| Policy {
    sender: SenderPolicy {
        secrets: vec![Secret::new("an older one"), Secret::new(SECRET)],
        allowed: vec!["198.51.100.0/24".parse().expect("a network")],
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
    },
    body: BodyPolicy::default(),
});

/// Services for encrypted bodies: one cipher of each kind, each with a second live key. The last also accepts clear
/// text.
static ENCRYPTED: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let ciphers = [
        "aes-256-ctr",
        "aes-256-cbc",
        "aes-128-ecb",
        "aes-192-cfb8",
        "aria-128-cfb1",
        "camellia-256-ofb",
        "chacha20",
        "des-ede3-cbc",
        "aes-256-wrap-pad",
        "bf-cbc",
    ];
    let key = |cipher: &str, key: &str| BodyKey {
        cipher: BodyCipher::named(cipher).expect("OpenSSL has it"),
        key: Secret::new(key),
    };
    let policy = |(number, cipher): (usize, &&str)| Policy {
        sender: SenderPolicy { secrets: vec![Secret::new(SECRET)], ..SenderPolicy::default() },
        body: BodyPolicy {
            keys: vec![key(cipher, sender::KEY), key("aes-256-ctr", "the key before it")],
            clear_text_too: number + 1 == ciphers.len(),
            ..BodyPolicy::default()
        },
    };
    ciphers.iter().enumerate().map(policy).collect()
});
