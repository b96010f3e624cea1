//! From a request to an event: pure, synchronous stages, each of which takes the previous one's type and nothing wider.
//!
//! ```text
//! RawRequest ──authenticate──▶ Sender ──and the body──▶ Authentic ──decrypt──▶ Plaintext ──parse──▶ Delivery ──validate──▶ UserEvent
//! ```
//!
//! Keys and the time of arrival are arguments. What is refused and worth keeping comes with the dead letter to write.

mod request;

mod authenticate;

mod decrypt;

mod json;

mod parse;

mod validate;

mod password;

use domain::{UnixMillis, UserEvent};

use crate::Rejection;
use crate::dead_letter::DeadLetter;

pub use authenticate::{Authentic, Sender, SenderPolicy, authenticate};
pub use decrypt::{BodyCipher, BodyKey, BodyPolicy, CipherError, Plaintext, decrypt_body};
pub use parse::{DEPTH_MAX, Delivery};
pub use password::blank as blank_passwords;
pub use request::RawRequest;

/// Who may send, and how bodies are encrypted.
#[derive(Debug)]
pub struct Policy {
    pub sender: SenderPolicy,
    pub body: BodyPolicy,
}

/// A refused request.
#[derive(Debug)]
pub struct Refused {
    pub rejection: Rejection,
    /// What is to be written to the dead-letter topic before the sender is answered.
    pub dead_letter: Option<Box<DeadLetter>>,
}

/// Returns the event that `request`, received at `now`, tells of.
///
/// # Errors
/// [`Refused`], by the first stage that did.
pub fn accept(request: &Authentic, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Refused> {
    let event = decrypt::decrypt(request, policy)
        .and_then(|plaintext| parse::parse(&plaintext))
        .and_then(|delivery| validate::validate(delivery, now));
    event.map_err(|rejection| {
        let dead_letter = rejection.is_kept().then(|| Box::new(DeadLetter::new(request, &rejection, now)));
        Refused { rejection, dead_letter }
    })
}

/// Returns the event in a body whose sender needs no check: a dead letter that is replayed.
///
/// # Errors
/// As [`accept`].
pub fn accept_again(letter: &DeadLetter, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Refused> {
    accept(&Authentic::of_dead_letter(letter), policy, now)
}
