//! Who asks, and what of the answers that principal may see.
//!
//! Each route demands a scope, and each field of a user belongs to one. `http` refuses the one and hides the other.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use domain::UnixMillis;

/// A permission to read. As an extension of an answer, the one for lack of which the request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Users, without the fields of the next two.
    UsersRead,
    /// Telephone numbers and e-mail addresses.
    UsersContact,
    /// Wages, and every member outside the vendor's table, which can hold anything.
    UsersPay,
    ChangesRead,
    StatusRead,
}

impl Scope {
    /// Every scope, in the order of [`Scopes::iter`].
    pub const EACH: [Self; 5] =
        [Self::UsersRead, Self::UsersContact, Self::UsersPay, Self::ChangesRead, Self::StatusRead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsersRead => "users:read",
            Self::UsersContact => "users:contact",
            Self::UsersPay => "users:pay",
            Self::ChangesRead => "changes:read",
            Self::StatusRead => "status:read",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::EACH.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// A text that names no [`Scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of users:read, users:contact, users:pay, changes:read, status:read")]
pub struct UnknownScope;

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Scope::EACH.len()) - 1);

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Returns the scopes of the set, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::EACH.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::as_str)).finish()
    }
}

/// Who asks: an extension of the request.
#[derive(Clone, Debug)]
pub struct Principal {
    pub name: Arc<str>,
    pub scopes: Scopes,
    /// When the permission ends, and the principal's streams with it.
    pub until: Option<UnixMillis>,
}

impl Principal {
    /// Returns the principal of a service that lets everybody read everything.
    pub fn anonymous() -> Self {
        static NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("anonymous"));
        Self { name: Arc::clone(&NAME), scopes: Scopes::ALL, until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_its_text() {
        for scope in Scope::EACH {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for text in ["", "users", "users:write", "Users:read", "users:read "] {
            assert_eq!(text.parse::<Scope>(), Err(UnknownScope), "{text:?}");
        }
        let named = UnknownScope.to_string();
        assert!(Scope::EACH.iter().all(|scope| named.contains(scope.as_str())), "{named}");
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        assert!(Scopes::NONE.iter().next().is_none());
        assert_eq!(Scopes::ALL.iter().collect::<Vec<_>>(), Scope::EACH);
        let some: Scopes = [Scope::StatusRead, Scope::UsersPay, Scope::StatusRead].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Scope::UsersPay, Scope::StatusRead]);
        assert_eq!(format!("{some:?}"), r#"{"users:pay", "status:read"}"#);
    }
}
