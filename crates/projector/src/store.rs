//! The store: a folder with an SQLite database of every user's current state, and the position in the log it stands
//! for.
//!
//! One process writes ([`Writer`]); readers take snapshots ([`StoreReaders`]), in this process or with `sqlite3` while
//! it runs. The folder holds `users.db`, a link to the generation in use; a rebuild makes the next generation beside it
//! and moves the link, so that nobody ever opens a half-made table.
//!
//! Invariant: state and checkpoint change in one transaction; at every instant, state = fold(log up to the checkpoint).

mod schema;

mod folder;

mod meta;

mod rows;

mod key_row;

mod unreadable;

mod batch;

mod connection;

mod writer;

mod work;

mod reader;

mod readers;

mod query;

mod history;

mod seen;

mod late;

mod error;

pub use batch::{Commit, LogBatch};
pub use error::Error;
pub(crate) use folder::StoreFolder;
pub use history::{Change, Since};
pub(crate) use key_row::{KeyPlace, PutUser, facets_of, put_forgotten};
pub(crate) use late::write_late;
pub use meta::StoreMeta;
pub use query::{Lookup, UserFilter, UserRows};
pub use reader::{Counts, StoreReader};
pub use readers::StoreReaders;
pub(crate) use rows::write_gaps;
pub use rows::{GapRow, UserRow};
pub(crate) use schema::{FOLD_VERSION, SCHEMA_VERSION, create_indexes, create_tables};
pub use seen::{Seen, Traits};
pub use unreadable::Unread;
pub(crate) use unreadable::note_unreadable;
pub(crate) use work::apply_at;
pub use writer::Writer;
