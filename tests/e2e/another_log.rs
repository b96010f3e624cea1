//! The log is not the one that was read: the topic was created again under its name, or it lost its end and grew again.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::TopicPosition;
use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::publish::Outgoing;
use tempfile::TempDir;
use testkit::broker::{log_of, publisher};
use testkit::deliveries::delivery;
use testkit::{Answer, Http, eventually};

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector, event_of};

/// How long a service may take to notice what has become of its log, and to read the other.
const NOTICED_MAX: Duration = Duration::from_secs(120);
/// The users of the first log, and those of the second.
const OLD: std::ops::Range<u64> = 0..8;
const NEW: std::ops::Range<u64> = 100..120;
const GATE_IN_FORCE: &str = "rollcall_gate_in_force 1";
/// The offset at which a log is cut, of as many records as there are old users.
const CUT_AT: i64 = 5;

#[test]
fn nothing_is_concluded_from_a_topic_that_was_created_again() {
    where_kafka_runs("another_log::nothing_is_concluded_from_a_topic_that_was_created_again", async || {
        let kafka = Kafka::start(&[]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names, 1, 1).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |_| {}).await;
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        ingest.ready().await;
        projector.ready().await;
        let mut last = None;
        for user in OLD {
            last = Some(stored(&ingest, user).await);
        }
        eventually("the gate knows them", NOTICED_MAX, async || {
            let is_duplicate = ingest.post(delivery(0, 1)).await.text("/status") == "duplicate";
            (is_duplicate && ingest.metrics().await.lines().any(|line| line == GATE_IN_FORCE)).then_some(())
        })
        .await;
        let old = last.expect("there are old users");

        kafka.tool("kafka-topics", &["--delete", "--topic", &names.users]).await.expect("a topic can be deleted");
        make_topics(&options, &names, 1, 1).await;
        append(&options, &names, NEW).await;
        let topic = log_of(&options, &names.users).await.topic;
        assert_ne!(old.topic, topic);

        // The same deliveries: none of them is on this log.
        for user in OLD {
            assert_eq!(stored(&ingest, user).await.topic, topic, "user {user}");
        }
        let users = eventually("the projector has the other log", NOTICED_MAX, async || {
            let users = one_log(&projector.http).await?;
            (users.len() == OLD.count() + NEW.count()).then_some(users)
        })
        .await;
        assert!(users.iter().all(|position| position.topic == topic));
        let refused = projector.http.get(&format!("/users/0?at_least={old}")).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
        ingest.stop().await.expect("ingest ends well");
        projector.stop().await.expect("the projector ends well");
    });
}

#[test]
fn a_topic_that_is_deleted_is_waited_for_and_its_table_answers() {
    where_kafka_runs("another_log::a_topic_that_is_deleted_is_waited_for_and_its_table_answers", async || {
        let kafka = Kafka::start(&[]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names, 1, 1).await;
        append(&options, &names, OLD).await;
        let store = TempDir::new().expect("a folder can be made");
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        projector.ready().await;

        kafka.tool("kafka-topics", &["--delete", "--topic", &names.users]).await.expect("a topic can be deleted");
        eventually("the projector knows that the topic is gone", NOTICED_MAX, async || {
            let status = projector.http.get("/status").await.json();
            (status["cluster"]["answers"] == false).then_some(())
        })
        .await;
        let users = projector.http.get("/users?limit=1000").await;
        assert_eq!(ids(&users), OLD.collect::<Vec<_>>(), "the table is kept");

        make_topics(&options, &names, 1, 1).await;
        append(&options, &names, NEW).await;
        eventually("the table is that of the other topic", NOTICED_MAX, async || {
            let answer = projector.http.get("/users?limit=1000").await;
            (answer.status == StatusCode::OK && ids(&answer) == NEW.collect::<Vec<_>>()).then_some(())
        })
        .await;
        projector.stop().await.expect("the projector ends well");
    });
}

#[test]
fn a_log_that_lost_its_end_and_grew_again_is_read_again() {
    where_kafka_runs("another_log::a_log_that_lost_its_end_and_grew_again_is_read_again", async || {
        let logs = TempDir::new().expect("a folder can be made");
        fs::set_permissions(logs.path(), fs::Permissions::from_mode(0o777)).expect("the folder is ours");
        let kafka = Kafka::start_in(logs.path()).await;
        let options = ClientOptions::new(kafka.bootstrap());
        for is_away in [true, false] {
            let users = format!("{}.vcc.users", if is_away { "away" } else { "quiet" });
            let names = Names { users, ..Names::default() };
            make_topics(&options, &names, 1, 1).await;
            append(&options, &names, OLD).await;
            let store = TempDir::new().expect("a folder can be made");
            let mut projector = Projector::start(&options, &names, store.path(), |_| {}).await;
            projector.ready().await;
            let before = one_log(&projector.http).await.expect("nothing has changed");
            assert_eq!(before.len(), OLD.count());
            let last: TopicPosition = *before.last().expect("there are users");
            assert!(last.epoch.is_some(), "{last}");
            if is_away {
                projector.stop().await.expect("the projector ends well");
                cut(&kafka, logs.path(), &options, &names).await;
                projector = Projector::start(&options, &names, store.path(), |_| {}).await;
            } else {
                cut(&kafka, logs.path(), &options, &names).await;
            }
            let expected: Vec<u64> = (0..CUT_AT.unsigned_abs()).chain(NEW).collect();
            eventually("the table is that of the log", NOTICED_MAX, async || {
                let answer = projector.http.get("/users?limit=1000").await;
                (answer.status == StatusCode::OK && ids(&answer) == expected).then_some(())
            })
            .await;
            let refused = projector.http.get(&format!("/users/0?at_least={last}")).await;
            assert_eq!(refused.status, StatusCode::CONFLICT, "its record is gone: {refused:?}");
            projector.stop().await.expect("the projector ends well");
        }
    });
}

/// Delivers the change of a user until it is accepted. It must be stored.
async fn stored(ingest: &Ingest, user: u64) -> TopicPosition {
    let answer = eventually("a delivery is accepted", NOTICED_MAX, async || {
        let answer = ingest.post(delivery(user, 1)).await;
        (answer.status == StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(answer.text("/status"), "stored", "user {user}");
    answer.text("/position").parse().expect("a position with its topic")
}

/// Appends the change of each of these users, one record at a time.
async fn append(options: &ClientOptions, names: &Names, users: std::ops::Range<u64>) {
    let publisher = publisher(options);
    for user in users {
        let record = Outgoing::event(&event_of(&delivery(user, 1)), &names.users, None);
        let appended = async || publisher.publish(record.clone()).await.ok();
        eventually("a record is appended", NOTICED_MAX, appended).await;
    }
}

/// Returns the positions of all users, which are of one log, as are their names; `None` while there is no table.
async fn one_log(projector: &Http) -> Option<Vec<TopicPosition>> {
    let answer = projector.get("/users?limit=1000").await;
    if answer.status != StatusCode::OK {
        return None;
    }
    let json = answer.json();
    let users = json["users"].as_array().expect("a page has users");
    let positions: Vec<TopicPosition> = users
        .iter()
        .map(|user| user["_meta"]["position"].as_str().expect("a text").parse().expect("a position with its topic"))
        .collect();
    assert!(positions.windows(2).all(|pair| pair[0].topic == pair[1].topic), "a mixture: {positions:?}");
    Some(positions)
}

fn ids(answer: &Answer) -> Vec<u64> {
    let json = answer.json();
    let users = json["users"].as_array().expect("a page has users");
    users.iter().filter_map(|user| user["userId"].as_u64()).collect()
}

/// Kills the broker, takes the end of the log from it, and lets others grow in its place, beyond where it ended.
async fn cut(kafka: &Kafka, logs: &Path, options: &ClientOptions, names: &Names) {
    kafka.kill().await;
    let partition = logs.join(format!("{}-0", names.users));
    truncate(&partition.join("00000000000000000000.log"), CUT_AT);
    let made_from_it = |path: &PathBuf| {
        path.extension().is_some_and(|kind| ["index", "timeindex", "snapshot"].iter().any(|other| kind == *other))
    };
    let files = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path()).collect()
    };
    for path in files(&partition).iter().filter(|path| made_from_it(path)) {
        fs::remove_file(path).expect("the file is there");
    }
    for path in files(logs).iter().filter(|path| path.to_string_lossy().ends_with("-offset-checkpoint")) {
        fs::remove_file(path).expect("the file is there");
    }
    kafka.start_again().await;
    append(options, names, NEW).await;
}

/// Cuts a segment before the batch at `offset`. Each batch begins with its first offset and the length that follows
/// (`RecordBatch` of the Kafka protocol).
fn truncate(segment: &Path, offset: i64) {
    let mut bytes = Vec::new();
    File::open(segment).and_then(|mut file| file.read_to_end(&mut bytes)).expect("the segment can be read");
    let mut at = 0;
    while at + 12 <= bytes.len() {
        let first = i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if first >= offset {
            break;
        }
        let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        at += 12 + usize::try_from(length).expect("a batch fits memory");
    }
    let file = File::options().write(true).open(segment).expect("the segment can be written");
    file.set_len(at as u64).expect("the segment can be cut");
}
