//! The token by which a Kafka client proves who it is (SASL OAUTHBEARER), and the source of such tokens. The source
//! asks a server by HTTP and the client speaks to Kafka; neither knows the other.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A token. It prints without its value.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub value: String,
    /// The name of the client in its own log lines. The cluster takes the name from the token.
    pub principal: String,
    /// The rest of the token's life.
    pub valid_for: Duration,
}

/// The reason why there is no token, the same for all who wait for one.
pub type TokenError = Arc<dyn Error + Send + Sync>;

/// A source of tokens, shared by all clients of a process.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Returns a token that is valid now. Can block, for a time that the source limits: not for a thread of a runtime.
    ///
    /// # Errors
    /// If there is none. The text of the error says what to do, and has no secret.
    fn token(&self) -> Result<AccessToken, TokenError>;
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value: _, principal, valid_for } = self;
        f.debug_struct("AccessToken")
            .field("principal", principal)
            .field("valid_for", valid_for)
            .finish_non_exhaustive()
    }
}
