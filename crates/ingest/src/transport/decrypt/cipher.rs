//! The ciphers for bodies, by their names in PHP and OpenSSL.

use std::fmt;
use std::sync::LazyLock;

use openssl::asn1::Asn1Object;
use openssl::cipher::{Cipher, CipherRef};
use openssl::provider::Provider;

/// A cipher by name, for bodies without an authentication tag.
pub struct BodyCipher {
    name: String,
    cipher: Kind,
}

enum Kind {
    Fetched(Cipher),
    Known(&'static CipherRef),
}

/// The reason why a name is not a cipher for bodies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    #[error("OpenSSL has no such cipher")]
    Unknown,
    #[error("the vendor's transport has no place for the tag that this mode needs")]
    NeedsTag,
}

/// Parts of the names of authenticating modes: `openssl_decrypt` cannot use them without a tag.
const MODES_WITH_TAG: [&str; 6] = ["gcm", "ccm", "ocb", "siv", "poly1305", "hmac"];

impl BodyCipher {
    /// Returns the cipher that PHP's `openssl_decrypt` knows by `name`, in any case: `aes-256-ctr`.
    ///
    /// # Errors
    /// [`CipherError`] for names unknown to OpenSSL, and for modes that require a tag.
    pub fn named(name: &str) -> Result<Self, CipherError> {
        let lower = name.to_ascii_lowercase();
        if MODES_WITH_TAG.iter().any(|mode| lower.contains(mode)) {
            return Err(CipherError::NeedsTag);
        }
        let cipher = find(&lower).ok_or(CipherError::Unknown)?;
        Ok(Self { name: lower, cipher })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the cipher takes an initialization vector.
    pub(crate) fn takes_iv(&self) -> bool {
        self.cipher().iv_length() > 0
    }

    /// Returns whether the body is combined with a key stream. Two bodies with one key and one vector then have the
    /// same stream, and each reveals the other.
    pub(crate) fn is_stream(&self) -> bool {
        self.cipher().block_size() == 1
    }

    pub(super) fn cipher(&self) -> &CipherRef {
        match &self.cipher {
            Kind::Fetched(cipher) => cipher,
            Kind::Known(cipher) => cipher,
        }
    }
}

impl fmt::Debug for BodyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyCipher({})", self.name)
    }
}

/// A provider has a cipher under its own names. Older names (`aes-128-cfb128`, `bf`) are in OpenSSL's table of objects.
fn find(lower: &str) -> Option<Kind> {
    load_providers();
    if lower == "null" {
        return None;
    }
    if let Ok(cipher) = Cipher::fetch(None, lower, None) {
        return Some(Kind::Fetched(cipher));
    }
    [lower.to_owned(), lower.to_ascii_uppercase()].iter().find_map(|name| {
        let nid = Asn1Object::from_str(name).ok()?.nid();
        Cipher::from_nid(nid).map(Kind::Known)
    })
}

/// Blowfish, CAST5, DES, IDEA, RC2, RC4 and SEED are in a provider that OpenSSL 3 does not load by default; the
/// vendor's settings may be older than that. Loading one provider explicitly disables the automatic loading of the
/// default one, so both are loaded.
fn load_providers() {
    static PROVIDERS: LazyLock<[Option<Provider>; 2]> =
        LazyLock::new(|| ["default", "legacy"].map(|name| Provider::try_load(None, name, true).ok()));
    LazyLock::force(&PROVIDERS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_are_known_by_phps_names_in_any_case() {
        for name in [
            "aes-256-ctr",
            "AES-128-CBC",
            "aes-192-cfb8",
            "camellia-256-ofb",
            "aria-128-cfb1",
            "chacha20",
            "des-ede3-cbc",
        ] {
            assert!(BodyCipher::named(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn stream_modes_and_ciphers_are_told_from_blocks() {
        for (name, is_stream, takes_iv) in [
            ("aes-256-ctr", true, true),
            ("aes-192-cfb8", true, true),
            ("camellia-256-ofb", true, true),
            ("chacha20", true, true),
            ("rc4", true, false),
            ("aes-256-cbc", false, true),
            ("aes-128-ecb", false, false),
        ] {
            let cipher = BodyCipher::named(name).unwrap();
            assert_eq!((cipher.is_stream(), cipher.takes_iv()), (is_stream, takes_iv), "{name}");
        }
    }

    #[test]
    fn what_needs_a_tag_or_does_not_exist_is_refused() {
        for name in ["aes-256-gcm", "aes-128-ccm", "chacha20-poly1305", "aes-128-ocb", "aes-128-cbc-hmac-sha1"] {
            assert_eq!(BodyCipher::named(name).unwrap_err(), CipherError::NeedsTag, "{name}");
        }
        for name in ["", "rot13", "aes-257-ctr", "null", "sha256"] {
            assert_eq!(BodyCipher::named(name).unwrap_err(), CipherError::Unknown, "{name}");
        }
    }
}
