//! Instants, as Kafka and Avro count them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An instant in milliseconds since the Unix epoch, UTC: Avro's `timestamp-millis`, and Kafka's record timestamp.
///
/// ```
/// let at = domain::UnixMillis::parse_iso8601("2017-06-06T10:53:43+02:00")?;
/// assert_eq!(at.millis(), 1_496_739_223_000);
/// assert_eq!(at.to_string(), "2017-06-06T08:53:43Z");
/// # Ok::<(), domain::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(i64);

/// The text is not an ISO 8601 date and time with an offset from UTC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 date and time with an offset")]
pub struct TimestampError;

impl UnixMillis {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Parses an ISO 8601 date and time with an offset (`+02:00`, PHP's `+0200`, or `Z`), rounded down to milliseconds.
    ///
    /// # Errors
    /// [`TimestampError`] for any other text, including local times without an offset and times with a bracketed zone.
    pub fn parse_iso8601(text: &str) -> Result<Self, TimestampError> {
        // jiff also reads RFC 9557 annotations, which the vendor's contract does not have.
        if text.contains('[') {
            return Err(TimestampError);
        }
        let timestamp: Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Self(timestamp.as_nanosecond().div_euclid(1_000_000).try_into().map_err(|_| TimestampError)?))
    }
}

impl fmt::Display for UnixMillis {
    /// Writes RFC 3339 in UTC. An instant outside the years -9999 to 9999 is written as its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_8601_with_an_offset_is_read_and_nothing_else() {
        let yes = [
            ("2017-06-06T10:53:43+02:00", 1_496_739_223_000),
            ("2017-06-06T10:53:43+0200", 1_496_739_223_000),
            ("2017-06-06T08:53:43Z", 1_496_739_223_000),
            ("2017-06-06T08:53:43.250Z", 1_496_739_223_250),
            ("1969-12-31T23:59:59.9999Z", -1),
        ];
        for (text, millis) in yes {
            assert_eq!(UnixMillis::parse_iso8601(text).map(UnixMillis::millis), Ok(millis), "{text}");
        }
        let no = [
            "",
            "2017-06-06",
            "2017-06-06T10:53:43",
            "10:53:43+02:00",
            "2017-13-06T10:53:43Z",
            "1496739223",
            "yesterday",
            "2017-06-06T10:53:43+02:00[Europe/Budapest]",
        ];
        for text in no {
            assert_eq!(UnixMillis::parse_iso8601(text), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn display_reads_back() {
        for millis in [0, -1, 1_496_739_223_250] {
            let at = UnixMillis::from_millis(millis);
            assert_eq!(UnixMillis::parse_iso8601(&at.to_string()), Ok(at));
        }
    }
}
