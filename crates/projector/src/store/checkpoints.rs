//! Moves the write-ahead log into the file, beside the commits.
//!
//! A page that many commits have written is moved once, so the log is let grow. To move it takes as long as a hundred
//! commits, and the disk must confirm it: a thread with a connection of its own does that while the writer goes on.
//! What was committed meanwhile the writer then moves itself, so that the log has nothing left and begins anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::connection;

/// How many times as large as it should be the log may become while it is moved: then the writer waits.
const MOVING_MAX: u32 = 4;

/// Sees how large the log is, and moves it.
#[derive(Debug)]
pub(super) struct LogMover {
    /// The pages in the log.
    pages: Arc<AtomicU32>,
    page_bytes: u32,
    pages_max: u32,
    /// How many pages there were when it was last moved: they stay while somebody reads as of a moment before.
    moved: u32,
    moving: Option<JoinHandle<rusqlite::Result<()>>>,
}

impl LogMover {
    /// Watches the log of the writer's connection, which is to have so many bytes at most.
    pub(super) fn new(connection: &mut Connection, bytes_max: u32) -> rusqlite::Result<Self> {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // In place of SQLite's own checkpoint within a commit.
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        let mut mover = Self { pages, page_bytes, pages_max: 0, moved: 0, moving: None };
        mover.limit(bytes_max);
        Ok(mover)
    }

    pub(super) fn limit(&mut self, bytes_max: u32) {
        self.pages_max = bytes_max / self.page_bytes.max(1);
    }

    /// Begins to move the log if it is large, and ends what was begun: after each commit.
    pub(super) fn see(&mut self, connection: &Connection, path: &Path) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.moved {
            // It has begun anew.
            self.moved = 0;
        }
        match &self.moving {
            Some(moving) if !moving.is_finished() && pages < self.moved + MOVING_MAX * self.pages_max => {}
            Some(_) => {
                self.moved = pages;
                self.wait()?;
                move_log(connection)?;
            }
            None if pages >= self.moved + self.pages_max => {
                let path = path.to_owned();
                let work = move || move_log(&connection::to_write(&path)?);
                match thread::Builder::new().spawn(work) {
                    Ok(moving) => self.moving = Some(moving),
                    Err(_) => move_log(connection)?,
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Waits until nothing is moved beside the writer.
    pub(super) fn wait(&mut self) -> rusqlite::Result<()> {
        self.moving.take().map_or(Ok(()), |moving| moving.join().unwrap_or(Ok(())))
    }
}

/// Moves as much of the log as nobody reads.
fn move_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
