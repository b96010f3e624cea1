//! The credentials that can change while a process runs, and the clients that are replaced when they do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use domain::{PasswordError, PasswordSource};
use parking_lot::Mutex;

use crate::Fault;

/// A client that can be replaced by one with the credentials of this moment.
pub(crate) trait Renewable: Send + Sync {
    /// Replaces the client, or lets the next use make one. Can block.
    ///
    /// # Errors
    /// If there is no new client. The former one stays.
    fn renew(&self) -> Result<(), Fault>;
}

/// The credentials in files; clones share them.
///
/// The certificate, key and authorities are read by the client library from the files that the properties name. The
/// password is read here, because the library takes only its text. A client that lives long is told of a change: it is
/// registered, or it compares the revision with the one that it began with.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Shared>);

#[derive(Default)]
struct Shared {
    source: Option<Arc<dyn PasswordSource>>,
    password: Mutex<Option<String>>,
    revision: AtomicU64,
    clients: Mutex<Vec<Weak<dyn Renewable>>>,
}

impl Credentials {
    /// Returns credentials with the password of that source, or without one. Can block.
    ///
    /// # Errors
    /// If there is a source and it has no password.
    pub fn open(source: Option<Arc<dyn PasswordSource>>) -> Result<Self, PasswordError> {
        let password = source.as_ref().map(|source| source.password()).transpose()?;
        Ok(Self(Arc::new(Shared { source, password: Mutex::new(password), ..Shared::default() })))
    }

    /// Returns credentials that consist of a password.
    pub(super) fn of(password: Option<String>) -> Self {
        Self(Arc::new(Shared { password: Mutex::new(password), ..Shared::default() }))
    }

    /// Returns the password in the file at this moment, or `None` if no file has one.
    pub(super) fn read(&self) -> Result<Option<String>, PasswordError> {
        self.0.source.as_ref().map(|source| source.password()).transpose()
    }

    /// Returns the password that new clients use.
    pub(super) fn password(&self) -> Option<String> {
        self.0.password.lock().clone()
    }

    /// Returns the number of changes so far.
    pub(crate) fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }

    /// Adds a client to those that are renewed, for as long as it lives.
    pub(crate) fn register(&self, client: Weak<dyn Renewable>) {
        let mut clients = self.0.clients.lock();
        clients.retain(|client| client.strong_count() > 0);
        clients.push(client);
    }

    /// Sets the password and renews all clients. Blocks while they are replaced.
    ///
    /// # Errors
    /// The first of the clients that could not be replaced.
    pub(crate) fn renew(&self, password: Option<String>) -> Result<(), Fault> {
        *self.0.password.lock() = password;
        self.0.revision.fetch_add(1, Ordering::Release);
        let clients: Vec<_> = self.0.clients.lock().iter().filter_map(Weak::upgrade).collect();
        let outcomes: Vec<_> = clients.iter().map(|client| client.renew()).collect();
        outcomes.into_iter().collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("source", &self.0.source).finish_non_exhaustive()
    }
}
