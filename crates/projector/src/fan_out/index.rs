//! Finds the groups of listeners that may want a change.

use std::sync::Arc;

use domain::UserId;
use rustc_hash::FxHashMap;

use crate::announced::Announced;
use crate::change_filter::ChangeFilter;
use crate::store::{Seen, Traits};

/// How many sets there are of the fields that a filter can name.
const FIELD_SETS: u8 = 1 << 3;

/// The groups by what their filters name. Of a change it names every group that wants it, and with the users' groups a
/// few more, whose filters decide.
#[derive(Debug, Default)]
pub(super) struct GroupIndex {
    groups: FxHashMap<Arc<ChangeFilter>, u64>,
    /// Those that name users.
    by_user: FxHashMap<UserId, Vec<u64>>,
    /// Those that name none.
    by_wanted: FxHashMap<Traits, u64>,
}

impl GroupIndex {
    pub(super) fn of(&self, filter: &Arc<ChangeFilter>) -> Option<u64> {
        self.groups.get(filter).copied()
    }

    pub(super) fn add(&mut self, filter: &Arc<ChangeFilter>, group: u64) {
        self.groups.insert(Arc::clone(filter), group);
        match &filter.user_ids {
            None => drop(self.by_wanted.insert(filter.wanted.clone(), group)),
            Some(ids) => ids.iter().for_each(|id| self.by_user.entry(*id).or_default().push(group)),
        }
    }

    pub(super) fn remove(&mut self, filter: &Arc<ChangeFilter>, group: u64) {
        self.groups.remove(filter);
        let Some(ids) = &filter.user_ids else {
            self.by_wanted.remove(&filter.wanted);
            return;
        };
        for id in ids {
            if let Some(groups) = self.by_user.get_mut(id) {
                groups.retain(|other| *other != group);
                if groups.is_empty() {
                    self.by_user.remove(id);
                }
            }
        }
    }

    /// Calls `each` once with every group that may want the change.
    pub(super) fn each_wanting(&self, announced: &Announced, mut each: impl FnMut(u64)) {
        let change = &announced.change;
        self.by_user.get(&change.user_id).into_iter().flatten().for_each(|group| each(*group));
        if self.by_wanted.is_empty() {
            return;
        }
        let everything = [Traits::default()];
        let chooses = self.by_wanted.len() > usize::from(self.by_wanted.contains_key(&everything[0]));
        if !chooses || change.event.is_none() {
            return self.by_wanted.values().for_each(|group| each(*group));
        }
        let (now, before) = (announced.now(), &change.before);
        if [now, before].contains(&&Seen::Somebody) {
            return self.by_wanted.values().for_each(|group| each(*group));
        }
        let mut found: Vec<u64> = [now, before].into_iter().flat_map(|seen| self.wanting(seen)).collect();
        found.extend(self.by_wanted.get(&everything[0]));
        found.sort_unstable();
        found.dedup();
        found.into_iter().for_each(each);
    }

    /// Returns the groups that want a user who has these traits: those that name some of them, and nothing else.
    fn wanting(&self, seen: &Seen) -> impl Iterator<Item = u64> {
        let traits = match seen {
            Seen::User(traits) => Some(traits),
            Seen::Nobody | Seen::Somebody => None,
        };
        let sets = (1..FIELD_SETS).filter_map(move |set| {
            let has = |bit: u8| set & bit != 0;
            let wanted = Traits {
                state: traits?.state.clone().filter(|_| has(1)),
                is_agent: traits?.is_agent.filter(|_| has(2)),
                priv_group: traits?.priv_group.filter(|_| has(4)),
            };
            self.by_wanted.get(&wanted).copied()
        });
        sets.collect::<Vec<_>>().into_iter()
    }
}
