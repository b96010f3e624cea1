//! The replay of dead letters on the embedded broker: a replay is a delivery, and passes the rule of the gate.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use domain::roll::Standing;
use domain::wire::Framing;
use domain::{EventType, Letter, Original, UnixMillis, UserEvent, wire};
use ingest::Rejection;
use ingest::dead_letter::{Destination, Refusal, Sorted, sort};
use ingest::pipeline;
use ingest::transport::{BodyCipher, BodyKey, BodyPolicy, RawRequest, SenderPolicy, authenticate};
use kafka::publish::Outgoing;
use kafka::topics::LogProbe;
use openssl::symm;
use service::Secret;
use testkit::broker::Log;
use testkit::deliveries::{CHANGED, CREATED};
use testkit::event;
use testkit::wait::PATIENCE;
use upkeep::letters::{self, Kept};

const PARTITIONS: i32 = 3;
/// The receipt of every letter, after the vendor's samples of 2017.
const RECEIVED: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
const HOUR_MS: i64 = 3_600_000;
const KEY: &str = "case-key-1";
const POSITION: &str = "zuQxo-W8SfmGVIR3p0wXVg/1:7";

fn hours_later(hours: i64) -> UnixMillis {
    UnixMillis::from_millis(RECEIVED.millis() + hours * HOUR_MS)
}

fn letter(body: impl Into<Vec<u8>>) -> Letter {
    let (iv, rejection, reason, pointer) = (None, "undecryptable".to_owned(), String::new(), String::new());
    Letter { body: body.into(), iv, rejection, reason, pointer, received_at: RECEIVED, as_of: None, record: None }
}

/// Returns the letter of the `attempt`th delivery of a body that the vendor encrypts with a fresh vector each time.
fn encrypted(body: &str, attempt: u8) -> Letter {
    let (mut key, iv) = (KEY.as_bytes().to_vec(), [attempt; 16]);
    key.resize(32, 0);
    let cipher_text = symm::encrypt(symm::Cipher::aes_256_ctr(), &key, Some(&iv), body.as_bytes()).unwrap();
    let received_at = UnixMillis::from_millis(RECEIVED.millis() + i64::from(attempt));
    Letter { iv: Some(hex::encode(iv)), received_at, ..letter(openssl::base64::encode_block(&cipher_text)) }
}

fn clear() -> BodyPolicy {
    BodyPolicy::default()
}

async fn keep(log: &Log, letter: &Letter) {
    log.append(Outgoing::letter(letter, &log.names.dead_letter)).await;
}

fn event_of(body: &str) -> UserEvent {
    let request = RawRequest { query: String::new(), peer: [127, 0, 0, 1].into(), forwarded_for: Vec::new() };
    let sent = authenticate(&request, &SenderPolicy::default()).unwrap().sent(body.to_owned().into());
    pipeline::accept(&sent, &clear(), RECEIVED).unwrap()
}

async fn kept(log: &Log) -> Vec<Kept> {
    let (options, names) = (log.options(), log.names.clone());
    tokio::task::spawn_blocking(move || letters::list(&options, &names.dead_letter).unwrap()).await.unwrap()
}

/// Replays all letters as of `now`. Returns how each event stood with the number of its letters, and the refusals.
async fn replay(log: &Log, policy: &BodyPolicy, now: UnixMillis) -> (Vec<(Standing, usize)>, Vec<Refusal>) {
    let (options, names) = (log.options(), log.names.clone());
    let table =
        tokio::task::spawn_blocking(move || letters::table(&options, &names.users, &Default::default()).unwrap())
            .await
            .unwrap();
    let Sorted { events, refused } = sort(kept(log).await, policy, now);
    let logs = LogProbe::new(&log.options(), &log.names.users);
    let users = logs.now(PATIENCE).await.unwrap();
    let (publisher, topics, framing) = (&log.publisher, &log.names, Framing::default());
    let to = Destination { publisher, topics, framing, log: &users, logs: &logs };
    let mut fared = Vec::new();
    for replay in &events {
        let standing = replay.standing(&table);
        replay.deliver(standing, &to).await.unwrap();
        fared.push((standing, replay.letters().len()));
    }
    (fared, refused.into_iter().map(|(_, refusal)| refusal).collect())
}

#[tokio::test]
async fn an_erased_user_does_not_come_back_by_a_replay() {
    let log = Log::start(PARTITIONS);
    keep(&log, &letter(CHANGED)).await;
    let marker = log.forget(event::user_id(180), RECEIVED).await;
    let (fared, _) = replay(&log, &clear(), hours_later(1)).await;
    assert_eq!(fared, [(Standing::Forgotten(marker), 1)]);
    assert_eq!(log.records("vcc.users").await.len(), 1, "the marker alone");
    let late = log.records("vcc.users.late").await;
    assert_eq!(late.len(), 1);
    assert!(late[0].value.is_none() && late[0].header("ce_id").is_some(), "its arrival, and nothing of the user");
    assert!(kept(&log).await.is_empty(), "the letter is removed");
}

#[tokio::test]
async fn an_event_that_was_ahead_heals_by_a_later_replay() {
    let ahead = CHANGED.replace("2017-06-06T10:44:18+02:00", &hours_later(10).to_string());
    assert_ne!(ahead, CHANGED);
    let log = Log::start(PARTITIONS);
    keep(&log, &letter(ahead.as_str())).await;
    let (_, refused) = replay(&log, &clear(), hours_later(1)).await;
    assert!(matches!(refused[..], [Refusal::Rejection(Rejection::Ahead { .. })]), "{refused:?}");
    let (fared, _) = replay(&log, &clear(), hours_later(11)).await;
    assert_eq!(fared, [(Standing::News, 1)]);
    let records = log.records("vcc.users").await;
    let stored = wire::decode(records[0].value.as_deref().unwrap()).unwrap();
    assert!(!stored.head().is_ahead());

    // The same letter of a user who was forgotten after its receipt: its time is after the marker, its body before.
    keep(&log, &letter(ahead.as_str())).await;
    let marker = log.forget(event::user_id(180), hours_later(12)).await;
    let other = Log::start(PARTITIONS);
    keep(&other, &letter(ahead.as_str())).await;
    let earlier = other.forget(event::user_id(180), hours_later(1)).await;
    assert_eq!(replay(&log, &clear(), hours_later(13)).await.0, [(Standing::Forgotten(marker), 1)]);
    assert_eq!(replay(&other, &clear(), hours_later(13)).await.0, [(Standing::Forgotten(earlier), 1)]);
    assert_eq!(other.records("vcc.users").await.len(), 1);
}

#[tokio::test]
async fn letters_of_one_event_are_one_delivery_at_the_time_of_the_replay() {
    let log = Log::start(PARTITIONS);
    for attempt in 1..=3 {
        keep(&log, &encrypted(CHANGED, attempt)).await;
    }
    assert_eq!(kept(&log).await.len(), 3, "each vector makes another body");
    let key = BodyKey { cipher: BodyCipher::named("aes-256-ctr").unwrap(), key: Secret::new(KEY) };
    let policy = BodyPolicy { keys: vec![key], ..BodyPolicy::default() };
    let now = hours_later(1);
    let (fared, refused) = replay(&log, &policy, now).await;
    assert_eq!((fared, refused.len()), (vec![(Standing::News, 3)], 0));
    let records = log.records("vcc.users").await;
    assert_eq!(records.len(), 1, "one event, one record");
    let stored = wire::decode(records[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((stored.received_at, records[0].timestamp), (now, now), "a replay is a delivery");
    let first = UnixMillis::from_millis(RECEIVED.millis() + 1).to_string();
    assert_eq!(records[0].header("rollcall-letter-received-at"), Some(first.as_bytes()));
    assert!(kept(&log).await.is_empty());
}

#[tokio::test]
async fn a_letter_whose_event_is_stored_or_superseded_adds_nothing() {
    let log = Log::start(PARTITIONS);
    let stored = log.event(&event_of(CHANGED)).await;
    keep(&log, &letter(CHANGED)).await;
    keep(&log, &letter(CREATED)).await;
    let (fared, _) = replay(&log, &clear(), hours_later(1)).await;
    assert_eq!(fared, [(Standing::Older(stored), 1), (Standing::Known(stored), 1)], "the creation is older");
    assert_eq!(log.records("vcc.users").await.len(), 1);
    let late = log.records("vcc.users.late").await;
    assert_eq!(late.len(), 1);
    let created = wire::decode(late[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(created.event_id, event_of(CREATED).event_id);
    assert_eq!(late[0].header("rollcall-superseded-by"), Some(log.named(stored).await.as_bytes()));
    assert!(kept(&log).await.is_empty());
}

#[tokio::test]
async fn events_of_one_user_are_replayed_in_their_order() {
    let log = Log::start(PARTITIONS);
    // The newer one was received first.
    keep(&log, &letter(CHANGED)).await;
    keep(&log, &Letter { received_at: hours_later(1), ..letter(CREATED) }).await;
    let (fared, _) = replay(&log, &clear(), hours_later(2)).await;
    assert_eq!(fared, [(Standing::News, 1), (Standing::News, 1)]);
    let records = log.records("vcc.users").await;
    let ids: Vec<_> =
        records.iter().map(|record| wire::decode(record.value.as_deref().unwrap()).unwrap().event_id).collect();
    assert_eq!(ids, [event_of(CREATED).event_id, event_of(CHANGED).event_id]);
}

#[tokio::test]
async fn the_copy_of_a_record_is_not_replayed() {
    let log = Log::start(PARTITIONS);
    let original = Original { user_id: event::user_id(180), position: POSITION.parse().unwrap() };
    keep(&log, &Letter::of_record(CHANGED.as_bytes().to_vec(), original, "ends early".to_owned(), RECEIVED)).await;
    let (fared, refused) = replay(&log, &clear(), hours_later(1)).await;
    assert!(fared.is_empty());
    let reason = format!("it is a copy of the unreadable record at {POSITION}, and no delivery: ends early");
    assert_eq!(refused[0].to_string(), reason);
    assert_eq!((log.records("vcc.users").await.len(), kept(&log).await.len()), (0, 1), "it stays");
}

#[tokio::test]
async fn a_letter_from_a_list_is_replayed_as_of_the_time_of_the_list() {
    let log = Log::start(PARTITIONS);
    let as_of = hours_later(-24);
    let row = |id: i64| Letter { as_of: Some(as_of), ..letter(format!(r#"{{"userId":{id},"name":"Listed"}}"#)) };
    keep(&log, &row(7)).await;
    keep(&log, &row(180)).await;
    // What a webhook has said of a user is better, whatever its time.
    let told = log.event(&event_of(CREATED)).await;
    let (fared, refused) = replay(&log, &clear(), hours_later(1)).await;
    assert!(refused.is_empty(), "{refused:?}");
    for standing in [Standing::News, Standing::Older(told)] {
        assert!(fared.contains(&(standing, 1)), "{fared:?}");
    }
    let records = log.records("vcc.users").await;
    assert_eq!(records.len(), 2);
    let imported = records.iter().find(|record| record.key.as_deref() == Some(b"7")).unwrap();
    let event = wire::decode(imported.value.as_deref().unwrap()).unwrap();
    assert_eq!((event.kind, event.occurred_at, event.user_id.get()), (EventType::Imported, as_of, 7));
    assert!(kept(&log).await.is_empty(), "the letters are removed");
}
