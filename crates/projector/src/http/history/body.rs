//! The history of a user as it is answered.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What this table has seen of a user, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = History)]
pub(in super::super) struct HistoryBody {
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub(super) user_id: i64,
    /// The history has everything of the user that this table has seen since, and nothing before.
    #[schema(format = DateTime)]
    pub(super) history_since: String,
    pub(super) begins_with: Beginning,
    /// At most 100, and about 1 MiB as stored.
    #[schema(max_items = 100)]
    pub(super) changes: Vec<HistoryEntry>,
    /// Since `historySince` there were more, which are not listed.
    pub(super) has_more: bool,
    #[serde(rename = "_meta")]
    pub(super) meta: HistoryMeta,
}

/// Why there is nothing before `historySince`: `table`, the table was made then, for the first time or again from a log
/// that compaction had thinned out; `limit`, older changes, of whichever users, are no longer kept.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = HistoryBeginning)]
pub(super) enum Beginning {
    Table,
    Limit,
}

/// One record of a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryEntry)]
pub(super) struct HistoryEntry {
    pub(super) kind: EntryKind,
    /// The record; of a `superseded` delivery on the topic of late deliveries.
    #[schema(example = "zuQxo-W8SfmGVIR3p0wXVg/0:17@3")]
    pub(super) position: String,
    /// Of the event that wins since, or that changed nothing. As the next three, null where the event cannot be read,
    /// and when the user was forgotten.
    pub(super) event_id: Option<String>,
    #[serde(rename = "type")]
    #[schema(value_type = Option<EventTypeBody>)]
    pub(super) event_type: Option<&'static str>,
    /// When the vendor says that it happened; of `forgotten`, as of when.
    #[schema(format = DateTime)]
    pub(super) occurred_at: Option<String>,
    /// When the webhook was received.
    #[schema(format = DateTime)]
    pub(super) received_at: Option<String>,
    pub(super) compared_with: Compared,
    /// The fields that the event changed, in alphabetical order, without those that the principal's scopes hide: if it
    /// changed no others, none is listed.
    pub(super) fields: Vec<ChangedField>,
    /// The event was built on a state never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap_opened: Option<OpenedGap>,
    /// The positions of the records that had shown the gaps that this one closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps_closed: Vec<String>,
    /// Of `unknown`: since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) unknown_since: Option<String>,
}

/// `changed`: another event wins. `forgotten`: the user was. `unknown`: a record cannot be read by this release, and
/// the user is answered as last known; `known`: that is over. A delivery that changed nothing: `late` and
/// `superseded` came after a newer one, `tied` is of the same second and did not win, `repeated` was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = HistoryEntryKind)]
pub(super) enum EntryKind {
    Changed,
    Forgotten,
    Unknown,
    Known,
    Late,
    Superseded,
    Tied,
    Repeated,
}

/// The state that `before` is of: `held`, that of the table; `old`, that of which the sender says that it was before,
/// where the history does not have it, and of deliveries that changed nothing; `nothing`, there was no user, or nothing
/// is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = HistoryCompared)]
pub(super) enum Compared {
    Held,
    Old,
    Nothing,
}

/// The type of an event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = EventType)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(super) enum EventTypeBody {
    Created,
    Changed,
    Imported,
}

/// A field by the vendor's name, and its values as `/users/{userId}` answers them. A member outside the vendor's table
/// that was not there has no `before`, one that went away no `after`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedField)]
pub(super) struct ChangedField {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(super) before: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(super) after: Option<Box<RawValue>>,
}

/// A gap that a record showed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OpenedGap)]
pub(super) struct OpenedGap {
    pub(super) state: OpenedGapState,
    /// When the vendor gives up: 22 days and 18 hours after the event was received.
    #[schema(format = DateTime)]
    pub(super) awaited_until: Option<String>,
    /// The fields in which the two states differ, without those that the principal's scopes hide.
    pub(super) fields: Vec<String>,
}

/// `awaited` while the vendor retries the missing delivery, `lost` once it has given up, `closed` when it has come, or
/// when newer gaps have taken the place of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OpenedGapState)]
pub(super) enum OpenedGapState {
    Awaited,
    Lost,
    Closed,
}

/// What the entity tag does not cover, but for `redacted`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryMeta)]
pub(super) struct HistoryMeta {
    /// The time that the table is as of, as the header `Rollcall-As-Of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) as_of: Option<String>,
    /// The fields that the principal's scopes hide, of those that are asked for; whether a change was of one of them is
    /// not told. Absent when none is hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) redacted: Vec<&'static str>,
}
