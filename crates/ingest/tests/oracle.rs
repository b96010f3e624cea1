//! Encrypted bodies on real sockets: what a stranger learns who has captured one, and how often he may ask.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::symm::{Cipher, encrypt};
use support::{PATH, Service};
use testkit::Answer;
use testkit::deliveries::CREATED;

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const IV: &[u8; 16] = b"0123456789abcdef";
const ENCRYPTED: &str = "body_keys = [{ cipher = 'aes-256-ctr', key = '0123456789abcdef0123456789abcdef' }]\n";

fn captured(clear: &[u8]) -> Vec<u8> {
    encrypt(Cipher::aes_256_ctr(), KEY, Some(IV), clear).unwrap()
}

/// Sends a cipher text as the vendor does.
async fn send(service: &Service, cipher_text: &[u8]) -> Answer {
    let path = format!("{PATH}&iv={}", hex::encode(IV));
    service.post(&path, &STANDARD.encode(cipher_text)).await
}

/// The trials of someone who reads a captured body byte by byte: the text of a known beginning is exchanged for one
/// whose fault tells whether the guess of the next byte is right.
fn trials(captured: &[u8], clear: &[u8]) -> Vec<Vec<u8>> {
    let mut trials = vec![b"no JSON".to_vec(), captured[..captured.len() / 2].to_vec()];
    for (at, guess) in (10..).zip([b'0', b'"', b'a', b'}']) {
        let mut forged = b"{\"new\":{\"userId\":\"x\"},\"a\":0}".to_vec();
        forged[at] = guess;
        let key_stream = captured.iter().zip(clear).map(|(cipher, clear)| cipher ^ clear);
        trials.push(forged.iter().zip(key_stream).map(|(byte, key)| byte ^ key).collect());
        let mut flipped = captured.to_vec();
        flipped[at] ^= guess;
        trials.push(flipped);
    }
    trials
}

#[tokio::test]
async fn a_captured_body_cannot_be_read_by_trials() {
    let service = Service::start(&format!("{ENCRYPTED}undecryptable_per_minute = 8")).await;
    let genuine = captured(CREATED.as_bytes());
    assert_eq!(send(&service, &genuine).await.status, 200);
    let mut answers = BTreeSet::new();
    let trials = trials(&genuine, CREATED.as_bytes());
    for trial in &trials {
        let answer = send(&service, trial).await;
        answers.insert((answer.status.as_u16(), answer.body_text().to_owned()));
    }
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [400, 503], "one answer for all faults, and one past the budget: {answers:?}");
    let spent = send(&service, &genuine).await;
    assert_eq!((spent.status.as_u16(), spent.header("retry-after")), (503, Some("60")), "not even looked at");
    assert_eq!(service.values("vcc.users.dead-letter").await.len(), 8, "of {} trials", trials.len());
    let past = trials.len() - 8 + 1;
    service.measures(&format!(r#"rollcall_ingest_rejected_total{{rejection="budget_spent"}} {past}"#)).await;
    let summary = service.stop().await;
    assert_eq!((summary.rejected, summary.unavailable), (8, past as u64));
}

#[tokio::test]
async fn an_allowed_source_has_no_budget() {
    let settings = format!("{ENCRYPTED}undecryptable_per_minute = 1\nallowed_sources = ['127.0.0.0/8']");
    let service = Service::start(&settings).await;
    for _ in 0..3 {
        assert_eq!(send(&service, b"no JSON").await.status, 400);
    }
    assert_eq!(send(&service, &captured(CREATED.as_bytes())).await.status, 200);
    service.stop().await;
}

#[tokio::test]
async fn a_vector_can_be_required() {
    let service = Service::start(&format!("{ENCRYPTED}require_iv = true")).await;
    let with_zeros = encrypt(Cipher::aes_256_ctr(), KEY, Some(&[0; 16]), CREATED.as_bytes()).unwrap();
    let bare = STANDARD.encode(with_zeros);
    for path in [PATH.to_owned(), format!("{PATH}&iv=")] {
        assert_eq!(service.post(&path, &bare).await.status, 400);
    }
    let letters = service.values("vcc.users.dead-letter").await;
    let reason = String::from_utf8_lossy(letters[0].header("rollcall-reason").unwrap()).into_owned();
    assert!(reason.contains("security.require_iv"), "{reason}");
    assert_eq!(send(&service, &captured(CREATED.as_bytes())).await.status, 200);
    service.stop().await;
}
