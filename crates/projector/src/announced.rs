//! A change as all subscribers share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::store::{Change, LogNames, Seen};

/// A change as all subscribers share it.
#[derive(Debug)]
pub struct Announced {
    pub change: Change,
    /// Of the log that the change is in.
    pub(crate) names: LogNames,
    /// The traits that subscribers choose by, read by the first one that needs them.
    now: OnceLock<Seen>,
    /// Its form as text, written by the first one that needs it.
    pub(crate) json: OnceLock<String>,
    is_erased: AtomicBool,
}

impl Announced {
    pub(crate) fn new(change: Change, names: LogNames) -> Arc<Self> {
        Arc::new(Self { change, names, now: OnceLock::new(), json: OnceLock::new(), is_erased: AtomicBool::new(false) })
    }

    /// Marks it as not to be given to anybody any more: the user was forgotten since.
    pub(crate) fn erase(&self) {
        self.is_erased.store(true, Ordering::Release);
    }

    pub(crate) fn is_erased(&self) -> bool {
        self.is_erased.load(Ordering::Acquire)
    }

    /// Returns the traits of the user with this change.
    pub(crate) fn now(&self) -> &Seen {
        self.now.get_or_init(|| Seen::of(self.change.event.as_deref()))
    }
}
