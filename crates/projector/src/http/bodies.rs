//! The documented bodies of answers. [`super::render`] writes users; these types say how they look.

use domain::gap::GapState;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::status::{LatenessBucket, MinuteStatus, ReadyStatus, RebuildStatus, SubscriberStatus};
use crate::phase::Phase;

/// A user by the vendor's field names. Members that the vendor has added since follow them as they were sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserBody {
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
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
    /// In `changed` events alone: the names of the fields that differ from the state before, in alphabetical order, of
    /// those that the event shows. Members outside the vendor's table have their own names.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Vec<String>>,
    /// The time that the table is as of, as the header `Rollcall-As-Of`; absent in `/changes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    as_of: Option<String>,
    /// Present when the user's last records have a framing, a schema or a type of event of a later release: the time of
    /// the first of them. The user is answered as last known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    unknown_since: Option<String>,
    /// The vendor's member `_meta`, if the user has one: `{"_meta": …}`.
    #[schema(value_type = Option<Object>)]
    extra: Option<serde_json::Value>,
    /// The fields that the principal's scopes hide, of those that are asked for, in alphabetical order; `extra` for
    /// all members outside the vendor's table. Absent when none is hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    redacted: Vec<String>,
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
    state: GapStateBody,
    /// When the vendor gives up: 22 days and 18 hours after the event was received.
    #[schema(format = DateTime)]
    awaited_until: String,
    /// Without those that the principal's scopes hide.
    fields: Vec<String>,
}

/// `awaited` while the vendor retries the missing delivery, `lost` once it has given up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = GapState)]
pub(super) enum GapStateBody {
    Awaited,
    Lost,
}

impl From<GapState> for GapStateBody {
    fn from(state: GapState) -> Self {
        match state {
            GapState::Awaited => Self::Awaited,
            GapState::Lost => Self::Lost,
        }
    }
}

/// Users in the order of their identifiers.
#[derive(Serialize, ToSchema)]
#[schema(as = UserPage)]
pub(super) struct UserPageBody {
    users: Vec<UserBody>,
    /// The request for the next page, relative to this one; null on the last. Also the `Link` header's `next`.
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
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, for people.
    detail: Option<String>,
    /// For a fault in a JSON body, its place (RFC 6901).
    pointer: Option<String>,
}

/// The refusals that every GET may answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(super) enum Refused {
    #[response(status = 400, description = "a parameter is not what it must be")]
    Parameter(ProblemBody),
    #[response(status = 401, description = "the request has no valid credentials")]
    Unknown(ProblemBody),
    #[response(status = 403, description = "a scope is missing, which `detail` names")]
    Scope(ProblemBody),
    #[response(
        status = 409,
        description = "a position or cursor is of another topic, of no partition of this one, or of a log that was cut"
    )]
    OtherLog(ProblemBody),
    #[response(status = 421, description = "the request is for another host")]
    OtherHost(ProblemBody),
    #[response(status = 429, description = "the principal has as many requests or streams as its share")]
    Share(ProblemBody),
    #[response(status = 431, description = "the head of the request is too long")]
    Head,
    #[response(status = 500, description = "the stored table is damaged")]
    Damaged(ProblemBody),
    #[response(
        status = 503,
        description = "the table or an index is not there yet, or the table has not reached `at_least` in time"
    )]
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

/// One event of `/changes`.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventBody {
    /// What `Last-Event-ID` goes on from; absent on `busy`.
    id: Option<String>,
    event: EventName,
    /// A JSON object: the user, as `/users/{userId}` answers; of `forgotten`, `userId` and `forgottenAt`; of
    /// `caught-up`, `checkpoint`; of the others, `reason`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "read by the derive alone")]
enum EventName {
    User,
    Changed,
    Forgotten,
    StartedOver,
    CaughtUp,
    CutOff,
    Busy,
}

/// How far the table is, how much is in it, and what is missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Status)]
pub(super) struct StatusBody {
    pub(super) phase: PhaseBody,
    /// The phase in words, and whether the table is cut off from the cluster.
    pub(super) phase_detail: String,
    /// What keeps the table from the end of the log and passes only when somebody mends it; null when nothing does.
    pub(super) trouble: Option<String>,
    pub(super) ready: ReadyStatus,
    /// Null when there is none.
    pub(super) rebuild: Option<RebuildStatus>,
    pub(super) subscribers: SubscriberStatus,
    pub(super) lateness: Vec<LatenessBucket>,
    /// The last hour by the minute, the oldest first; nothing from before the process started.
    #[schema(max_items = 60)]
    pub(super) recent: Vec<MinuteStatus>,
    pub(super) cluster: ClusterStatus,
    pub(super) topic: String,
    /// Kafka's id of the topic; a topic that was created again has another.
    pub(super) topic_id: String,
    /// As the header `Rollcall-Positions`; `partitions` has the same in plain numbers.
    pub(super) checkpoint: String,
    pub(super) partitions: Vec<PartitionStatus>,
    /// That the topic has another number of partitions than `topics.partitions`; null when it has not.
    pub(super) partitions_fault: Option<String>,
    /// Why erasing forgotten users does not get on; null when it does, or nothing waits.
    pub(super) erasure_held_back: Option<String>,
    /// Those that look-ups and filters need, in the order in which they are made.
    pub(super) indexes: Vec<IndexStatus>,
    pub(super) users: u64,
    pub(super) forgotten: u64,
    pub(super) gaps: GapStatus,
    /// Records that could not be read: broken ones, and those that are unknown to this release.
    pub(super) unreadable: UnreadableStatus,
    pub(super) unknown: UnknownStatus,
    /// When the table was last known to have all of the log: of the partition where that is longest ago. Null while
    /// a partition has never been read to its end.
    #[schema(format = DateTime)]
    pub(super) as_of: Option<String>,
}

/// The present activity: `starting` (nothing can be answered), `stored` (the table of an earlier run is answered, and
/// the cluster has not confirmed it yet), `rebuilding`, `catching-up` (to where the log ended at start), `indexing`
/// (following, while indexes are made that look-ups and filters wait for), `following`, `failed` or `ended`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Phase)]
pub(super) enum PhaseBody {
    Starting,
    Stored,
    Rebuilding,
    CatchingUp,
    Indexing,
    Following,
    Failed,
    Ended,
}

impl From<&Phase> for PhaseBody {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Starting { .. } => Self::Starting,
            Phase::Stored { .. } => Self::Stored,
            Phase::Rebuilding(_) => Self::Rebuilding,
            Phase::CatchingUp => Self::CatchingUp,
            Phase::Indexing { .. } => Self::Indexing,
            Phase::Following => Self::Following,
            Phase::Failed { .. } => Self::Failed,
            Phase::Ended => Self::Ended,
        }
    }
}

/// Whether the cluster answers where the log ends. The table answers in any case; while the cluster is silent, no lag
/// is known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterStatus {
    pub(super) answers: bool,
    /// When it last answered.
    #[schema(format = DateTime)]
    pub(super) last_answer: Option<String>,
}

/// An index. A look-up or a filter that needs one whose `share` is below 1 is answered with 503.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexStatus {
    pub(super) index: &'static str,
    /// How far it is made, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub(super) share: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartitionStatus {
    pub(super) partition: i32,
    pub(super) next_offset: i64,
    /// Of the last record read, where it is known.
    pub(super) leader_epoch: Option<i32>,
    /// The end of the log, whether or not its last records can be read; null while the leader does not answer.
    pub(super) end_offset: Option<i64>,
    /// Offsets between `nextOffset` and `endOffset`; null while that is not known.
    pub(super) lag: Option<i64>,
    /// Since when an open transaction holds back the reader; null when none does.
    pub(super) held_back: Option<String>,
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
    /// The fields that the principal's scopes hide: no gap names them. Absent when none is hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) redacted: Vec<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedGap {
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub(super) user_id: i64,
    /// Absent where the principal may not see it, or the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) position: String,
    pub(super) state: GapStateBody,
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
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub(super) user_id: i64,
    /// As last known; absent where the principal may not see it, or the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[schema(format = DateTime)]
    pub(super) since: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedRecord {
    pub(super) position: String,
    pub(super) reason: String,
}
