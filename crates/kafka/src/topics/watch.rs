//! Checks at intervals whether a topic still exists, is the same topic, and has new partitions.
//!
//! librdkafka delivers nothing more to the reader of a topic that was deleted and created again, because it keeps
//! requesting the old topic by its id.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use tokio::time::Instant;

use super::Error;
use super::admin::identify;

/// The interval of checks: as long as librdkafka waits for a missing topic.
const INTERVAL: Duration = Duration::from_secs(30);
/// The longest time that one check may block the reader.
const DEADLINE: Duration = Duration::from_secs(2);

/// The topic differs from the one that was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    Missing { topic: String },
    Replaced { topic: String },
}

pub(crate) struct Watch {
    topic: String,
    /// The id at the first check. `None` until then, and where the broker has no topic ids.
    topic_id: Option<String>,
    look_at: Instant,
    /// Whether the last check did not find the topic. A broker that has just started may not know it yet.
    missed: bool,
}

impl Watch {
    /// Starts to watch. The first check is due at once.
    pub(crate) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), topic_id: None, look_at: Instant::now(), missed: false }
    }

    /// Returns the number of partitions if a check was due and the cluster answered.
    ///
    /// # Errors
    /// If two successive checks do not find the topic, or if it is another topic.
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
            // The reader handles an outage. The next check comes soon.
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
