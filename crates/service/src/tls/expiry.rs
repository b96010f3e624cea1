//! When a certificate expires, and whether that is to be warned of.

use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::x509::X509Ref;
use tokio::time::Instant;

/// A certificate is warned of from this many days before its end: those of ACME are renewed a month before.
const WARNED_DAYS: i64 = 14;
/// The shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The end of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Expiry {
    /// In seconds since 1970.
    not_after: i64,
    warned: Option<Instant>,
}

impl Expiry {
    pub(super) fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let since_1970 = Asn1Time::from_unix(0)?.diff(certificate.not_after())?;
        let not_after = i64::from(since_1970.days) * DAY_SECONDS + i64::from(since_1970.secs);
        Ok(Self { not_after, warned: None })
    }

    pub(super) fn or_earlier(self, other: Self) -> Self {
        if other.not_after < self.not_after { other } else { self }
    }

    /// Returns the end in seconds since 1970.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    pub(super) fn not_after(&self) -> f64 {
        self.not_after as f64
    }

    /// Returns in how many days it is, if that is to be warned of now. Negative: it has been.
    pub(super) fn warning(&mut self) -> Option<i64> {
        let since_1970 = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(&*Asn1Time::days_from_now(0)?)).ok()?;
        let now = i64::from(since_1970.days) * DAY_SECONDS + i64::from(since_1970.secs);
        self.warning_at(now, Instant::now())
    }

    fn warning_at(&mut self, now: i64, instant: Instant) -> Option<i64> {
        let days = (self.not_after - now).div_euclid(DAY_SECONDS);
        let is_due = self.warned.is_none_or(|warned| instant >= warned + WARNING_INTERVAL);
        if days >= WARNED_DAYS || !is_due {
            return None;
        }
        self.warned = Some(instant);
        Some(days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_warned_of_once_a_day() {
        let start = Instant::now();
        let mut expiry = Expiry { not_after: 100 * DAY_SECONDS, warned: None };
        let hour = Duration::from_secs(60 * 60);
        for (now, after, expected) in [
            (80 * DAY_SECONDS, Duration::ZERO, None),
            (86 * DAY_SECONDS, hour, None),
            (86 * DAY_SECONDS + 1, hour, Some(13)),
            (86 * DAY_SECONDS + 2, hour * 24, None),
            (87 * DAY_SECONDS + 1, hour * 25, Some(12)),
            (101 * DAY_SECONDS, hour * 50, Some(-1)),
        ] {
            assert_eq!(expiry.warning_at(now, start + after), expected, "{now}");
        }
    }
}
