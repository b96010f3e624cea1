//! A subscription: first everything that the subscriber has not seen, from the store, then every change as it is
//! committed.
//!
//! ```text
//! from empty, or before the history ──▶ Latest ──▶ History ──▶ caught up ──▶ Live ──▶ cut off, when too slow
//! from a checkpoint in the history  ─────────────▶
//! from a bookmark of another log, or of one that was cut and grew again ──▶ StartedOver, then from empty
//! ```
//!
//! `Latest` reads each user's state in the order of the log, partition by partition; `History` each change there was.
//! In every stage the subscriber's checkpoint covers exactly what it was given, so that it can go on from there, here
//! or at another replica, without a gap or a repeat.
//!
//! Of a user who was forgotten, nothing from before is given, though it was read or announced while the reader was
//! slow: what was read is read again, and what was announced is passed over.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use domain::Checkpoint;

use crate::announced::Announced;
use crate::bookmark::Bookmark;
use crate::change_filter::ChangeFilter;
use crate::error::Error;
use crate::fan_out::Listener;
use crate::kept_changes::Piece;
use crate::shared::Shared;
use crate::store::{Seen, StoreReader, StoreReaders};

/// How many states, or changes of single users, are read from the store at once: what each subscriber has in memory.
const STEP: usize = 100;

/// One step of a subscription.
#[derive(Clone, Debug)]
pub enum Item {
    /// The subscriber has read another log, of a topic that was created again since, or one that was cut and has grown
    /// again: it must drop all that it holds. The whole table follows.
    StartedOver,
    /// A user's state before [`Item::CaughtUp`] when single changes are no longer known: the whole table for a new
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
    #[error("the table was rebuilt")]
    Replaced,
    #[error(transparent)]
    Projection(#[from] Error),
}

impl Ended {
    /// Returns the text for the reader: paths are for the operator alone.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::TooSlow(_) | Self::Replaced => self.to_string(),
            Self::Projection(error) => error.told(),
        }
    }
}

/// A subscription. It costs no more than its place among those who listen, however slow its reader is.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
    filter: Arc<ChangeFilter>,
    /// With the tag that the subscriber came with, until it is decided where to begin.
    at: Bookmark,
    /// The last change that was given, once what covers it covers all that this subscriber was given: it counts then.
    last: Option<Arc<Announced>>,
    /// The table that it reads, from the moment at which that is decided.
    table: Weak<StoreReaders>,
    stage: ReadStage,
    ready: VecDeque<Item>,
    /// How many commits had forgotten somebody when the store was last read.
    forgettings: u64,
}

#[derive(Debug)]
enum ReadStage {
    Start,
    /// Reads the states on a partition; `left` are those that come after it.
    Latest {
        left: VecDeque<i32>,
        /// Where the table stood at first, for a subscriber that began with nothing: below it no state was sent before,
        /// so the subscriber has none to give up. A user who changes meanwhile is sent again, from beyond it.
        first: Checkpoint,
    },
    History {
        live: Listener,
        /// The number of the change to go on with; `None` until it is looked for.
        next: Option<i64>,
        /// Where `ready` was read from.
        step: Option<i64>,
        /// What was read, held so that others who come back need not read it too.
        piece: Option<Arc<Piece>>,
    },
    Live {
        live: Listener,
    },
}

impl Changes {
    pub(crate) fn new(shared: Arc<Shared>, from: Bookmark, filter: ChangeFilter) -> Self {
        Self {
            shared,
            filter: Arc::new(filter),
            at: from,
            last: None,
            table: Weak::new(),
            stage: ReadStage::Start,
            ready: VecDeque::new(),
            forgettings: 0,
        }
    }

    /// Returns the checkpoint that covers exactly what was given so far.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.bookmark().checkpoint
    }

    /// Returns what a later subscription goes on from: the checkpoint, and the tag of the log it is of.
    pub fn bookmark(&self) -> &Bookmark {
        self.last.as_deref().and_then(Announced::after).unwrap_or(&self.at)
    }

    /// Returns whether it is still to be decided where to begin.
    pub(crate) fn has_not_begun(&self) -> bool {
        matches!(self.stage, ReadStage::Start)
    }

    /// Returns the text of the bookmark.
    pub(crate) fn id(&self) -> String {
        self.last.as_deref().and_then(Announced::id).map_or_else(|| self.at.to_string(), str::to_owned)
    }

    /// Moves the checkpoint past all that was announced, if nothing of it waits for this subscriber.
    pub(crate) fn catch_up(&mut self) {
        let ReadStage::Live { live } = &self.stage else { return };
        if let Some(reached) = live.reached() {
            let mut at = self.bookmark().clone();
            at.checkpoint.reach_all(&reached.checkpoint);
            (self.at, self.last) = (at, None);
        }
    }

    /// Waits for what comes next.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
    /// [`Ended`]; from the checkpoint a new subscription can go on.
    pub async fn next(&mut self) -> Result<Item, Ended> {
        loop {
            if let Some(item) = self.next_ready() {
                return Ok(item);
            }
            if let ReadStage::Live { live } = &self.stage {
                let announced = live.next().await?;
                if let Some(item) = self.take(announced) {
                    return Ok(item);
                }
                continue;
            }
            self.forgettings = self.shared.forgettings.load(Ordering::Acquire);
            self.step().await?;
        }
    }

    /// Returns what comes next if it is there already.
    pub(crate) fn next_ready(&mut self) -> Option<Item> {
        self.read_again_after_forgetting();
        while let Some(item) = self.ready.pop_front() {
            let (Item::State(announced) | Item::Change(announced)) = &item else { return Some(item) };
            // A ready item was not covered when it was read, and only this moves the checkpoint.
            let position = announced.change.position;
            let _advanced = self.at.checkpoint.advance(position, announced.names.epoch(position));
            if !announced.is_erased() && self.filter.lets_through(announced) {
                return Some(item);
            }
        }
        loop {
            let ReadStage::Live { live } = &self.stage else { return None };
            let announced = live.try_next()?;
            if let Some(item) = self.take(announced) {
                return Some(item);
            }
        }
    }

    /// Takes a change that was announced; `None` when it is not to be given.
    fn take(&mut self, announced: Arc<Announced>) -> Option<Item> {
        let position = announced.change.position;
        if self.checkpoint().covers(position) {
            return None;
        }
        let is_level = self.last.is_some()
            || announced.after().is_some_and(|after| after.checkpoint.covers_all(&self.at.checkpoint));
        if is_level {
            self.last = Some(Arc::clone(&announced));
        } else {
            let _advanced = self.at.checkpoint.advance(position, announced.names.epoch(position));
        }
        (!announced.is_erased()).then_some(Item::Change(announced))
    }

    /// Lets go of what was read and not given, if somebody was forgotten since: the checkpoint does not cover it, so it
    /// is read again as far as it is there.
    fn read_again_after_forgetting(&mut self) {
        if self.ready.is_empty() || self.forgettings == self.shared.forgettings.load(Ordering::Acquire) {
            return;
        }
        // Between two calls, nothing else is ready but what these stages have read.
        match &mut self.stage {
            ReadStage::History { next, step, .. } => *next = *step,
            ReadStage::Latest { .. } => {}
            ReadStage::Start | ReadStage::Live { .. } => return,
        }
        self.ready.clear();
    }

    /// Reads one step from the store.
    async fn step(&mut self) -> Result<(), Ended> {
        if matches!(self.stage, ReadStage::Start) {
            return self.start().await;
        }
        let table = self.shared.readers()?;
        if !self.is_of(&table) {
            return Err(Ended::Replaced);
        }
        match &self.stage {
            ReadStage::Start | ReadStage::Live { .. } => Ok(()),
            ReadStage::Latest { .. } => self.read_latest(&table).await,
            ReadStage::History { .. } => self.read_history(&table).await,
        }
    }

    async fn read_latest(&mut self, table: &Arc<StoreReaders>) -> Result<(), Ended> {
        let ReadStage::Latest { left, first } = &mut self.stage else { return Ok(()) };
        let Some(partition) = left.front().copied() else {
            self.stage = self.history()?;
            return Ok(());
        };
        let (offset, filter) = (self.at.checkpoint.next(partition).unwrap_or(0), Arc::clone(&self.filter));
        let read = self
            .shared
            .read_of(table, move |reader| reader.latest(filter.user_ids.as_deref(), partition, offset, STEP));
        let (states, checkpoint) = read.await?;
        if states.is_empty() {
            left.pop_front();
            let read = checkpoint.entries().filter(|(read, ..)| *read == partition);
            self.at.checkpoint.reach_all(&Checkpoint::from_entries(read));
        }
        let names = table.names();
        self.ready.extend(states.into_iter().map(|mut state| {
            if first.covers(state.position) {
                state.before = Seen::Nobody;
            }
            Item::State(Announced::new(state, names.clone()))
        }));
        Ok(())
    }

    async fn read_history(&mut self, table: &Arc<StoreReaders>) -> Result<(), Ended> {
        let ReadStage::History { live, next, step, piece } = &mut self.stage else { return Ok(()) };
        let (from, begin) = (&self.at.checkpoint, *next);
        let (changes, floor, following, end) = if self.filter.user_ids.is_some() {
            let (filter, begin) = (Arc::clone(&self.filter), begin.unwrap_or(0));
            let users =
                move |reader: &StoreReader| reader.kept_of(filter.user_ids.as_deref().unwrap_or_default(), begin, STEP);
            let read = self.shared.read_of(table, users).await?;
            let names = table.names();
            let changes: Vec<_> =
                read.changes.into_iter().map(|change| Announced::new(change, names.clone())).collect();
            (changes, read.floor, read.next, read.end)
        } else {
            let read = live.kept().piece(&self.shared, from, begin, &live.came().checkpoint).await?;
            let read = piece.insert(read);
            (read.changes.clone(), read.floor.clone(), read.next, read.end.clone())
        };
        if !from.covers_all(&floor) {
            let from = from.clone();
            self.stage = self.latest(&from).await?;
            return Ok(());
        }
        (*step, *next) = (begin, Some(following));
        let is_new = |change: &Arc<Announced>| !from.covers(change.change.position);
        self.ready.extend(changes.into_iter().filter(is_new).map(Item::Change));
        if let Some(end) = end
            && self.ready.is_empty()
        {
            self.at.checkpoint.reach_all(&end);
            self.go_live();
        }
        Ok(())
    }

    /// Decides where to begin: a bookmark of another log, or of one that was cut and has grown again, is worth nothing.
    async fn start(&mut self) -> Result<(), Ended> {
        let table = self.shared.readers()?;
        let from = &self.at.checkpoint;
        let is_other = self.at.topic.is_some_and(|topic| topic != table.topic());
        let held = self.shared.look(&table, StoreReader::checkpoint).await?;
        let starts_over = is_other || !table.names().is_of(from, &held) || self.shared.is_beyond_log(from).await;
        let checkpoint = if starts_over { Checkpoint::default() } else { from.clone() };
        // Nothing is decided before the last wait is over, for this may be dropped at each.
        let stage = if checkpoint.is_empty() { self.latest(&checkpoint).await? } else { self.history()? };
        self.at = Bookmark { checkpoint, topic: Some(table.topic()) };
        self.table = Arc::downgrade(&table);
        self.stage = stage;
        self.ready.extend(starts_over.then_some(Item::StartedOver));
        Ok(())
    }

    fn is_of(&self, table: &Arc<StoreReaders>) -> bool {
        Weak::ptr_eq(&self.table, &Arc::downgrade(table))
    }

    /// Begins to read the states that are beyond `from`.
    async fn latest(&self, from: &Checkpoint) -> Result<ReadStage, Ended> {
        let checkpoint = self.shared.look(&self.shared.readers()?, StoreReader::checkpoint).await?;
        let left = checkpoint.iter().map(|(partition, _)| partition).collect();
        Ok(ReadStage::Latest { left, first: if from.is_empty() { checkpoint } else { Checkpoint::default() } })
    }

    /// Listens first and reads then: a change is in the one or in the other, and in both only if its position says so.
    fn history(&self) -> Result<ReadStage, Ended> {
        Ok(ReadStage::History { live: self.shared.listen(&self.filter)?, next: None, step: None, piece: None })
    }

    fn go_live(&mut self) {
        if let ReadStage::History { live, .. } = std::mem::replace(&mut self.stage, ReadStage::Start) {
            self.stage = ReadStage::Live { live };
            self.ready.push_back(Item::CaughtUp);
        }
    }
}
