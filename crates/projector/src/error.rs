//! Why a projection cannot answer, or has ended.

use domain::Position;
use service::telemetry::chain;

use crate::store;

/// Why a projection cannot answer, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the table is not ready: {0}")]
    NotReady(String),
    #[error("the position {position} was not reached in time")]
    NotReached { position: Position },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the topic {topic} cannot be followed: {reason}")]
    Topic { topic: String, reason: String },
    #[error("the topic cannot be read")]
    Log(#[from] kafka::tail::Error),
    #[error("the topic cannot be scanned")]
    Scan(#[from] kafka::scan::Error),
    #[error(transparent)]
    Schema(#[from] service::registry::Unsettled),
    #[error("the Kafka options cannot be used: {0}")]
    Options(String),
    #[error("the system gives no more threads")]
    Threads(#[source] std::io::Error),
    #[error("the projection has ended")]
    Ended,
}

impl Error {
    /// Returns the text for those who ask over HTTP: paths are for the operator alone.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Store(error) => error.told().to_owned(),
            error => chain(error),
        }
    }
}
