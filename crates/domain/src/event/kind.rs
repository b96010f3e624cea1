//! The type of an event.

use std::fmt;

/// The type of an event: `created` when `old` is null, else `changed`; `imported` when it comes from a list of users.
///
/// ```
/// use domain::EventType;
///
/// assert_eq!(EventType::Created.as_str(), "created");
/// assert_eq!(EventType::named("changed"), Some(EventType::Changed));
/// assert_eq!(EventType::named("CHANGED"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    Created,
    Changed,
    Imported,
}

impl EventType {
    /// Returns the name of the type: the text in the record and in the event's identifier.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Imported => "imported",
        }
    }

    /// Returns the type with this name.
    pub fn named(text: &str) -> Option<Self> {
        [Self::Created, Self::Changed, Self::Imported].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
