//! The store: a folder with an SQLite database of every user's current state, and the position in the log it stands
//! for.
//!
//! One process writes ([`Writer`]); readers take snapshots ([`StoreReaders`]), in this process or with `sqlite3` while
//! it runs. The folder holds `users.db`, a link to the generation in use; a rebuild makes the next generation beside it
//! and moves the link, so that nobody ever opens a half-made table.
//!
//! Invariant: state and checkpoint change in one transaction; at every instant, the state of every user is what the
//! records below the checkpoint join to (`domain::roll`).
//!
//! The transaction that forgets a user removes every row about it, its changes included; [`Writer::erase`] then removes
//! what is left in free space of the file and in its write-ahead log. The folder holds nothing else: no table is kept
//! aside, and temporary files are in memory, or in the folder without a name.

mod schema;

mod indexes;

mod sealed;

mod folder;

pub(crate) mod kept;

mod probe;

mod meta;

mod temp;

mod private;

mod erasure;

mod rows;

mod key_row;

mod seconds;

mod unreadable;

mod unknown;

mod batch;

mod connection;

mod damage;

mod writer;

mod work;

mod key;

mod reader;

mod readers;

mod log_names;

mod query;

mod matches;

mod names;

mod search;

mod history;

mod seen;

mod late;

mod positions;

mod counts;

mod checkpoints;

mod tally;

mod error;

pub use batch::{Commit, Effects, LogBatch};
pub(crate) use connection::to_make;
pub use counts::Counts;
pub(crate) use counts::write_counts;
pub use erasure::{Erased, Erasures, HeldBy, PendingErasure};
pub use error::{Error, Resource};
pub(crate) use folder::StoreFolder;
pub use history::{Change, HISTORY_MAX, HistoryRow, Kept, KeptPlaces, PassedKind, UserHistory};
pub use indexes::{IndexState, Unindexed};
pub(crate) use indexes::{Indexes, create_secondary};
pub(crate) use key_row::{PutUser, facets_of, put_forgotten};
pub(crate) use late::write_late;
pub use log_names::LogNames;
pub use meta::StoreMeta;
pub(crate) use meta::write_epochs;
pub(crate) use positions::write_positions;
pub use query::{Lookup, Order, Place, UserFilter, UserRows};
pub(crate) use reader::Contents;
pub use reader::StoreReader;
pub use readers::StoreReaders;
pub use rows::UserRow;
pub(crate) use rows::{differing, write_gaps};
pub(crate) use schema::{SCHEMA_VERSION, create_indexes, create_tables};
pub(crate) use sealed::seal;
pub(crate) use search::{GatherSearch, SearchRow, Texts, append as append_search};
pub(crate) use seconds::write_seconds;
pub use seen::{Seen, Traits};
pub use tally::Tally;
use temp::TempFolder;
pub(crate) use unknown::{UNKNOWN_BYTES_PER_KEY, UnknownTail, write_unknown};
pub use unreadable::Unread;
pub(crate) use unreadable::note_unreadable;
pub use writer::Writer;

/// How many bytes of events one read of several users or changes returns, and one event more: what a page, or a step of
/// a stream, has in memory. The JSON of an event is up to twice as large.
const STEP_BYTES_MAX: usize = 1 << 20;
