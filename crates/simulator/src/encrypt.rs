//! Encrypts a body like the vendor's PHP, `openssl_encrypt($body, $method, $key, 0, $iv)`: base64 text, with the key
//! zero-padded or cut to the cipher's length. Any receiver of the vendor's webhooks can be tested with it.

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;

/// A cipher and its key.
pub struct Encryption {
    cipher: Cipher,
    key: Vec<u8>,
}

/// Parts of the names of authenticating modes.
const MODES_WITH_TAG: [&str; 6] = ["gcm", "ccm", "ocb", "siv", "poly1305", "hmac"];
/// The text by which a cipher is tried before anything is sent.
const TRIAL: &[u8] = br#"{"new":{"userId":180},"old":null}"#;

/// The reason why a body cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no cipher {method}: expected a name that PHP's openssl_get_cipher_methods lists, as aes-256-ctr")]
    Unknown { method: String },
    #[error("{method} needs a tag, and the vendor's bodies have no place for it")]
    NeedsTag { method: String },
    /// For example one that wraps keys.
    #[error("{method} cannot encrypt a body")]
    Unfit { method: String },
    #[error("the cipher refuses")]
    Refused(#[source] ErrorStack),
}

/// An encrypted body, and the initialization vector for the query if the cipher has one.
#[derive(Debug)]
pub struct Encrypted {
    pub body: Vec<u8>,
    pub iv_hex: Option<String>,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption").finish_non_exhaustive()
    }
}

impl Encryption {
    /// Returns the encryption with the cipher of that name in PHP and OpenSSL.
    ///
    /// # Errors
    /// [`Error::Unknown`] when OpenSSL has no such cipher, [`Error::NeedsTag`] or [`Error::Unfit`] when it cannot be
    /// used for bodies.
    pub fn new(method: &str, key: &str) -> Result<Self, Error> {
        let lower = method.to_ascii_lowercase();
        if MODES_WITH_TAG.iter().any(|mode| lower.contains(mode)) {
            return Err(Error::NeedsTag { method: method.to_owned() });
        }
        // OpenSSL's own error says no more than these.
        let cipher = Cipher::fetch(None, method, None).map_err(|_| Error::Unknown { method: method.to_owned() })?;
        let mut key = key.as_bytes().to_vec();
        key.resize(cipher.key_length(), 0);
        let encryption = Self { cipher, key };
        match encryption.encrypt(TRIAL) {
            Ok(_) => Ok(encryption),
            Err(_) => Err(Error::Unfit { method: method.to_owned() }),
        }
    }

    /// Encrypts with a random initialization vector.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn encrypt(&self, clear: &[u8]) -> Result<Encrypted, Error> {
        let mut iv = vec![0; self.cipher.iv_length()];
        openssl::rand::rand_bytes(&mut iv).and_then(|()| self.encrypt_with(clear, &iv)).map_err(Error::Refused)
    }

    fn encrypt_with(&self, clear: &[u8], iv: &[u8]) -> Result<Encrypted, ErrorStack> {
        let mut context = CipherCtx::new()?;
        context.encrypt_init(Some(&self.cipher), Some(&self.key), Some(iv).filter(|iv| !iv.is_empty()))?;
        let mut sealed = Vec::with_capacity(clear.len() + self.cipher.block_size());
        context.cipher_update_vec(clear, &mut sealed)?;
        context.cipher_final_vec(&mut sealed)?;
        let iv_hex = (!iv.is_empty()).then(|| iv.iter().map(|byte| format!("{byte:02x}")).collect());
        Ok(Encrypted { body: openssl::base64::encode_block(&sealed).into_bytes(), iv_hex })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypt(method: &str, key: &str) -> Encrypted {
        Encryption::new(method, key).unwrap().encrypt(br#"{"new":{"userId":180}}"#).unwrap()
    }

    #[test]
    fn each_kind_of_cipher_gives_base64_and_a_vector_of_its_length() {
        for (method, iv_digits) in [("aes-256-ctr", 32), ("aes-128-cbc", 32), ("des-ede3-cbc", 16), ("chacha20", 32)] {
            let sent = encrypt(method, "a secret");
            assert!(openssl::base64::decode_block(std::str::from_utf8(&sent.body).unwrap()).is_ok(), "{method}");
            assert_eq!(sent.iv_hex.map(|iv| iv.len()), Some(iv_digits), "{method}");
        }
        assert!(encrypt("aes-256-ecb", "a secret").iv_hex.is_none());
    }

    #[test]
    fn a_key_is_padded_and_cut_as_php_does() {
        let body = |key| Encryption::new("aes-128-ctr", key).unwrap().encrypt_with(b"a body", &[7; 16]).unwrap().body;
        assert_eq!(body("0123456789abcdef and what is beyond sixteen bytes"), body("0123456789abcdef"));
        assert_eq!(body("short"), body("short\0\0"));
        assert_ne!(body("short"), body("shorter"));
    }

    #[test]
    fn what_cannot_encrypt_bodies_is_refused_before_anything_is_sent() {
        for method in ["aes-256-gcm", "AES-128-CCM", "chacha20-poly1305", "aes-128-siv", "aes-128-ocb"] {
            let refused = Encryption::new(method, "key").unwrap_err();
            assert!(matches!(refused, Error::NeedsTag { .. }), "{method}: {refused}");
        }
        assert!(matches!(Encryption::new("id-aes256-wrap", "key").unwrap_err(), Error::Unfit { .. }));
    }

    #[test]
    fn an_unknown_cipher_is_named() {
        let unknown = Encryption::new("rot-13", "key").unwrap_err();
        assert!(unknown.to_string().starts_with("there is no cipher rot-13: expected a name that PHP's "), "{unknown}");
        assert!(std::error::Error::source(&unknown).is_none(), "OpenSSL's error tells a user nothing");
    }
}
