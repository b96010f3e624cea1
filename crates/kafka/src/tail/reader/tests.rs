//! A reader that the client library has forgotten, on the embedded broker.

use rdkafka::consumer::Consumer as _;

use super::*;
use crate::embedded::EmbeddedBroker;
use crate::publish::{self, Outgoing, Publisher};

const TOPIC: &str = "users";
/// Long enough for a busy machine. A test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(120);

fn record(partition: i32, value: &str) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        key: b"180".to_vec(),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
        timestamp: domain::UnixMillis::from_millis(1_700_000_000_000),
        partition: Some(partition),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_are_read_on_with_where_it_stood() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let options = broker.client_options();
    let publisher = Publisher::open(&options, publish::Limits::default()).unwrap();
    for partition in [0, 1] {
        publisher.publish(record(partition, "before")).await.unwrap();
    }
    let (sender, mut events) = mpsc::channel(1_000);
    let from = Checkpoint::default();
    let mut reader = tokio::task::block_in_place(|| {
        TailReader::open(&options, TOPIC.to_owned(), &from, Limits::default(), sender).unwrap()
    });
    let mut read = Vec::new();
    let mut read_until = |reader: &mut TailReader, count: usize| {
        let began = Instant::now();
        while read.len() < count {
            assert!(began.elapsed() < PATIENCE, "{read:?}");
            assert!(reader.poll().is_continue() && reader.deliver().is_continue());
            reader.mind_credentials();
            assert!(reader.check().is_continue());
            while let Ok(event) = events.try_recv() {
                if let TailEvent::Records(records) = event.unwrap() {
                    read.extend(records.into_iter().map(|record| record.position));
                }
            }
        }
        read.sort_unstable();
        read.clone()
    };
    let client = |reader: &TailReader| reader.intake.consumer().client().native_ptr();
    let position = |partition, offset| domain::Position { partition, offset };
    let former = client(&reader);
    tokio::task::block_in_place(|| read_until(&mut reader, 2));
    assert_eq!(client(&reader), former);

    tokio::task::block_in_place(|| options.credentials.renew(None).unwrap());
    for partition in [0, 1] {
        publisher.publish(record(partition, "after")).await.unwrap();
    }
    let read = tokio::task::block_in_place(|| {
        reader.mind_credentials();
        assert!(reader.check().is_continue());
        read_until(&mut reader, 4)
    });
    assert_eq!(read, [position(0, 0), position(0, 1), position(1, 0), position(1, 1)], "each record once");
    assert_ne!(client(&reader), former);
    tokio::task::block_in_place(|| drop(reader));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_partition_is_read_on_where_it_stood() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let publisher = Publisher::open(&broker.client_options(), publish::Limits::default()).unwrap();
    for partition in [0, 1, 0, 1] {
        publisher.publish(record(partition, "before")).await.unwrap();
    }
    let (sender, mut events) = mpsc::channel(1_000);
    let options = broker.client_options();
    let from: Checkpoint = "0:1,1:1".parse().unwrap();
    let opening = move || TailReader::open(&options, TOPIC.to_owned(), &from, Limits::default(), sender).unwrap();
    let reader = tokio::task::spawn_blocking(opening).await.unwrap();
    // Behind the watchdog's back: nothing of partition 0 comes any more, and nobody says so.
    let mut forgotten = TopicPartitionList::new();
    forgotten.add_partition(TOPIC, 0);
    reader.intake.consumer().incremental_unassign(&forgotten).unwrap();
    let thread = std::thread::spawn(move || reader.run());

    let (mut stalled, mut ended) = (Vec::new(), BTreeSet::new());
    let mut read = Vec::new();
    let reading = async {
        while !ended.contains(&0) {
            match events.recv().await.unwrap().unwrap() {
                TailEvent::Records(records) => read.extend(records.into_iter().map(|record| record.position)),
                TailEvent::EndReached { partition, next_offset: 2 } => {
                    ended.insert(partition);
                }
                TailEvent::EndReached { .. } => {}
                TailEvent::PartitionsAdded(added) => panic!("nobody added {added:?}"),
                TailEvent::Stalled(partitions) => {
                    assert!(!read.iter().any(|position| position.partition == 0), "{read:?}");
                    stalled.push(partitions);
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the forgotten partition is read to its end");
    assert!(stalled.first().is_some_and(|partitions| partitions.contains(&0)), "{stalled:?}");
    read.sort_unstable();
    let position = |partition| domain::Position { partition, offset: 1 };
    assert_eq!(read, [position(0), position(1)], "each record once");
    drop(events);
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
}
