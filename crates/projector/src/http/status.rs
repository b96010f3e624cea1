//! `GET /status`: partitions, positions, lag, counts, gaps, records that are not in the table.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::gap::OpenGap;
use domain::{UnixMillis, UserId};

use domain::Positions;

use super::api::Api;
use super::at_least::{AtLeast, OnlyAtLeast};
use super::bodies::{
    ClusterStatus, GapStatus, ListedGap, ListedRecord, ListedUnknown, PartitionStatus, Refused, StatusBody,
    UnknownStatus, UnreadableStatus,
};
use super::refusal::Refusal;
use crate::ends::LogEnds;
use crate::store::LogNames;

/// How many of each kind are listed; all are counted.
const LISTED_MAX: usize = 100;

/// Answers with how far the table is, how much is in it, and what is missing.
#[utoipa::path(
    get,
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
pub(super) async fn status(State(api): State<Arc<Api>>, _only: OnlyAtLeast) -> Result<Json<StatusBody>, Refusal> {
    let projection = &api.projection;
    // All of one moment, the checkpoint too.
    let now = projection.shared.now();
    let table = api.table()?;
    let read = projection.shared.read_of(&table, move |reader| {
        let listed = (reader.gaps(LISTED_MAX)?, reader.unreadable(LISTED_MAX)?, reader.unknown(LISTED_MAX)?);
        let (counts, tally) = (reader.counts()?, reader.tally(now)?);
        Ok((reader.checkpoint()?, counts, tally, listed, reader.meta()?, reader.erasures()?))
    });
    let (checkpoint, counts, tally, (gaps, unreadable, unknown), meta, erasures) = read.await?;
    let (names, topic) = (table.names(), table.topic());
    let LogEnds { offsets, known_at, is_silent } = projection.shared.ends.lock().clone();
    let last_answer = known_at.map(|at| at.to_string());
    let phase = projection.phase().borrow().to_string();
    let phase = match &last_answer {
        Some(at) if is_silent => format!("{phase}; the cluster does not answer since {at}"),
        Some(_) | None => phase,
    };
    let partitions = offsets.iter().map(|(partition, end_offset)| {
        let next_offset = checkpoint.next(partition).unwrap_or(0);
        let (erased_up_to, lag) = (erasures.erased_up_to(partition, next_offset), (end_offset - next_offset).max(0));
        let leader_epoch = checkpoint.epoch(partition);
        PartitionStatus { partition, next_offset, leader_epoch, end_offset, lag, erased_up_to }
    });
    Ok(Json(StatusBody {
        phase,
        cluster: ClusterStatus { answers: !is_silent, last_answer },
        topic: meta.topic,
        topic_id: topic.to_string(),
        checkpoint: Positions { topic, checkpoint: checkpoint.clone() }.to_string(),
        partitions: partitions.collect(),
        erasure_held_back: projection.shared.erasure_held_back.lock().clone(),
        users: counts.users,
        forgotten: counts.forgotten,
        gaps: GapStatus {
            awaited: tally.gaps_awaited,
            lost: tally.gaps_lost,
            listed: gaps.into_iter().map(|(user_id, gap)| listed(user_id, gap, &names, now)).collect(),
        },
        unreadable: UnreadableStatus {
            records: meta.records_unreadable,
            listed: unreadable
                .into_iter()
                .map(|record| ListedRecord { position: names.of(record.position).to_string(), reason: record.reason })
                .collect(),
        },
        unknown: UnknownStatus {
            users: tally.users_unknown,
            listed: unknown
                .into_iter()
                .map(|(user_id, since)| ListedUnknown { user_id: user_id.get(), since: since.to_string() })
                .collect(),
        },
        as_of: meta.committed_at.to_string(),
    }))
}

fn listed(user_id: UserId, gap: OpenGap, names: &LogNames, now: UnixMillis) -> ListedGap {
    ListedGap {
        user_id: user_id.get(),
        position: names.of(gap.position).to_string(),
        state: gap.state(now).as_str(),
        awaited_until: gap.awaited_until().to_string(),
        fields: gap.fields,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::embedded::EmbeddedBroker;
    use service::Shutdown;
    use testkit::eventually;

    use super::*;
    use crate::{Options, Phase, Projection};

    const TOPIC: &str = "vcc.users";
    /// How long a condition is waited for before the test fails: longer than a cluster may take to answer.
    const PATIENCE: Duration = Duration::from_secs(40);
    const PAUSE: Duration = Duration::from_millis(5);

    /// Asks until the cluster answers, or does not.
    async fn until(api: &Arc<Api>, answers: bool) -> StatusBody {
        let asked = async || {
            let Json(now) = status(State(Arc::clone(api)), OnlyAtLeast).await.unwrap();
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
        let api = Arc::new(Api { projection, shutdown: Shutdown::new() });
        assert_eq!(until(&api, true).await.phase, "following the log");

        broker.go_down().unwrap();
        let silent = until(&api, false).await;
        let since = silent.cluster.last_answer.unwrap();
        assert_eq!(silent.phase, format!("following the log; the cluster does not answer since {since}"));
        assert_eq!(*api.projection.phase().borrow(), Phase::Following, "it goes on answering, and says so");
        let known_at = api.projection.shared.ends.lock().known_at.unwrap();
        let since_1970 = Duration::from_millis(u64::try_from(known_at.millis()).unwrap());
        assert_eq!(api.projection.shared.metrics.as_of.get(), since_1970.as_secs_f64());

        broker.come_back().unwrap();
        let back = until(&api, true).await;
        assert_eq!(back.phase, "following the log");
        assert!(back.cluster.last_answer.unwrap() > since);
        api.projection.close().await.unwrap();
    }
}
