//! Where the partitions of a topic begin and end.
//!
//! A log has two ends. Its records reach up to the high watermark, and readers of committed records get those below the
//! last stable offset, where the first open transaction begins. Without an open transaction both are the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::Error;
use super::admin::shape_of;
use super::hold::{Hold, hold_of};
use crate::client::{Renewed, TracingContext};
use crate::native::authorize;
use crate::{ClientOptions, Fault};

/// The pause before the ends are asked for again while a partition has no leader.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The first offset of a partition, and its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    pub partition: i32,
    /// The offset of the first record that still exists.
    pub low: i64,
    /// The last stable offset: readers get the records below it. Less than `high` only while a transaction is open.
    pub stable: i64,
    /// The high watermark: the offset of the next record.
    pub high: i64,
}

impl Watermarks {
    /// Returns whether an open transaction keeps readers from the end of the log.
    pub fn is_held_back(&self) -> bool {
        self.stable < self.high
    }
}

/// The watermarks of each partition, or the reason why its leader has not answered.
pub type Ends = BTreeMap<i32, Result<Watermarks, Fault>>;

/// Returns the watermarks of each partition, ordered by partition. Waits for partitions that have no leader.
///
/// # Errors
/// As [`super::describe`].
pub async fn watermarks(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Vec<Watermarks>, Error> {
    let (options, topic) = (options.clone(), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || watermarks_of(&options, &topic, deadline));
    asked.await.expect("asking does not panic")
}

/// Like [`watermarks`], for synchronous callers.
pub(crate) fn watermarks_of(
    options: &ClientOptions,
    topic: &str,
    deadline: Duration,
) -> Result<Vec<Watermarks>, Error> {
    let (asker, until) = (Asker::make(options).map_err(Error::Client)?, Instant::now() + deadline);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let ends: Result<Vec<Watermarks>, Fault> = asker.ends(topic, left)?.into_values().collect();
        match ends {
            Ok(ends) => return Ok(ends),
            Err(fault) if fault.is_transient() && Instant::now() + ASK_AGAIN < until => std::thread::sleep(ASK_AGAIN),
            Err(source) => return Err(Error::NotDescribed { topic: topic.to_owned(), source }),
        }
    }
}

/// Asks where a topic begins and ends; clones share the connections, which are made with the first question.
#[derive(Clone)]
pub struct EndsProbe(Arc<Probe>);

struct Probe {
    options: ClientOptions,
    topic: String,
    asker: Arc<Renewed<Asker>>,
    holds: Mutex<Vec<Hold>>,
}

impl EndsProbe {
    /// Prepares questions about a topic. Nothing is sent yet.
    pub fn new(options: &ClientOptions, topic: &str) -> Self {
        Self(Arc::new(Probe {
            options: options.clone(),
            topic: topic.to_owned(),
            asker: Renewed::new(options, Asker::make),
            holds: Mutex::default(),
        }))
    }

    /// Returns what the leader of each partition answers. One that is away takes the deadline; the others do not wait
    /// for it.
    ///
    /// # Errors
    /// As [`super::describe`].
    pub async fn now(&self, deadline: Duration) -> Result<Ends, Error> {
        let probe = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || {
            let asker = probe.asker.get().map_err(Error::Client)?;
            asker.authorize()?;
            let asked = asker.ends(&probe.topic, deadline);
            probe.asker.heard(match &asked {
                Ok(ends) => ends.is_empty() || ends.values().any(Result::is_ok),
                Err(error) => !error.is_transient(),
            });
            asked
        });
        asked.await.expect("asking does not panic")
    }

    /// Returns the partitions whose readers are held back by the ends that were found. The first record of a
    /// transaction is asked for once.
    pub async fn holds(&self, found: &[Watermarks]) -> Vec<Hold> {
        let mut holds = Vec::new();
        for found in found.iter().copied().filter(Watermarks::is_held_back) {
            let is_known = |hold: &&Hold| (hold.partition, hold.stable) == (found.partition, found.stable);
            let known = self.0.holds.lock().iter().find(is_known).copied();
            match known {
                Some(hold) => holds.push(Hold { high: found.high, ..hold }),
                None => {
                    let probe = Arc::clone(&self.0);
                    let asked = tokio::task::spawn_blocking(move || hold_of(&probe.options, &probe.topic, found));
                    holds.extend(asked.await.expect("reading does not panic"));
                }
            }
        }
        self.0.holds.lock().clone_from(&holds);
        holds
    }

    /// Closes the connections and waits for the end, unless a question is still on its way. Later ones fail.
    pub async fn close(&self) {
        let asker = Arc::clone(&self.0.asker);
        tokio::task::spawn_blocking(move || asker.close()).await.expect("closing does not panic");
    }
}

impl fmt::Debug for EndsProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndsProbe").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

/// The two clients that it takes to hear of both ends.
struct Asker {
    committed: BaseConsumer<TracingContext>,
    uncommitted: BaseConsumer<TracingContext>,
}

impl Asker {
    fn make(options: &ClientOptions) -> Result<Self, Fault> {
        Ok(Self { committed: options.inquirer()?, uncommitted: options.uncommitted_inquirer()? })
    }

    /// Sees to the tokens of both clients: it may be long since the last question.
    fn authorize(&self) -> Result<(), Error> {
        for client in [&self.committed, &self.uncommitted] {
            // librdkafka queues its log lines and errors on the client. Without polling they would accumulate.
            while client.poll(Duration::ZERO).is_some() {}
            authorize(client.client()).map_err(Error::Client)?;
        }
        Ok(())
    }

    fn ends(&self, topic: &str, deadline: Duration) -> Result<Ends, Error> {
        let until = Instant::now() + deadline;
        let shape = shape_of(&self.uncommitted, topic, deadline)?;
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |(leader, partitions): (&i32, &Vec<i32>)| {
                let (leader, partitions) = (*leader, partitions.clone());
                scope.spawn(move || {
                    let answer = if leader < 0 {
                        Err(Code::LeaderNotAvailable.into())
                    } else {
                        self.ends_of_leader(topic, &partitions, until)
                    };
                    (partitions, answer)
                })
            };
            let asked: Vec<_> = shape.by_leader.iter().map(ask).collect();
            asked.into_iter().map(|asked| asked.join().expect("asking does not panic")).collect()
        });
        let mut ends = Ends::new();
        for (partitions, answer) in answers {
            match answer {
                Ok(found) => ends.extend(found.into_iter().map(|found| (found.partition, Ok(found)))),
                Err(fault) => ends.extend(partitions.into_iter().map(|partition| (partition, Err(fault.clone())))),
            }
        }
        Ok(ends)
    }

    /// Asks one leader: three requests, whatever the number of its partitions.
    fn ends_of_leader(&self, topic: &str, partitions: &[i32], until: Instant) -> Result<Vec<Watermarks>, Fault> {
        let ask = |client, at| offsets(client, topic, partitions, at, until);
        // In this order: what has ended meanwhile is no open transaction.
        let (high, low) = (ask(&self.uncommitted, Offset::End)?, ask(&self.uncommitted, Offset::Beginning)?);
        let stable = ask(&self.committed, Offset::End)?;
        let of = |offsets: &BTreeMap<i32, i64>, partition: i32| {
            offsets.get(&partition).copied().ok_or_else(|| Fault::from(Code::UnknownPartition))
        };
        let watermarks = partitions.iter().map(|partition| {
            let (low, high) = (of(&low, *partition)?, of(&high, *partition)?);
            let stable = of(&stable, *partition)?.min(high);
            Ok(Watermarks { partition: *partition, low, stable, high })
        });
        watermarks.collect()
    }
}

/// Returns the offset at the beginning or the end of each partition.
fn offsets(
    client: &BaseConsumer<TracingContext>,
    topic: &str,
    partitions: &[i32],
    at: Offset,
    until: Instant,
) -> Result<BTreeMap<i32, i64>, Fault> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition_offset(topic, *partition, at)?;
    }
    // librdkafka's numbers for beginning and end are the protocol's times for them.
    let answer = client.offsets_for_times(asked, until.saturating_duration_since(Instant::now()))?;
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}
