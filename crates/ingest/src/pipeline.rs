//! From a request to an event: pure, synchronous stages. Each takes the type of the previous one and nothing wider.
//!
//! ```text
//! RawRequest ──authenticate──▶ Sender ──and the body──▶ Authentic
//!   ──decrypt──▶ Plaintext ──parse──▶ Delivery ──validate──▶ UserEvent
//! ```
//!
//! A user of an imported list begins as a [`Plaintext`], and has no `old` and no time of its own.
//!
//! The last check is the event's time: an event ahead of its receipt is refused.
//!
//! Keys and the time of arrival are arguments.

use domain::{Letter, UnixMillis, UserEvent};

use crate::Rejection;
use crate::transport::{Authentic, BodyPolicy, Plaintext, decrypt, decrypt_letter, parse};
use crate::users::{validate, validate_listed};

/// Returns the event of `request`, received at `now`.
///
/// # Errors
/// [`Rejection`] of the first stage that refused.
pub fn accept(request: &Authentic, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    read(&decrypt(request, policy)?, policy, now)
}

/// Returns the event of `user`, a JSON object on a list as of `as_of` that is read at `now`.
///
/// # Errors
/// [`Rejection::NotAnEvent`], or [`Rejection::Ahead`] for a list of the future.
pub fn accept_listed(
    user: &[u8],
    as_of: UnixMillis,
    policy: &BodyPolicy,
    now: UnixMillis,
) -> Result<UserEvent, Rejection> {
    not_ahead(validate_listed(parse(&Plaintext::received(user))?, as_of, &policy.omit, now)?)
}

/// Returns the event in a dead letter that is replayed. Its sender was checked when it was received.
///
/// # Errors
/// As [`accept`].
pub fn accept_again(letter: &Letter, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    match letter.as_of {
        Some(as_of) => accept_listed(&letter.body, as_of, policy, now),
        None => read(&decrypt_letter(letter, policy)?, policy, now),
    }
}

fn read(plaintext: &Plaintext<'_>, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Rejection> {
    not_ahead(validate(parse(plaintext)?, &policy.omit, now)?)
}

fn not_ahead(event: UserEvent) -> Result<UserEvent, Rejection> {
    match event.head().ahead_by() {
        Some(by) => Err(Rejection::Ahead { by }),
        None => Ok(event),
    }
}
