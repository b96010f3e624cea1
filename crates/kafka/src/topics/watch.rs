//! Looks after a topic from time to time: is it still there, is it the same, has it more partitions?
//!
//! A reader of a topic that was deleted and created again hears nothing more from the client library, which keeps
//! asking for the old one by its id.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use tokio::time::Instant;

use super::Error;
use super::admin::identify;

/// How often to look: as long as the client library itself gives a missing topic to appear.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long one look may keep the reader from reading.
const DEADLINE: Duration = Duration::from_secs(2);

/// The topic is not the one that was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    Missing { topic: String },
    Replaced { topic: String },
}

pub(crate) struct Watch {
    topic: String,
    /// As first seen. `None` until then, and where the broker gives topics no id.
    topic_id: Option<String>,
    look_at: Instant,
    /// Whether the last look did not find the topic. A broker that has just started may not know it yet.
    missed: bool,
}

impl Watch {
    /// Begins to watch; the first look is due at once.
    pub(crate) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), topic_id: None, look_at: Instant::now(), missed: false }
    }

    /// Returns the number of partitions if it was time to look and the cluster answered.
    ///
    /// # Errors
    ///
    /// If the topic is not there at two looks in succession, or is another one.
    pub(crate) fn look<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) -> Result<Option<i32>, Changed> {
        let now = Instant::now();
        if now < self.look_at {
            return Ok(None);
        }
        self.look_at = now + INTERVAL;
        match identify(consumer, &self.topic, DEADLINE) {
            Ok((shape, topic_id)) => {
                self.missed = false;
                self.compare(topic_id)?;
                Ok(Some(shape.partitions))
            }
            Err(Error::Missing { topic }) if self.missed => Err(Changed::Missing { topic }),
            Err(Error::Missing { .. }) => {
                self.missed = true;
                Ok(None)
            }
            // An outage is the reader's affair; the next look is not far.
            Err(Error::NotCreated { .. } | Error::NotDescribed { .. } | Error::Client(_)) => Ok(None),
        }
    }

    fn compare(&mut self, found: Option<String>) -> Result<(), Changed> {
        match (&self.topic_id, found) {
            (Some(known), Some(found)) if *known != found => Err(Changed::Replaced { topic: self.topic.clone() }),
            (None, Some(found)) => {
                self.topic_id = Some(found);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_id_is_another_topic() {
        let mut watch = Watch::new("users");
        let replaced = Err(Changed::Replaced { topic: "users".to_owned() });
        for (found, expected) in
            [(None, Ok(())), (Some("one"), Ok(())), (Some("one"), Ok(())), (None, Ok(())), (Some("other"), replaced)]
        {
            assert_eq!(watch.compare(found.map(str::to_owned)), expected, "{found:?}");
        }
    }
}
