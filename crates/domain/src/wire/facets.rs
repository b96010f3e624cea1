//! The searchable fields of a user.

use std::borrow::Cow;

use super::Current;

/// The searchable fields of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets<'b> {
    pub username: Option<Cow<'b, str>>,
    pub name: Option<Cow<'b, str>>,
    pub email: Option<Cow<'b, str>>,
    pub extension: Option<Cow<'b, str>>,
    pub state: Option<Cow<'b, str>>,
    pub is_agent: Option<bool>,
    pub priv_group: Option<i64>,
}

impl<'b> From<Current<'b>> for Facets<'b> {
    fn from(current: Current<'b>) -> Self {
        let user = current.user;
        Self {
            username: user.username,
            name: user.name,
            email: user.email,
            extension: user.extension,
            state: user.state,
            is_agent: user.is_agent,
            priv_group: user.priv_group,
        }
    }
}
