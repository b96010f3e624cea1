//! A single broker that pauses for 12 to 25 s: librdkafka 2.12.1 may then never fetch some partitions again, and the
//! watchdog of the readers notices it. Without the watchdog about one reader in two is blind after a pause.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::Names;
use domain::{Checkpoint, Position};
use kafka::ClientOptions;
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::tail::{self, Tail, TailEvent};
use testkit::eventually;
use testkit::random::Random;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::kafka::Kafka;

const PARTITIONS: i32 = 12;
/// How long a pause lasts: long enough that the controller takes the broker for dead.
const PAUSES: std::ops::RangeInclusive<u64> = 12..=25;
/// How long readers and publisher may take to be back. A reader that is blind never is.
const BACK_MAX: Duration = Duration::from_secs(120);

#[test]
#[ignore = "two pauses take two minutes; `.ci/full` has them"]
fn no_reader_is_blind_after_a_pause() {
    where_kafka_runs("broker_paused::no_reader_is_blind_after_a_pause", async || pauses(2, 3).await);
}

/// Takes ten minutes.
#[test]
#[ignore = "twenty pauses take ten minutes; `.ci/full` has them"]
fn no_reader_is_blind_after_twenty_pauses() {
    where_kafka_runs("broker_paused::no_reader_is_blind_after_twenty_pauses", async || pauses(20, 6).await);
}

async fn pauses(pauses: usize, readers: usize) {
    let kafka = Kafka::start(&[]).await;
    let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
    make_topics(&options, &names, PARTITIONS, 1).await;
    // One for all, as ingest has: it replaces a producer of the client library that sticks.
    let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");
    let mut random = Random(1);
    let mut following = Vec::new();
    for _ in 0..readers {
        following.push(Reader::start(&options, &names.users).await);
    }
    let mut longest = Duration::ZERO;
    for pause in 0..=pauses {
        let mut returned = Instant::now();
        if pause > 0 {
            let seconds = PAUSES.start() + random.below(PAUSES.end() - PAUSES.start() + 1);
            kafka.pause().await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            kafka.unpause().await;
            returned = Instant::now();
        }
        let mut written = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let position = publish(&publisher, &names.users, partition).await;
            written.insert(partition, position.offset);
        }
        let written_after = returned.elapsed();
        for reader in &mut following {
            reader.until_read(&written).await;
        }
        let caught_up_after = returned.elapsed();
        longest = longest.max(caught_up_after);
        let reopened: usize = following.iter().map(|reader| reader.seen.borrow().stalls).sum();
        println!("pause {pause}: written after {written_after:?}, read after {caught_up_after:?}, {reopened} reopened");
    }
    println!("{readers} readers, {pauses} pauses: the longest catch-up took {longest:?}");
    for reader in following {
        reader.stop().await;
    }
    publisher.close(Limits::default().deadline).await.expect("nothing waits any more");
}

async fn publish(publisher: &Publisher, topic: &str, partition: i32) -> Position {
    let value = Some(b"a record".to_vec());
    let record = testkit::broker::record(topic, "180", value, testkit::event::at(1_700_000_000));
    let record = Outgoing { partition: Some(partition), ..record };
    let publish = async || publisher.publish(record.clone()).await.inspect_err(|error| println!("{error}")).ok();
    eventually("the broker acknowledges", BACK_MAX, publish).await
}

/// A reader that notes how far it has read.
struct Reader {
    seen: watch::Receiver<Seen>,
    /// Dropped to end the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    next: BTreeMap<i32, i64>,
    stalls: usize,
}

impl Reader {
    async fn start(options: &ClientOptions, topic: &str) -> Self {
        // The broker may not know a topic yet that was made a moment ago.
        let mut tail = eventually("the topic can be read", BACK_MAX, async || {
            Tail::open(options, topic, Checkpoint::default(), tail::Limits::default()).await.ok()
        })
        .await;
        let (seen, receiver) = watch::channel(Seen::default());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    _ = &mut stopped => break,
                    event = tail.next() => event.expect("an outage does not end a tail"),
                };
                seen.send_modify(|seen| match event {
                    TailEvent::Records(records) => {
                        for record in records {
                            seen.next.insert(record.position.partition, record.position.offset + 1);
                        }
                    }
                    TailEvent::Stalled(_) => seen.stalls += 1,
                    TailEvent::EndReached { .. } | TailEvent::PartitionsAdded(_) => {}
                });
            }
            tail.close().await;
        });
        Self { seen: receiver, stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("the reader ends when it is told to");
    }

    /// Waits until the records at these offsets were read.
    async fn until_read(&mut self, written: &BTreeMap<i32, i64>) {
        let has_read = |seen: &Seen| {
            written.iter().all(|(partition, offset)| seen.next.get(partition).is_some_and(|next| next > offset))
        };
        let reading = self.seen.wait_for(has_read);
        let read = tokio::time::timeout(BACK_MAX, reading).await.expect("a reader is blind");
        drop(read.expect("the reader goes on"));
    }
}
