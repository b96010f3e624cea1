//! The events of a membership, and the reasons why it ends.

use crate::Unavailable;

/// A change of the assignment of this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions are now assigned to this member, in addition to its others.
    Assigned(Vec<i32>),
    /// These partitions are no longer assigned to this member.
    Revoked(Vec<i32>),
}

/// The reason why a membership cannot start or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The membership ended earlier, and its error was returned then.
    #[error("the membership has ended")]
    Ended,
}

impl Error {
    /// Returns whether the client lacks the permission to join the group.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Unavailable(Unavailable::Refused(fault)) => fault.is_group_refused(),
            Self::Unavailable(Unavailable::Unreachable(_) | Unavailable::Missing { .. }) | Self::Ended => false,
        }
    }
}
