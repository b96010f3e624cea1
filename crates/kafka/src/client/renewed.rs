//! A client that is made with its first use, and again after the credentials have changed or it has fallen silent.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::{ClientOptions, Renewable};
use crate::Fault;
use crate::former::close_aside;

/// How long a client may leave questions without an answer before another one is asked. After a broker has paused,
/// librdkafka 2.12 was seen to keep a client without a connection for good, while new clients were answered.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// One client, or several that are made together. Who uses it keeps it alive for one question only.
pub(crate) struct Renewed<C> {
    options: ClientOptions,
    make: fn(&ClientOptions) -> Result<C, Fault>,
    slot: Mutex<Slot<C>>,
}

enum Slot<C> {
    NotMade,
    Open {
        client: Arc<C>,
        /// The time of the first question without an answer after the last answer.
        silent_since: Option<Instant>,
    },
    Closed,
}

impl<C: Send + Sync + 'static> Renewed<C> {
    /// Prepares a client. Nothing is connected yet.
    pub(crate) fn new(options: &ClientOptions, make: fn(&ClientOptions) -> Result<C, Fault>) -> Arc<Self> {
        let renewed = Arc::new(Self { options: options.clone(), make, slot: Mutex::new(Slot::NotMade) });
        let weak: Weak<Self> = Arc::downgrade(&renewed);
        options.credentials.register(weak);
        renewed
    }

    /// Returns the client. Can block as `make` does. How the question ended is to be told to [`Renewed::heard`].
    ///
    /// # Errors
    /// If there is none yet and it cannot be made, or if it was closed.
    pub(crate) fn get(&self) -> Result<Arc<C>, Fault> {
        let mut slot = self.slot.lock();
        match &*slot {
            Slot::Open { client, .. } => Ok(Arc::clone(client)),
            Slot::Closed => Err(Code::BrokerDestroy.into()),
            Slot::NotMade => {
                let client = Arc::new((self.make)(&self.options)?);
                *slot = Slot::Open { client: Arc::clone(&client), silent_since: None };
                Ok(client)
            }
        }
    }

    /// Notes whether the cluster answered a question, if only with an error. A client that has been silent for too long
    /// is closed, and the next question is asked by a new one.
    pub(crate) fn heard(&self, is_answered: bool) {
        self.heard_at(is_answered, Instant::now());
    }

    fn heard_at(&self, is_answered: bool, now: Instant) {
        let mut slot = self.slot.lock();
        let Slot::Open { silent_since, .. } = &mut *slot else { return };
        if is_answered {
            *silent_since = None;
            return;
        }
        let since = *silent_since.get_or_insert(now);
        if now.duration_since(since) >= SILENCE_MAX {
            let former = std::mem::replace(&mut *slot, Slot::NotMade);
            drop(slot);
            tracing::debug!(silent = ?now.duration_since(since), "a Kafka client without an answer is made anew");
            close_aside(move || drop(former));
        }
    }

    /// Closes the client, and blocks until that is done unless it is in use. Later uses fail.
    pub(crate) fn close(&self) {
        let former = std::mem::replace(&mut *self.slot.lock(), Slot::Closed);
        drop(former);
    }
}

impl<C: Send + Sync> Renewable for Renewed<C> {
    fn renew(&self) -> Result<(), Fault> {
        let mut slot = self.slot.lock();
        if matches!(*slot, Slot::Open { .. }) {
            let former = std::mem::replace(&mut *slot, Slot::NotMade);
            // Closing can block.
            drop(slot);
            drop(former);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_stays_silent_is_made_anew() {
        let renewed = Renewed::new(&ClientOptions::new("localhost:1"), |_| Ok(()));
        let (first, began) = (renewed.get().unwrap(), Instant::now());
        let same = |renewed: &Renewed<()>| Arc::ptr_eq(&first, &renewed.get().unwrap());

        renewed.heard_at(false, began);
        renewed.heard_at(false, began + SILENCE_MAX / 2);
        assert!(same(&renewed), "it may answer yet");
        renewed.heard_at(true, began + SILENCE_MAX / 2);
        renewed.heard_at(false, began + SILENCE_MAX);
        assert!(same(&renewed), "it has answered since");
        renewed.heard_at(false, began + SILENCE_MAX * 2);
        assert!(!same(&renewed));

        let second = renewed.get().unwrap();
        renewed.heard_at(false, began + SILENCE_MAX * 2);
        assert!(Arc::ptr_eq(&second, &renewed.get().unwrap()), "the silence of the former one is not its own");
    }

    #[test]
    fn a_closed_client_stays_closed() {
        let renewed = Renewed::new(&ClientOptions::new("localhost:1"), |_| Ok(()));
        drop(renewed.get().unwrap());
        renewed.close();
        renewed.heard_at(false, Instant::now());
        renewed.heard_at(false, Instant::now() + SILENCE_MAX);
        assert!(renewed.get().is_err());
    }
}
