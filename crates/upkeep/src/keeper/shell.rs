//! The keeper's shell: a group membership in, repairs out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::headers::{CE_TIME, REASSERTED};
use domain::record;
use kafka::group::{self, GroupEvent, Membership};
use kafka::publish::{Outgoing, Publisher};
use kafka::{ClientOptions, Record};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use service::{Metrics, Shutdown};
use tokio::time::Instant;

use super::partition::{Partition, Repair};
use super::{GROUP, refetch};

/// Repairs of one round; the next follows when these have been read back.
const REPAIRS_MAX: usize = 1_000;
/// After the membership has ended by an error it is taken up again, from the beginning.
const REJOIN_AFTER: Duration = Duration::from_secs(2);
/// Repairs that failed are tried again after this long, whether something new has come or not.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What the keeper works with.
#[derive(Debug)]
pub struct Keeper {
    options: ClientOptions,
    topic: String,
    publisher: Publisher,
    now: fn() -> domain::UnixMillis,
    counters: Counters,
}

#[derive(Clone, Debug, Default)]
struct Counters {
    keys: Gauge,
    dirty: Gauge,
    partitions: Gauge,
    repairs: Counter,
    failed: Counter,
    lost: Counter,
    unreadable: Counter,
}

impl Keeper {
    pub fn new(
        options: ClientOptions,
        topic: String,
        publisher: Publisher,
        now: fn() -> domain::UnixMillis,
        metrics: &Metrics,
    ) -> Self {
        let counters = Counters::default();
        metrics.register(|registry| {
            registry.register(
                "rollcall_keeper_keys",
                "Keys in the partitions that this keeper owns",
                counters.keys.clone(),
            );
            registry.register(
                "rollcall_keeper_dirty_keys",
                "Keys whose last record is not the newest",
                counters.dirty.clone(),
            );
            registry.register(
                "rollcall_keeper_partitions",
                "Partitions that this keeper owns",
                counters.partitions.clone(),
            );
            registry.register("rollcall_keeper_repairs", "Records appended again", counters.repairs.clone());
            registry.register(
                "rollcall_keeper_failed_repairs",
                "Attempts to append a record again that Kafka did not acknowledge",
                counters.failed.clone(),
            );
            registry.register(
                "rollcall_keeper_lost",
                "Winning records that compaction had removed before they were appended again",
                counters.lost.clone(),
            );
            registry.register(
                "rollcall_keeper_unreadable",
                "Records that are no user event",
                counters.unreadable.clone(),
            );
        });
        Self { options, topic, publisher, now, counters }
    }
}

/// Keeps the log until `shutdown`, and has then left the group. An error of the membership ends nothing: all is read again from
/// the beginning.
pub async fn run(keeper: Keeper, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        if let Err(error) = join(&keeper, &shutdown).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the keeper starts over");
        }
        tokio::select! {
            () = shutdown.requested() => {}
            () = tokio::time::sleep(REJOIN_AFTER) => {}
        }
    }
}

/// Keeps the log as a member of the group, and leaves it however that ends.
async fn join(keeper: &Keeper, shutdown: &Shutdown) -> Result<(), group::Error> {
    let mut membership = Membership::join(&keeper.options, GROUP, &keeper.topic, kafka::tail::Limits::default())?;
    let kept = keep(keeper, &mut membership, shutdown).await;
    membership.leave().await;
    kept
}

async fn keep(keeper: &Keeper, membership: &mut Membership, shutdown: &Shutdown) -> Result<(), group::Error> {
    let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
    // Partitions with repairs left, and when these are tried again at the latest, whatever comes meanwhile.
    let mut unfinished: BTreeMap<i32, Round> = BTreeMap::new();
    let mut retry_at = Instant::now();
    // Partitions known to their end. They are repaired when no event waits any more: while one repair was made others may have
    // written on, and a winner from before that would be appended behind a newer event, which makes the key dirty again.
    let mut ended: BTreeSet<i32> = BTreeSet::new();
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            () = tokio::time::sleep_until(retry_at), if !unfinished.is_empty() => {
                ended.extend(std::mem::take(&mut unfinished).into_keys());
                continue;
            }
            event = membership.next() => Some(event?),
            () = std::future::ready(()), if !ended.is_empty() => None,
        };
        match event {
            Some(GroupEvent::Assigned(assigned)) => {
                partitions.extend(assigned.into_iter().map(|partition| (partition, Partition::default())));
            }
            Some(GroupEvent::Revoked(revoked)) => {
                for partition in revoked {
                    partitions.remove(&partition);
                    unfinished.remove(&partition);
                    ended.remove(&partition);
                }
            }
            Some(GroupEvent::Records(records)) => {
                for record in &records {
                    ended.remove(&record.position.partition);
                    take_in(keeper, &mut partitions, record);
                }
            }
            Some(GroupEvent::EndReached { partition, .. }) => {
                // What has just failed is not tried again for every record that comes.
                if unfinished.get(&partition) != Some(&Round::Failed) {
                    ended.insert(partition);
                }
            }
            None => {
                // One, then what has come meanwhile.
                if let Some(number) = ended.pop_first()
                    && let Some(partition) = partitions.get_mut(&number)
                {
                    let round = repair(keeper, number, partition, shutdown).await;
                    if unfinished.is_empty() {
                        retry_at = Instant::now() + RETRY_AFTER;
                    }
                    match round {
                        Round::Complete => drop(unfinished.remove(&number)),
                        Round::More | Round::Failed => drop(unfinished.insert(number, round)),
                    }
                }
            }
        }
        keeper.counters.keys.set(total(partitions.values().map(Partition::keys)));
        keeper.counters.dirty.set(total(partitions.values().map(Partition::dirty)));
        keeper.counters.partitions.set(total([partitions.len()].into_iter()));
    }
}

/// How a round of repairs of a partition went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Complete,
    /// There is more to repair than one round does.
    More,
    /// Something could not be repaired.
    Failed,
}

fn total(counts: impl Iterator<Item = usize>) -> i64 {
    i64::try_from(counts.sum::<usize>()).unwrap_or(i64::MAX)
}

fn take_in(keeper: &Keeper, partitions: &mut BTreeMap<i32, Partition>, record: &Record) {
    let Some(partition) = partitions.get_mut(&record.position.partition) else { return };
    match record::read(record.key.as_deref(), record.value.as_deref(), record.header(CE_TIME), record.timestamp) {
        Ok((user_id, head)) => drop(partition.read(record.position.offset, user_id, head)),
        Err(error) => {
            if let Some(user_id) = error.hides() {
                partition.pass_over(record.position.offset, user_id);
            }
            keeper.counters.unreadable.inc();
            tracing::warn!(
                kafka.partition = record.position.partition,
                kafka.offset = record.position.offset,
                error = &error as &dyn std::error::Error,
                "a record cannot be read"
            );
        }
    }
}

/// Appends the winners of a partition's dirty keys again, unless `shutdown` comes first.
async fn repair(keeper: &Keeper, number: i32, partition: &mut Partition, shutdown: &Shutdown) -> Round {
    let repairs = partition.repairs(REPAIRS_MAX);
    if repairs.is_empty() {
        return Round::Complete;
    }
    let offsets: BTreeSet<i64> = repairs.iter().map(|repair| repair.winner_offset).collect();
    let (options, topic, stop) = (keeper.options.clone(), keeper.topic.clone(), shutdown.clone());
    let fetched = tokio::task::spawn_blocking(move || {
        refetch::refetch_while(&options, &topic, number, &offsets, || !stop.is_requested())
    });
    let mut records = match fetched.await.expect("reading records does not panic") {
        Ok(Some(records)) => records,
        Ok(None) => return Round::Failed,
        Err(error) => {
            tracing::warn!(
                kafka.partition = number,
                error = &error as &dyn std::error::Error,
                "winners cannot be read again now"
            );
            repairs.into_iter().for_each(|repair| partition.failed(repair));
            return Round::Failed;
        }
    };
    let appended = repairs.iter().map(|repair| {
        let record = records.remove(&repair.winner_offset);
        append(keeper, *repair, record)
    });
    // What is in the producer's queue by then is flushed when the service stops.
    let appended = tokio::select! {
        () = shutdown.requested() => return Round::Failed,
        appended = futures_util::future::join_all(appended) => appended,
    };
    let mut failures = Vec::new();
    for (repair, appended) in repairs.iter().zip(appended) {
        if let Err(error) = appended {
            partition.failed(*repair);
            failures.push(error);
        }
    }
    if let Some(error) = failures.first() {
        keeper.counters.failed.inc_by(failures.len() as u64);
        // One line for them all: an outage fails them together, and so does a missing permission, every time anew.
        tracing::warn!(
            kafka.partition = number,
            repairs.failed = failures.len(),
            error = error as &dyn std::error::Error,
            "repairs were not acknowledged and are tried again"
        );
        return Round::Failed;
    }
    if repairs.len() < REPAIRS_MAX { Round::Complete } else { Round::More }
}

/// Appends the winner of a key again; one that is lost leaves nothing to do.
///
/// # Errors
/// When it is not acknowledged, also when Kafka refuses it: what it refuses today (a permission, a limit) it may take tomorrow.
async fn append(keeper: &Keeper, repair: Repair, record: Option<Record>) -> Result<(), kafka::publish::Error> {
    let Some(record) = record else {
        keeper.counters.lost.inc();
        tracing::error!(
            user.id = %repair.user_id,
            kafka.offset = repair.winner_offset,
            "the newest record of a user was compacted away before it was appended again: has the keeper been away for longer than min.compaction.lag.ms?"
        );
        return Ok(());
    };
    let position = keeper.publisher.publish(reasserted(&keeper.topic, record, (keeper.now)())).await?;
    keeper.counters.repairs.inc();
    tracing::debug!(
        kafka.partition = position.partition,
        kafka.offset = position.offset,
        repairs.offset = repair.winner_offset,
        "appended the newest record of a user again"
    );
    Ok(())
}

/// Returns `record` as it is appended again: all of it the same, and the header that names the offset it repairs. A tombstone
/// that only its Kafka timestamp dates is given the header that does, or it would forget what came between it and `now`.
fn reasserted(topic: &str, record: Record, now: domain::UnixMillis) -> Outgoing {
    let repaired = record.position.offset.to_string();
    let undated = record.value.is_none() && record::dated(record.header(CE_TIME)).is_none();
    let timestamp = record.timestamp;
    let mut again = Outgoing { timestamp: now, ..Outgoing::again(topic, record) };
    again.headers.retain(|(name, _)| name != REASSERTED);
    if undated {
        again.headers.retain(|(name, _)| name != CE_TIME);
        again.headers.push((CE_TIME.to_owned(), timestamp.to_string().into_bytes()));
    }
    again.headers.push((REASSERTED.to_owned(), repaired.into_bytes()));
    again
}

#[cfg(test)]
mod tests;
