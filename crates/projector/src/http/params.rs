//! The parameters of lists and subscriptions. Values are taken as text, so that a refusal names the parameter.

use domain::{TopicId, UserId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::filter::ChangeFilter;
use super::refusal::Refusal;
use crate::store::UserFilter;

/// How many users a page has by default.
const PAGE_DEFAULT: usize = 100;
/// How many users a page has at most; NDJSON has all of them.
pub(super) const PAGE_MAX: usize = 1_000;
/// How many user ids a filter names at most: as many as fit into a request's head.
const USER_IDS_MAX: usize = 1_000;
/// The parameters of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    priv_group: Option<i64>,
    /// The beginning of the username, name, e-mail address or extension.
    q: Option<String>,
    /// How many users at most: 100 by default, 1000 at most; as NDJSON any number.
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only users with a larger identifier: the cursor in `next`, `<topic id>/<userId>`, or a bare identifier. A cursor
    /// of another topic is 409.
    #[param(example = "zuQxo-W8SfmGVIR3p0wXVg/180")]
    after: Option<String>,
    /// [`super::at_least`] has read them.
    #[serde(rename = "at_least")]
    #[param(ignore)]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    #[param(ignore)]
    _wait_ms: Option<String>,
}

/// The parameters of a subscription.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// Identifiers, parted by commas.
    user_id: Option<String>,
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    priv_group: Option<i64>,
    /// As the header, for those who cannot send one.
    pub(super) last_event_id: Option<String>,
    #[serde(rename = "at_least")]
    #[param(ignore)]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    #[param(ignore)]
    _wait_ms: Option<String>,
}

impl ListQuery {
    pub(super) fn filter(&self) -> Result<UserFilter, Refusal> {
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        let begins = self.q.clone().filter(|q| !q.is_empty());
        Ok(UserFilter {
            state: self.state.clone(),
            is_agent,
            priv_group: self.priv_group,
            begins,
            ..UserFilter::default()
        })
    }

    /// Returns after which user the page begins, of a table of the topic `held`.
    pub(super) fn after(&self, held: TopicId) -> Result<Option<UserId>, Refusal> {
        let Some(after) = &self.after else { return Ok(None) };
        let parameter = |error: &dyn std::fmt::Display| Refusal::Parameter(format!("after: {error}"));
        let (topic, id) = after.split_once('/').map_or((None, after.as_str()), |(topic, id)| (Some(topic), id));
        let topic: Option<TopicId> = topic.map(str::parse).transpose().map_err(|error| parameter(&error))?;
        if let Some(named) = topic.filter(|topic| *topic != held) {
            return Err(Refusal::OtherTopic { named, held });
        }
        id.parse().map(Some).map_err(|error| parameter(&error))
    }

    /// Returns how many users a page has.
    pub(super) fn page_limit(&self) -> Result<usize, Refusal> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if limit > PAGE_MAX {
            return Err(Refusal::Parameter(format!("limit: expected {PAGE_MAX} at most, or application/x-ndjson")));
        }
        Ok(limit)
    }

    /// Returns how many users at most; `None` for any number.
    pub(super) fn limit(&self) -> Result<Option<usize>, Refusal> {
        match self.limit {
            Some(0) => Err(Refusal::Parameter("limit: expected 1 or more".to_owned())),
            limit => Ok(limit),
        }
    }
}

impl ChangesQuery {
    pub(super) fn filter(&self) -> Result<ChangeFilter, Refusal> {
        let parse = |id: &str| id.trim().parse().map_err(|error| Refusal::Parameter(format!("userId: {error}")));
        let user_ids = self.user_id.as_ref().map(|ids| ids.split(',').map(parse).collect::<Result<Vec<UserId>, _>>());
        let user_ids = user_ids.transpose()?;
        if user_ids.as_ref().is_some_and(|ids| ids.len() > USER_IDS_MAX) {
            return Err(Refusal::Parameter(format!("userId: expected at most {USER_IDS_MAX}")));
        }
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        Ok(ChangeFilter { user_ids, state: self.state.clone(), is_agent, priv_group: self.priv_group })
    }
}

/// Reads `isAgent` as people and PHP write it.
fn parse_is_agent(text: Option<&str>) -> Result<Option<bool>, Refusal> {
    match text {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Refusal::Parameter("isAgent: expected true or false".to_owned())),
    }
}
