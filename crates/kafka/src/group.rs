//! Which partitions a consumer group gives this member. The group serves to share them out and for nothing else: no record is read
//! through it, and nothing is committed.

mod member;

use std::fmt;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::tail::join;
use crate::{ClientOptions, Unavailable};

use member::Member;

/// How many changes may wait for whoever takes them.
const CHANGES_WAITING: usize = 64;

/// A change of what is this member's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions are this member's from now on, in addition to those that it has.
    Assigned(Vec<i32>),
    /// These partitions are this member's no more.
    Revoked(Vec<i32>),
}

/// Why a membership cannot be taken up or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The membership has ended before; its error was returned then.
    #[error("the membership has ended")]
    Ended,
}

/// A running membership. The group is left when this is dropped, some time later, and at once by [`Membership::leave`].
pub struct Membership {
    events: mpsc::Receiver<Result<GroupEvent, Error>>,
    thread: JoinHandle<()>,
}

impl Membership {
    /// Joins a group that shares out the partitions of a topic. The cluster may be away: the membership begins when it is back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the options are not usable.
    pub fn join(options: &ClientOptions, group: &str, topic: &str) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(CHANGES_WAITING);
        let member = Member::join(options, group, topic, sender).map_err(Unavailable::from)?;
        let thread = std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || member.run())
            .expect("the system can start a thread");
        Ok(Self { events, thread })
    }

    /// Waits for the next change.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
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
