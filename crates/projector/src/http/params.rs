//! The parameters of lists and subscriptions. Values are taken as text, so that a refusal names the parameter.

use domain::{SAFE_INTEGER_MAX, TopicId, UserId};
use serde::Deserialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::fields::{FieldNames, Shown};
use super::refusal::Refusal;
use crate::change_filter::ChangeFilter;
use crate::scopes::{Scope, Scopes};
use crate::store::{Traits, UserFilter};

/// How many users a page has by default.
const PAGE_DEFAULT: usize = 100;
/// How many users a page has at most, whatever is asked for; NDJSON has all of them.
pub(super) const PAGE_MAX: usize = 1_000;
/// How many user ids a filter names at most: as many of the longest fit into a request's head, whatever its limit.
const USER_IDS_MAX: usize = 400;

/// The parameters of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    priv_group: Option<i64>,
    /// The beginning of the username, name, extension or, with the scope `users:contact`, e-mail address.
    q: Option<String>,
    /// The fields to answer, parted by commas; `extra` for all members outside the vendor's table. All without it;
    /// `userId` and `_meta` always.
    #[param(value_type = Option<FieldNames>, inline, style = Form, explode = false)]
    fields: Option<String>,
    /// How many users at most. Without it a page has 100, and NDJSON all. A page has no more than 1000 in any case.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    limit: Option<usize>,
    /// Only users with a larger identifier: the cursor in `next`, `<topic id>/<userId>`, or a bare identifier. A cursor
    /// of another topic is 409.
    #[param(pattern = r"^([A-Za-z0-9_-]{21}[AQgw]/)?(0|[1-9][0-9]{0,14})$")]
    after: Option<String>,
    /// [`super::at_least`] has read them.
    #[serde(rename = "at_least")]
    #[param(ignore)]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    #[param(ignore)]
    _wait_ms: Option<String>,
}

/// The parameters of an answer with one user, or with those that share a value.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserQuery {
    /// The fields to answer, parted by commas; `extra` for all members outside the vendor's table. All without it;
    /// `userId` and `_meta` always.
    #[param(value_type = Option<FieldNames>, inline, style = Form, explode = false)]
    fields: Option<String>,
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
    #[param(value_type = Option<UserIds>, inline, style = Form, explode = false)]
    user_id: Option<String>,
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    priv_group: Option<i64>,
    /// The fields to answer, parted by commas; `extra` for all members outside the vendor's table. All without it;
    /// `userId` and `_meta` always.
    #[param(value_type = Option<FieldNames>, inline, style = Form, explode = false)]
    fields: Option<String>,
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
    /// Returns which users are listed for a principal with these scopes.
    pub(super) fn filter(&self, scopes: Scopes) -> Result<UserFilter, Refusal> {
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        let begins = self.q.clone().filter(|q| !q.is_empty());
        Ok(UserFilter {
            state: self.state.clone(),
            is_agent,
            priv_group: self.priv_group,
            begins,
            without_email: !scopes.contains(Scope::UsersContact),
            ..UserFilter::default()
        })
    }

    pub(super) fn shown(&self, scopes: Scopes) -> Result<Shown, Refusal> {
        Shown::asked(scopes, self.fields.as_deref())
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
    pub(super) fn page_limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)
    }

    /// Returns how many users at most; `None` for any number.
    pub(super) fn limit(&self) -> Result<Option<usize>, Refusal> {
        let is_expected = |limit| i64::try_from(limit).is_ok_and(|limit| (1..=SAFE_INTEGER_MAX).contains(&limit));
        if self.limit.is_some_and(|limit| !is_expected(limit)) {
            return Err(Refusal::Parameter(format!("limit: expected 1 to {SAFE_INTEGER_MAX}")));
        }
        Ok(self.limit)
    }
}

impl UserQuery {
    pub(super) fn shown(&self, scopes: Scopes) -> Result<Shown, Refusal> {
        Shown::asked(scopes, self.fields.as_deref())
    }
}

impl ChangesQuery {
    /// Returns which changes are sent to a principal with these scopes. One that may not see a field must not choose by
    /// it.
    pub(super) fn filter(&self, scopes: Scopes) -> Result<ChangeFilter, Refusal> {
        let chooses = self.state.is_some() || self.is_agent.is_some() || self.priv_group.is_some();
        if chooses && !scopes.contains(Scope::UsersRead) {
            return Err(Refusal::Scope(Scope::UsersRead));
        }
        let parse = |id: &str| id.trim().parse().map_err(|error| Refusal::Parameter(format!("userId: {error}")));
        let user_ids = self.user_id.as_ref().map(|ids| ids.split(',').map(parse).collect::<Result<Vec<UserId>, _>>());
        let user_ids = user_ids.transpose()?;
        if user_ids.as_ref().is_some_and(|ids| ids.len() > USER_IDS_MAX) {
            return Err(Refusal::Parameter(format!("userId: expected at most {USER_IDS_MAX}")));
        }
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        let wanted = Traits { state: self.state.clone(), is_agent, priv_group: self.priv_group };
        Ok(ChangeFilter::new(user_ids, wanted))
    }

    pub(super) fn shown(&self, scopes: Scopes) -> Result<Shown, Refusal> {
        Shown::asked(scopes, self.fields.as_deref())
    }
}

/// The documentation of a list of identifiers.
struct UserIds;

impl PartialSchema for UserIds {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(SAFE_INTEGER_MAX));
        ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(USER_IDS_MAX)).into()
    }
}

impl ToSchema for UserIds {}

/// Reads `isAgent` as people and PHP write it.
fn parse_is_agent(text: Option<&str>) -> Result<Option<bool>, Refusal> {
    match text {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Refusal::Parameter("isAgent: expected true or false".to_owned())),
    }
}
