//! Which changes a subscription lets through.

use domain::UserId;

use crate::announced::Announced;
use crate::store::Traits;

/// The changes that a reader wants: those of some users, and those into, within and out of a set of users.
#[derive(Debug, Default)]
pub(super) struct ChangeFilter {
    pub(super) user_ids: Option<Vec<UserId>>,
    pub(super) state: Option<String>,
    pub(super) is_agent: Option<bool>,
    pub(super) priv_group: Option<i64>,
}

impl ChangeFilter {
    /// A change that takes a user out of the set is let through, or the reader would keep the user for ever; so is
    /// every forgotten user, of whom nothing else is known any more, and every state that may follow one that the
    /// reader has.
    pub(super) fn lets_through(&self, announced: &Announced) -> bool {
        let change = &announced.change;
        if self.user_ids.as_ref().is_some_and(|wanted| !wanted.contains(&change.user_id)) {
            return false;
        }
        if change.event.is_none() || (self.state.is_none() && self.is_agent.is_none() && self.priv_group.is_none()) {
            return true;
        }
        announced.now().may_be(|traits| self.wants(traits)) || change.before.may_be(|traits| self.wants(traits))
    }

    fn wants(&self, user: &Traits) -> bool {
        (self.state.is_none() || self.state == user.state)
            && (self.is_agent.is_none() || self.is_agent == user.is_agent)
            && (self.priv_group.is_none() || self.priv_group == user.priv_group)
    }
}
