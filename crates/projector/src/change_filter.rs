//! Which changes a subscription lets through.

use domain::UserId;

use crate::announced::Announced;
use crate::store::Traits;

/// The changes that a reader wants: those of some users, and those into, within and out of a set of users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChangeFilter {
    /// In ascending order; `None` for all users.
    pub(crate) user_ids: Option<Vec<UserId>>,
    /// What a user of the set has; `None` in a field lets each through.
    pub(crate) wanted: Traits,
}

impl ChangeFilter {
    pub(crate) fn new(user_ids: Option<Vec<UserId>>, wanted: Traits) -> Self {
        let user_ids = user_ids.map(|mut ids| {
            ids.sort_unstable();
            ids.dedup();
            ids
        });
        Self { user_ids, wanted }
    }

    /// A change that takes a user out of the set is let through, or the reader would keep the user for ever; so is
    /// every forgotten user, of whom nothing else is known any more, and every state that may follow one that the
    /// reader has.
    pub(crate) fn lets_through(&self, announced: &Announced) -> bool {
        let change = &announced.change;
        if self.user_ids.as_ref().is_some_and(|wanted| wanted.binary_search(&change.user_id).is_err()) {
            return false;
        }
        if change.event.is_none() || self.wanted == Traits::default() {
            return true;
        }
        announced.now().may_be(|traits| self.wants(traits)) || change.before.may_be(|traits| self.wants(traits))
    }

    fn wants(&self, user: &Traits) -> bool {
        let Traits { state, is_agent, priv_group } = &self.wanted;
        (state.is_none() || *state == user.state)
            && (is_agent.is_none() || *is_agent == user.is_agent)
            && (priv_group.is_none() || *priv_group == user.priv_group)
    }
}
