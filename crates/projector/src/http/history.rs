//! `GET /users/{userId}/history`: what this table has seen of a user.
//!
//! Which changes there were depends on the log that was read, unlike the state: a table that was rebuilt begins anew,
//! and says so. Each answer compares events that are stored whole, so that nothing is kept of a field twice.

mod body;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use domain::gap::{GapState, OpenGap};
use domain::{FieldChange, FieldValue, TopicPosition, UnixMillis, UserEvent, UserId, wire};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::accept::{self, IfNoneMatch};
use super::api::Api;
use super::at_least::AtLeast;
use super::bodies::{ProblemBody, Refused};
use super::fields::Shown;
use super::params::UserQuery;
use super::refusal::Refusal;
use super::render::{View, raw};
use super::users::user_id;
use crate::store::{HistoryRow, Lookup, PassedKind, UserHistory};
use body::{Beginning, ChangedField, Compared, EntryKind, HistoryEntry, HistoryMeta, OpenedGap, OpenedGapState};

pub(super) use body::HistoryBody;

/// Answers with what changed of a user, and when.
#[utoipa::path(
    get,
    operation_id = "getUserHistory",
    path = "/users/{userId}/history",
    params(
        (
            "userId" = i64,
            Path,
            description = "the vendor's identifier",
            minimum = 0,
            maximum = 9_007_199_254_740_991_i64
        ),
        UserQuery,
        AtLeast,
        ("If-None-Match" = Option<String>, Header, description = "entity tags that the reader has: 304 if one matches")
    ),
    responses(
        (
            status = 200,
            description = "what this replica's table has seen of the user since `historySince`: changes, and \
                deliveries that changed nothing, newest first",
            body = HistoryBody,
            headers(("ETag" = String, description = "weak: of this replica alone"))
        ),
        (status = 304, description = "the history that `If-None-Match` names is the current one",
            headers(("ETag" = String, description = "the tag of the current history"))),
        (status = 404, description = "no such user", body = ProblemBody),
        (status = 410, description = "the user was forgotten, and the history with it", body = ProblemBody),
        Refused
    )
)]
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    shown: Shown,
    known: IfNoneMatch,
) -> Result<Response, Refusal> {
    let user_id = user_id(id)?;
    let table = api.table()?;
    let (found, history) = api.projection.shared.read_of(&table, move |reader| reader.history(user_id)).await?;
    let gaps = match found {
        Lookup::Found(row) => row.gaps,
        Lookup::Forgotten(_) => return Err(Refusal::ForgottenUser),
        Lookup::Unknown => return Err(Refusal::UnknownUser),
    };
    let view = api.view(&table, shown);
    Ok(answer(&body(user_id, &history, &gaps, &view), &known))
}

/// The entity tag covers all but the time of the answer.
fn answer(body: &HistoryBody, known: &IfNoneMatch) -> Response {
    let HistoryBody { user_id, history_since, begins_with, changes, has_more, meta } = body;
    let covered = (user_id, history_since, begins_with, changes, has_more, &meta.redacted);
    let etag = accept::etag_of(&bytes(&covered));
    known.answer(etag, "application/json", || bytes(body).into())
}

fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts and numbers are JSON")
}

fn body(user_id: UserId, history: &UserHistory, gaps: &[OpenGap], view: &View) -> HistoryBody {
    let decode = |event: &Option<Vec<u8>>| event.as_deref().and_then(|event| wire::decode(event).ok());
    let mut held = decode(&history.held);
    let mut changes: Vec<HistoryEntry> = Vec::with_capacity(history.rows.len());
    for row in history.rows.iter().rev() {
        let event = decode(&row.event);
        let told = Told { row, event: event.as_ref(), held: held.as_ref(), history, gaps, view };
        changes.push(told.entry());
        if row.passed.is_none() {
            held = event;
        }
    }
    changes.reverse();
    HistoryBody {
        user_id: user_id.get(),
        history_since: history.since.to_string(),
        begins_with: if history.is_trimmed { Beginning::Limit } else { Beginning::Table },
        changes,
        has_more: history.has_more,
        meta: HistoryMeta { as_of: view.as_of.map(|at| at.to_string()), redacted: view.shown.redacted().collect() },
    }
}

/// One row, with all that its entry is made of.
struct Told<'t> {
    row: &'t HistoryRow,
    event: Option<&'t UserEvent>,
    /// The state before, where the history has it.
    held: Option<&'t UserEvent>,
    history: &'t UserHistory,
    gaps: &'t [OpenGap],
    view: &'t View,
}

impl Told<'_> {
    fn entry(&self) -> HistoryEntry {
        let (row, event) = (self.row, self.event);
        let (kind, (compared_with, changed)) = (self.kind(), self.changed());
        let visible = changed.into_iter().filter(|change| self.view.shown.shows(change.name));
        let occurred_at = event.map(|event| event.occurred_at).or(row.forgotten_at);
        let text = |time: UnixMillis| time.to_string();
        HistoryEntry {
            kind,
            position: self.position(),
            event_id: event.map(|event| event.event_id.to_string()),
            event_type: event.map(|event| event.kind.as_str()),
            occurred_at: occurred_at.map(text),
            received_at: event.map(|event| text(event.received_at)),
            compared_with,
            fields: visible.map(field).collect(),
            gap_opened: self.gap_opened(),
            gaps_closed: row.gaps_closed.iter().map(|gap| self.view.names.of(*gap).to_string()).collect(),
            unknown_since: row.unknown_since.filter(|_| kind == EntryKind::Unknown).map(text),
        }
    }

    fn kind(&self) -> EntryKind {
        match self.row.passed {
            Some(PassedKind::Late) => EntryKind::Late,
            Some(PassedKind::Superseded) => EntryKind::Superseded,
            Some(PassedKind::Tied) => EntryKind::Tied,
            Some(PassedKind::Repeated) => EntryKind::Repeated,
            None if self.row.forgotten_at.is_some() => EntryKind::Forgotten,
            None if !self.is_same_event() => EntryKind::Changed,
            None if self.row.unknown_since.is_some() => EntryKind::Unknown,
            None => EntryKind::Known,
        }
    }

    /// Returns whether the event that wins is the one that won before: the record said nothing of the user.
    fn is_same_event(&self) -> bool {
        self.event.zip(self.held).is_some_and(|(event, held)| event.event_id == held.event_id)
    }

    fn changed(&self) -> (Compared, Vec<FieldChange<'_>>) {
        let Some(event) = self.event else { return (Compared::Nothing, Vec::new()) };
        match (self.kind(), self.held) {
            (EntryKind::Changed, Some(held)) => (Compared::Held, event.changes_since(held)),
            (EntryKind::Changed, None) | (EntryKind::Late | EntryKind::Superseded | EntryKind::Tied, _) => {
                let compared = if event.old.is_some() { Compared::Old } else { Compared::Nothing };
                (compared, event.changes())
            }
            (_, _) => (Compared::Nothing, Vec::new()),
        }
    }

    /// Returns the name of the record.
    fn position(&self) -> String {
        let position = self.row.position;
        match (self.row.passed, &self.history.late_log) {
            (Some(PassedKind::Superseded), Some(log)) => {
                let name: TopicPosition = log.topic.at(position);
                name.to_string()
            }
            (_, _) => self.view.names.of(position).to_string(),
        }
    }

    fn gap_opened(&self) -> Option<OpenedGap> {
        let fields = self.row.gap_fields.as_ref()?;
        let open = self.gaps.iter().find(|gap| gap.position == self.row.position);
        let state = match open.map(|gap| gap.state(self.view.now)) {
            Some(GapState::Awaited) => OpenedGapState::Awaited,
            Some(GapState::Lost) => OpenedGapState::Lost,
            None => OpenedGapState::Closed,
        };
        Some(OpenedGap {
            state,
            awaited_until: open.map(|gap| gap.awaited_until().to_string()),
            fields: fields.iter().filter(|name| self.view.shown.may_name(name)).cloned().collect(),
        })
    }
}

fn field(change: FieldChange<'_>) -> ChangedField {
    let FieldChange { name, before, after } = change;
    ChangedField { name: name.to_owned(), before: before.map(json), after: after.map(json) }
}

fn json(value: FieldValue<'_>) -> Box<RawValue> {
    let json = match value {
        FieldValue::Field(field) => to_raw_value(&field),
        FieldValue::Member(text) => to_raw_value(&raw(text)),
    };
    json.expect("texts, numbers and lists of texts are JSON")
}
