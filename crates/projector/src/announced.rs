//! A change as all subscribers share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::bookmark::Bookmark;
use crate::store::{Change, LogNames, Seen};

/// How many forms of a change are kept: more than that are asked for by nobody but one who means to fill the memory.
const FORMS_MAX: usize = 16;

/// A change as all subscribers share it.
#[derive(Debug)]
pub struct Announced {
    pub change: Change,
    /// Of the log that the change is in.
    pub(crate) names: LogNames,
    /// What covers it and all that was announced before it; `None` of a change that was read from the table.
    after: Option<Bookmark>,
    /// The text of `after`, written by the first one that needs it.
    id: OnceLock<Box<str>>,
    /// The traits that subscribers choose by, read by the first one that needs them.
    now: OnceLock<Seen>,
    /// The forms as text, each with the number of what it shows, written by the first one that needs it.
    forms: Mutex<Vec<(u64, Bytes)>>,
    /// The names of the fields that have changed, found by the first one that needs them.
    changed: OnceLock<Vec<String>>,
    is_erased: AtomicBool,
}

impl Announced {
    /// Returns a change that was read from the table.
    pub(crate) fn new(change: Change, names: LogNames) -> Arc<Self> {
        Arc::new(Self::of(change, names, None))
    }

    /// Returns a change that was just committed; `after` covers it and all that was announced before it.
    pub(crate) fn committed(change: Change, names: LogNames, after: Bookmark) -> Self {
        Self::of(change, names, Some(after))
    }

    fn of(change: Change, names: LogNames, after: Option<Bookmark>) -> Self {
        let (id, now, forms, changed, is_erased) = Default::default();
        Self { change, names, after, id, now, forms, changed, is_erased }
    }

    /// Marks it as not to be given to anybody any more: the user was forgotten since.
    pub(crate) fn erase(&self) {
        self.is_erased.store(true, Ordering::Release);
    }

    pub(crate) fn is_erased(&self) -> bool {
        self.is_erased.load(Ordering::Acquire)
    }

    /// Returns what covers it and all that was announced before it.
    pub(crate) fn after(&self) -> Option<&Bookmark> {
        self.after.as_ref()
    }

    /// Returns the text of [`Self::after`].
    pub(crate) fn id(&self) -> Option<&str> {
        let after = self.after.as_ref()?;
        Some(self.id.get_or_init(|| after.to_string().into_boxed_str()))
    }

    /// Returns the form with that number, which `write` makes once for all who want it.
    pub(crate) fn form(&self, number: u64, write: impl FnOnce() -> Bytes) -> Bytes {
        let mut forms = self.forms.lock();
        if let Some((_, form)) = forms.iter().find(|(of, _)| *of == number) {
            return form.clone();
        }
        let form = write();
        if forms.len() < FORMS_MAX {
            forms.push((number, form.clone()));
        }
        form
    }

    /// Returns the names of the fields that have changed, in alphabetical order.
    pub(crate) fn changed(&self) -> &[String] {
        self.changed.get_or_init(|| self.change.changed_fields())
    }

    /// Returns the traits of the user with this change.
    pub(crate) fn now(&self) -> &Seen {
        self.now.get_or_init(|| Seen::of(self.change.event.as_deref()))
    }
}
