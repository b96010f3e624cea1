//! Dead letters: unreadable bodies, kept as they were received, and their replay.
//!
//! The key of a letter is the digest of the blanked body. A digest of the original body would let an attacker test
//! guesses of a password.

mod count;

mod mention;

mod replay;

use domain::{Letter, UnixMillis, letter};

use crate::Rejection;
use crate::transport::{Authentic, blank_passwords};

pub use crate::users::{Destination, IDENTIFY_DEADLINE};
pub(crate) use count::LetterCount;
pub use mention::mentions;
pub use replay::{Refusal, Replay, ReplayError, Sorted, sort};

/// A vector longer than any cipher's, in hexadecimal, is not kept. The vendor does not send one, and headers have no
/// limit of their own.
const IV_MAX: usize = 128;

/// Returns the dead letter of `request`, received at `received_at`. Returns `None` when a body with this rejection is
/// not kept.
pub fn of(request: &Authentic, rejection: &Rejection, received_at: UnixMillis) -> Option<Letter> {
    if !rejection.is_kept() {
        return None;
    }
    Some(Letter {
        body: blank_passwords(request.body()),
        iv: request.iv().filter(|iv| !iv.is_empty() && iv.len() <= IV_MAX).map(str::to_owned),
        rejection: rejection.label().to_owned(),
        reason: letter::cut(rejection.to_string()),
        pointer: rejection.pointer().to_owned(),
        received_at,
        as_of: None,
        record: None,
    })
}
