//! The faults of a configuration, reported together, each with its key and the place where it was set.

use std::fmt;
use std::path::PathBuf;

/// Every fault of a configuration, and its cautions.
#[derive(Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    faults: Vec<Fault>,
    cautions: Vec<Fault>,
}

/// Logs the cautions of a configuration.
pub fn log_cautions(cautions: &[Fault]) {
    for caution in cautions {
        tracing::warn!("{caution}");
    }
}

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
        self.faults.push(Fault { key: key.into(), origin: None, reason: reason.into() });
    }

    /// Adds a caution: the value is used, and the operator is warned of it.
    pub fn caution(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.cautions.push(Fault { key: key.into(), origin: None, reason: reason.into() });
    }

    /// Takes the cautions, which a valid configuration has too.
    pub fn take_cautions(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.cautions)
    }

    /// Adds a fault with its origin.
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Adds the faults of `others` that are not of a key with a fault: such a value was replaced by its default.
    pub fn extend_with(&mut self, others: Self) {
        let has_fault: Vec<String> = self.faults.iter().map(|fault| fault.key.clone()).collect();
        self.faults.extend(others.faults.into_iter().filter(|fault| !has_fault.contains(&fault.key)));
        self.cautions.extend(others.cautions);
    }

    /// Adds where the value was set to each fault that validation found.
    pub(super) fn locate<'o>(&mut self, origin: impl Fn(&str) -> Option<&'o Origin>) {
        for fault in self.faults.iter_mut().chain(&mut self.cautions) {
            if fault.origin.is_none() {
                fault.origin = origin(&fault.key).cloned();
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns `value` if there is no fault.
    ///
    /// # Errors
    /// All faults.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.faults.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
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
