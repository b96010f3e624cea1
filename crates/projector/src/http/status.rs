//! `GET /status`: partitions, positions, lag, counts, gaps, records that are not in the table.

mod system;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::gap::OpenGap;
use domain::{Positions, UnixMillis, UserId};

use super::api::Api;
use super::at_least::{AtLeast, OnlyAtLeast};
use super::bodies::{
    ClusterStatus, GapStatus, IndexStatus, ListedGap, ListedRecord, ListedUnknown, PartitionStatus, PhaseBody, Refused,
    StatusBody, UnknownStatus, UnreadableStatus,
};
use super::fields::Shown;
use super::guard::Held;
use super::refusal::Refusal;
use super::render::View;
use crate::store::{self, IndexState, StoreReader, Unread};

pub(super) use system::{LatenessBucket, MinuteStatus, ReadyStatus, RebuildStatus, SubscriberStatus};

/// The names of those who are listed, as far as they have one.
type Names = BTreeMap<UserId, String>;

/// How many of each kind are listed; all are counted.
const LISTED_MAX: usize = 100;

/// Answers with how far the table is, how much is in it, and what is missing.
#[utoipa::path(
    get,
    operation_id = "getStatus",
    path = "/status",
    params(AtLeast),
    responses(
        (
            status = 200,
            description = "partitions, positions, lag, counts, gaps, unreadable and unknown records",
            body = StatusBody
        ),
        Refused
    )
)]
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    Held(scopes): Held,
    _only: OnlyAtLeast,
) -> Result<Json<StatusBody>, Refusal> {
    let projection = &api.projection;
    // All of one moment, the checkpoint too.
    let now = projection.shared.now();
    let table = api.table()?;
    let read = projection.shared.read_of(&table, move |reader| {
        let (counts, tally) = (reader.counts()?, reader.tally(now)?);
        Ok((reader.checkpoint()?, counts, tally, Lists::read(reader)?, reader.meta()?, reader.erasures()?))
    });
    let (checkpoint, counts, tally, Lists { gaps, unreadable, unknown, names }, meta, erasures) = read.await?;
    let indexes = table.indexes().states();
    let (view, topic) = (api.view(&table, Shown::of(scopes)), table.topic());
    let names = if view.shown.may_name("name") { names } else { Names::new() };
    let phase = projection.phase().borrow().clone();
    let (facts, hour) = (projection.shared.facts.lock().clone(), projection.shared.hour.lock().clone());
    let (answers, answered_at) = facts.cluster();
    let partitions = facts.distances().map(|distance| {
        let partition = distance.partition;
        let next_offset = checkpoint.next(partition).unwrap_or(0);
        PartitionStatus {
            partition,
            next_offset,
            leader_epoch: checkpoint.epoch(partition),
            end_offset: distance.end,
            lag: distance.lag(),
            held_back: distance.hold.map(|hold| hold.to_string()),
            erased_up_to: erasures.erased_up_to(partition, next_offset),
        }
    });
    Ok(Json(StatusBody {
        phase: PhaseBody::from(&phase),
        phase_detail: facts.with_trouble(&phase),
        trouble: facts.trouble(),
        ready: ReadyStatus::of(&api.readiness),
        rebuild: RebuildStatus::of(&phase),
        subscribers: SubscriberStatus::of(&projection.shared),
        lateness: system::lateness(&hour),
        recent: system::recent(&hour, now),
        cluster: ClusterStatus { answers, last_answer: answered_at.map(|at| at.to_string()) },
        topic: meta.topic,
        topic_id: topic.to_string(),
        checkpoint: Positions { topic, checkpoint: checkpoint.clone() }.to_string(),
        partitions: partitions.collect(),
        partitions_fault: projection.shared.partitions.fault(),
        erasure_held_back: projection.shared.erasure_held_back.lock().clone(),
        indexes: indexes.into_iter().map(|IndexState { name, share }| IndexStatus { index: name, share }).collect(),
        users: counts.users,
        forgotten: counts.forgotten,
        gaps: GapStatus {
            awaited: tally.gaps_awaited,
            lost: tally.gaps_lost,
            listed: gaps.into_iter().map(|(user_id, gap)| listed(user_id, gap, &names, &view)).collect(),
            redacted: view.shown.redacted().collect(),
        },
        unreadable: UnreadableStatus {
            records: meta.records_unreadable,
            listed: unreadable.into_iter().map(|record| unread(record, &view)).collect(),
        },
        unknown: UnknownStatus {
            users: tally.users_unknown,
            listed: unknown
                .into_iter()
                .map(|(user_id, since)| (user_id.get(), names.get(&user_id).cloned(), since.to_string()))
                .map(|(user_id, name, since)| ListedUnknown { user_id, name, since })
                .collect(),
        },
        as_of: facts.as_of().map(|at| at.to_string()),
    }))
}

/// What is listed of a table, all of one moment.
struct Lists {
    gaps: Vec<(UserId, OpenGap)>,
    unreadable: Vec<Unread>,
    unknown: Vec<(UserId, UnixMillis)>,
    names: Names,
}

impl Lists {
    fn read(reader: &StoreReader) -> Result<Self, store::Error> {
        let (gaps, unknown) = (reader.gaps(LISTED_MAX)?, reader.unknown(LISTED_MAX)?);
        let ids = gaps.iter().map(|(user_id, _)| *user_id).chain(unknown.iter().map(|(user_id, _)| *user_id));
        let names = ids.filter_map(|user_id| Some(reader.name(user_id).transpose()?.map(|name| (user_id, name))));
        let names = names.collect::<Result<_, _>>()?;
        Ok(Self { gaps, unreadable: reader.unreadable(LISTED_MAX)?, unknown, names })
    }
}

fn unread(Unread { position, reason, .. }: Unread, view: &View) -> ListedRecord {
    ListedRecord { position: view.names.of(position).to_string(), reason }
}

fn listed(user_id: UserId, gap: OpenGap, names: &Names, view: &View) -> ListedGap {
    let shown = &view.shown;
    ListedGap {
        user_id: user_id.get(),
        name: names.get(&user_id).cloned(),
        position: view.names.of(gap.position).to_string(),
        state: gap.state(view.now).into(),
        awaited_until: gap.awaited_until().to_string(),
        fields: gap.fields.into_iter().filter(|name| shown.may_name(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::embedded::EmbeddedBroker;
    use service::{Readiness, Shutdown};
    use testkit::eventually;

    use super::*;
    use crate::scopes::Scopes;
    use crate::{Options, Phase, Projection};

    const TOPIC: &str = "vcc.users";
    /// How long a condition is waited for before the test fails: longer than a cluster may take to answer.
    const PATIENCE: Duration = Duration::from_secs(40);
    const PAUSE: Duration = Duration::from_millis(5);

    /// Asks until the cluster answers, or does not.
    async fn until(api: &Arc<Api>, answers: bool) -> StatusBody {
        let asked = async || {
            let Json(now) = status(State(Arc::clone(api)), Held(Scopes::ALL), OnlyAtLeast).await.unwrap();
            (now.cluster.answers == answers).then_some(now)
        };
        eventually("the cluster answers, or does not", PATIENCE, asked).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_is_cut_off_from_the_cluster_says_since_when() {
        let (broker, store) = (EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap(), tempfile::tempdir().unwrap());
        let options =
            Options { kafka: broker.client_options(), look_interval: PAUSE, ..Options::new("", TOPIC, store.path()) };
        let projection = Projection::open(options).unwrap();
        projection.ready().await.unwrap();
        let api = Arc::new(Api { projection, shutdown: Shutdown::new(), readiness: Readiness::new(&[]) });
        assert_eq!(until(&api, true).await.phase_detail, "following the log");

        broker.go_down().unwrap();
        let silent = until(&api, false).await;
        let since = silent.cluster.last_answer.unwrap();
        assert_eq!(silent.phase_detail, format!("following the log; the cluster does not answer since {since}"));
        assert_eq!(*api.projection.phase().borrow(), Phase::Following, "it goes on answering, and says so");

        broker.come_back().unwrap();
        let back = until(&api, true).await;
        assert_eq!(back.phase_detail, "following the log");
        assert!(back.cluster.last_answer.unwrap() > since);
        api.projection.close().await.unwrap();
    }
}
