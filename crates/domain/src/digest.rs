//! Names derived from content: a user's version and an event's identifier.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{EventType, UserId};

/// The digest of a user's state: the first 16 bytes of SHA-256 over the user's canonical JSON, without a password.
///
/// Canonical JSON follows RFC 8785 except for numbers, which never pass through a double. An integer within ±(2^53 - 1)
/// is written as its digits, any other number as its normalised decimal ([`crate::json::Number::write_canonical`]).
/// Equal users have equal versions, however their numbers are written. An event names the state it was built on by its
/// version, as a commit names its parent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u8; 16]);

impl Version {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn of_canonical_json(json: &[u8]) -> Self {
        Self(first_16(&Sha256::digest(json)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).expect("two digits for each byte");
        f.write_str(std::str::from_utf8(&digits).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// The capacity for the five facts of an event: nearly all fit.
const FACTS_BYTES: usize = 160;

/// The identifier of an event: a UUID version 8 (RFC 9562) derived from the vendor's data. A repeated delivery has the
/// same identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// Returns the identifier of the event with these five facts: SHA-256 over their text forms, one per line.
    ///
    /// ```
    /// use domain::{EventId, EventType, UserId, Version};
    ///
    /// let (user, version) = (UserId::new(180)?, Version::from_bytes([7; 16]));
    /// let id = |kind| EventId::derive(user, kind, "2017-06-06T10:53:43+02:00", version, None);
    /// assert_eq!(id(EventType::Created), id(EventType::Created));
    /// assert_ne!(id(EventType::Created), id(EventType::Imported));
    /// # Ok::<(), domain::UserIdError>(())
    /// ```
    pub fn derive(
        user_id: UserId,
        kind: EventType,
        timestamp: &str,
        version: Version,
        parent: Option<Version>,
    ) -> Self {
        let mut text = String::with_capacity(FACTS_BYTES);
        write!(text, "{user_id}\n{kind}\n{timestamp}\n{version}\n").expect("a String takes every text");
        match parent {
            Some(parent) => write!(text, "{parent}").expect("a String takes every text"),
            None => text.push('-'),
        }
        Self::of_text(&text)
    }

    pub(crate) fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    pub(crate) fn of_text(text: &str) -> Self {
        Self(uuid::Builder::from_custom_bytes(first_16(&Sha256::digest(text))).into_uuid())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventType::{Created, Imported};

    #[test]
    fn each_of_the_five_facts_changes_the_identifier() {
        let id = UserId::new(180).unwrap();
        let (a, b) = (Version::from_bytes([1; 16]), Version::from_bytes([2; 16]));
        let all = [
            EventId::derive(id, Created, "t", a, None),
            EventId::derive(UserId::new(181).unwrap(), Created, "t", a, None),
            EventId::derive(id, Imported, "t", a, None),
            EventId::derive(id, Created, "u", a, None),
            EventId::derive(id, Created, "t", b, None),
            EventId::derive(id, Created, "t", a, Some(b)),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], EventId::derive(id, Created, "t", a, None));
    }

    #[test]
    fn the_identifier_is_a_uuid_version_8() {
        let id = EventId::of_text("x");
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
    }
}
