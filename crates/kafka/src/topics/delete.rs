//! Deletes the beginning of a log.

use std::time::Duration;

use domain::Position;
use rdkafka::admin::AdminOptions;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::admin::{admin, is_embedded};
use crate::{ClientOptions, Fault};

/// The cluster did not delete records.
#[derive(Debug, thiserror::Error)]
#[error("the cluster did not delete records of the topic {topic}")]
pub struct NotDeleted {
    pub topic: String,
    #[source]
    pub source: Fault,
}

/// Deletes the records before each position. No reader sees them afterwards. Kafka frees their bytes with the segments
/// that hold no other record (KIP-107). A position at the beginning of a log deletes nothing, and shows whether
/// deletion is permitted.
///
/// # Errors
/// If the cluster refuses, for example without the permission to delete, or does not answer within the deadline.
/// Records of some partitions may have been deleted then. The embedded broker does not support the request.
pub async fn delete_before(
    options: &ClientOptions,
    topic: &str,
    positions: &[Position],
    deadline: Duration,
) -> Result<(), NotDeleted> {
    let not_deleted = |source| NotDeleted { topic: topic.to_owned(), source };
    if is_embedded(options, deadline).await {
        return Err(not_deleted(Code::UnsupportedFeature.into()));
    }
    let mut offsets = TopicPartitionList::new();
    for position in positions {
        let added = offsets.add_partition_offset(topic, position.partition, Offset::Offset(position.offset));
        added.map_err(|error| not_deleted(error.into()))?;
    }
    let admin_options = AdminOptions::new().request_timeout(Some(deadline)).operation_timeout(Some(deadline));
    let admin = admin(options).await.map_err(not_deleted)?;
    let deleted = admin.delete_records(&offsets, &admin_options).await.map_err(|error| not_deleted(error.into()))?;
    deleted
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
        .map_err(|error| not_deleted(Fault::from(error)))
}
