//! A dead letter: an unreadable body, as a record keeps it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::UnixMillis;

/// Header: the label of the rejection.
const REJECTION: &str = "rollcall-rejection";
/// Header: the reason as text.
const REASON: &str = "rollcall-reason";
/// Header: the JSON Pointer (RFC 6901) of the fault.
const POINTER: &str = "rollcall-pointer";
/// Header: the initialization vector of the request, as received.
const IV: &str = "rollcall-iv";
/// Header: when the body was received, RFC 3339.
const RECEIVED_AT: &str = "rollcall-received-at";

/// An unreadable body with any readable password blanked, and the reason.
///
/// On the dead-letter topic the record's value is the body, its key is [`Letter::key`], and the rest is in headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// As received: cipher text stays cipher text, and a readable password is blanked.
    pub body: Vec<u8>,
    /// The initialization vector as received: hexadecimal text if the sender follows the vendor's format.
    pub iv: Option<String>,
    /// The label of the rejection: `undecryptable` or `not_an_event`.
    pub rejection: String,
    pub reason: String,
    pub pointer: String,
    pub received_at: UnixMillis,
}

impl Letter {
    /// Returns the letter of a record. A missing header leaves its field empty.
    pub fn from_record<'r>(value: &[u8], header: impl Fn(&str) -> Option<&'r [u8]>, timestamp: UnixMillis) -> Self {
        let text = |name: &str| header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let received_at = text(RECEIVED_AT).and_then(|text| UnixMillis::parse_iso8601(&text).ok());
        Self {
            body: value.to_vec(),
            iv: text(IV),
            rejection: text(REJECTION).unwrap_or_default(),
            reason: text(REASON).unwrap_or_default(),
            pointer: text(POINTER).unwrap_or_default(),
            received_at: received_at.unwrap_or(timestamp),
        }
    }

    /// Returns the record's key: SHA-256 of the body in hexadecimal. The sender's 15 attempts therefore leave one
    /// letter.
    pub fn key(&self) -> String {
        hex::encode(Sha256::digest(&self.body))
    }

    /// Returns the record's headers.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![
            (REJECTION, self.rejection.clone()),
            (REASON, self.reason.clone()),
            (POINTER, self.pointer.clone()),
            (RECEIVED_AT, self.received_at.to_string()),
        ];
        headers.extend(self.iv.clone().map(|iv| (IV, iv)));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("rejection", &self.rejection)
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}
