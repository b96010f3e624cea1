//! Asks which log a topic's name stands for, on behalf of many at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::LogId;
use parking_lot::Mutex;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Error;
use super::admin::log_of;
use super::watch::HOLDS_FOR;
use crate::ClientOptions;
use crate::client::{Renewed, TracingContext};

/// The age at which an answer is asked for again ahead of its use, so that nobody has to wait for it.
const AHEAD_AT: Duration = Duration::from_millis(10);

/// Asks which log a topic's name stands for; clones share the connection and the answers. The connection is made with
/// the first question.
#[derive(Clone)]
pub struct LogProbe(Arc<Probe>);

struct Probe {
    topic: String,
    client: Arc<Renewed<BaseConsumer<TracingContext>>>,
    known: Mutex<Option<LogId>>,
    questions: Questions,
}

type Answer = Result<LogId, Error>;

/// The last question. There is never more than one without an answer.
#[derive(Default)]
struct Questions(Mutex<Option<Question>>);

/// A question on its way, or its answer.
#[derive(Clone)]
struct Question {
    began: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl LogProbe {
    /// Prepares questions about a topic. Nothing is sent yet.
    pub fn new(options: &ClientOptions, topic: &str) -> Self {
        let (topic, client) = (topic.to_owned(), Renewed::new(options, ClientOptions::inquirer));
        Self(Arc::new(Probe { topic, client, known: Mutex::default(), questions: Questions::default() }))
    }

    /// Returns the log that the topic's name stood for at some moment of this call, or in the 20 ms before. Who asks
    /// while a question is on its way shares the answer.
    ///
    /// # Errors
    /// If the topic does not exist, or the cluster does not answer within the deadline.
    pub async fn now(&self, deadline: Duration) -> Result<LogId, Error> {
        self.0.questions.answer(Instant::now(), || self.put(deadline)).await
    }

    /// Has an answer ready for a call of [`LogProbe::now`] that follows soon.
    pub fn ask_ahead(&self, deadline: Duration) {
        drop(self.0.questions.current(Instant::now(), AHEAD_AT, || self.put(deadline)));
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

    /// Sends a question.
    fn put(&self, deadline: Duration) -> watch::Receiver<Option<Answer>> {
        let (answered, answer) = watch::channel(None);
        let probe = Arc::clone(&self.0);
        drop(tokio::task::spawn_blocking(move || {
            let answer = super::watch::ask(&probe.client, |client| log_of(client, &probe.topic, deadline));
            *probe.known.lock() = answer.clone().ok();
            // Nobody may wait for it.
            drop(answered.send(Some(answer)));
        }));
        answer
    }
}

impl Questions {
    /// Returns the last question if its answer is not older than `age_max` at `now`, or is still to come. Else puts
    /// another.
    fn current(
        &self,
        now: Instant,
        age_max: Duration,
        put: impl FnOnce() -> watch::Receiver<Option<Answer>>,
    ) -> Question {
        let mut last = self.0.lock();
        if let Some(question) = &*last
            && (question.began + age_max >= now || question.answer.borrow().is_none())
        {
            return question.clone();
        }
        let question = Question { began: Instant::now(), answer: put() };
        *last = Some(question.clone());
        question
    }

    /// Returns an answer that holds at `came` or later.
    async fn answer(&self, came: Instant, put: impl Fn() -> watch::Receiver<Option<Answer>>) -> Answer {
        loop {
            let mut question = self.current(came, HOLDS_FOR, &put);
            let answer = question.answer.wait_for(Option::is_some).await.expect("asking does not panic").clone();
            if question.began + HOLDS_FOR >= came {
                return answer.expect("it was waited for");
            }
        }
    }
}

impl fmt::Debug for LogProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogProbe").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use domain::TopicId;
    use futures_util::FutureExt as _;

    use super::*;

    /// Answers by hand.
    #[derive(Default)]
    struct Cluster {
        asked: Cell<u8>,
        open: RefCell<Option<watch::Sender<Option<Answer>>>>,
    }

    impl Cluster {
        fn put(&self) -> watch::Receiver<Option<Answer>> {
            let (sender, receiver) = watch::channel(None);
            self.asked.set(self.asked.get() + 1);
            assert!(self.open.replace(Some(sender)).is_none(), "two questions at once");
            receiver
        }

        /// Answers with a log that has the number of the question.
        fn answer(&self) -> LogId {
            let log = LogId { cluster: "c".to_owned(), topic: TopicId::from_bytes([self.asked.get(); 16]) };
            self.open.take().expect("a question").send_replace(Some(Ok(log.clone())));
            log
        }
    }

    #[test]
    fn all_who_come_within_the_time_share_an_answer() {
        let (cluster, questions) = (Cluster::default(), Questions::default());
        let came = Instant::now();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(questions.answer(came, || cluster.put()))).collect();
        assert!(waiting.iter_mut().all(|answer| answer.now_or_never().is_none()));
        let log = cluster.answer();
        for answer in waiting {
            assert_eq!(answer.now_or_never(), Some(Ok(log.clone())));
        }
        let later = questions.0.lock().as_ref().unwrap().began + HOLDS_FOR;
        assert_eq!(questions.answer(later, || cluster.put()).now_or_never(), Some(Ok(log)));
        assert_eq!(cluster.asked.get(), 1);
    }

    #[test]
    fn an_answer_that_is_older_is_not_given() {
        let (cluster, questions) = (Cluster::default(), Questions::default());
        let early = questions.current(Instant::now(), AHEAD_AT, || cluster.put());
        let came = early.began + HOLDS_FOR + Duration::from_micros(1);
        // The clock of the second question is that of the test, which is before `came`.
        let mut late = Box::pin(questions.answer(came, || cluster.put()));
        assert_eq!((&mut late).now_or_never(), None, "the first is still on its way");
        cluster.answer();
        std::thread::sleep(HOLDS_FOR * 2);
        assert_eq!((&mut late).now_or_never(), None, "it was sent too early");
        assert_eq!(cluster.asked.get(), 2);
        let second = cluster.answer();
        assert_eq!(late.now_or_never(), Some(Ok(second)));
    }

    #[test]
    fn it_is_asked_ahead_when_half_the_time_is_over() {
        let (cluster, questions) = (Cluster::default(), Questions::default());
        let began = questions.current(Instant::now(), AHEAD_AT, || cluster.put()).began;
        let ahead = |at| questions.current(at, AHEAD_AT, || cluster.put()).began;
        assert_eq!(ahead(began + HOLDS_FOR * 2), began, "one at a time");
        cluster.answer();
        assert_eq!(ahead(began + AHEAD_AT), began);
        assert_eq!(cluster.asked.get(), 1);
        ahead(began + AHEAD_AT + Duration::from_micros(1));
        assert_eq!(cluster.asked.get(), 2);
    }
}
