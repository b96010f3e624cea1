//! Reads single records again, because the table holds states and no events.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use domain::Position;
use kafka::scan::{self, Coverage, Range};
use kafka::{ClientOptions, Record};

/// Offsets closer than this are read in one range: reading the records between costs less than another request.
const NEAR: i64 = 10_000;
/// The longest silence of the cluster.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Returns ranges that cover `positions`. Positions of a partition within `near` of each other share a range.
fn clusters(positions: &BTreeSet<Position>, near: i64) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for Position { partition, offset } in positions {
        match ranges.last_mut() {
            Some(range) if range.partition == *partition && offset - range.end < near => range.end = offset + 1,
            _ => ranges.push(Range { partition: *partition, start: *offset, end: offset + 1 }),
        }
    }
    ranges
}

/// Returns the records at `positions` that still exist: compaction may have removed some. Returns `None` soon after
/// `goes_on` returns false. Blocks.
///
/// # Errors
/// As [`scan::scan`].
pub(crate) fn refetch(
    options: &ClientOptions,
    topic: &str,
    positions: &BTreeSet<Position>,
    goes_on: impl Fn() -> bool,
) -> Result<Option<BTreeMap<Position, Record>>, scan::Error> {
    let mut records = BTreeMap::new();
    for range in clusters(positions, NEAR) {
        let outcome = scan::scan_while(options, topic, &[range], SILENCE_MAX, &goes_on, |record| {
            if positions.contains(&record.position()) {
                records.insert(record.position(), record.to_record());
            }
            ControlFlow::Continue(())
        })?;
        match outcome {
            Coverage::Complete => {}
            Coverage::Stopped => return Ok(None),
        }
    }
    Ok(Some(records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_offsets_share_a_range() {
        let ranges = |positions: &[(i32, i64)]| -> Vec<(i32, i64, i64)> {
            let positions =
                positions.iter().map(|(partition, offset)| Position { partition: *partition, offset: *offset });
            let ranges = clusters(&positions.collect(), 10);
            ranges.iter().map(|range| (range.partition, range.start, range.end)).collect()
        };
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[(0, 5)]), [(0, 5, 6)]);
        assert_eq!(ranges(&[(0, 5), (0, 6), (0, 15)]), [(0, 5, 16)]);
        assert_eq!(
            ranges(&[(0, 5), (0, 16), (0, 100), (1, 101)]),
            [(0, 5, 6), (0, 16, 17), (0, 100, 101), (1, 101, 102)]
        );
    }
}
