//! The source of the password by which a Kafka client logs in (SASL PLAIN and SCRAM). The source reads a file and the
//! client speaks to Kafka; neither knows the other.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The reason why there is no password. Its text has no secret.
pub type PasswordError = Arc<dyn Error + Send + Sync>;

/// A source of the password, which can change while a process runs.
pub trait PasswordSource: fmt::Debug + Send + Sync {
    /// Returns the password of this moment. Can block.
    ///
    /// # Errors
    /// If there is none.
    fn password(&self) -> Result<String, PasswordError>;
}
