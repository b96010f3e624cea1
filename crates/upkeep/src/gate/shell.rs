//! The gate's shell: the topic in, verdicts out to the requests.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::headers::CE_TIME;
use domain::{Checkpoint, Head, record};
use kafka::tail::{self, Limits, Tail, TailEvent};
use kafka::topics::Watermarks;
use kafka::{ClientOptions, Record};
use prometheus_client::metrics::gauge::Gauge;
use service::{Metrics, Shutdown};

use super::heads::{Heads, Verdict};

/// After the topic could not be followed it is read again, from the beginning.
const START_OVER_AFTER: Duration = Duration::from_secs(2);
/// How long the topic may take to say how far it reaches.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);
/// How long the stop of the service waits for a tail that is just being opened, which cannot be called back: while the cluster is
/// away opening takes longer than anybody wants to wait.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// The gate of one replica; clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    /// `None` while the topic is not known to its end.
    known: Arc<RwLock<Option<Heads>>>,
    in_force: Gauge,
    keys: Gauge,
    behind: Gauge,
}

impl Gate {
    /// Returns a gate that lets everything pass until [`run`] has read the topic.
    pub fn new(metrics: &Metrics) -> Self {
        let gate = Self {
            known: Arc::default(),
            in_force: Gauge::default(),
            keys: Gauge::default(),
            behind: Gauge::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "rollcall_gate_in_force",
                "1 once the topic is known to its end, else 0",
                gate.in_force.clone(),
            );
            registry.register("rollcall_gate_keys", "Keys that the gate knows", gate.keys.clone());
            registry.register(
                "rollcall_gate_behind_records",
                "Offsets between what the gate has read and where the topic ended when it began",
                gate.behind.clone(),
            );
        });
        gate
    }

    /// Returns what is to be done with a delivery; [`Verdict::Append`] while the gate is not in force.
    pub fn judge(&self, head: &Head) -> Verdict {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map_or(Verdict::Append, |heads| heads.judge(head))
    }

    fn withdraw(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.in_force.set(0);
    }

    fn put_in_force(&self, heads: Heads) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(heads);
        self.in_force.set(1);
        self.behind.set(0);
        tracing::info!("the gate is in force");
    }

    fn update(&self, records: &[Record]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(heads) = known.as_mut() {
            records.iter().for_each(|record| take_in(heads, record));
            self.keys.set(count(heads.keys()));
        }
    }
}

/// Follows the topic until `shutdown`. What goes wrong withdraws the gate and starts over.
pub async fn run(gate: Gate, options: ClientOptions, topic: String, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        if let Err(error) = open(&gate, &options, &topic, &shutdown).await {
            gate.withdraw();
            tracing::warn!(error = &error as &dyn std::error::Error, "the gate is withdrawn and starts over");
        }
        tokio::select! {
            () = shutdown.requested() => {}
            () = tokio::time::sleep(START_OVER_AFTER) => {}
        }
    }
}

/// Opens a tail and follows it until `shutdown`; the tail is closed however that ends.
async fn open(gate: &Gate, options: &ClientOptions, topic: &str, shutdown: &Shutdown) -> Result<(), tail::Error> {
    let opening = async {
        let ends = kafka::topics::watermarks(options, topic, DESCRIBE_DEADLINE).await?;
        let tail = Tail::open(options, topic, Checkpoint::default(), Limits::default()).await?;
        Ok::<_, tail::Error>((ends, tail))
    };
    let mut opening = std::pin::pin!(opening);
    let opened = tokio::select! {
        opened = &mut opening => Some(opened),
        () = shutdown.requested() => tokio::time::timeout(OPENING_MAX, opening).await.ok(),
    };
    let Some(opened) = opened else { return Ok(()) };
    let (ends, mut tail) = opened?;
    let followed = tokio::select! {
        () = shutdown.requested() => Ok(()),
        Err(error) = follow(gate, &mut tail, &ends) => Err(error),
    };
    tail.close().await;
    followed
}

/// Never returns but with an error.
async fn follow(gate: &Gate, tail: &mut Tail, ends: &[Watermarks]) -> Result<std::convert::Infallible, tail::Error> {
    let mut heads = Heads::default();
    let mut ahead: BTreeSet<i32> = ends.iter().map(|end| end.partition).collect();
    while !ahead.is_empty() {
        match tail.next().await? {
            TailEvent::Records(records) => records.iter().for_each(|record| take_in(&mut heads, record)),
            TailEvent::EndReached { partition, next_offset } => {
                heads.reach(partition, next_offset);
                ahead.remove(&partition);
            }
            TailEvent::PartitionsAdded(added) => ahead.extend(added),
        }
        let unread =
            ends.iter().map(|end| (end.high - heads.checkpoint().next(end.partition).unwrap_or(end.low)).max(0));
        gate.behind.set(unread.sum());
        gate.keys.set(count(heads.keys()));
    }
    gate.put_in_force(heads);
    loop {
        if let TailEvent::Records(records) = tail.next().await? {
            gate.update(&records);
        }
    }
}

/// A record that cannot be read says nothing of a user; the keeper counts it.
fn take_in(heads: &mut Heads, record: &Record) {
    if let Ok((user_id, head)) =
        record::read(record.key.as_deref(), record.value.as_deref(), record.header(CE_TIME), record.timestamp)
    {
        heads.read(record.position, user_id, head);
    }
}

fn count(keys: usize) -> i64 {
    i64::try_from(keys).unwrap_or(i64::MAX)
}
