//! The times by which tombstones live, and what follows from them: when the keeper appends a tombstone again, and when
//! `verify` calls one overdue. Pure.

use std::collections::BTreeMap;

use domain::roll::Tombstone;
use domain::topics::{DELETE_RETENTION, DELETE_RETENTION_MS, MAX_COMPACTION_LAG, MAX_COMPACTION_LAG_MS};
use domain::{UnixMillis, UserId};

/// A tombstone is appended again within this fraction of `delete.retention.ms`.
pub(crate) const RENEWAL_FRACTION: i64 = 4;
/// A tombstone older than this fraction of `delete.retention.ms` is overdue: no keeper has renewed it.
pub(crate) const OVERDUE_FRACTION: i64 = 2;
/// The shortest time between two tombstones of a key, however short `delete.retention.ms` is.
pub(crate) const RENEWAL_MIN_MS: i64 = 1_000;
/// Tombstones of one time are renewed over this fraction of the renewal's time, so that they do not come at once.
const SPREAD_FRACTION: i64 = 2;
const _: () = assert!(RENEWAL_FRACTION > OVERDUE_FRACTION && OVERDUE_FRACTION > 1);

/// The settings of the topic of users that decide about tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `delete.retention.ms`. A tombstone expires at the earliest this long after it was appended.
    pub delete_ms: i64,
    /// `max.compaction.lag.ms`. A segment that is older is closed by the next append, and then compacted.
    pub compaction_lag_ms: i64,
}

impl Default for Retention {
    /// The contract.
    fn default() -> Self {
        Self { delete_ms: DELETE_RETENTION_MS, compaction_lag_ms: MAX_COMPACTION_LAG_MS }
    }
}

impl Retention {
    /// Returns the times in a topic's settings, and those of the contract where the broker does not describe them.
    pub fn of(settings: Option<&BTreeMap<String, String>>) -> Self {
        let setting = |name: &str, otherwise| {
            let found = settings.and_then(|settings| settings.get(name)?.parse::<i64>().ok());
            // Kafka writes "never" as -1 or as the largest long.
            found.map_or(otherwise, |ms| if ms < 0 { i64::MAX } else { ms })
        };
        let contract = Self::default();
        Self {
            delete_ms: setting(DELETE_RETENTION, contract.delete_ms),
            compaction_lag_ms: setting(MAX_COMPACTION_LAG, contract.compaction_lag_ms),
        }
    }

    /// Returns the time at which the tombstone of a key is due to be appended again.
    ///
    /// For renewal: at the end of its fraction of `delete.retention.ms`, or earlier by a part that depends on the user
    /// alone. And once after `max.compaction.lag.ms`: compaction takes the values before a tombstone when the segment
    /// that holds the tombstone is closed, and only an append closes it.
    pub fn due(self, user_id: UserId, tombstone: Tombstone) -> UnixMillis {
        let Tombstone { since, appended_at } = tombstone;
        let interval = (self.delete_ms / RENEWAL_FRACTION).max(RENEWAL_MIN_MS);
        let renewal = appended_at.millis().saturating_add(interval - early(user_id, interval / SPREAD_FRACTION));
        let closes = since.millis().saturating_add(self.compaction_lag_ms);
        // A segment is closed by an append that comes later than the lag, not at it.
        let due = if appended_at.millis() > closes { renewal } else { renewal.min(closes.saturating_add(1)) };
        UnixMillis::from_millis(due)
    }

    /// Returns whether a tombstone that was appended at `appended_at` should have been renewed by `now`.
    pub fn is_overdue(self, appended_at: UnixMillis, now: UnixMillis) -> bool {
        let overdue = (self.delete_ms / OVERDUE_FRACTION).max(2 * RENEWAL_MIN_MS);
        appended_at.millis().saturating_add(overdue) < now.millis()
    }
}

/// Returns a part of `spread`, evenly distributed over user ids and always the same for one.
fn early(user_id: UserId, spread: i64) -> i64 {
    // Fibonacci hashing: successive ids are far apart.
    let hash = u128::from(user_id.get().cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    i64::try_from((hash * u128::from(spread.unsigned_abs())) >> u64::BITS).unwrap_or(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::from_millis(millis)
    }

    fn due(retention: Retention, user: i64, since: i64, appended_at: i64) -> i64 {
        let tombstone = Tombstone { since: at(since), appended_at: at(appended_at) };
        retention.due(UserId::new(user).unwrap(), tombstone).millis()
    }

    #[test]
    fn a_tombstone_is_renewed_long_before_it_expires_and_others_of_its_time_at_other_times() {
        let retention = Retention::default();
        let quarter = DELETE_RETENTION_MS / 4;
        let mut dues: Vec<i64> = (0..1_000).map(|user| due(retention, user, 0, 0)).collect();
        assert!(dues.iter().all(|due| (quarter / 2..=quarter).contains(due)));
        dues.sort_unstable();
        let most = dues.windows(10).map(|ten| ten[9] - ten[0]).min();
        assert!(most > Some(quarter / 2 / 1_000), "no ten of a thousand come within a thousandth: {most:?}");
        assert_eq!(due(retention, 7, 5, 5) - 5, due(retention, 7, 0, 0), "the same for the same user");
    }

    #[test]
    fn a_new_tombstone_is_appended_once_more_after_the_compaction_lag() {
        let retention = Retention { delete_ms: 1_000_000, compaction_lag_ms: 30_000 };
        assert_eq!(due(retention, 1, 10, 10), 30_011);
        assert_eq!(due(retention, 1, 10, 30_010), 30_011, "not by an append at the lag itself");
        assert!(due(retention, 1, 10, 30_011) >= 30_011 + 125_000, "once");
        let rare = Retention { compaction_lag_ms: i64::MAX, ..retention };
        assert!((125_000..=250_000).contains(&due(rare, 1, 0, 0)));
    }

    #[test]
    fn the_settings_of_the_topic_count_and_else_the_contract() {
        let settings = |ms: &str| BTreeMap::from([DELETE_RETENTION, MAX_COMPACTION_LAG].map(|n| (n.into(), ms.into())));
        assert_eq!(Retention::of(None), Retention::default());
        assert_eq!(Retention::of(Some(&settings("x"))), Retention::default());
        assert_eq!(Retention::of(Some(&settings("5"))), Retention { delete_ms: 5, compaction_lag_ms: 5 });
        for never in ["-1", "9223372036854775807"] {
            let never = Retention::of(Some(&settings(never)));
            assert!(due(never, 1, 0, 0) > i64::MAX / 16 && !never.is_overdue(at(0), at(i64::MAX / 4)));
        }
        assert!(due(Retention::of(Some(&settings("0"))), 1, 0, 10) >= 10 + RENEWAL_MIN_MS / 2, "no loop");
    }

    #[test]
    fn a_tombstone_is_overdue_after_half_of_its_time() {
        let retention = Retention::default();
        let half = DELETE_RETENTION_MS / 2;
        assert!(!retention.is_overdue(at(7), at(7 + half)));
        assert!(retention.is_overdue(at(7), at(8 + half)));
    }
}
