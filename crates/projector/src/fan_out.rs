//! Hands the changes of a table to the subscribers who want them.
//!
//! ```text
//! Announcer ─ announce(commit) ─▶ groups that want each change ─▶ one queue, read by each member at its own pace
//!                                  └─ once a commit: the members who wait are woken
//! ```
//!
//! Subscribers with the same filter are one group, and an index finds the groups of a change: whoever wants nothing of
//! a commit is not woken by it, and costs it nothing. A change is kept until the last one who wants it has taken it, so
//! nothing is kept while nobody is behind.

mod index;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use domain::{Checkpoint, UserId};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustc_hash::FxHashMap;

use crate::announced::Announced;
use crate::bookmark::Bookmark;
use crate::change_filter::ChangeFilter;
use crate::kept_changes::KeptChanges;
use crate::store::{Change, LogNames};
use crate::subscribe::Ended;
use index::GroupIndex;

/// The changes of one table, and those who listen to them.
#[derive(Debug)]
pub(crate) struct FanOut {
    /// The changes of before, which are read by those who come back.
    pub(crate) kept: KeptChanges,
    /// How many changes wait for the slowest listener.
    waiting_max: usize,
    woken: Counter,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Covers all that was announced.
    at: Arc<Bookmark>,
    groups: FxHashMap<u64, Group>,
    index: GroupIndex,
    /// The changes that somebody has still to take.
    waiting: VecDeque<Waiting>,
    /// The number of the first of them.
    first: u64,
    /// Of the next group or member.
    next_number: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    /// `None` once everybody has taken it.
    announced: Option<Arc<Announced>>,
    /// How many have still to take it.
    left: usize,
}

/// Those who have the same filter.
#[derive(Debug)]
struct Group {
    filter: Arc<ChangeFilter>,
    members: FxHashMap<u64, Member>,
    /// The numbers of the changes that the group wants.
    wants: VecDeque<u64>,
    /// How many of them were removed from the front.
    removed: u64,
    /// Whether the commit that is being announced has something for it.
    is_to_wake: bool,
}

#[derive(Debug)]
struct Member {
    /// How many changes of the group were before the next that it takes.
    next: u64,
    waker: Option<Waker>,
}

/// The place of one listener, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    fan_out: Arc<FanOut>,
    group: u64,
    member: u64,
    /// Covers what was announced before it came.
    came: Arc<Bookmark>,
}

impl FanOut {
    /// Begins with a table that is at that bookmark.
    pub(crate) fn new(at: Bookmark, kept: KeptChanges, waiting_max: usize, woken: Counter) -> Self {
        let state = State {
            at: Arc::new(at),
            groups: FxHashMap::default(),
            index: GroupIndex::default(),
            waiting: VecDeque::new(),
            first: 0,
            next_number: 0,
            is_closed: false,
        };
        Self { kept, waiting_max, woken, state: Mutex::new(state) }
    }

    /// Listens to all that is announced from now on and that the filter lets through.
    pub(crate) fn listen(self: &Arc<Self>, filter: &Arc<ChangeFilter>) -> Listener {
        let mut state = self.state.lock();
        let member = state.number();
        let group = match state.index.of(filter) {
            Some(group) => group,
            None => {
                let group = state.number();
                state.index.add(filter, group);
                state.groups.insert(group, Group::new(Arc::clone(filter)));
                group
            }
        };
        let came = Arc::clone(&state.at);
        if let Some(group) = state.groups.get_mut(&group) {
            let next = group.removed + group.wants.len() as u64;
            group.members.insert(member, Member { next, waker: None });
        }
        Listener { fan_out: Arc::clone(self), group, member, came }
    }

    /// Announces a commit, after which the table is at `checkpoint`. Wakes each listener once who waits for one of the
    /// changes.
    pub(crate) fn announce(&self, changes: Vec<Change>, names: &LogNames, checkpoint: Checkpoint) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            if !state.groups.is_empty() {
                let mut after = state.at.checkpoint.clone();
                for change in changes {
                    let _advanced = after.advance(change.position, names.epoch(change.position));
                    let after = Bookmark { checkpoint: after.clone(), topic: Some(names.topic()) };
                    state.push(Announced::committed(change, names.clone(), after), self.waiting_max);
                }
                state.wake(&mut wakers);
            }
            state.at = Arc::new(Bookmark { checkpoint, topic: Some(names.topic()) });
        }
        self.woken.inc_by(wakers.len() as u64);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes from everybody who has not taken it yet what these users were.
    pub(crate) fn erase(&self, users: &BTreeSet<UserId>) {
        let state = self.state.lock();
        for announced in state.waiting.iter().filter_map(|waiting| waiting.announced.as_ref()) {
            if users.contains(&announced.change.user_id) {
                announced.erase();
            }
        }
        drop(state);
        self.kept.forget();
    }

    /// Ends every listener once it has taken what was announced: another table is in use.
    pub(crate) fn close(&self) {
        let wakers: Vec<Waker> = {
            let mut state = self.state.lock();
            state.is_closed = true;
            let members = state.groups.values_mut().flat_map(|group| group.members.values_mut());
            members.filter_map(|member| member.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns how many changes are kept for those who have not taken them yet.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state.lock().waiting.iter().filter(|waiting| waiting.announced.is_some()).count()
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Adds a change to the queues of the groups that want it.
    fn push(&mut self, announced: Announced, waiting_max: usize) {
        let number = self.first + self.waiting.len() as u64;
        let mut left = 0;
        self.index.each_wanting(&announced, |group| {
            if let Some(group) = self.groups.get_mut(&group).filter(|group| group.filter.lets_through(&announced)) {
                left += group.members.len();
                group.trim(self.first);
                group.wants.push_back(number);
                group.is_to_wake = true;
            }
        });
        if left > 0 {
            self.waiting.push_back(Waiting { announced: Some(Arc::new(announced)), left });
        }
        while self.waiting.len() > waiting_max {
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    /// Takes the wakers of those who wait in the groups to be woken.
    fn wake(&mut self, wakers: &mut Vec<Waker>) {
        for group in self.groups.values_mut().filter(|group| group.is_to_wake) {
            group.is_to_wake = false;
            wakers.extend(group.members.values_mut().filter_map(|member| member.waker.take()));
        }
    }

    /// Notes that one listener less has to take the change with that number. Returns it, if it is still there.
    fn take(&mut self, number: u64) -> Option<Arc<Announced>> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let waiting = self.waiting.get_mut(place)?;
        waiting.left = waiting.left.saturating_sub(1);
        let announced = if waiting.left == 0 { waiting.announced.take() } else { waiting.announced.clone() };
        while self.waiting.front().is_some_and(|waiting| waiting.announced.is_none()) {
            self.waiting.pop_front();
            self.first += 1;
        }
        announced
    }
}

impl Group {
    fn new(filter: Arc<ChangeFilter>) -> Self {
        Self { filter, members: FxHashMap::default(), wants: VecDeque::new(), removed: 0, is_to_wake: false }
    }

    /// Removes the changes that are not there any more: everybody has taken them, or is too slow.
    fn trim(&mut self, first: u64) {
        while self.wants.front().is_some_and(|number| *number < first) {
            self.wants.pop_front();
            self.removed += 1;
        }
    }
}

impl Listener {
    /// Returns the changes of before, of the same table.
    pub(crate) fn kept(&self) -> &KeptChanges {
        &self.fan_out.kept
    }

    /// Returns what covers all that was announced before this one listened.
    pub(crate) fn came(&self) -> &Arc<Bookmark> {
        &self.came
    }

    /// Waits for the next change that the filter lets through.
    ///
    /// Cancel-safe.
    pub(crate) async fn next(&self) -> Result<Arc<Announced>, Ended> {
        std::future::poll_fn(|context| self.poll(Some(context))).await
    }

    /// Returns the next change if one waits.
    pub(crate) fn try_next(&self) -> Option<Arc<Announced>> {
        match self.poll(None) {
            Poll::Ready(Ok(announced)) => Some(announced),
            // The error comes again when it is waited for.
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// Returns what covers all that was announced, if nothing of it waits for this listener.
    pub(crate) fn reached(&self) -> Option<Arc<Bookmark>> {
        let state = self.fan_out.state.lock();
        let group = state.groups.get(&self.group)?;
        let next = group.members.get(&self.member)?.next;
        (next == group.removed + group.wants.len() as u64).then(|| Arc::clone(&state.at))
    }

    fn poll(&self, context: Option<&mut Context<'_>>) -> Poll<Result<Arc<Announced>, Ended>> {
        let mut state = self.fan_out.state.lock();
        let (first, is_closed) = (state.first, state.is_closed);
        let Some(group) = state.groups.get_mut(&self.group) else { return Poll::Ready(Err(Ended::Replaced)) };
        group.trim(first);
        let Some(member) = group.members.get_mut(&self.member) else { return Poll::Ready(Err(Ended::Replaced)) };
        if member.next < group.removed {
            return Poll::Ready(Err(Ended::TooSlow(group.removed - member.next)));
        }
        let place = usize::try_from(member.next - group.removed).unwrap_or(usize::MAX);
        let Some(number) = group.wants.get(place).copied() else {
            if is_closed {
                return Poll::Ready(Err(Ended::Replaced));
            }
            if let Some(context) = context {
                member.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        member.next += 1;
        match state.take(number) {
            Some(announced) => Poll::Ready(Ok(announced)),
            None => Poll::Ready(Err(Ended::TooSlow(1))),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.fan_out.state.lock();
        let Some(group) = state.groups.get_mut(&self.group) else { return };
        let Some(member) = group.members.remove(&self.member) else { return };
        let taken = usize::try_from(member.next.saturating_sub(group.removed)).unwrap_or(usize::MAX);
        let left: Vec<u64> = group.wants.iter().skip(taken).copied().collect();
        if group.members.is_empty() {
            let filter = Arc::clone(&group.filter);
            state.groups.remove(&self.group);
            state.index.remove(&filter, self.group);
        }
        for number in left {
            drop(state.take(number));
        }
    }
}

#[cfg(test)]
mod tests;
