//! The store: a folder with an SQLite database of every user's current state, and the position in the log it stands for.
//!
//! One process writes ([`Writer`]); readers take snapshots ([`Readers`]), in this process or with `sqlite3` while it runs.
//! The folder holds `users.db`, a link to the generation in use; a rebuild makes the next generation beside it and moves
//! the link, so that nobody ever opens a half-made table.
//!
//! Invariant: state and checkpoint change in one transaction; at every instant, state = fold(log up to the checkpoint).

mod schema;

mod folder;

mod meta;

mod rows;

mod writer;

mod work;

mod reader;

mod readers;

mod query;

mod history;

mod seen;

mod late;

mod error;

pub use error::Error;
pub use folder::Folder;
pub use history::{Change, Since};
pub(crate) use late::write_late;
pub use meta::Meta;
pub use query::{Filter, Lookup, Page};
pub use reader::{Counts, Reader};
pub use readers::Readers;
pub use rows::{GapRow, UserRow};
pub(crate) use rows::{facets_of, signed, write_gaps};
pub use schema::{FOLD_VERSION, SCHEMA_VERSION};
pub(crate) use schema::{create_indexes, create_tables};
pub use seen::{Seen, Traits};
pub(crate) use work::apply_at;
pub(crate) use writer::note_unreadable;
pub use writer::{Batch, Commit, UNREADABLE_KEPT_MAX, Unread, Writer};
