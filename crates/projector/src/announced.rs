//! A change as all subscribers share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::scopes::Scopes;
use crate::store::{Change, LogNames, Seen};

/// A change as all subscribers share it.
#[derive(Debug)]
pub struct Announced {
    pub change: Change,
    /// Of the log that the change is in.
    pub(crate) names: LogNames,
    /// The traits that subscribers choose by, read by the first one that needs them.
    now: OnceLock<Seen>,
    /// Its form as text for each set of scopes, written by the first one that needs it.
    json: [OnceLock<Box<str>>; Scopes::OF_FIELDS],
    is_erased: AtomicBool,
}

impl Announced {
    pub(crate) fn new(change: Change, names: LogNames) -> Arc<Self> {
        let is_erased = AtomicBool::new(false);
        Arc::new(Self { change, names, now: OnceLock::new(), json: Default::default(), is_erased })
    }

    /// Marks it as not to be given to anybody any more: the user was forgotten since.
    pub(crate) fn erase(&self) {
        self.is_erased.store(true, Ordering::Release);
    }

    pub(crate) fn is_erased(&self) -> bool {
        self.is_erased.load(Ordering::Acquire)
    }

    /// Returns its form as text for readers with these scopes, which `write` makes once.
    pub(crate) fn json(&self, scopes: Scopes, write: impl FnOnce() -> String) -> &str {
        self.json[scopes.of_fields()].get_or_init(|| write().into_boxed_str())
    }

    /// Returns the traits of the user with this change.
    pub(crate) fn now(&self) -> &Seen {
        self.now.get_or_init(|| Seen::of(self.change.event.as_deref()))
    }
}
