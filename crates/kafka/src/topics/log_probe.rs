//! Asks which log a topic's name stands for, on behalf of many at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::LogId;
use parking_lot::Mutex;
use rdkafka::consumer::BaseConsumer;
use tokio::time::Instant;

use super::Error;
use super::admin::log_of;
use super::watch::ask;
use crate::ClientOptions;
use crate::client::{Renewed, TracingContext};

/// Asks which log a topic's name stands for; clones share the connection and the answers. The connection is made with
/// the first question.
#[derive(Clone)]
pub struct LogProbe(Arc<Probe>);

struct Probe {
    topic: String,
    client: Arc<Renewed<BaseConsumer<TracingContext>>>,
    known: Mutex<Option<LogId>>,
    last: tokio::sync::Mutex<Last>,
}

/// The last question and its answer.
#[derive(Default)]
struct Last {
    began: Option<Instant>,
    answer: Option<Result<LogId, Error>>,
}

impl LogProbe {
    /// Prepares questions about a topic. Nothing is sent yet.
    pub fn new(options: &ClientOptions, topic: &str) -> Self {
        let (topic, client) = (topic.to_owned(), Renewed::new(options, ClientOptions::inquirer));
        Self(Arc::new(Probe { topic, client, known: Mutex::default(), last: tokio::sync::Mutex::default() }))
    }

    /// Returns the log that the topic's name stood for at some moment of this call. One asks at a time, and all who
    /// came before the question was sent share its answer.
    ///
    /// # Errors
    /// If the topic does not exist, or the cluster does not answer within the deadline.
    pub async fn now(&self, deadline: Duration) -> Result<LogId, Error> {
        let came = Instant::now();
        let mut last = self.0.last.lock().await;
        if let (Some(began), Some(answer)) = (last.began, &last.answer)
            && came <= began
        {
            return answer.clone();
        }
        let (began, probe) = (Instant::now(), Arc::clone(&self.0));
        let answer = tokio::task::spawn_blocking(move || probe.ask(deadline)).await.expect("asking does not panic");
        *self.0.known.lock() = answer.clone().ok();
        *last = Last { began: Some(began), answer: Some(answer.clone()) };
        answer
    }

    /// Returns the last answer, from before this call.
    pub fn last(&self) -> Option<LogId> {
        self.0.known.lock().clone()
    }

    /// Closes the connection and waits for the end, unless a question is still on its way. Later ones fail.
    pub async fn close(&self) {
        let client = Arc::clone(&self.0.client);
        tokio::task::spawn_blocking(move || client.close()).await.expect("closing does not panic");
    }
}

impl Probe {
    fn ask(&self, deadline: Duration) -> Result<LogId, Error> {
        ask(&self.client, |client| log_of(client, &self.topic, deadline))
    }
}

impl fmt::Debug for LogProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogProbe").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}
