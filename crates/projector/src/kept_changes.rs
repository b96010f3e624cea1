//! The changes that the table keeps, as those read them who come back: by pieces that all share.
//!
//! A piece begins at a multiple of [`PIECE`] in the order of the commits, or where the one before it ended because its
//! events are large. Marks say for each such place which positions lie before it, so that a reader begins at the first
//! piece that has something for it. Marks and pieces are read from the table when somebody needs them; pieces stay as
//! long as somebody holds them.
//!
//! Invariant: a number of a change is never given to another one (`store::history`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use domain::Checkpoint;
use rustc_hash::FxHashMap;
use tokio::sync::Mutex;

use crate::announced::Announced;
use crate::error::Error;
use crate::shared::Shared;
use crate::store::{KeptPlaces, StoreReaders};

/// How many changes a piece has at most.
const PIECE: i64 = 128;

/// The changes that one table keeps.
#[derive(Debug)]
pub(crate) struct KeptChanges {
    table: Arc<StoreReaders>,
    /// How many commits had forgotten somebody: pieces from before are not given any more.
    forgettings: AtomicU64,
    /// One reads, and the others wait for what it has read.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    marks: Marks,
    pieces: FxHashMap<i64, Weak<Piece>>,
}

/// Some changes in the order of their commits.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) changes: Vec<Arc<Announced>>,
    /// Below it, changes are no longer kept.
    pub(crate) floor: Checkpoint,
    /// The number that the next piece begins with.
    pub(crate) next: i64,
    /// The checkpoint of the table when there is nothing after this piece.
    pub(crate) end: Option<Checkpoint>,
    forgettings: u64,
}

/// Which positions lie before each multiple of [`PIECE`].
#[derive(Debug, Default)]
struct Marks {
    /// The place of the first mark, in pieces.
    first: i64,
    before: Vec<Checkpoint>,
    /// Of all changes that were seen.
    seen: Checkpoint,
    next: i64,
    /// Where the table stood when it was last looked at.
    at: Checkpoint,
}

impl KeptChanges {
    pub(crate) fn new(table: Arc<StoreReaders>) -> Self {
        Self { table, forgettings: AtomicU64::new(0), known: Mutex::default() }
    }

    /// Gives no piece any more that was read before: somebody was forgotten.
    pub(crate) fn forget(&self) {
        self.forgettings.fetch_add(1, Ordering::Release);
    }

    /// Returns the piece that begins with the change of number `begin`, or without one the first that may have a change
    /// which `from` does not cover. It was read when the table covered `came`, or has an end to it in any case.
    ///
    /// Cancel-safe.
    pub(crate) async fn piece(
        &self,
        shared: &Shared,
        from: &Checkpoint,
        begin: Option<i64>,
        came: &Checkpoint,
    ) -> Result<Arc<Piece>, Error> {
        let mut known = self.known.lock().await;
        let begin = match begin {
            Some(begin) => begin,
            None => {
                if !known.marks.at.covers_all(came) {
                    let next = known.marks.next;
                    let places = shared.read_of(&self.table, move |reader| reader.kept_places(next)).await?;
                    known.marks.extend(places);
                }
                known.marks.begin(from)
            }
        };
        let forgettings = self.forgettings.load(Ordering::Acquire);
        let is_good = |piece: &Arc<Piece>| {
            piece.forgettings == forgettings && piece.end.as_ref().is_none_or(|end| end.covers_all(came))
        };
        if let Some(piece) = known.pieces.get(&begin).and_then(Weak::upgrade).filter(is_good) {
            return Ok(piece);
        }
        let end = (begin.div_euclid(PIECE) + 1) * PIECE;
        let read = shared.read_of(&self.table, move |reader| reader.kept(begin, end)).await?;
        let names = self.table.names();
        let announced = |change| Announced::new(change, names.clone());
        let piece = Arc::new(Piece {
            changes: read.changes.into_iter().map(announced).collect(),
            floor: read.floor,
            next: read.next,
            end: read.end,
            forgettings,
        });
        known.pieces.retain(|_, piece| piece.strong_count() > 0);
        known.pieces.insert(begin, Arc::downgrade(&piece));
        Ok(piece)
    }
}

impl Marks {
    fn extend(&mut self, places: KeptPlaces) {
        for (number, position) in places.places {
            if self.before.is_empty() {
                self.first = number.div_euclid(PIECE);
            }
            while (self.first + self.len()) * PIECE <= number {
                self.before.push(self.seen.clone());
            }
            self.seen.reach(position.partition, position.offset + 1);
            self.next = number + 1;
        }
        self.at = places.at;
    }

    /// Returns the number from which on there may be changes that `from` does not cover.
    fn begin(&self, from: &Checkpoint) -> i64 {
        let covered = self.before.partition_point(|before| from.covers_all(before));
        (self.first + i64::try_from(covered).unwrap_or(i64::MAX).saturating_sub(1).max(0)) * PIECE
    }

    fn len(&self) -> i64 {
        i64::try_from(self.before.len()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use domain::Position;

    use super::*;

    #[test]
    fn a_reader_begins_at_the_piece_of_the_first_change_that_it_has_not_seen() {
        // Partitions 0 and 1 take turns, and numbers are missing where somebody was forgotten.
        let numbers: Vec<i64> = (1_000..1_600).filter(|number| !(1_300..1_310).contains(number)).collect();
        let position = |number: i64| Position { partition: i32::from(number % 2 == 1), offset: number / 2 };
        let mut marks = Marks::default();
        for some in numbers.chunks(77) {
            let places = some.iter().map(|number| (*number, position(*number))).collect();
            marks.extend(KeptPlaces { places, at: Checkpoint::default() });
        }
        for seen in 0..numbers.len() {
            let mut from = Checkpoint::default();
            for number in &numbers[..seen] {
                from.reach(position(*number).partition, position(*number).offset + 1);
            }
            assert_eq!(marks.begin(&from), numbers[seen] / PIECE * PIECE, "after {seen}");
        }
        assert_eq!(marks.begin(&"0:9000,1:9000".parse().unwrap()), 1_599 / PIECE * PIECE);
        assert_eq!(Marks::default().begin(&Checkpoint::default()), 0);
    }
}
