//! A client that is made with its first use, and again after the credentials have changed.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{ClientOptions, Renewable};
use crate::Fault;

/// One client, or several that are made together. Who uses it keeps it alive for one question only.
pub(crate) struct Renewed<C> {
    options: ClientOptions,
    make: fn(&ClientOptions) -> Result<C, Fault>,
    slot: Mutex<Slot<C>>,
}

enum Slot<C> {
    NotMade,
    Open(Arc<C>),
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

    /// Returns the client. Can block as `make` does.
    ///
    /// # Errors
    /// If there is none yet and it cannot be made, or if it was closed.
    pub(crate) fn get(&self) -> Result<Arc<C>, Fault> {
        let mut slot = self.slot.lock();
        match &*slot {
            Slot::Open(client) => Ok(Arc::clone(client)),
            Slot::Closed => Err(Code::BrokerDestroy.into()),
            Slot::NotMade => {
                let client = Arc::new((self.make)(&self.options)?);
                *slot = Slot::Open(Arc::clone(&client));
                Ok(client)
            }
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
        if matches!(*slot, Slot::Open(_)) {
            let former = std::mem::replace(&mut *slot, Slot::NotMade);
            // Closing can block.
            drop(slot);
            drop(former);
        }
        Ok(())
    }
}
