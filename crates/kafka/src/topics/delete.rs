//! Removing the beginning of a log.

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

/// Deletes the records before each position; no reader sees them from then on. Kafka's files give up their bytes with
/// the segments that hold nothing else (KIP-107). A position at the beginning of a log deletes nothing, and tells
/// whether it may be.
///
/// # Errors
///
/// If the cluster refuses, for want of the permission to delete say, or does not answer within the deadline. Some
/// partitions may have been seen to then. The embedded broker does not know the request.
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
    let admin = admin(options).map_err(not_deleted)?;
    let deleted = admin.delete_records(&offsets, &admin_options).await.map_err(|error| not_deleted(error.into()))?;
    deleted
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
        .map_err(|error| not_deleted(Fault::from(error)))
}
