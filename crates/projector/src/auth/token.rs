//! A bearer token, and its line in the file of tokens.

use std::fmt;
use std::str::FromStr;

use openssl::sha::Sha256;
use service::Secret;

use crate::scopes::Scopes;

/// The random bytes of a token: too many to be guessed, whoever tries.
const TOKEN_BYTES: usize = 32;
/// What tokens begin with, so that people and scanners of secrets know one when they see it.
const PREFIX: &str = "rollcall_";
const NAME_BYTES_MAX: usize = 64;

/// The SHA-256 of a token, which stands in the file for it.
pub(super) type TokenDigest = [u8; 32];

pub(super) fn digest(token: &[u8]) -> TokenDigest {
    // The function for a whole text looks the algorithm up each time, under a lock of the process.
    let mut hash = Sha256::new();
    hash.update(token);
    hash.finish()
}

/// The name of a principal in the file of tokens: letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalName(String);

/// A text that is no [`PrincipalName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a name of 1 to {NAME_BYTES_MAX} letters, digits, dots, underscores or hyphens")]
pub struct NotAName;

impl PrincipalName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_it);
        if is_name { Ok(Self(text.to_owned())) } else { Err(NotAName) }
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token that was just made: it is shown once, and kept nowhere.
#[derive(Clone, Debug)]
pub struct NewToken(Secret);

impl NewToken {
    /// Returns the token of these random bytes.
    pub fn from_random(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(Secret::new(format!("{PREFIX}{}", hex::encode(bytes))))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns the line of the file of tokens that admits its bearer.
    pub fn line(&self, name: &PrincipalName, scopes: Scopes) -> String {
        let scopes: Vec<&str> = scopes.iter().map(crate::Scope::as_str).collect();
        format!("{name} {} {}", hex::encode(digest(self.0.expose().as_bytes())), scopes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scopes::Scope;

    #[test]
    fn a_name_is_one_word() {
        for (text, taken) in [("desk", true), ("Desk_2.eu-west", true), ("", false), ("a b", false), ("a:b", false)] {
            assert_eq!(text.parse::<PrincipalName>().is_ok(), taken, "{text:?}");
        }
        assert!("x".repeat(65).parse::<PrincipalName>().is_err());
    }

    #[test]
    fn a_token_prints_where_it_is_exposed_alone() {
        let token = NewToken::from_random([0xab; 32]);
        let line = token.line(&"desk".parse().unwrap(), [Scope::UsersRead, Scope::StatusRead].into_iter().collect());
        assert!(token.expose().starts_with("rollcall_abab") && token.expose().len() == 73);
        assert!(!format!("{token:?} {line}").contains("abab"));
        assert!(line.starts_with("desk ") && line.ends_with(" users:read,status:read"), "{line}");
    }
}
