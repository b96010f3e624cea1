//! Counts what is amiss, of the same rows and by the same rule for `/status` and for the gauges.

use domain::UnixMillis;
use domain::gap::lost_if_received_by;
use rusqlite::Connection;

/// How much is amiss at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Gaps whose delivery the vendor still retries.
    pub gaps_awaited: u64,
    /// Gaps whose delivery the vendor has given up.
    pub gaps_lost: u64,
    /// Users whose last records are unknown to this build.
    pub users_unknown: u64,
}

/// Counts as of `now`: a walk over an index and a table that are nearly always empty.
pub(super) fn tally(connection: &Connection, now: UnixMillis) -> rusqlite::Result<Tally> {
    let mut gaps = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE received_at > ?1), count(*) FILTER (WHERE received_at <= ?1) FROM gaps",
    )?;
    let (gaps_awaited, gaps_lost): (i64, i64) =
        gaps.query_row([lost_if_received_by(now).millis()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let users_unknown: i64 =
        connection.prepare_cached("SELECT count(DISTINCT user_id) FROM unknown")?.query_row([], |row| row.get(0))?;
    let [gaps_awaited, gaps_lost, users_unknown] = [gaps_awaited, gaps_lost, users_unknown].map(unsigned);
    Ok(Tally { gaps_awaited, gaps_lost, users_unknown })
}

/// Returns a count of SQLite's.
fn unsigned(count: i64) -> u64 {
    count.try_into().unwrap_or_default()
}
