//! The thread that asks where the partitions of a topic end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::Fault;
use crate::client::{Renewed, TracingContext};
use crate::native::authorize;

/// The pause between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest time that a question waits for its answer.
const DEADLINE: Duration = Duration::from_secs(1);

type Client = BaseConsumer<TracingContext>;

/// Where the partitions of a topic end, asked for again and again until this is dropped.
pub(super) struct Ends {
    asked: Arc<Asked>,
    /// Dropped to end the thread.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Asked {
    partitions: Mutex<Vec<i32>>,
    /// The last answer that nobody has taken: the ends of the partitions that were answered for.
    answer: Mutex<Option<BTreeMap<i32, i64>>>,
}

struct Asker {
    client: Arc<Renewed<Client>>,
    topic: String,
    asked: Arc<Asked>,
    stop: Receiver<Infallible>,
}

impl Ends {
    pub(super) fn start(client: Arc<Renewed<Client>>, topic: &str) -> Self {
        let ((sender, stop), asked) = (channel(), Arc::<Asked>::default());
        let asker = Asker { client, topic: topic.to_owned(), asked: Arc::clone(&asked), stop };
        let thread = std::thread::Builder::new()
            .name("kafka-watchdog".to_owned())
            .spawn(move || asker.run())
            .expect("the system can start a thread");
        Self { asked, stop: Some(sender), thread: Some(thread) }
    }

    /// Returns the last answer, once.
    pub(super) fn take_answer(&self) -> Option<BTreeMap<i32, i64>> {
        self.asked.answer.lock().take()
    }

    /// Asks for these partitions from now on.
    pub(super) fn ask_for(&self, partitions: impl Iterator<Item = i32>) {
        *self.asked.partitions.lock() = partitions.collect();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog of a reader has panicked");
        }
    }
}

impl Asker {
    fn run(self) {
        while self.stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let partitions = self.asked.partitions.lock().clone();
            let answer = self.ask(&partitions);
            *self.asked.answer.lock() = Some(answer);
        }
    }

    /// Returns the ends that a reader can reach: the client reads as the reader does. A partition without an answer is
    /// left out.
    fn ask(&self, partitions: &[i32]) -> BTreeMap<i32, i64> {
        let Ok(client) = self.client.get() else { return BTreeMap::new() };
        if partitions.is_empty() || authorize(client.client()).is_err() {
            return BTreeMap::new();
        }
        let ends = match self.ask_together(&client, partitions) {
            Ok(ends) => ends,
            // One partition without a leader fails the question for all.
            Err(_) => {
                let running = partitions.iter().take_while(|_| self.stop.try_recv() == Err(TryRecvError::Empty));
                running.filter_map(|partition| Some((*partition, self.ask_alone(&client, *partition)?))).collect()
            }
        };
        self.client.heard(!ends.is_empty());
        ends
    }

    fn ask_together(&self, client: &Client, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Fault> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(&self.topic, *partition, Offset::End)?;
        }
        let answered = client.offsets_for_times(list, DEADLINE)?;
        let end = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(end) if element.error().is_ok() => Some((element.partition(), end)),
            _ => None,
        };
        Ok(answered.elements().into_iter().filter_map(end).collect())
    }

    fn ask_alone(&self, client: &Client, partition: i32) -> Option<i64> {
        client.fetch_watermarks(&self.topic, partition, DEADLINE).ok().map(|(_, end)| end)
    }
}
