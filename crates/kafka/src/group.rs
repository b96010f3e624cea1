//! Follows the partitions that a consumer group gives this member, each from its beginning.
//!
//! The group serves to share the partitions out, not to remember positions: nothing is committed, and a partition that
//! is given to a member is read whole, whoever had it before.

mod member;

use std::fmt;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::tail::{Limits, join};
use crate::{ClientOptions, Record, Unavailable, topics};

use member::Member;

/// A report of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions are this member's from now on, in addition to those that it has. Their records follow from the
    /// beginning.
    Assigned(Vec<i32>),
    /// These partitions are this member's no more; no record of theirs follows until they are assigned again.
    Revoked(Vec<i32>),
    /// Records, never none; those of one partition in the order of their offsets.
    Records(Vec<Record>),
    /// Every record of the partition below `next_offset` was handed over, and there was none beyond at that moment.
    EndReached { partition: i32, next_offset: i64 },
}

/// Why a group cannot be joined or a membership has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log does not hold the position of a partition any more: it may have been cut below what was handed over of
    /// it.
    #[error("the log does not hold the position of the reader any more")]
    PositionOutsideLog,
    /// The topic was deleted and created again under the same name.
    #[error("the topic {topic} was deleted and created again")]
    TopicReplaced { topic: String },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The membership has ended before; its error was returned then.
    #[error("the membership has ended")]
    Ended,
}

impl From<topics::Changed> for Error {
    fn from(changed: topics::Changed) -> Self {
        match changed {
            topics::Changed::Missing { topic } => Unavailable::Missing { topic }.into(),
            topics::Changed::Replaced { topic } => Self::TopicReplaced { topic },
        }
    }
}

/// A running membership. The group is left when this is dropped, some time later, and at once by [`Membership::leave`].
pub struct Membership {
    events: mpsc::Receiver<Result<GroupEvent, Error>>,
    thread: JoinHandle<()>,
}

impl Membership {
    /// Joins a group. The cluster may be away: the membership begins when it is back.
    ///
    /// A member that takes nothing from [`Membership::next`] for longer than `max.poll.interval.ms` (5 minutes unless
    /// passed through otherwise) is put out of the group, and joins it again when it goes on.
    ///
    /// # Errors
    ///
    /// If the options are not usable.
    pub fn join(options: &ClientOptions, group: &str, topic: &str, limits: Limits) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(limits.events_waiting.max(1));
        let member = Member::join(options, group, topic, limits, sender)?;
        let thread = std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || member.run())
            .expect("the system can start a thread");
        Ok(Self { events, thread })
    }

    /// Waits for what comes next.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
    ///
    /// Any error is the end; from then on it is [`Error::Ended`].
    pub async fn next(&mut self) -> Result<GroupEvent, Error> {
        self.events.recv().await.unwrap_or(Err(Error::Ended))
    }

    /// Leaves the group and waits until that is done, so that the others take over at once.
    pub async fn leave(self) {
        drop(self.events);
        join(self.thread).await;
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}
