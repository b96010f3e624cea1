//! Instants, as Kafka and Avro count them.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;
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

/// The reason why a text is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("not an ISO 8601 date and time with an offset")]
    NotIso8601,
    /// PHP writes an empty date as `-0001-11-30`.
    #[error("a date before the year 0: the sender's date was probably empty")]
    YearNegative,
    /// RFC 3339, which headers and answers use, has four digits.
    #[error("a date after the year 9999")]
    YearBeyond9999,
}

/// The day after which `24:00` is the same instant as `00:00`.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// A leap year, to check the rest of a text whose year cannot be held.
const ANY_YEAR: &str = "2000";

impl UnixMillis {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Parses an ISO 8601 date and time with an offset (`+02:00`, PHP's `+0200`, or `Z`), rounded down to milliseconds.
    ///
    /// Reads what PHP can write: years with a sign or with more than four digits (`+2017`, `+002017`), `24:00` as the
    /// next day, a leap second as `:59` (Unix time has none), and `-00:00` as UTC.
    ///
    /// # Errors
    /// [`TimestampError`] for any other text, including local times without an offset and times with a bracketed zone,
    /// and for years outside 0 to 9999.
    pub fn parse_iso8601(text: &str) -> Result<Self, TimestampError> {
        match year(text) {
            None => civil(text),
            Some(Year { unreadable: Some(error), rest, .. }) => {
                civil(&format!("{ANY_YEAR}{rest}"))?;
                Err(error)
            }
            Some(_) if text.as_bytes().get(4) == Some(&b'-') => civil(text),
            Some(Year { digits, rest, .. }) => civil(&format!("{digits:0>4}{rest}")),
        }
    }
}

/// The year of a date in extended format, and the rest of the text.
struct Year<'t> {
    /// Without leading zeros.
    digits: &'t str,
    rest: &'t str,
    /// Why no instant has this year, if none has.
    unreadable: Option<TimestampError>,
}

/// Returns the year at the beginning of `text`, or `None` when no hyphen follows it, as in ISO 8601's basic format.
fn year(text: &str) -> Option<Year<'_>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let length = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = unsigned.split_at(length);
    if length < 4 || !rest.starts_with('-') {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let unreadable = if text.starts_with('-') {
        Some(TimestampError::YearNegative)
    } else {
        (digits.len() > 4).then_some(TimestampError::YearBeyond9999)
    };
    Some(Year { digits, rest, unreadable })
}

/// Returns the instant of a text whose year has four digits.
fn civil(text: &str) -> Result<UnixMillis, TimestampError> {
    const NO: TimestampError = TimestampError::NotIso8601;
    // jiff also reads RFC 9557 annotations, which the vendor's contract does not have.
    if text.contains('[') {
        return Err(NO);
    }
    let last_hour = text.split_once(['T', 't', ' ']).and_then(|(date, time)| Some((date, time.strip_prefix("24")?)));
    let (text, ends_day) = match last_hour {
        Some((date, rest)) => (Cow::Owned(format!("{date}T00{rest}")), true),
        None => (Cow::Borrowed(text), false),
    };
    let pieces = Pieces::parse(&*text).map_err(|_| NO)?;
    let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else { return Err(NO) };
    if ends_day && time != Time::midnight() {
        return Err(NO);
    }
    if pieces.date().year() < 0 {
        return Err(TimestampError::YearNegative);
    }
    // jiff's own instants end on 9999-12-30.
    let since_epoch = pieces.date().to_datetime(time).duration_since(EPOCH).as_nanos().div_euclid(1_000_000);
    let local = i64::try_from(since_epoch).map_err(|_| NO)?;
    let days = if ends_day { DAY_MS } else { 0 };
    Ok(UnixMillis(local + days - i64::from(offset.seconds()) * 1000))
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
            assert_eq!(UnixMillis::parse_iso8601(text), Err(TimestampError::NotIso8601), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_php_is_read() {
        let table = [
            ("+2017-06-06T10:53:43+02:00", "2017-06-06T08:53:43Z"),
            ("+002017-06-06T10:53:43+02:00", "2017-06-06T08:53:43Z"),
            ("2017-06-06T24:00:00Z", "2017-06-07T00:00:00Z"),
            ("2017-12-31T24:00+02:00", "2017-12-31T22:00:00Z"),
            ("2017-06-06T10:53:60Z", "2017-06-06T10:53:59Z"),
            ("2017-06-06T10:53:43-00:00", "2017-06-06T10:53:43Z"),
            ("20170606T105343+0200", "2017-06-06T08:53:43Z"),
            ("0000-02-29T00:00:00+00:00", "0000-02-29T00:00:00Z"),
            ("9999-12-30T00:00:00Z", "9999-12-30T00:00:00Z"),
        ];
        for (text, utc) in table {
            assert_eq!(UnixMillis::parse_iso8601(text).map(|at| at.to_string()), Ok(utc.to_owned()), "{text}");
        }
        // Beyond the last instant that jiff can write.
        assert_eq!(UnixMillis::parse_iso8601("9999-12-31T23:59:59Z"), Ok(UnixMillis(253_402_300_799_000)));
        assert_eq!(UnixMillis::parse_iso8601("9999-12-31T24:00:00-23:59"), Ok(UnixMillis(253_402_387_140_000)));
    }

    #[test]
    fn a_year_that_no_instant_has_is_named() {
        use TimestampError::{NotIso8601, YearBeyond9999, YearNegative};
        let table = [
            ("-0001-11-30T00:00:00+00:00", YearNegative),
            ("-009999-01-01T00:00:00Z", YearNegative),
            ("-99990101T000000Z", NotIso8601),
            ("10000-01-01T00:00:00Z", YearBeyond9999),
            ("+010191-02-29T00:00:00Z", YearBeyond9999),
            ("292278995-01-01T00:00:00Z", YearBeyond9999),
            ("99999999999999999999-01-01T00:00:00Z", YearBeyond9999),
            ("10000-13-01T00:00:00Z", NotIso8601),
            ("-0001-11-30", NotIso8601),
            ("2017-06-06T24:00:01Z", NotIso8601),
            ("2017-06-06T25:00:00Z", NotIso8601),
            ("217-06-06T00:00:00Z", NotIso8601),
            ("+-2017-06-06T00:00:00Z", NotIso8601),
        ];
        for (text, error) in table {
            assert_eq!(UnixMillis::parse_iso8601(text), Err(error), "{text}");
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
