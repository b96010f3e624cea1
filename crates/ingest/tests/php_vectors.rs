//! Rollcall decrypts bodies of PHP: vectors that `vectors/make.php` made with PHP's `openssl_encrypt`.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::collections::BTreeMap;

use ingest::transport::{BodyCipher, BodyKey, BodyPolicy, CipherError, decrypt_body};
use serde::Deserialize;
use service::Secret;

const VECTORS: &str = include_str!("vectors/openssl.jsonl");

#[derive(Deserialize)]
struct Vector {
    method: String,
    key: String,
    iv: Option<String>,
    text: String,
    body: String,
}

fn vectors() -> impl Iterator<Item = Vector> {
    VECTORS.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn policy(keys: &[(&str, &str)]) -> BodyPolicy {
    let key =
        |(cipher, key): &(&str, &str)| BodyKey { cipher: BodyCipher::named(cipher).unwrap(), key: Secret::new(*key) };
    BodyPolicy { keys: keys.iter().map(key).collect(), ..BodyPolicy::default() }
}

#[test]
fn every_cipher_that_php_can_use_is_read() {
    let (mut read, mut failed): (BTreeMap<String, usize>, Vec<String>) = Default::default();
    for vector in vectors() {
        let cipher = match BodyCipher::named(&vector.method) {
            Ok(cipher) => cipher,
            Err(error) => {
                failed.push(format!("{}: {error}", vector.method));
                continue;
            }
        };
        let policy =
            BodyPolicy { keys: vec![BodyKey { cipher, key: Secret::new(vector.key) }], ..BodyPolicy::default() };
        match decrypt_body(vector.body.as_bytes(), vector.iv.as_deref(), &policy) {
            Ok(text) if text.bytes() == vector.text.as_bytes() => *read.entry(vector.method).or_default() += 1,
            Ok(_) => failed.push(format!("{} gives another text", vector.method)),
            Err(error) => failed.push(format!("{} (iv {:?}): {error}", vector.method, vector.iv)),
        }
    }
    failed.dedup();
    assert!(failed.is_empty(), "{} ciphers read; not: {failed:#?}", read.len());
    for (method, count) in &read {
        println!("{method}: {count} vectors");
    }
    assert!(read.len() > 100, "PHP offers more than a hundred names: {}", read.len());
}

#[test]
fn a_body_may_be_broken_into_lines() {
    let vector = vectors().find(|vector| vector.method == "aes-256-ctr").unwrap();
    let lines: Vec<&str> = vector.body.as_bytes().chunks(16).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let policy = policy(&[("aes-256-ctr", &vector.key)]);
    let body = lines.join("\r\n");
    let text = decrypt_body(body.as_bytes(), vector.iv.as_deref(), &policy).unwrap();
    assert_eq!(text.bytes(), vector.text.as_bytes());
}

#[test]
fn while_keys_change_either_is_tried() {
    let vector = vectors().find(|vector| vector.method == "aes-256-ctr" && vector.iv.is_some()).unwrap();
    let read = |keys: &[(&str, &str)]| {
        let text = decrypt_body(vector.body.as_bytes(), vector.iv.as_deref(), &policy(keys)).ok()?;
        Some(text.bytes().to_vec())
    };
    let right = ("aes-256-ctr", vector.key.as_str());
    let text = Some(vector.text.clone().into_bytes());
    assert_eq!(read(&[right]), text);
    // A stream cipher "decrypts" with any key; JSON shows which key is right.
    assert_eq!(read(&[("aes-256-ctr", "the new key"), right]), text);
    assert_eq!(read(&[("aes-128-cbc", "the new key"), right]), text, "the cipher may change, too");
    assert_eq!(read(&[right, ("aes-256-ctr", "the new key")]), text);
    assert_eq!(read(&[("aes-256-ctr", "wrong"), ("aes-256-cbc", "wrong")]), None);
}

#[test]
fn the_vector_is_part_of_the_key() {
    let vector = vectors().find(|vector| vector.method == "aes-256-ctr" && vector.iv.is_some()).unwrap();
    let policy = policy(&[("aes-256-ctr", &vector.key)]);
    assert!(decrypt_body(vector.body.as_bytes(), None, &policy).is_err());
    let hexless = decrypt_body(vector.body.as_bytes(), Some("not hex"), &policy).unwrap_err();
    assert!(hexless.to_string().contains("hexadecimal"), "{hexless}");
}

#[test]
fn older_ciphers_are_there_though_php_on_openssl_3_lacks_them() {
    for name in ["bf-cbc", "bf-ecb", "cast5-cbc", "des-cbc", "idea-cbc", "rc2-cbc", "rc4", "seed-cbc", "bf", "des"] {
        assert!(BodyCipher::named(name).is_ok(), "{name}");
    }
    assert_eq!(BodyCipher::named("aes-256-gcm").unwrap_err(), CipherError::NeedsTag);
}
