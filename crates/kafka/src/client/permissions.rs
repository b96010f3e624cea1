//! The question what a client may do with a topic or a group.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Probe, TracingContext};
use crate::Fault;
use crate::native::{Permissions, authorize, may_read_group, permissions, topic_name};
use crate::topics::is_embedded_id;

impl Probe {
    /// Returns what this client may do with a topic, or `None` where the broker does not tell, as the embedded one.
    ///
    /// # Errors
    /// If there is no answer within the deadline, or the topic does not exist.
    pub async fn permissions(&self, topic: &str, deadline: Duration) -> Result<Option<Permissions>, Fault> {
        let name = topic_name(topic)?;
        self.ask_kafka(deadline, move |client| permissions(client, &name, deadline)).await
    }

    /// Returns whether this client may read as a member of a group, or `None` where the broker does not tell.
    ///
    /// # Errors
    /// If there is no answer within the deadline.
    pub async fn may_read_group(&self, group: &str, deadline: Duration) -> Result<Option<bool>, Fault> {
        let group = CString::new(group).map_err(|_| Fault::from(Code::InvalidGroupId))?;
        self.ask_kafka(deadline, move |client| may_read_group(client, &group, deadline)).await
    }

    /// Asks, unless the broker is the embedded one, which has no permissions.
    async fn ask_kafka<A: Send + 'static>(
        &self,
        deadline: Duration,
        question: impl FnOnce(&BaseConsumer<TracingContext>) -> Result<Option<A>, Fault> + Send + 'static,
    ) -> Result<Option<A>, Fault> {
        let client = Arc::clone(&self.client);
        let asked = tokio::task::spawn_blocking(move || {
            let client = client.get()?;
            authorize(client.client())?;
            match client.client().fetch_cluster_id(deadline) {
                Some(id) if is_embedded_id(Some(&id)) => Ok(None),
                Some(_) => question(&client),
                None => Err(Code::OperationTimedOut.into()),
            }
        });
        asked.await.expect("the probe does not panic")
    }
}
