//! The phases of a projection, from its start to its end.

use std::fmt;

use crate::rebuild::Progress;

/// The present activity of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Nothing can be answered yet.
    Starting {
        waits_for: String,
    },
    /// The table of an earlier run can be read, at the position that every answer names. The cluster has not confirmed
    /// yet that it is of the present log.
    Stored {
        waits_for: String,
    },
    Rebuilding(Progress),
    /// The table can be read, at the position that every answer names; it is not yet where the log ended at start.
    CatchingUp,
    /// As [`Phase::Following`], but that look-ups and filters whose index is still to be made are refused.
    Indexing {
        missing: usize,
    },
    Following,
    Failed {
        why: String,
    },
    Ended,
}

impl Phase {
    /// Returns whether waiting for the table to be ready is over, for good or ill.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Starting { .. } | Self::Stored { .. } | Self::Rebuilding(_) | Self::CatchingUp => false,
            Self::Indexing { .. } => false,
            Self::Following | Self::Failed { .. } | Self::Ended => true,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { waits_for } => write!(f, "waiting for {waits_for}"),
            Self::Stored { waits_for } => {
                write!(f, "answering from the table of an earlier run, waiting for {waits_for}")
            }
            Self::Rebuilding(progress) => write!(f, "rebuilding from the log: {progress}"),
            Self::CatchingUp => f.write_str("reading to where the log ended at start"),
            Self::Indexing { missing } => {
                write!(f, "following the log, and making the indexes of look-ups and filters: {missing} are missing")
            }
            Self::Following => f.write_str("following the log"),
            Self::Failed { why } => write!(f, "failed: {why}"),
            Self::Ended => f.write_str("ended"),
        }
    }
}
