//! The vendor's identifier of a user.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::SAFE_INTEGER_MAX;

/// The vendor's unique identifier of a user, `userId`: an integer from 0 to 2^53 - 1.
///
/// Its text form, the key of a Kafka record, is canonical decimal: `180`, never `+180` or `0180`.
///
/// ```
/// let id: domain::UserId = "180".parse()?;
/// assert_eq!(id.get(), 180);
/// assert_eq!(id.to_string(), "180");
/// # Ok::<(), domain::UserIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct UserId(i64);

/// The reason why a number or text is not a [`UserId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    #[error("user id is outside 0..={SAFE_INTEGER_MAX}")]
    OutOfRange,
    #[error("user id is not canonical decimal text")]
    NotDecimal,
}

impl UserId {
    /// The least identifier.
    pub const MIN: Self = Self(0);

    /// Returns the identifier for `id`.
    ///
    /// # Errors
    /// [`UserIdError::OutOfRange`] when `id` is negative or above 2^53 - 1.
    pub fn new(id: i64) -> Result<Self, UserIdError> {
        if (0..=SAFE_INTEGER_MAX).contains(&id) { Ok(Self(id)) } else { Err(UserIdError::OutOfRange) }
    }

    pub fn get(self) -> i64 {
        self.0
    }

    /// Parses the key of a record.
    ///
    /// # Errors
    /// As [`UserId::from_str`]. Bytes that are not UTF-8 are not decimal text.
    pub fn from_key(key: &[u8]) -> Result<Self, UserIdError> {
        std::str::from_utf8(key).map_err(|_| UserIdError::NotDecimal)?.parse()
    }
}

impl TryFrom<i64> for UserId {
    type Error = UserIdError;

    fn try_from(id: i64) -> Result<Self, Self::Error> {
        Self::new(id)
    }
}

impl From<UserId> for i64 {
    fn from(id: UserId) -> Self {
        id.0
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(UserIdError::NotDecimal);
        }
        Self::new(text.parse().map_err(|_| UserIdError::OutOfRange)?)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical_decimal_or_refused() {
        let yes = ["0", "7", "180", "9007199254740991"];
        for text in yes {
            assert_eq!(text.parse::<UserId>().unwrap().to_string(), text);
        }
        let no = [
            ("", UserIdError::NotDecimal),
            ("0180", UserIdError::NotDecimal),
            ("+1", UserIdError::NotDecimal),
            ("-1", UserIdError::NotDecimal),
            ("1.0", UserIdError::NotDecimal),
            (" 1", UserIdError::NotDecimal),
            ("١", UserIdError::NotDecimal),
            ("9007199254740992", UserIdError::OutOfRange),
            ("99999999999999999999", UserIdError::OutOfRange),
        ];
        for (text, why) in no {
            assert_eq!(text.parse::<UserId>(), Err(why), "{text:?}");
        }
        assert_eq!(UserId::from_key(&[0xff]), Err(UserIdError::NotDecimal));
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(UserId::new(-1), Err(UserIdError::OutOfRange));
        assert!(UserId::new(SAFE_INTEGER_MAX).is_ok());
        assert_eq!(UserId::new(SAFE_INTEGER_MAX + 1), Err(UserIdError::OutOfRange));
    }
}
