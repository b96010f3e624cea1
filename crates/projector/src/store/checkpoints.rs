//! Moves the write-ahead log into the file, beside the commits.
//!
//! A page that many commits have written is moved once, so the log is let grow. To move it takes as long as a hundred
//! commits, and the disk must confirm it: a thread with a connection of its own does that while the writer goes on, and
//! then moves what was committed meanwhile, as long as that becomes less. The little that is left at last the writer
//! moves itself, so that the log has nothing left and begins anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::connection;

/// How many times as large as it should be the log may become while it is moved: then the writer waits.
const MOVING_MAX: u32 = 4;
/// Which part of the size that the log should have the writer moves itself: some milliseconds.
const OWN_PART: u32 = 128;

/// Sees how large the log is, and moves it.
#[derive(Debug)]
pub(super) struct LogMover {
    /// The pages in the log.
    pages: Arc<AtomicU32>,
    page_bytes: u32,
    pages_max: u32,
    /// How many pages there were when it was last moved: they stay while somebody reads as of a moment before.
    moved: u32,
    moving: Option<Moving>,
}

/// A thread that moves the log, and returns how many of its pages are moved.
#[derive(Debug)]
struct Moving {
    thread: JoinHandle<rusqlite::Result<u32>>,
    /// How many pages there were to be moved.
    pages: u32,
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
        let is_too_large = pages >= self.moved + MOVING_MAX * self.pages_max;
        match &self.moving {
            Some(moving) if !moving.thread.is_finished() && !is_too_large => {}
            Some(Moving { pages: before, .. }) => {
                let before = *before;
                let left = pages.saturating_sub(self.end()?);
                if left <= self.pages_max / OWN_PART || left > before / 2 || is_too_large {
                    self.moved = pages;
                    move_log(connection)?;
                } else {
                    self.begin(connection, path, left)?;
                }
            }
            None if pages >= self.moved + self.pages_max => self.begin(connection, path, pages)?,
            None => {}
        }
        Ok(())
    }

    /// Begins to move so many pages beside the writer.
    fn begin(&mut self, connection: &Connection, path: &Path, pages: u32) -> rusqlite::Result<()> {
        let path = path.to_owned();
        match thread::Builder::new().spawn(move || move_log(&connection::to_write(&path)?)) {
            Ok(thread) => self.moving = Some(Moving { thread, pages }),
            Err(_) => drop(move_log(connection)?),
        }
        Ok(())
    }

    /// Waits for what moves the log, and returns how many of its pages are moved.
    fn end(&mut self) -> rusqlite::Result<u32> {
        self.moving.take().map_or(Ok(0), |moving| moving.thread.join().unwrap_or(Ok(0)))
    }

    /// Waits until nothing is moved beside the writer.
    pub(super) fn wait(&mut self) -> rusqlite::Result<()> {
        self.end().map(drop)
    }
}

/// Moves as much of the log as nobody reads, and returns how many of its pages are moved.
fn move_log(connection: &Connection) -> rusqlite::Result<u32> {
    let moved: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?;
    // -1 where there is no log.
    Ok(u32::try_from(moved).unwrap_or_default())
}
