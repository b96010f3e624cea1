//! The library's face: a table of every user's current state that keeps itself up to date.

use std::sync::Arc;
use std::time::Duration;

use domain::{Checkpoint, Position, UserId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bookmark::Bookmark;
use crate::change_filter::ChangeFilter;
use crate::error::Error;
use crate::follow;
use crate::options::Options;
use crate::phase::Phase;
use crate::shared::Shared;
use crate::store::{self, Lookup, Place, StoreFolder, StoreReader, UserFilter, UserRow, UserRows};
use crate::subscribe::Changes;

/// How many users one step of an iteration reads.
const ITERATE_STEP: usize = 1_000;

/// A table that follows the topic; clones share it. It ends with [`Projection::close`].
#[derive(Clone, Debug)]
pub struct Projection {
    pub(crate) shared: Arc<Shared>,
    follower: Arc<Follower>,
}

/// The task that follows the topic, until somebody waits for its end.
type Follower = Mutex<Option<JoinHandle<Result<(), Error>>>>;

impl Projection {
    /// Takes the folder and begins to follow the topic. Answers come once the table is there: that of an earlier run at
    /// once, as of the time that it was stored. [`Projection::ready`] waits until it is up to date.
    ///
    /// A cluster that is away is waited for, and a topic that is not there. To be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Options`] when the Kafka options cannot be used; [`Error::Store`] when the folder cannot be used or has
    /// another owner.
    pub fn open(options: Options) -> Result<Self, Error> {
        let faults = options.kafka.validate();
        if !faults.is_empty() {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return Err(Error::Options(faults.join("; ")));
        }
        let folder = StoreFolder::take(&options.store)?;
        let shared = Arc::new(Shared::new(options));
        for topic in [Some(&shared.options.topic), shared.options.late_topic.as_ref()].into_iter().flatten() {
            shared.readers_reopened.watch(topic);
        }
        let follower = tokio::spawn(follow::run(Arc::clone(&shared), folder));
        Ok(Self { shared, follower: Arc::new(Mutex::new(Some(follower))) })
    }

    /// Waits until the table has been read to where the log ended at start, and every look-up has its index.
    ///
    /// # Errors
    /// [`Error::NotReady`] when the projection has failed; [`Error::Ended`] when it was closed.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut phase = self.phase();
        let phase = phase.wait_for(Phase::is_final).await.map_err(|_| Error::Ended)?.clone();
        match phase {
            Phase::Failed { why } => Err(Error::NotReady(why)),
            Phase::Ended => Err(Error::Ended),
            Phase::Following
            | Phase::Starting { .. }
            | Phase::Stored { .. }
            | Phase::Rebuilding(_)
            | Phase::CatchingUp
            | Phase::Indexing { .. } => Ok(()),
        }
    }

    /// Returns the present phase; the receiver hears of every change.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Returns a user.
    ///
    /// A look into the table takes microseconds, so this does not wait for another thread.
    ///
    /// # Errors
    /// [`Error::NotReady`] while there is no table; [`Error::Store`] when it cannot be read.
    pub fn get(&self, user_id: UserId) -> Result<Lookup, Error> {
        Ok(self.shared.readers()?.with(|reader| reader.get(user_id))?)
    }

    /// Returns up to `limit` users that the filter lets through, those after `after`, in the order of the filter.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn find(&self, filter: UserFilter, after: Option<Place>, limit: usize) -> Result<UserRows, Error> {
        self.shared.find_of(&self.shared.readers()?, filter, after, limit).await
    }

    /// Calls `each` with all users in the order of their identifiers, a page at a time, until it returns false.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn iterate(&self, mut each: impl FnMut(UserRow) -> bool) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.find(UserFilter::default(), after, ITERATE_STEP).await?;
            for user in page.users {
                if !each(user) {
                    return Ok(());
                }
            }
            match page.next_after {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Runs a longer read on a thread that may block; a limited number of them at once. It reads as of one moment, and
    /// the erasing of forgotten users waits for it: after 30 seconds of waiting, what it executes is interrupted.
    ///
    /// # Errors
    /// As [`Projection::get`]; [`store::Error::Interrupted`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared.read(read).await
    }

    /// Returns how far the table has been read: every record below is in it.
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.committed.borrow().checkpoint.clone()
    }

    /// Waits until the record at `position` is in the table.
    ///
    /// # Errors
    /// [`Error::NotReached`] when `wait_max` passes before.
    pub async fn wait_for(&self, position: Position, wait_max: Duration) -> Result<(), Error> {
        let mut committed = self.shared.committed.subscribe();
        if committed.borrow().checkpoint.covers(position) {
            return Ok(());
        }
        let reached = committed.wait_for(|committed| committed.checkpoint.covers(position));
        match tokio::time::timeout(wait_max, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::NotReached { position }),
        }
    }

    /// Subscribes to changes: first those that `from` does not cover (from an empty checkpoint the whole table), then
    /// all that follow.
    ///
    /// A bookmark of another log, or from beyond the end of this one, is of a topic that was recreated: the
    /// subscription starts over ([`crate::Item::StartedOver`]) with the whole table.
    pub fn subscribe(&self, from: impl Into<Bookmark>) -> Changes {
        Changes::new(Arc::clone(&self.shared), from.into(), ChangeFilter::default())
    }

    /// Waits until the projection has ended, by [`Projection::close`] or by an error.
    pub async fn ended(&self) {
        let mut phase = self.phase();
        // The sender is in `shared`, which this holds: it cannot be gone.
        let _ended = phase.wait_for(|phase| matches!(phase, Phase::Failed { .. } | Phase::Ended)).await;
    }

    /// Stops following: finishes the present commit, closes the store, gives the folder back.
    ///
    /// # Errors
    /// The error that had ended the projection before, if one had.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.shutdown.trigger();
        let follower = self.follower.lock().take();
        match follower {
            Some(follower) => follower.await.unwrap_or(Err(Error::Ended)),
            None => Ok(()),
        }
    }
}
