//! Membership in a consumer group. The group serves only to assign partitions: no record is read through it, and no
//! offset is committed.

mod event;
mod member;

use std::fmt;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::tail::join;
use crate::{ClientOptions, Unavailable};

pub use event::{Error, GroupEvent};
use member::Member;

/// The most changes that can wait for the caller.
const CHANGES_WAITING: usize = 64;

/// A running membership. Dropping it leaves the group after a delay; [`Membership::leave`] leaves at once.
pub struct Membership {
    events: mpsc::Receiver<Result<GroupEvent, Error>>,
    thread: JoinHandle<()>,
}

impl Membership {
    /// Joins a group that assigns the partitions of a topic. If the cluster is unreachable, the membership starts when
    /// it is back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the options cannot be used.
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
    /// Any error ends the membership. Later calls return [`Error::Ended`].
    pub async fn next(&mut self) -> Result<GroupEvent, Error> {
        self.events.recv().await.unwrap_or(Err(Error::Ended))
    }

    /// Leaves the group and waits for the end, so that other members take over at once.
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
