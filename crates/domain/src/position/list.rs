//! The progress of a reader outside the process: one topic, many partitions, few characters.
//!
//! A header and a resume id must fit into what proxies take, 4 KiB with all other headers. So offsets and epochs are
//! written as variable-length numbers above the smallest of each, in base64url:
//! a version byte, the smallest offset, the smallest epoch; then runs of partitions: how many are skipped, how many
//! follow, and of each the offset and the epoch above the smallest, 1 more, where 0 is an unknown epoch.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Checkpoint, PositionError, TopicId};

/// The most partitions of a topic whose readers name their progress in one header.
///
/// With offsets below 2^49 and epochs below 2^14 a list then has at most 3,700 characters, which leaves nginx's default
/// buffer of 4 KiB some room for the other headers.
pub const PARTITIONS_MAX: i32 = 300;

/// Begins each list; another format has another number.
const VERSION: u8 = 1;

/// The progress of a reader, with its topic. Its text form is `<topic id>/<base64url>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    pub topic: TopicId,
    /// Everything below it was read.
    pub checkpoint: Checkpoint,
}

impl FromStr for Positions {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (topic, list) = text.split_once('/').ok_or(PositionError::MalformedList)?;
        let topic = topic.parse()?;
        let bytes = URL_SAFE_NO_PAD.decode(list).map_err(|_| PositionError::MalformedList)?;
        let checkpoint = decode(&bytes).ok_or(PositionError::MalformedList)?;
        Ok(Self { topic, checkpoint })
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, URL_SAFE_NO_PAD.encode(encode(&self.checkpoint)))
    }
}

fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let entries: Vec<_> = checkpoint.entries().collect();
    let offset_min = entries.iter().map(|(_, offset, _)| *offset).min().unwrap_or(0);
    let epoch_min = entries.iter().filter_map(|(_, _, epoch)| *epoch).min().unwrap_or(0);
    let mut bytes = vec![VERSION];
    put(&mut bytes, offset_min);
    put(&mut bytes, i64::from(epoch_min));
    let mut after = 0;
    for run in entries.chunk_by(|(before, ..), (partition, ..)| before + 1 == *partition) {
        let Some((first, ..)) = run.first() else { continue };
        put(&mut bytes, i64::from(first - after));
        put(&mut bytes, i64::try_from(run.len()).unwrap_or(i64::MAX));
        for (partition, offset, epoch) in run {
            put(&mut bytes, offset - offset_min);
            put(&mut bytes, epoch.map_or(0, |epoch| i64::from(epoch - epoch_min) + 1));
            after = partition.saturating_add(1);
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let (offset_min, epoch_min) = (take(&mut rest)?, i32::try_from(take(&mut rest)?).ok()?);
    let (mut entries, mut partition) = (Vec::new(), 0_i64);
    while !rest.is_empty() {
        partition = partition.checked_add(take(&mut rest)?)?;
        let count = take(&mut rest)?;
        if count == 0 {
            return None;
        }
        for _ in 0..count {
            let offset = offset_min.checked_add(take(&mut rest)?)?;
            let epoch = match take(&mut rest)? {
                0 => None,
                above => Some(epoch_min.checked_add(i32::try_from(above - 1).ok()?)?),
            };
            entries.push((i32::try_from(partition).ok()?, offset, epoch));
            partition += 1;
        }
    }
    Some(Checkpoint::from_entries(entries))
}

/// Appends a number from 0 in groups of seven bits, the lowest first.
fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut left = number.max(0).cast_unsigned();
    while left >= 0x80 {
        bytes.push(left.to_le_bytes()[0] & 0x7f | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
}

/// Reads such a number; `None` where the bytes end within it, or it is above `i64::MAX`.
fn take(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId::from_bytes([0xfb; 16]);
    /// What a header with its other headers may have in the buffer of a proxy.
    const CHARACTERS_MAX: usize = 3_700;

    fn text_of(checkpoint: &str) -> String {
        Positions { topic: TOPIC, checkpoint: checkpoint.parse().unwrap() }.to_string()
    }

    #[test]
    fn a_list_reads_back_with_its_topic_and_its_epochs() {
        for checkpoint in
            ["", "0:0", "0:18@7,1:7", "0:18@7,1:20@9,5:6@7,2147483647:9223372036854775807@2147483647", "3:1,9:1@0"]
        {
            let text = text_of(checkpoint);
            let read: Positions = text.parse().unwrap();
            assert_eq!((read.topic, read.checkpoint.to_string().as_str()), (TOPIC, checkpoint), "{text}");
        }
    }

    #[test]
    fn the_format_never_changes_with_the_version() {
        assert_eq!(text_of("0:18@7,1:7"), "-_v7-_v7-_v7-_v7-_v7-w/AQcHAAILAQAA");
    }

    #[test]
    fn other_texts_are_refused() {
        let topic = TOPIC.to_string();
        for list in ["!", "AA", "AQ", "AQcHAAILAQA", "AQcHAAA", "Ag", "0:17", "AQ//"] {
            assert_eq!(format!("{topic}/{list}").parse::<Positions>(), Err(PositionError::MalformedList), "{list}");
        }
        for text in ["", "0:18,1:7", "AQcHAAILAQAA", "users/AQcHAAILAQAA"] {
            assert!(text.parse::<Positions>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_partitions_fit_a_header_with_large_offsets_and_epochs() {
        let (offset_max, epoch_max) = ((1_i64 << 49) - 1, (1_i32 << 14) - 2);
        for spread in [false, true] {
            let entries = (0..PARTITIONS_MAX).map(|partition| {
                let small = spread && partition == 0;
                (partition, if small { 1 } else { offset_max }, Some(if small { 0 } else { epoch_max }))
            });
            let positions = Positions { topic: TOPIC, checkpoint: Checkpoint::from_entries(entries) };
            let text = positions.to_string();
            assert!(text.len() <= CHARACTERS_MAX, "{} characters", text.len());
            assert_eq!(text.parse(), Ok(positions));
        }
    }
}
