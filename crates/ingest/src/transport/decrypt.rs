//! Stage 2: decrypts the body like PHP's `openssl_decrypt($body, $method, $key, 0, hex2bin($iv))`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use domain::Letter;
use openssl::cipher::CipherRef;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::error::ErrorStack;
use service::Secret;
use zeroize::Zeroizing;

use super::Authentic;
use super::encoding::{foreign, is_json, without_mark};
use crate::Rejection;

mod cipher;

pub use cipher::{BodyCipher, CipherError};

/// The encryption of bodies, and the fields that an event does not take from one.
#[derive(Debug, Default)]
pub struct BodyPolicy {
    /// The live keys: several while the key or the cipher is changed. If there are none, bodies are clear text.
    pub keys: Vec<BodyKey>,
    /// Whether clear text is accepted although there are keys: for the period in which encryption is being enabled.
    pub clear_text_too: bool,
    /// Whether an encrypted body needs a vector in the query, if its cipher takes one.
    pub require_iv: bool,
    /// Optional fields of a user that are left out of events: some of [`domain::User::OMITTABLE`], in alphabetical
    /// order.
    pub omit: Vec<String>,
}

/// A secret key with its cipher, both as set in the vendor's configuration.
#[derive(Debug)]
pub struct BodyKey {
    pub cipher: BodyCipher,
    pub key: Secret,
}

/// A body in clear text. It does not print, because it can contain a password. What was decrypted is wiped when it is
/// dropped. Not wiped: a body that was received in clear text, in the buffers of the connection, and the texts that the
/// parser makes of a body.
pub struct Plaintext<'b>(Text<'b>);

enum Text<'b> {
    Received(&'b [u8]),
    Decrypted(Zeroizing<Vec<u8>>),
}

impl<'b> Plaintext<'b> {
    /// Returns the text.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Received(text) => text,
            Text::Decrypted(text) => text,
        }
    }

    /// Returns a text that never was encrypted.
    pub(crate) fn received(text: &'b [u8]) -> Self {
        Self(Text::Received(text))
    }
}

impl std::fmt::Debug for Plaintext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plaintext({} bytes)", self.bytes().len())
    }
}

/// Returns the clear text of the body, by the first live key that gives readable text, which means JSON. JSON in
/// another encoding than UTF-8 counts too: the next stage refuses it with that reason.
///
/// # Errors
/// [`Rejection::Undecryptable`] when no key does, or when the body is clear text and that is not accepted.
pub(crate) fn decrypt<'b>(authentic: &'b Authentic, policy: &BodyPolicy) -> Result<Plaintext<'b>, Rejection> {
    decrypt_body(authentic.body(), authentic.iv(), policy)
}

/// Returns the clear text of a dead letter.
///
/// # Errors
/// As [`decrypt`].
pub(crate) fn decrypt_letter<'b>(letter: &'b Letter, policy: &BodyPolicy) -> Result<Plaintext<'b>, Rejection> {
    decrypt_body(&letter.body, letter.iv.as_deref(), policy)
}

/// Returns the clear text of `body`, given its vector in hexadecimal, for callers with a body and no request.
///
/// # Errors
/// [`Rejection::Undecryptable`], like the stage.
pub fn decrypt_body<'b>(body: &'b [u8], iv: Option<&str>, policy: &BodyPolicy) -> Result<Plaintext<'b>, Rejection> {
    if policy.keys.is_empty() {
        return Ok(Plaintext::received(body));
    }
    if looks_clear(body) {
        return if policy.clear_text_too {
            Ok(Plaintext::received(body))
        } else {
            Err(Rejection::Undecryptable { reason: "it is clear text, and encryption is required" })
        };
    }
    let iv = hex::decode(iv.unwrap_or_default())
        .map_err(|_| Rejection::Undecryptable { reason: "the iv in the query is not hexadecimal" })?;
    let has_vector = |key: &&BodyKey| !policy.require_iv || !iv.is_empty() || !key.cipher.takes_iv();
    let mut keys = policy.keys.iter().filter(has_vector).peekable();
    if keys.peek().is_none() {
        return Err(Rejection::Undecryptable { reason: "the query has no iv, and security.require_iv is true" });
    }
    let cipher_text = decode_base64(body);
    keys.filter_map(|key| decipher(key, &iv, &cipher_text).ok())
        .find(|text| is_readable(text))
        .map(|text| Plaintext(Text::Decrypted(text)))
        .ok_or(Rejection::Undecryptable { reason: "no live key decrypts it" })
}

/// Returns what each live key makes of `body`, readable or not. Empty when the vector is not hexadecimal.
pub(crate) fn decipherments(body: &[u8], iv: Option<&str>, policy: &BodyPolicy) -> Vec<Zeroizing<Vec<u8>>> {
    let Ok(iv) = hex::decode(iv.unwrap_or_default()) else { return Vec::new() };
    let cipher_text = decode_base64(body);
    policy.keys.iter().filter_map(|key| decipher(key, &iv, &cipher_text).ok()).collect()
}

/// A JSON object or array begins with a byte outside the base64 alphabet.
fn looks_clear(body: &[u8]) -> bool {
    matches!(without_mark(body).trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Stream modes "decrypt" with any key. Only the right key gives JSON.
fn is_readable(text: &[u8]) -> bool {
    is_json(without_mark(text)) || foreign(text).is_some()
}

/// Decodes like PHP in its non-strict mode: bytes outside the alphabet, such as line breaks, are skipped, and an
/// incomplete last group gives its complete bytes.
pub(crate) fn decode_base64(body: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let mut letters: Vec<u8> =
        body.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect();
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    LENIENT.decode(&letters).expect("only letters of the alphabet, in groups of two or more, are left")
}

/// Decrypts with the bytes of the key's text and of the vector, each zero-padded or cut to the cipher's length.
fn decipher(key: &BodyKey, iv: &[u8], cipher_text: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let cipher: &CipherRef = key.cipher.cipher();
    let mut context = CipherCtx::new()?;
    // PHP allows the key wrapping modes (RFC 3394, RFC 5649), which OpenSSL refuses without this flag.
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    context.decrypt_init(Some(cipher), None, None)?;
    let key_bytes = key.key.expose().as_bytes();
    let key_length = key_length(&mut context, cipher, key_bytes.len());
    let key_bytes = Zeroizing::new(zero_padded(key_bytes, key_length));
    let iv = zero_padded(iv, cipher.iv_length());
    context.decrypt_init(None, Some(&key_bytes), (cipher.iv_length() > 0).then_some(&iv))?;
    // With room for all of it, so that it never moves and leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(cipher_text.len() + 2 * cipher.block_size()));
    context.cipher_update_vec(cipher_text, &mut text)?;
    context.cipher_final_vec(&mut text)?;
    Ok(text)
}

/// A cipher with a variable key length takes a longer key whole, as in PHP. All others cut it.
fn key_length(context: &mut CipherCtx, cipher: &CipherRef, given: usize) -> usize {
    let longer = given > cipher.key_length() && context.set_key_length(given).is_ok();
    if longer { given } else { cipher.key_length() }
}

fn zero_padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut padded = bytes.get(..length).unwrap_or(bytes).to_vec();
    padded.resize(length, 0);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_leniently_as_php_does() {
        let table: [(&str, &[u8]); 9] = [
            ("", b""),
            ("aGVsbG8=", b"hello"),
            ("aGVsbG8", b"hello"),
            ("aGVs\r\nbG8=\r\n", b"hello"),
            (" aGVs bG8 ", b"hello"),
            ("aGVs=bG8=", b"hello"),
            ("aGVs*bG8", b"hello"),
            ("aGVsb", b"hel"),
            ("a", b""),
        ];
        for (text, bytes) in table {
            assert_eq!(decode_base64(text.as_bytes()), bytes, "{text:?}");
        }
    }

    #[test]
    fn keys_and_vectors_are_padded_or_cut() {
        assert_eq!(zero_padded(b"ab", 4), b"ab\0\0");
        assert_eq!(zero_padded(b"abcdef", 4), b"abcd");
        assert_eq!(zero_padded(b"", 0), b"");
    }
}
