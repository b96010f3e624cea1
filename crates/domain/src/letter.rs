//! A dead letter: a body or a record's value that cannot be read, as a record keeps it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{TopicPosition, UnixMillis, UserId};

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
/// Header: the time of an imported list, RFC 3339.
const AS_OF: &str = "rollcall-as-of";
/// Header: the user of the record that the letter is a copy of.
const RECORD_USER: &str = "rollcall-record-user";
/// Header: the position of the record that the letter is a copy of.
const RECORD_POSITION: &str = "rollcall-record-position";

/// The longest reason and the longest pointer of a letter, in bytes. Both can quote names that the sender has chosen.
pub const TEXT_BYTES_MAX: usize = 256;
/// The end of a text that was cut.
const CUT: char = '…';

/// Returns a text of at most [`TEXT_BYTES_MAX`]: a longer one is cut, and ends with `…`.
pub fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX - CUT.len_utf8()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push(CUT);
    }
    text
}

/// An unreadable body with any readable password blanked, or the value of an unreadable record of the topic of users,
/// and the reason.
///
/// On the dead-letter topic the record's value is the body, its key is [`Letter::key`], and the rest is in headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// As received: cipher text stays cipher text, and a readable password is blanked.
    pub body: Vec<u8>,
    /// The initialization vector as received: hexadecimal text if the sender follows the vendor's format.
    pub iv: Option<String>,
    /// The label of the rejection: `undecryptable`, `not_an_event`, `ahead` or [`Letter::UNREADABLE_RECORD`].
    pub rejection: String,
    pub reason: String,
    pub pointer: String,
    /// When the body was received; the Kafka timestamp of a record.
    pub received_at: UnixMillis,
    /// The time of the list, for a body that is one user of an imported list; `None` for the body of a webhook.
    pub as_of: Option<UnixMillis>,
    /// The record that this is a copy of; `None` for a body.
    pub record: Option<Original>,
}

/// The record of the topic of users that a letter is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// The user that its key names.
    pub user_id: UserId,
    pub position: TopicPosition,
}

impl Letter {
    /// The label of a letter that is the value of an unreadable record. Such a letter is not a delivery, so it is never
    /// replayed.
    pub const UNREADABLE_RECORD: &str = "unreadable_record";

    /// Returns the copy of an unreadable record with this value, which was appended at `timestamp`.
    pub fn of_record(value: Vec<u8>, record: Original, reason: String, timestamp: UnixMillis) -> Self {
        Self {
            body: value,
            iv: None,
            rejection: Self::UNREADABLE_RECORD.to_owned(),
            reason: cut(reason),
            pointer: String::new(),
            received_at: timestamp,
            as_of: None,
            record: Some(record),
        }
    }

    /// Returns whether the letter is the copy of a record, and not a body.
    pub fn is_of_record(&self) -> bool {
        self.rejection == Self::UNREADABLE_RECORD
    }

    /// Returns the letter of a record. A missing header leaves its field empty.
    pub fn from_record<'r>(value: &[u8], header: impl Fn(&str) -> Option<&'r [u8]>, timestamp: UnixMillis) -> Self {
        let text = |name: &str| header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let time = |name: &str| text(name).and_then(|text| UnixMillis::parse_iso8601(&text).ok());
        Self {
            body: value.to_vec(),
            iv: text(IV),
            rejection: text(REJECTION).unwrap_or_default(),
            reason: text(REASON).unwrap_or_default(),
            pointer: text(POINTER).unwrap_or_default(),
            received_at: time(RECEIVED_AT).unwrap_or(timestamp),
            as_of: time(AS_OF),
            record: text(RECORD_USER).zip(text(RECORD_POSITION)).and_then(|(user, position)| {
                Some(Original { user_id: user.parse().ok()?, position: position.parse().ok()? })
            }),
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
        headers.extend(self.as_of.map(|as_of| (AS_OF, as_of.to_string())));
        if let Some(Original { user_id, position }) = &self.record {
            headers.extend([(RECORD_USER, user_id.to_string()), (RECORD_POSITION, position.to_string())]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (text, length) in [("a".repeat(256), 256), ("a".repeat(257), 256), ("é".repeat(200), 255)] {
            let short = cut(text.clone());
            assert_eq!(short.len(), length);
            assert!(short == text || short.ends_with(CUT));
        }
    }

    #[test]
    fn a_letter_of_an_imported_list_keeps_the_time_of_the_list() {
        let (as_of, received_at) = (UnixMillis::from_millis(1_000), UnixMillis::from_millis(5_000));
        let (rejection, pointer) = ("not_an_event".to_owned(), "/email".to_owned());
        let letter = Letter {
            body: b"{}".to_vec(),
            iv: None,
            rejection,
            reason: String::new(),
            pointer,
            received_at,
            as_of: Some(as_of),
            record: None,
        };
        let headers = letter.headers();
        let header = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice());
        assert!(Letter::from_record(&letter.body, header, UnixMillis::from_millis(9_000)) == letter, "{headers:?}");
    }

    #[test]
    fn the_copy_of_a_record_reads_back() {
        let position = "zuQxo-W8SfmGVIR3p0wXVg/3:1042@7".parse().unwrap();
        let record = Original { user_id: UserId::new(180).unwrap(), position };
        let written = UnixMillis::from_millis(1_000);
        let letter = Letter::of_record(b"broken".to_vec(), record, "ends early".to_owned(), written);
        let headers = letter.headers();
        let header = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice());
        let read = Letter::from_record(&letter.body, header, UnixMillis::from_millis(2_000));
        assert!(read == letter && read.is_of_record(), "{headers:?}");
        assert_eq!(letter.key(), hex::encode(Sha256::digest(b"broken")));
    }
}
