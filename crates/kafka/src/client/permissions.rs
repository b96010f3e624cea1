//! The question what a client may do with a topic.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::Probe;
use crate::Fault;
use crate::native::{Permissions, authorize, permissions, topic_name};
use crate::topics::is_embedded_id;

impl Probe {
    /// Returns what this client may do with a topic, or `None` where the broker does not tell, as the embedded one.
    ///
    /// # Errors
    /// If there is no answer within the deadline, or the topic does not exist.
    pub async fn permissions(&self, topic: &str, deadline: Duration) -> Result<Option<Permissions>, Fault> {
        let client = Arc::clone(&self.client);
        let name = topic_name(topic)?;
        tokio::task::spawn_blocking(move || {
            let client = client.get()?;
            authorize(client.client())?;
            match client.client().fetch_cluster_id(deadline) {
                Some(id) if is_embedded_id(Some(&id)) => Ok(None),
                Some(_) => permissions(&client, &name, deadline),
                None => Err(Code::OperationTimedOut.into()),
            }
        })
        .await
        .expect("the probe does not panic")
    }
}
