//! Announces commits to those who wait, subscribe, or look at the metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{Checkpoint, UserId};

use crate::facts::Answer;
use crate::phase::Phase;
use crate::shared::{Committed, Shared};
use crate::start::Topic;
use crate::store::{Change, Commit, StoreReaders, Writer};

/// The one that writes [`Shared`] while a table is followed.
pub(super) struct Announcer<'s> {
    shared: &'s Shared,
    /// Where the log ended at start: the table is ready when it has been read so far.
    goal: Checkpoint,
    /// Where the log ended at start.
    answer: Answer,
    readers: Arc<StoreReaders>,
    is_begun: bool,
    /// Whether a reader follows the log from where the table stands: the table is not up to date before.
    is_followed: bool,
}

impl<'s> Announcer<'s> {
    /// Prepares to announce a table.
    pub(super) fn new(shared: &'s Shared, writer: &Writer, topic: &Topic) -> Self {
        let goal = Checkpoint::from_next_offsets(
            topic.log.iter().filter(|log| log.high > log.low).map(|log| (log.partition, log.high)),
        );
        let readers = Arc::clone(writer.readers());
        Self { shared, goal, answer: topic.answer(), readers, is_begun: false, is_followed: false }
    }

    /// Returns whether the table was put into use.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Puts the table into use, at the first call.
    pub(super) fn begin(&mut self, writer: &Writer) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let shared = self.shared;
        shared.put_into_use(writer);
        shared.ends_answered(&self.answer);
        shared.phase.send_replace(Phase::CatchingUp);
    }

    /// Notes that a reader follows the log from where the table stands, at the first call.
    pub(super) fn followed(&mut self) {
        if !std::mem::replace(&mut self.is_followed, true) {
            self.progress();
        }
    }

    /// Takes what forgotten users were before from subscribers who have not taken it yet.
    fn erase(&self, changes: &[Change]) {
        let forgotten = changes.iter().filter(|change| change.forgotten_at.is_some()).map(|change| change.user_id);
        let forgotten: BTreeSet<UserId> = forgotten.collect();
        if forgotten.is_empty() {
            return;
        }
        if let Some(subscribers) = &*self.shared.changes.read() {
            subscribers.erase(&forgotten);
        }
        self.shared.forgettings.fetch_add(1, Ordering::Release);
    }

    /// Announces a commit: first the position, so that whoever waits for it can read, then the changes, then the
    /// metrics.
    pub(super) fn commit(&mut self, commit: Commit) {
        let Commit { checkpoint, changes, effects, lateness_ms, gaps_found, gaps_closed, unreadable, .. } = commit;
        self.erase(&changes);
        self.shared.committed.send_replace(Committed::new(self.readers.topic(), checkpoint.clone()));
        if let Some(subscribers) = &*self.shared.changes.read() {
            subscribers.announce(changes, &self.readers.names(), checkpoint);
        }
        let metrics = &self.shared.metrics;
        metrics.count(effects);
        metrics.observe_lateness(&lateness_ms);
        self.shared.hour.lock().read(self.shared.now(), &lateness_ms);
        metrics.gaps_found.inc_by(gaps_found);
        metrics.gaps_closed_late.inc_by(gaps_closed);
        for unread in &unreadable {
            tracing::warn!(
                kafka.partition = unread.position.partition,
                kafka.offset = unread.position.offset,
                reason = %unread.reason,
                "a record cannot be read: it is counted and passed over"
            );
        }
        self.progress();
    }

    /// Notes how far the table has been read.
    pub(super) fn progress(&self) {
        let committed = Arc::clone(&self.shared.committed.borrow());
        let committed = &committed.checkpoint;
        self.shared.learn(|facts| facts.read(committed));
        let reached = self.is_followed && committed.covers_all(&self.goal);
        let phase = self.shared.phase.borrow().clone();
        if !reached || !matches!(phase, Phase::CatchingUp | Phase::Indexing { .. }) {
            return;
        }
        if phase == Phase::CatchingUp {
            tracing::info!(checkpoint = %committed, "the table is up to date");
        }
        let next = match self.readers.indexes().missing() {
            0 => Phase::Following,
            missing => Phase::Indexing { missing },
        };
        if next != phase {
            self.shared.phase.send_replace(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::UnixMillis;
    use testkit::event::log_id;

    use super::*;
    use crate::Options;
    use crate::store::StoreMeta;

    #[tokio::test]
    async fn a_table_is_up_to_date_once_its_log_is_followed() {
        let (dir, now) = (tempfile::tempdir().unwrap(), UnixMillis::from_millis(0));
        let shared = Shared::new(Options::new("", "t", dir.path()));
        let writer = Writer::create(&dir.path().join("users.1.db"), &StoreMeta::new("t", &log_id(), now)).unwrap();
        let topic = Topic {
            name: "t".to_owned(),
            id: log_id(),
            log: Vec::new(),
            holds: Vec::new(),
            asked_at: now,
            delete_retention_ms: None,
        };
        let mut announcer = Announcer::new(&shared, &writer, &topic);
        announcer.begin(&writer);
        announcer.progress();
        assert_eq!(*shared.phase.borrow(), Phase::CatchingUp);
        assert!(shared.readers().is_ok(), "it is answered from");
        announcer.followed();
        assert_eq!(*shared.phase.borrow(), Phase::Following);
    }
}
