//! A gap between two states of a user, suspected from their digests.

use crate::Version;
use crate::roll::{Member, Roll};

/// A break in a user's lineage: the state held was `held`, but the next event was built on `missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub held: Version,
    pub missing: Version,
}

/// An event that did not win, as the pair of states it leads from and to.
pub type Edge = (Version, Version);

impl Gap {
    /// Returns the gap between two states of a user, if the parent of the new winner is not a known state.
    pub fn between(before: &Roll, now: &Roll) -> Option<Self> {
        let (held, next) = (before.winner()?, now.winner()?);
        let missing = next.parent?;
        let is_imported = before.rank().is_imported();
        if missing == held.version || is_imported {
            return None;
        }
        let known = before.members().iter().map(|member| member.version).collect();
        let edges: Vec<Edge> = now.members().iter().filter_map(Member::edge).collect();
        (!leads_to(known, missing, &edges)).then_some(Self { held: held.version, missing })
    }

    /// Returns whether events lead from the state held to the missing one.
    pub fn is_bridged(&self, events: &[Edge]) -> bool {
        leads_to(vec![self.held], self.missing, events)
    }
}

impl Member {
    /// Returns the states that the event leads from and to. A creation has no state to lead from.
    pub fn edge(&self) -> Option<Edge> {
        Some((self.parent?, self.version))
    }
}

/// Returns whether a path of events leads from one of the states in `reached` to `missing`.
///
/// A user can return to an earlier state (a switch turned off and on again), so several events can leave one state. The
/// search follows all paths.
fn leads_to(mut reached: Vec<Version>, missing: Version, events: &[Edge]) -> bool {
    let mut next = 0;
    while let Some(at) = reached.get(next).copied() {
        if at == missing {
            return true;
        }
        next += 1;
        for (_, to) in events.iter().filter(|(from, _)| *from == at) {
            if !reached.contains(to) {
                reached.push(*to);
            }
        }
    }
    false
}
