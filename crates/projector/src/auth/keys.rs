//! The keys of an issuer (RFC 7517), and how each is used.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use openssl::nid::Nid;
use serde::Deserialize;
use serde_json::Value;

use super::crypto;
use super::follow::Followed;

/// The most keys of an issuer.
const KEYS_MAX: usize = 100;
/// The shortest modulus of RSA (RFC 7518, section 3.3), and the longest: to check a signature takes time by its square.
const RSA_BITS_MIN: u32 = 2_048;
const RSA_BITS_MAX: u32 = 8_192;

/// The keys of an issuer that can check a signature.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// A key, and the algorithms that it is for. A token's own word about its algorithm counts among these alone.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// Why a text is not a set of keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysFault {
    #[error("it is not a JSON Web Key Set")]
    Form(#[source] serde_json::Error),
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    #[error("it has no key that can check a signature: RSA of {RSA_BITS_MIN} bits at least, P-256, P-384, Ed25519")]
    None,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Followed for Keys {
    type Fault = KeysFault;
    const SOURCE: &'static str = "jwks";
    const BYTES_MAX: usize = 256 << 10;

    /// Reads a set. Keys for another use, and those of a kind that is not known, are left out.
    fn of(bytes: &[u8]) -> Result<Self, KeysFault> {
        crypto::install();
        let set: Set = serde_json::from_slice(bytes).map_err(KeysFault::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysFault::TooMany);
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() { Err(KeysFault::None) } else { Ok(Self(keys)) }
    }
}

impl Keys {
    /// Returns the key of that id; without an id, the only one.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// Returns the key of a member of the set, if it can check a signature.
fn key(member: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(member).ok()?;
    if matches!(&jwk.common.public_key_use, Some(used) if *used != PublicKeyUse::Signature) {
        return None;
    }
    let (curve, possible) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Nid::UNDEF, AlgorithmFamily::Rsa.algorithms()),
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => (Nid::X9_62_PRIME256V1, &[Algorithm::ES256][..]),
            EllipticCurve::P384 => (Nid::SECP384R1, &[Algorithm::ES384][..]),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Nid::UNDEF, AlgorithmFamily::Ed.algorithms())
        }
        // Secrets too: who checks by one can sign by it.
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let is_for = |algorithm: &Algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(*algorithm));
    let algorithms: Vec<Algorithm> = possible.iter().copied().filter(is_for).collect();
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let public = crypto::public_key(&key, curve).ok()?;
    let is_rsa = key.family() == AlgorithmFamily::Rsa;
    let is_sound = !is_rsa || (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&public.bits());
    (is_sound && !algorithms.is_empty()).then_some(Key { id: jwk.common.key_id, algorithms, key })
}
