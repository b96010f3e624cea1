//! The faults of a configuration, reported together, each with its key and the place where it was set.

use std::fmt;
use std::path::PathBuf;

/// Every fault of a configuration.
#[derive(Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

/// One fault: the key, where it was set, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the key, such as `http.listen`. Empty for a fault of the whole source.
    pub key: String,
    pub origin: Option<Origin>,
    pub reason: String,
}

/// The place where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Variable(String),
    Flag,
}

impl Faults {
    /// Adds a fault that validation found.
    pub fn push(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault { key: key.into(), origin: None, reason: reason.into() });
    }

    /// Adds a fault with its origin.
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `value` if there is no fault.
    ///
    /// # Errors
    /// All faults.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.is_empty()) {
            (Some(origin), true) => write!(f, "{origin}: {}", self.reason),
            (Some(origin), false) => write!(f, "{} ({origin}): {}", self.key, self.reason),
            (None, true) => f.write_str(&self.reason),
            (None, false) => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}
