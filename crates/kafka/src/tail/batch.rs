//! Collects records until there are enough for one event.

use crate::Record;

#[derive(Debug)]
pub(crate) struct Batch {
    records: Vec<Record>,
    bytes: usize,
    records_max: usize,
    bytes_max: usize,
}

impl Batch {
    pub(crate) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records: Vec::new(), bytes: 0, records_max: records_max.max(1), bytes_max }
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.records.push(record);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= self.records_max || self.bytes >= self.bytes_max
    }

    /// Returns the collected records, if any, and starts over.
    pub(crate) fn take(&mut self) -> Option<Vec<Record>> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        (!records.is_empty()).then_some(records)
    }
}

#[cfg(test)]
mod tests {
    use domain::{Position, UnixMillis};

    use super::*;

    fn record(value_bytes: usize) -> Record {
        Record {
            position: Position { partition: 0, offset: 0 },
            leader_epoch: None,
            timestamp: UnixMillis::from_millis(0),
            key: None,
            value: Some(vec![0; value_bytes]),
            headers: Vec::new(),
        }
    }

    #[test]
    fn full_by_records_or_by_bytes() {
        let mut by_records = Batch::new(2, 1_000);
        by_records.push(record(1));
        assert!(!by_records.is_full());
        by_records.push(record(1));
        assert!(by_records.is_full());

        let mut by_bytes = Batch::new(100, 10);
        by_bytes.push(record(10));
        assert!(by_bytes.is_full());
    }

    #[test]
    fn taking_starts_over() {
        let mut batch = Batch::new(1, 10);
        batch.push(record(10));
        assert_eq!(batch.take().map(|records| records.len()), Some(1));
        assert!(!batch.is_full());
        assert_eq!(batch.take(), None);
    }
}
