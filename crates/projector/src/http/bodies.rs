//! The documented bodies of answers. [`super::render`] writes users; these types say how they look.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// A user by the vendor's field names. Members that the vendor has added since follow them as they were sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserBody {
    user_id: i64,
    contact_phone: Option<String>,
    email: Option<String>,
    extension: Option<String>,
    hourly: Option<i64>,
    is_agent: Option<bool>,
    message_lists: Option<Vec<String>>,
    mobile_phone: Option<String>,
    mobile_project_id: Option<i64>,
    monthly: Option<i64>,
    name: Option<String>,
    outbound_phone: Option<String>,
    priv_group: Option<i64>,
    redistribution: Option<i64>,
    register_transport: Option<String>,
    sample_rate: Option<String>,
    state: Option<String>,
    username: Option<String>,
    #[serde(rename = "_meta")]
    meta: MetaBody,
}

/// Where the state comes from. Unlike the user, `position` and `continuity` depend on the log that was read: a record
/// that is appended again moves the position, and what compaction has removed shows no gap.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Meta)]
struct MetaBody {
    /// The newest record that carries the event (in `/changes` the record that made the change):
    /// `<topic id>/<partition>:<offset>[@<leader epoch>]`, unique for ever.
    #[schema(example = "zuQxo-W8SfmGVIR3p0wXVg/0:17@3")]
    position: String,
    /// When the vendor says that it happened.
    #[schema(format = DateTime)]
    occurred_at: String,
    event_id: String,
    /// When the webhook was received.
    #[schema(format = DateTime)]
    received_at: String,
    continuity: ContinuityBody,
    /// Present when the user's last records have a framing, a schema or a type of event of a later release: the time of
    /// the first of them. The user is answered as last known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    unknown_since: Option<String>,
    /// The vendor's member `_meta`, if the user has one: `{"_meta": …}`.
    #[schema(value_type = Option<Object>)]
    extra: Option<serde_json::Value>,
}

/// Whether deliveries of this user are missing. The state is whole all the same: a missing delivery is a step of the
/// user's history that nobody knows, not a field of the state.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Continuity)]
struct ContinuityBody {
    /// Always true: each event carries the whole user.
    state_is_whole: bool,
    /// No delivery is missing.
    unbroken: bool,
    gaps: Vec<GapBody>,
}

/// An event that was built on a state never seen, and the fields in which that state and the one known before differ.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Gap)]
struct GapBody {
    position: String,
    /// `awaited` while the vendor retries the missing delivery, `lost` once it has given up.
    #[schema(example = "awaited")]
    state: String,
    /// When the vendor gives up: 22 days and 18 hours after the event was received.
    #[schema(format = DateTime)]
    awaited_until: String,
    fields: Vec<String>,
}

/// Users in the order of their identifiers.
#[derive(Serialize, ToSchema)]
#[schema(as = UserPage)]
pub(super) struct UserPageBody {
    users: Vec<UserBody>,
    /// The request for the next page; null on the last. Also the `Link` header's `next`.
    next: Option<String>,
}

/// Users that share the value asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = UserMatches)]
pub(super) struct UserMatchesBody {
    users: Vec<UserBody>,
}

/// Why there is no answer (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: Option<String>,
}

/// The refusals that every GET may answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(super) enum Refused {
    #[response(status = 400, description = "a parameter is not what it must be")]
    Parameter(ProblemBody),
    #[response(status = 409, description = "a position or cursor is of another topic, or of a log that was cut")]
    OtherLog(ProblemBody),
    #[response(status = 503, description = "the table is not there yet, or has not reached `at_least` in time")]
    NotReady(ProblemBody),
}

/// The answers to a look-up by a field that several users may share.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(super) enum Matched {
    #[response(status = 200, description = "those who have it")]
    Users(UserMatchesBody),
    #[response(status = 404, description = "nobody has it")]
    Nobody(ProblemBody),
}

/// How far the table is, how much is in it, and what is missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Status)]
pub(super) struct StatusBody {
    /// The phase of the projector, and whether it is cut off from the cluster.
    pub(super) phase: String,
    pub(super) cluster: ClusterStatus,
    pub(super) topic: String,
    /// Kafka's id of the topic; a topic that was created again has another.
    pub(super) topic_id: String,
    /// As the header `Rollcall-Positions`; `partitions` has the same in plain numbers.
    pub(super) checkpoint: String,
    pub(super) partitions: Vec<PartitionStatus>,
    /// Why erasing forgotten users does not get on; null when it does, or nothing waits.
    pub(super) erasure_held_back: Option<String>,
    pub(super) users: u64,
    pub(super) forgotten: u64,
    pub(super) gaps: GapStatus,
    /// Records that could not be read: broken ones, and those that are unknown to this release.
    pub(super) unreadable: UnreadableStatus,
    pub(super) unknown: UnknownStatus,
    /// When the table was last known to be up to date.
    pub(super) as_of: String,
}

/// Whether the cluster answers where the log ends. The table answers in any case; while the cluster is silent, the lag
/// is that of the ends last known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterStatus {
    pub(super) answers: bool,
    /// When it last answered.
    pub(super) last_answer: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartitionStatus {
    pub(super) partition: i32,
    pub(super) next_offset: i64,
    /// Of the last record read, where it is known.
    pub(super) leader_epoch: Option<i32>,
    pub(super) end_offset: i64,
    pub(super) lag: i64,
    /// The user of every tombstone below this offset is gone from every file of the store; `nextOffset` when nothing
    /// waits to be erased.
    pub(super) erased_up_to: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GapStatus {
    /// Missing deliveries that the vendor still retries.
    pub(super) awaited: u64,
    /// Missing deliveries that the vendor has given up.
    pub(super) lost: u64,
    pub(super) listed: Vec<ListedGap>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedGap {
    pub(super) user_id: i64,
    pub(super) position: String,
    /// `awaited` or `lost`.
    pub(super) state: &'static str,
    /// When an awaited delivery is lost, or a lost one was.
    #[schema(format = DateTime)]
    pub(super) awaited_until: String,
    pub(super) fields: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnreadableStatus {
    pub(super) records: u64,
    pub(super) listed: Vec<ListedRecord>,
}

/// Users whose last records are unknown to this release. They are answered as last known, if they were known before.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnknownStatus {
    pub(super) users: u64,
    pub(super) listed: Vec<ListedUnknown>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedUnknown {
    pub(super) user_id: i64,
    #[schema(format = DateTime)]
    pub(super) since: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedRecord {
    pub(super) position: String,
    pub(super) reason: String,
}
