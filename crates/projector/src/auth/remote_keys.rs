//! The keys of an issuer by its URL: fetched at start, then often enough for a rotation, and once more when a token
//! names a key that is not known.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use service::Shutdown;
use service::client::{self, Endpoint};
use service::telemetry::chain;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::denied::Denials;
use super::follow::Followed;
use super::keys::{Keys, KeysFault};

/// How often the keys are fetched.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// How soon they are fetched again after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// The shortest time between two fetches, whoever asks: a stranger can name any number of keys.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// The media type of the answer.
const JSON: &str = "application/json";

/// The keys as last fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetched {
    pub(super) keys: Arc<Keys>,
    /// When they were asked for, and whether that failed.
    last: Option<(Instant, bool)>,
}

/// The keys of an issuer by its URL, and the way to have them fetched.
#[derive(Clone, Debug)]
pub(super) struct RemoteKeys {
    pub(super) fetched: watch::Receiver<Fetched>,
    wanted: Arc<Notify>,
}

/// Why the keys were not fetched.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("there is no answer")]
    Unanswered(#[from] client::Error),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer has more than {} bytes", Keys::BYTES_MAX)]
    TooLong,
    #[error("the answer cannot be used")]
    Keys(#[source] KeysFault),
}

impl RemoteKeys {
    /// Returns the keys, none yet, and the part that fetches them until `stop`.
    pub(super) fn of(
        endpoint: Endpoint,
        denials: Denials,
        stop: Shutdown,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (to, fetched) = watch::channel(Fetched::default());
        let wanted = Arc::new(Notify::new());
        let fetching = fetch(endpoint, to, Arc::clone(&wanted), denials, stop);
        (Self { fetched, wanted }, fetching)
    }

    /// Has the keys fetched again and waits for that. Does nothing soon after the last time.
    pub(super) async fn refresh(&self) {
        let mut fetched = self.fetched.clone();
        let last = fetched.borrow_and_update().last;
        if last.is_some_and(|(at, _)| Instant::now() < at + PAUSE_MIN) {
            return;
        }
        self.wanted.notify_one();
        // Without a sender the service is ending.
        let _ended = fetched.changed().await.is_err();
    }

    /// Returns whether the last fetch failed.
    pub(super) fn are_unavailable(&self) -> bool {
        self.fetched.borrow().last.is_none_or(|(_, failed)| failed)
    }
}

async fn fetch(endpoint: Endpoint, to: watch::Sender<Fetched>, wanted: Arc<Notify>, denials: Denials, stop: Shutdown) {
    loop {
        let fetched = tokio::select! {
            () = stop.requested() => return,
            fetched = keys(&endpoint) => fetched,
        };
        let now = Instant::now();
        let is_failed = fetched.is_err();
        match fetched {
            Ok(keys) => drop(to.send_replace(Fetched { keys: Arc::new(keys), last: Some((now, false)) })),
            Err(fault) => {
                denials.failed_read(Keys::SOURCE);
                tracing::warn!(
                    url = endpoint.url(),
                    error = chain(&fault),
                    "the keys of the issuer cannot be fetched; those that were fetched before stay in force"
                );
                to.send_modify(|fetched| fetched.last = Some((now, true)));
            }
        }
        let next = now + if is_failed { RETRY_INTERVAL } else { REFRESH_INTERVAL };
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep_until(next) => {}
            () = async {
                wanted.notified().await;
                tokio::time::sleep_until(now + PAUSE_MIN).await;
            } => {}
        }
    }
}

async fn keys(endpoint: &Endpoint) -> Result<Keys, Fault> {
    let answer = endpoint.send(Method::GET, "", JSON, None).await?;
    if answer.status != StatusCode::OK {
        return Err(Fault::Status(answer.status));
    }
    if answer.body.len() > Keys::BYTES_MAX {
        return Err(Fault::TooLong);
    }
    Keys::of(&answer.body).map_err(Fault::Keys)
}
