//! `GET /status`: partitions, positions, lag, counts, gaps.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::docs::{AtLeast, ProblemBody};
use super::refusal::Refusal;

/// How many gaps and unreadable records are listed; all are counted.
const LISTED_MAX: usize = 100;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    phase: String,
    topic: String,
    checkpoint: String,
    partitions: Vec<PartitionStatus>,
    users: u64,
    forgotten: u64,
    gaps: GapStatus,
    unreadable: UnreadableStatus,
    /// When the table was last known to be up to date.
    as_of: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartitionStatus {
    partition: i32,
    next_offset: i64,
    end_offset: i64,
    lag: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GapStatus {
    open: u64,
    listed: Vec<ListedGap>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListedGap {
    user_id: i64,
    position: String,
    fields: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UnreadableStatus {
    records: u64,
    listed: Vec<ListedRecord>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListedRecord {
    position: String,
    reason: String,
}

/// Answers with how far the table is, how much is in it, and what is missing.
#[utoipa::path(
    get,
    path = "/status",
    params(AtLeast),
    responses(
        (status = 200, description = "partitions, positions, lag, counts, gaps, unreadable records", body = Status),
        (status = 400, description = "a parameter is not what it must be", body = ProblemBody),
        (status = 503, description = "the table is not there yet, or has not reached `at_least` in time", body = ProblemBody)
    )
)]
pub(super) async fn status(State(api): State<Arc<Api>>) -> Result<Json<Status>, Refusal> {
    let projection = &api.projection;
    // All of one moment, the checkpoint too.
    let read = projection.read(|reader| {
        let (gaps, unreadable) = (reader.gaps(LISTED_MAX)?, reader.unreadable(LISTED_MAX)?);
        Ok((reader.checkpoint()?, reader.counts()?, gaps, unreadable, reader.meta()?))
    });
    let (checkpoint, counts, gaps, unreadable, meta) = read.await?;
    let ends = projection.ends();
    let partitions = ends.iter().map(|(partition, end_offset)| {
        let next_offset = checkpoint.next(partition).unwrap_or(0);
        PartitionStatus { partition, next_offset, end_offset, lag: (end_offset - next_offset).max(0) }
    });
    Ok(Json(Status {
        phase: projection.phase().borrow().to_string(),
        topic: meta.topic,
        checkpoint: checkpoint.to_string(),
        partitions: partitions.collect(),
        users: counts.users,
        forgotten: counts.forgotten,
        gaps: GapStatus {
            open: counts.gaps,
            listed: gaps
                .into_iter()
                .map(|(user_id, gap)| ListedGap {
                    user_id: user_id.get(),
                    position: gap.position.to_string(),
                    fields: gap.fields,
                })
                .collect(),
        },
        unreadable: UnreadableStatus {
            records: meta.records_unreadable,
            listed: unreadable
                .into_iter()
                .map(|record| ListedRecord { position: record.position.to_string(), reason: record.reason })
                .collect(),
        },
        as_of: meta.committed_at.to_string(),
    }))
}
