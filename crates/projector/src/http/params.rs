//! The parameters of lists and subscriptions. Values are taken as text, so that a refusal names the parameter.

use std::collections::BTreeSet;

use domain::{SAFE_INTEGER_MAX, TopicId, UserId};
use serde::Deserialize;
use utoipa::openapi::KnownFormat::Int64;
use utoipa::openapi::RefOr;
use utoipa::openapi::SchemaFormat;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::cursor::{Cursor, NoCursor, Query};
use super::fields::{FieldNames, Shown};
use super::refusal::Refusal;
use crate::change_filter::ChangeFilter;
use crate::scopes::{Scope, Scopes};
use crate::store::{Order, Place, Traits, UserFilter};

/// How many users a page has by default.
const PAGE_DEFAULT: usize = 100;
/// How many users a page has at most, whatever is asked for; NDJSON has all of them.
pub(super) const PAGE_MAX: usize = 1_000;
/// How many user ids a filter names at most: as many of the longest fit into a request's head, whatever its limit.
const USER_IDS_MAX: usize = 400;
/// How many groups a list names at most: each is a search of its own.
const PRIV_GROUPS_MAX: usize = 100;

/// The parameters of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    /// One or several, parted by commas: users of one of these.
    #[param(value_type = Option<PrivGroups>, inline, style = Form, explode = false)]
    priv_group: Option<String>,
    /// The whole e-mail address; the case of ASCII letters does not matter. Takes the scope `users:contact`.
    email: Option<String>,
    /// A text within the username, name, extension or, with the scope `users:contact`, e-mail address. Case and accents
    /// do not matter: `jose` finds José.
    q: Option<String>,
    /// The order: of identifiers, or of names without case and accents.
    #[param(value_type = Option<Sort>, inline)]
    sort: Option<String>,
    /// The fields to answer, parted by commas; `extra` for all members outside the vendor's table. All without it;
    /// `userId` and `_meta` always.
    #[param(value_type = Option<FieldNames>, inline, style = Form, explode = false)]
    fields: Option<String>,
    /// How many users at most. Without it a page has 100, and NDJSON all. A page has no more than 1000 in any case.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    limit: Option<String>,
    /// Only users behind this one: the cursor in `next`, or in the order of identifiers a bare one. A cursor of another
    /// topic is 409, and one of another query 400: filters and order must be the same.
    #[param(pattern = r"^([A-Za-z0-9_-]{21}[AQgw]/[0-9a-f]{8}/)?(0|[1-9][0-9]{0,14})(/([0-9a-f]{2})*)?$")]
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
    #[param(value_type = Option<i64>)]
    priv_group: Option<String>,
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
        let sees_email = scopes.contains(Scope::UsersContact);
        if self.email.is_some() && !sees_email {
            return Err(Refusal::Scope(Scope::UsersContact));
        }
        Ok(UserFilter {
            state: self.state.clone(),
            is_agent,
            priv_groups: self.priv_groups()?,
            contains: self.q.clone().filter(|q| !q.is_empty()),
            without_email: !sees_email,
            email: self.email.clone(),
            order: match self.sort.as_deref() {
                None | Some("userId") => Order::UserId,
                Some("name") => Order::Name,
                Some(_) => return Err(Refusal::Parameter("sort: expected userId or name".to_owned())),
            },
            ..UserFilter::default()
        })
    }

    pub(super) fn shown(&self, scopes: Scopes) -> Result<Shown, Refusal> {
        Shown::asked(scopes, self.fields.as_deref())
    }

    /// Returns the groups in order, each once, so that the same query has the same cursors.
    fn priv_groups(&self) -> Result<Vec<i64>, Refusal> {
        let Some(groups) = &self.priv_group else { return Ok(Vec::new()) };
        let parse = |group: &str| group.trim().parse().ok();
        let groups: Option<BTreeSet<i64>> = groups.split(',').map(parse).collect();
        let groups = groups.filter(|groups| groups.len() <= PRIV_GROUPS_MAX);
        let unexpected = || format!("privGroup: expected up to {PRIV_GROUPS_MAX} whole numbers, parted by commas");
        Ok(groups.ok_or_else(|| Refusal::Parameter(unexpected()))?.into_iter().collect())
    }

    /// Returns where the page begins, of a table of the topic `held` and of a list by this filter.
    pub(super) fn after(&self, held: TopicId, filter: &UserFilter) -> Result<Option<Place>, Refusal> {
        let Some(after) = &self.after else { return Ok(None) };
        let parameter = |reason: &str| Refusal::Parameter(format!("after: {reason}"));
        let is_by_id = filter.order == Order::UserId;
        let expected = if is_by_id {
            "expected the cursor in `next` of a page, or a user id, a number from 0"
        } else {
            "expected the cursor in `next` of a page"
        };
        if !after.contains('/') && is_by_id {
            let user_id: UserId = after.parse().map_err(|_| parameter(expected))?;
            return Ok(Some(user_id.into()));
        }
        let Cursor { topic: named, query, place } = after.parse().map_err(|NoCursor| parameter(expected))?;
        if named != held {
            return Err(Refusal::OtherTopic { named, held });
        }
        if query != Query::of(filter) {
            return Err(parameter("the cursor is of another query: filters and order must be the same"));
        }
        Ok(Some(place))
    }

    /// Returns how many users at most; `None` for any number.
    pub(super) fn limit(&self) -> Result<Option<usize>, Refusal> {
        let Some(text) = &self.limit else { return Ok(None) };
        let is_expected = |limit: &usize| i64::try_from(*limit).is_ok_and(|n| (1..=SAFE_INTEGER_MAX).contains(&n));
        let limit = text.parse().ok().filter(is_expected);
        let unexpected = || Refusal::Parameter(format!("limit: expected 1 to {PAGE_MAX}, or more with NDJSON"));
        limit.ok_or_else(unexpected).map(Some)
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
        let unexpected = |_| {
            Refusal::Parameter(format!("userId: expected whole numbers from 0 to {SAFE_INTEGER_MAX}, parted by commas"))
        };
        let parse = |id: &str| id.trim().parse().map_err(unexpected);
        let user_ids = self.user_id.as_ref().map(|ids| ids.split(',').map(parse).collect::<Result<Vec<UserId>, _>>());
        let user_ids = user_ids.transpose()?;
        if user_ids.as_ref().is_some_and(|ids| ids.len() > USER_IDS_MAX) {
            return Err(Refusal::Parameter(format!("userId: expected at most {USER_IDS_MAX}")));
        }
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        let group = self.priv_group.as_deref().map(str::parse).transpose();
        let priv_group = group.map_err(|_| Refusal::Parameter("privGroup: expected a whole number".to_owned()))?;
        let wanted = Traits { state: self.state.clone(), is_agent, priv_group };
        Ok(ChangeFilter::new(user_ids, wanted))
    }

    pub(super) fn shown(&self, scopes: Scopes) -> Result<Shown, Refusal> {
        Shown::asked(scopes, self.fields.as_deref())
    }
}

/// Returns how many users a page has.
pub(super) fn page_limit(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)
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

/// The documentation of a list of groups.
struct PrivGroups;

impl PartialSchema for PrivGroups {
    fn schema() -> RefOr<Schema> {
        let group = ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(Int64)));
        ArrayBuilder::new().items(group).min_items(Some(1)).max_items(Some(PRIV_GROUPS_MAX)).into()
    }
}

impl ToSchema for PrivGroups {}

/// The documentation of an order.
struct Sort;

impl PartialSchema for Sort {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["userId", "name"])).into()
    }
}

impl ToSchema for Sort {}

/// Reads `isAgent` as people, PHP and Python write it.
fn parse_is_agent(text: Option<&str>) -> Result<Option<bool>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let is_any = |known: [&str; 2]| known.iter().any(|known| text.eq_ignore_ascii_case(known));
    match (is_any(["true", "1"]), is_any(["false", "0"])) {
        (true, _) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Err(Refusal::Parameter("isAgent: expected true or false, or 1 or 0".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_read_in_any_case() {
        let read = |text| parse_is_agent(Some(text)).ok();
        for (text, value) in
            [("true", true), ("TRUE", true), ("True", true), ("1", true), ("False", false), ("0", false)]
        {
            assert_eq!(read(text), Some(Some(value)), "{text}");
        }
        for text in ["", "yes", "2", "t"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_list_begins_behind_is_said_in_one_way() {
        let topic: TopicId = "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        for after in
            ["xxx", "", "-1", "xxx/0000002a/7", "AAAAAAAAAAAAAAAAAAAAAA/0000002a/x", "AAAAAAAAAAAAAAAAAAAAAA/2a/7"]
        {
            let query = ListQuery { after: Some(after.to_owned()), ..ListQuery::default() };
            let refused = query.after(topic, &UserFilter::default()).unwrap_err();
            let Refusal::Parameter(said) = refused else { panic!("{after}: {refused:?}") };
            assert_eq!(
                said, "after: expected the cursor in `next` of a page, or a user id, a number from 0",
                "{after}"
            );
        }
        let query = ListQuery { after: Some("7".to_owned()), ..ListQuery::default() };
        assert!(query.after(topic, &UserFilter::default()).unwrap().is_some());
    }
}
