//! Gaps: what an event's parent tells about deliveries that never came.

use crate::{Head, User, Version};

/// A break in a user's lineage: the state held was `held`, but the next event was built on `missing`.
///
/// Late deliveries can close it: [`is_bridged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub held: Version,
    pub missing: Version,
}

impl Gap {
    /// Returns the gap between the state `current` and the event `next`, if there is one.
    ///
    /// An event without a parent, a creation, has no lineage to break.
    pub fn between(current: &Head, next: &Head) -> Option<Self> {
        let missing = next.parent?;
        (missing != current.version).then_some(Self { held: current.version, missing })
    }
}

/// Returns whether the events `late` lead from the state that was held to the state that was missing, each as `(from, to)`.
///
/// Users return to states they were in before (a switch turned off and on again), so one state can be left by several events: all
/// ways are followed.
pub fn is_bridged(gap: Gap, late: &[(Version, Version)]) -> bool {
    let mut reached = vec![gap.held];
    let mut next = 0;
    while let Some(at) = reached.get(next).copied() {
        if at == gap.missing {
            return true;
        }
        next += 1;
        for (_, to) in late.iter().filter(|(from, _)| *from == at) {
            if !reached.contains(to) {
                reached.push(*to);
            }
        }
    }
    false
}

/// Returns the names of the fields in which `held`, the state known, and `old`, the state the next event was built on, differ;
/// in alphabetical order.
///
/// Members that only `old` has and the vendor's table does not name are left out: the vendor has newly added them, and nothing
/// was missed. No names at all therefore means that there is no gap.
pub fn changed_fields(held: &User, old: &User) -> Vec<String> {
    let (held, old) = (held.canonical_members(), old.canonical_members());
    held.into_iter().filter(|(name, value)| old.get(name) != Some(value)).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, EventType, UnixMillis, UserId};

    fn head(version: u8, parent: Option<u8>) -> Head {
        let user_id = UserId::new(1).unwrap();
        let (version, parent) = (Version::from_bytes([version; 16]), parent.map(|p| Version::from_bytes([p; 16])));
        Head {
            user_id,
            kind: EventType::Changed,
            occurred_at: UnixMillis::from_millis(0),
            version,
            parent,
            event_id: EventId::derive(user_id, EventType::Changed, "", version, parent),
            received_at: UnixMillis::from_millis(0),
        }
    }

    #[test]
    fn a_gap_is_a_parent_that_is_not_the_state_held() {
        assert_eq!(Gap::between(&head(1, None), &head(2, Some(1))), None);
        assert_eq!(Gap::between(&head(1, None), &head(2, None)), None);
        let gap = Gap::between(&head(1, None), &head(3, Some(2))).unwrap();
        assert_eq!((gap.held, gap.missing), (head(1, None).version, head(2, None).version));
    }

    #[test]
    fn a_gap_is_bridged_by_any_way_through_the_late_events() {
        let version = |byte: u8| Version::from_bytes([byte; 16]);
        let gap = Gap { held: version(1), missing: version(2) };
        let edges =
            |pairs: &[(u8, u8)]| pairs.iter().map(|(from, to)| (version(*from), version(*to))).collect::<Vec<_>>();
        assert!(is_bridged(gap, &edges(&[(1, 2)])));
        assert!(is_bridged(gap, &edges(&[(3, 2), (9, 2), (1, 3)])), "another event leads to the same state");
        assert!(is_bridged(gap, &edges(&[(1, 4), (4, 1), (1, 4), (4, 2)])), "there and back again");
        for open in [&[][..], &[(3, 2)], &[(1, 3)], &[(1, 3), (4, 2)], &[(2, 1)], &[(1, 1)]] {
            assert!(!is_bridged(gap, &edges(open)), "{open:?}");
        }
    }

    #[test]
    fn fields_that_differ_are_named_and_newly_added_ones_are_not() {
        let held = User::new(UserId::new(1).unwrap());
        let mut old = held.clone();
        assert!(changed_fields(&held, &old).is_empty());
        old.extra.insert("skills".into(), "[]".into());
        assert!(changed_fields(&held, &old).is_empty());
        old.state = Some("inactive".into());
        old.email = Some("a@b.example".into());
        assert_eq!(changed_fields(&held, &old), ["email", "state"]);
        assert_eq!(changed_fields(&old, &held), ["email", "skills", "state"], "a member that went away counts");
    }
}
