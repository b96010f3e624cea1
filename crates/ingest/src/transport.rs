//! The vendor's transport, the same for all its webhooks: a secret in the URL, an encrypted body, JSON.

mod request;

mod authenticate;

mod budget;

mod encoding;

mod decrypt;

mod json;

mod parse;

mod password;

pub(crate) use authenticate::source;
pub use authenticate::{Authentic, Sender, SenderPolicy, authenticate};
pub(crate) use budget::{Budget, WINDOW};
pub use decrypt::{BodyCipher, BodyKey, BodyPolicy, CipherError, Plaintext, decrypt_body};
pub(crate) use decrypt::{decipherments, decode_base64, decrypt, decrypt_letter};
pub(crate) use encoding::{wide, without_mark};
pub(crate) use json::{token, type_name};
pub(crate) use parse::{Delivery, Members, parse};
pub use password::blank as blank_passwords;
pub(crate) use password::is_incomplete;
pub use request::RawRequest;

/// The accepted senders, and the encryption of bodies.
#[derive(Debug)]
pub struct Policy {
    pub sender: SenderPolicy,
    pub body: BodyPolicy,
}
