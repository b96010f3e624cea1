//! From a request to an event: pure, synchronous stages. Each takes the type of the previous one and nothing wider.
//!
//! ```text
//! RawRequest ──authenticate──▶ Sender ──and the body──▶ Authentic
//!   ──decrypt──▶ Plaintext ──parse──▶ Delivery ──validate──▶ UserEvent
//! ```
//!
//! The last check is the event's time: an event ahead of its receipt is refused.
//!
//! Keys and the time of arrival are arguments.

use domain::{Letter, UnixMillis, UserEvent};

use crate::Rejection;
use crate::transport::{Authentic, BodyPolicy, Plaintext, decrypt, decrypt_letter, parse};
use crate::users::validate;

/// Returns the event of `request`, received at `now`.
///
/// # Errors
/// [`Rejection`] of the first stage that refused.
pub fn accept(request: &Authentic, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    read(&decrypt(request, policy)?, policy, now)
}

/// Returns the event in a dead letter that is replayed. Its sender was checked when it was received.
///
/// # Errors
/// As [`accept`].
pub fn accept_again(letter: &Letter, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    read(&decrypt_letter(letter, policy)?, policy, now)
}

fn read(plaintext: &Plaintext, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    let event = validate(parse(plaintext)?, &policy.omit, now)?;
    match event.head().ahead_by() {
        Some(by) => Err(Rejection::Ahead { by }),
        None => Ok(event),
    }
}
