//! Reads single records of a partition again: the keeper holds heads, not events.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use kafka::scan::{self, Coverage, Range};
use kafka::{ClientOptions, Record};

/// Offsets nearer than this are read in one go: what lies between costs less than another request.
const NEAR: i64 = 10_000;
/// How long the cluster may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Returns ranges that cover `offsets`, those within `near` of each other in one.
pub fn clusters(partition: i32, offsets: &BTreeSet<i64>, near: i64) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for offset in offsets {
        match ranges.last_mut() {
            Some(range) if offset - range.end < near => range.end = offset + 1,
            _ => ranges.push(Range { partition, start: *offset, end: offset + 1 }),
        }
    }
    ranges
}

/// Returns the records at `offsets`; one that is missing was compacted away. Blocks.
///
/// # Errors
/// As [`scan::scan`].
pub(crate) fn refetch(
    options: &ClientOptions,
    topic: &str,
    partition: i32,
    offsets: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, Record>, scan::Error> {
    let found = refetch_while(options, topic, partition, offsets, || true)?;
    Ok(found.expect("nobody stopped it"))
}

/// The same, and returns `None` soon after `goes_on` has returned false.
///
/// # Errors
/// As [`scan::scan`].
pub(crate) fn refetch_while(
    options: &ClientOptions,
    topic: &str,
    partition: i32,
    offsets: &BTreeSet<i64>,
    goes_on: impl Fn() -> bool,
) -> Result<Option<BTreeMap<i64, Record>>, scan::Error> {
    let mut records = BTreeMap::new();
    for range in clusters(partition, offsets, NEAR) {
        let outcome = scan::scan_while(options, topic, &[range], SILENCE_MAX, &goes_on, |record| {
            let offset = record.position().offset;
            if offsets.contains(&offset) {
                records.insert(offset, record.to_record());
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
        let ranges = |offsets: &[i64]| -> Vec<(i64, i64)> {
            clusters(0, &offsets.iter().copied().collect(), 10).iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[5]), [(5, 6)]);
        assert_eq!(ranges(&[5, 6, 15]), [(5, 16)]);
        assert_eq!(ranges(&[5, 16, 100]), [(5, 6), (16, 17), (100, 101)]);
    }
}
