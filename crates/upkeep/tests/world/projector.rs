//! A projector: the fold of the log, with its position in one commit. One lives, another rebuilds.

use std::collections::BTreeMap;

use domain::gap::{Difference, Lineage};
use domain::roll::{Applied, Effect, Reading, Roll};
use domain::{EventType, UserId};

use crate::fault::Fault;
use crate::log::{Compares, Cursor, Entry, Log};
use crate::world::Late;

/// A table with the position that it is of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projection {
    users: BTreeMap<UserId, Row>,
    pub(crate) cursor: Cursor,
}

/// A user in the table.
#[derive(Clone, Debug)]
struct Row {
    state: Roll,
    lineage: Lineage,
}

/// A projector: what it has read, and what it has committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projector {
    pub(crate) table: Projection,
    committed: Projection,
}

impl Projector {
    pub(crate) fn read(&mut self, log: &Log, records: usize, fault: Option<Fault>) {
        self.table.read(log, records, fault);
    }

    pub(crate) fn commit(&mut self) {
        self.committed = self.table.clone();
    }

    /// Starts again from the last commit.
    pub(crate) fn crash(&mut self, fault: Option<Fault>) {
        let read = std::mem::replace(&mut self.table, self.committed.clone());
        if fault == Some(Fault::PositionFirst) {
            self.table.cursor = read.cursor;
        }
        self.table.cursor.disconnect();
    }

    pub(crate) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

impl Projection {
    /// Returns the table of a projector that begins now.
    pub(crate) fn of(log: &Log, fault: Option<Fault>) -> Self {
        let mut table = Self::default();
        table.read(log, usize::MAX / 2, fault);
        table
    }

    /// Reads at most so many records of each partition.
    pub(crate) fn read(&mut self, log: &Log, records: usize, fault: Option<Fault>) {
        if self.cursor.connect(log, Compares::with(fault)).is_err() {
            *self = Self::default();
            self.cursor.connect(log, Compares::with(fault)).expect("it has read nothing");
        }
        for partition in 0..log.count() {
            for entry in self.cursor.read(log, partition, records) {
                self.take(entry, fault);
            }
        }
    }

    fn take(&mut self, entry: &Entry, fault: Option<Fault>) {
        let record = entry.seen(fault);
        let Ok(reading) = record.read() else { return };
        match self.users.get_mut(&reading.user_id) {
            Some(Row { state, lineage }) => {
                let applied = apply(state, &reading, fault);
                let differing = || match applied.effect {
                    Effect::Newer { gap: Some(gap) } if fault != Some(Fault::GapsForgiven) => {
                        Some(Difference { held: gap.held, fields: vec!["name".to_owned()] })
                    }
                    _ => None,
                };
                lineage.follow(state, &applied, &reading, differing);
            }
            None => {
                let (state, applied) = Roll::begin(&reading);
                let mut lineage = Lineage::default();
                lineage.follow(&state, &applied, &reading, || None);
                self.users.insert(reading.user_id, Row { state, lineage });
            }
        }
    }

    /// Returns the state of a user.
    pub(crate) fn state(&self, user: UserId) -> Option<&Roll> {
        self.users.get(&user).map(|row| &row.state)
    }

    /// Returns the number of missing deliveries of a user.
    pub(crate) fn gaps(&self, user: UserId) -> usize {
        self.users.get(&user).map_or(0, |row| row.lineage.gaps.len())
    }

    /// Reads the topic of late deliveries, which fill gaps.
    pub(crate) fn read_late(&mut self, late: &[Late]) {
        for Late { head, has_value, .. } in late {
            if let (true, Some(parent), Some(row)) = (has_value, head.parent, self.users.get_mut(&head.user_id)) {
                row.lineage.note((parent, head.version));
            }
        }
    }
}

impl Compares {
    pub(crate) fn with(fault: Option<Fault>) -> Self {
        Self { topic_id: fault != Some(Fault::TopicByName), epochs: fault != Some(Fault::OffsetsAlone) }
    }
}

impl Entry {
    /// Returns the record as a reader sees it, once translated.
    pub(crate) fn seen(&self, fault: Option<Fault>) -> &kafka::Record {
        self.intact.as_ref().filter(|_| fault == Some(Fault::HeadAlone)).unwrap_or(&self.read)
    }
}

fn apply(state: &mut Roll, reading: &Reading<'_>, fault: Option<Fault>) -> Applied {
    let says = reading.says();
    let is_newer = match fault {
        Some(Fault::Pairwise) => is_newer_pairwise(says, state),
        Some(Fault::CreationByTime) if is_marker_and_creation(says, state) => says.rank().time() > state.rank().time(),
        _ => return state.apply(reading),
    };
    if is_newer {
        *state = says.clone();
    }
    Applied { effect: Effect::Duplicate, changed: is_newer, stored: is_newer, dropped: 0 }
}

/// The rule of before: the later rank, in a tie what builds on the other, else the later offset.
fn is_newer_pairwise(incoming: &Roll, current: &Roll) -> bool {
    match incoming.rank().cmp(&current.rank()) {
        std::cmp::Ordering::Equal => match (incoming.winner(), current.winner()) {
            (Some(incoming), Some(current)) => {
                incoming.parent == Some(current.version) || current.parent != Some(incoming.version)
            }
            _ => true,
        },
        order => order.is_gt(),
    }
}

fn is_marker_and_creation(one: &Roll, other: &Roll) -> bool {
    let is_creation = |roll: &Roll| roll.winner().is_some_and(|winner| winner.kind == EventType::Created);
    (one.rank().is_forgotten() && is_creation(other)) || (is_creation(one) && other.rank().is_forgotten())
}
