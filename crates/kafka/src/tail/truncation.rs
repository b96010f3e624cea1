//! Detects librdkafka's report that a log was truncated below its reader. Pure.
//!
//! After an unclean election the new leader may lack the last records, and append others at their offsets. librdkafka
//! asks the leader for the end of the epoch of its position (KIP-320). It reports a truncation with the same code as a
//! position out of range, but with another text (`rd_kafka_toppar_handle_OffsetForLeaderEpoch`). The difference
//! matters: the position may be within the log again, among records that differ from those read.

/// Part of the text: librdkafka's description of its code for a truncated log.
const TRUNCATED: &str = "Partition log truncation detected";
/// Precedes the offset of the truncation.
const END: &str = "broker end offset is ";

/// Returns the offset at which the log that was read ends, if `text` reports a truncation. Returns 0 if the leader does
/// not know the epoch at all.
pub(crate) fn cut_at(text: &str) -> Option<i64> {
    if !text.contains(TRUNCATED) {
        return None;
    }
    let (_, end) = text.split_once(END).unwrap_or_default();
    let number = end.split(|character: char| character != '-' && !character.is_ascii_digit()).next();
    let end: i64 = number.and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(end.max(0))
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn a_truncated_log_is_distinguished_from_a_position_out_of_range() {
        for (text, expected) in [
            (
                "Partition log truncation detected at offset 100 (leader epoch 3): \
                 broker end offset is 97 (offset leader epoch 2). Reset to INVALID.: \
                 Local: Partition log truncation detected (broker 1)",
                Some(97),
            ),
            (
                "No epoch found less or equal to offset 100 (leader epoch 3): \
                 broker end offset is -1 (offset leader epoch -1). Reset using configured \
                 policy.: Local: Partition log truncation detected (broker 1)",
                Some(0),
            ),
            (
                "fetch failed due to requested offset not available on the broker: \
                 Broker: Offset out of range (broker 1)",
                None,
            ),
            ("Local: Partition log truncation detected", Some(0)),
            ("", None),
        ] {
            assert_eq!(cut_at(text), expected, "{text}");
        }
    }

    #[test]
    fn the_library_still_describes_it_so() {
        assert!(Code::LogTruncation.to_string().contains(TRUNCATED), "{}", Code::LogTruncation);
    }
}
