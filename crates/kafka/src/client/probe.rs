//! Asks whether the cluster answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{ClientOptions, Renewed, TracingContext, connect};
use crate::Fault;
use crate::native::authorize;

type Inquirer = BaseConsumer<TracingContext>;

/// A connection for readiness checks: asks whether the cluster answers.
#[derive(Clone)]
pub struct Probe {
    pub(super) client: Arc<Renewed<Inquirer>>,
    topic: Arc<str>,
    options: ClientOptions,
    /// Whether the last request was answered.
    answers: Arc<AtomicBool>,
}

impl Probe {
    /// Prepares requests about a topic. Nothing is sent yet.
    ///
    /// # Errors
    /// If the options cannot be used; [`ClientOptions::validate`] returns the reasons.
    pub fn new(options: &ClientOptions, topic: &str) -> Result<Self, Fault> {
        let client = Renewed::new(options, |options| Ok(options.base().create_with_context(options.context())?));
        client.get()?;
        Ok(Self { client, topic: topic.into(), options: options.clone(), answers: Arc::default() })
    }

    /// Returns the number of partitions of the topic, once the cluster has described it: one small request. At first,
    /// and after a request that was not answered, the cluster is connected to before, which gives the reason.
    ///
    /// Cancel-safe: a dropped call ends at its deadline.
    ///
    /// # Errors
    /// The reason why the cluster cannot be used; no answer within the deadline; a topic that does not exist.
    pub async fn cluster_answers(&self, deadline: Duration) -> Result<i32, Fault> {
        if !self.answers.load(Ordering::Relaxed) {
            connect(&self.options, deadline).await?;
        }
        let answer = self.ask(deadline).await;
        self.answers.store(answer.is_ok(), Ordering::Relaxed);
        answer
    }

    async fn ask(&self, deadline: Duration) -> Result<i32, Fault> {
        let client = Arc::clone(&self.client);
        let topic = Arc::clone(&self.topic);
        tokio::task::spawn_blocking(move || {
            let inquirer = client.get()?;
            authorize(inquirer.client())?;
            let answer = inquirer.fetch_metadata(Some(&topic), deadline).map_err(Fault::from);
            // librdkafka queues its log lines and errors on the client. Without polling they would accumulate.
            while inquirer.poll(Duration::ZERO).is_some() {}
            client.heard(!answer.as_ref().is_err_and(Fault::is_transient));
            let metadata = answer?;
            let described = metadata.topics().first().ok_or(Code::UnknownTopicOrPartition)?;
            match described.error() {
                Some(code) => Err(Code::from(code).into()),
                None => Ok(i32::try_from(described.partitions().len()).unwrap_or(i32::MAX)),
            }
        })
        .await
        .expect("the probe does not panic")
    }

    /// Closes the connection and waits for the end, unless a dropped call is still running.
    pub async fn close(self) {
        tokio::task::spawn_blocking(move || self.client.close()).await.expect("closing does not panic");
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("topic", &self.topic).finish_non_exhaustive()
    }
}
