//! Dead letters: bodies that could not be read, kept as they were received.
//!
//! A dead letter is a record on `vcc.users.dead-letter`. Its key is the SHA-256 of its value, so that the sender's fifteen
//! attempts leave one; its value is the body as received, cipher text as cipher text, a readable password blanked before anything
//! else. (The digest is of the blanked body too: that of the whole would let a password be guessed and checked.)

mod keep;

use bytes::Bytes;
use domain::UnixMillis;
use openssl::sha::sha256;

use crate::Rejection;
use crate::pipeline::{Authentic, blank_passwords};

pub use keep::{Kept, List, Outcome, Replayed, Store, StoreError};

/// Header: the rejection's label.
pub const REJECTION: &str = "rollcall-rejection";
/// Header: what is wrong, for people.
pub const REASON: &str = "rollcall-reason";
/// Header: the JSON Pointer of the place that is at fault.
pub const POINTER: &str = "rollcall-pointer";
/// Header: the initialization vector that came with the body, as received.
pub const IV: &str = "rollcall-iv";
/// Header: when the body was received, RFC 3339.
pub const RECEIVED_AT: &str = "rollcall-received-at";

/// A vector longer than any cipher's, in hexadecimal, is not kept: it is not the vendor's, and headers have no limit of their own.
const IV_MAX: usize = 128;

/// A body that could not be read, without any readable password.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    body: Bytes,
    iv: Option<String>,
    rejection: String,
    reason: String,
    pointer: String,
    received_at: UnixMillis,
}

impl DeadLetter {
    pub(crate) fn new(request: &Authentic, rejection: &Rejection, received_at: UnixMillis) -> Self {
        let pointer = match rejection {
            Rejection::NotAnEvent { pointer, .. } => pointer.clone(),
            _ => String::new(),
        };
        Self {
            body: blank_passwords(request.body()).into(),
            iv: request.iv().filter(|iv| !iv.is_empty() && iv.len() <= IV_MAX).map(str::to_owned),
            rejection: rejection.label().to_owned(),
            reason: rejection.to_string(),
            pointer,
            received_at,
        }
    }

    /// Returns the dead letter that a record of the topic is, as far as its headers tell.
    pub fn from_record(value: &[u8], header: impl Fn(&str) -> Option<String>, timestamp: UnixMillis) -> Self {
        let received_at = header(RECEIVED_AT).and_then(|text| UnixMillis::parse_iso8601(&text).ok());
        Self {
            body: Bytes::copy_from_slice(value),
            iv: header(IV),
            rejection: header(REJECTION).unwrap_or_default(),
            reason: header(REASON).unwrap_or_default(),
            pointer: header(POINTER).unwrap_or_default(),
            received_at: received_at.unwrap_or(timestamp),
        }
    }

    /// The record's key: SHA-256 of the body in hexadecimal.
    pub fn key(&self) -> String {
        hex::encode(sha256(&self.body))
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn iv(&self) -> Option<&str> {
        self.iv.as_deref()
    }

    /// The label of the rejection: `undecryptable` or `not_an_event`.
    pub fn rejection(&self) -> &str {
        &self.rejection
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    pub fn received_at(&self) -> UnixMillis {
        self.received_at
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

    /// Returns the record to publish on `topic`.
    pub(crate) fn to_outgoing(&self, topic: &str) -> log::publish::Outgoing {
        log::publish::Outgoing {
            topic: topic.to_owned(),
            key: self.key().into_bytes(),
            value: Some(self.body.to_vec()),
            headers: self.headers(),
            timestamp: self.received_at,
            partition: None,
        }
    }
}

impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetter")
            .field("rejection", &self.rejection)
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}
