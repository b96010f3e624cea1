//! A subscription: first what the subscriber has not seen, from the store, then every change as it is committed.
//!
//! ```text
//! from empty, or beyond the history ──▶ Latest ──▶ History ──▶ caught up ──▶ Live ──▶ cut off, when too slow
//! from a checkpoint in the history  ─────────────▶
//! ```
//!
//! `Latest` reads each user's state in the order of the log, partition by partition; `History` each change there was. In every
//! stage the subscriber's checkpoint covers exactly what it was given, so that it can go on from there, here or at another
//! replica, without a gap or a repeat.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use domain::Checkpoint;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::projection::{Error, Projection};
use crate::store::{Change, Seen, Since};

/// How many changes are read from the store at once.
const STEP: usize = 500;

/// A change as all subscribers share it.
#[derive(Debug)]
pub struct Announced {
    pub change: Change,
    /// What subscribers choose by, read by the first one that needs it.
    now: OnceLock<Seen>,
    /// Its form as text, likewise.
    pub(crate) json: OnceLock<Bytes>,
}

impl Announced {
    pub(crate) fn new(change: Change) -> Arc<Self> {
        Arc::new(Self { change, now: OnceLock::new(), json: OnceLock::new() })
    }

    /// Returns what there is of the user with this change.
    pub(crate) fn now(&self) -> &Seen {
        self.now.get_or_init(|| Seen::of(self.change.event.as_deref()))
    }
}

/// What a subscriber is given.
#[derive(Clone, Debug)]
pub enum Item {
    /// A user's state before [`Item::CaughtUp`] when changes can no longer be told one by one: the whole table for a new
    /// subscriber.
    State(Arc<Announced>),
    /// A change of a user's state.
    Change(Arc<Announced>),
    /// Everything that was there has been given; what follows is new.
    CaughtUp,
}

/// Why a subscription ended. It can be taken up again from its checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the reader is too slow: it fell {0} changes behind")]
    TooSlow(u64),
    #[error("the table was made anew")]
    Replaced,
    #[error(transparent)]
    Projection(#[from] Error),
}

/// A subscription. It costs no more than its place in the queue of changes, however slow its reader is.
#[derive(Debug)]
pub struct Changes {
    projection: Projection,
    at: Checkpoint,
    stage: Stage,
    ready: VecDeque<Item>,
}

#[derive(Debug)]
enum Stage {
    Start,
    /// Reads the states on a partition; `left` are those that come after it.
    Latest {
        left: VecDeque<i32>,
        /// What no state was given of before, and so none that the subscriber may have to give up: where the table of a
        /// subscriber that began with nothing stood at first. A user who changes meanwhile is given again, from beyond it.
        first: Checkpoint,
    },
    History {
        live: broadcast::Receiver<Arc<Announced>>,
        seq: i64,
    },
    Live {
        live: broadcast::Receiver<Arc<Announced>>,
    },
}

impl Changes {
    pub(crate) fn new(projection: Projection, from: Checkpoint) -> Self {
        Self { projection, at: from, stage: Stage::Start, ready: VecDeque::new() }
    }

    /// Returns the checkpoint that covers exactly what was given so far: a later subscription goes on from it.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.at
    }

    /// Waits for what comes next.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
    /// [`Ended`]; from the checkpoint a new subscription can go on.
    pub async fn next(&mut self) -> Result<Item, Ended> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                if let Item::State(announced) | Item::Change(announced) = &item {
                    // What is ready was not covered when it was read, and only this moves the checkpoint.
                    let _advanced = self.at.advance(announced.change.position);
                }
                return Ok(item);
            }
            self.step().await?;
        }
    }

    /// Reads one step from the store, or waits for one change.
    async fn step(&mut self) -> Result<(), Ended> {
        match &mut self.stage {
            Stage::Start => {
                self.stage = if self.at.is_empty() { self.latest().await? } else { self.history() };
            }
            Stage::Latest { left, first } => {
                let Some(partition) = left.front().copied() else {
                    self.stage = self.history();
                    return Ok(());
                };
                let offset = self.at.next(partition).unwrap_or(0);
                let read = self.projection.read(move |reader| reader.latest(partition, offset, STEP));
                let (states, checkpoint) = read.await?;
                if states.is_empty() {
                    left.pop_front();
                    if let Some(next) = checkpoint.next(partition) {
                        self.at.reach(partition, next);
                    }
                }
                self.ready.extend(states.into_iter().map(|mut state| {
                    if first.covers(state.position) {
                        state.before = Seen::Nobody;
                    }
                    Item::State(Announced::new(state))
                }));
            }
            Stage::History { seq, .. } => {
                let (from, begin) = (self.at.clone(), *seq);
                match self.projection.read(move |reader| reader.since(&from, begin, STEP)).await? {
                    Since::Beyond => self.stage = self.latest().await?,
                    Since::Each { changes, next_seq, end } => {
                        *seq = next_seq;
                        self.ready.extend(changes.into_iter().map(|change| Item::Change(Announced::new(change))));
                        if let Some(end) = end
                            && self.ready.is_empty()
                        {
                            for (partition, next) in end.iter() {
                                self.at.reach(partition, next);
                            }
                            self.go_live();
                        }
                    }
                }
            }
            Stage::Live { live } => match live.recv().await {
                Ok(announced) if self.at.covers(announced.change.position) => {}
                Ok(announced) => self.ready.push_back(Item::Change(announced)),
                Err(RecvError::Lagged(behind)) => return Err(Ended::TooSlow(behind)),
                Err(RecvError::Closed) => return Err(Ended::Replaced),
            },
        }
        Ok(())
    }

    async fn latest(&self) -> Result<Stage, Ended> {
        let checkpoint = self.projection.read(crate::store::Reader::checkpoint).await?;
        let left = checkpoint.iter().map(|(partition, _)| partition).collect();
        Ok(Stage::Latest { left, first: if self.at.is_empty() { checkpoint } else { Checkpoint::default() } })
    }

    /// Listens first and reads then: a change is in the one or in the other, and in both only if its position says so.
    fn history(&self) -> Stage {
        Stage::History { live: self.projection.hear(), seq: 0 }
    }

    fn go_live(&mut self) {
        if let Stage::History { live, .. } = std::mem::replace(&mut self.stage, Stage::Start) {
            self.stage = Stage::Live { live };
            self.ready.push_back(Item::CaughtUp);
        }
    }
}
