//! Signatures of JWTs, checked by the OpenSSL that is linked anyway. The features of `jsonwebtoken` would bring a
//! second library for it, and the pure Rust one a known fault of its RSA. Nothing here signs.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{self, RsaPssSaltlen};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` check signatures by OpenSSL, unless the process has chosen another way before.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::debug!("the signatures of JWTs are checked by a library that this process has chosen before");
        }
    });
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let unusable = |error: ErrorStack| new_error(ErrorKind::Provider(error.to_string()));
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let key = public_key(key, curve(*algorithm)).map_err(unusable)?;
    Ok(Box::new(Signature { algorithm: *algorithm, key }))
}

fn curve(algorithm: Algorithm) -> Nid {
    if algorithm == Algorithm::ES384 { Nid::SECP384R1 } else { Nid::X9_62_PRIME256V1 }
}

/// Returns a key in OpenSSL's form; `curve` is that of a key of [`AlgorithmFamily::Ec`].
///
/// # Errors
/// When it is no key, or of another curve.
pub(super) fn public_key(key: &DecodingKey, curve: Nid) -> Result<PKey<Public>, ErrorStack> {
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_slice(e)?)?)
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
            let group = EcGroup::from_curve_name(curve)?;
            // It is refused where it is no point of the curve.
            let point = EcPoint::from_bytes(&group, point, &mut *BigNumContext::new()?)?;
            PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)
        }
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(bytes)) => {
            PKey::public_key_from_raw_bytes(bytes, Id::ED25519)
        }
        // A secret, which anybody who checks could sign with, or a form that is not read here.
        (AlgorithmFamily::Hmac | AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed, _) => {
            Err(ErrorStack::get())
        }
    }
}

/// A signature that is to be checked, by its algorithm and key.
struct Signature {
    algorithm: Algorithm,
    key: PKey<Public>,
}

impl Signature {
    fn is_of(&self, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let digest = match self.algorithm {
            Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => MessageDigest::sha256(),
            Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => MessageDigest::sha384(),
            Algorithm::RS512 | Algorithm::PS512 => MessageDigest::sha512(),
            Algorithm::EdDSA => {
                return sign::Verifier::new_without_digest(&self.key)?.verify_oneshot(signature, message);
            }
            _ => return Ok(false),
        };
        let mut verifier = sign::Verifier::new(digest, &self.key)?;
        match self.algorithm.family() {
            AlgorithmFamily::Ec => return verify_ec(&mut verifier, curve(self.algorithm), message, signature),
            AlgorithmFamily::Rsa if is_pss(self.algorithm) => {
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.set_rsa_mgf1_md(digest)?;
            }
            AlgorithmFamily::Rsa => verifier.set_rsa_padding(Padding::PKCS1)?,
            AlgorithmFamily::Hmac | AlgorithmFamily::Ed => return Ok(false),
        }
        verifier.verify_oneshot(signature, message)
    }
}

fn is_pss(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512)
}

/// Checks a signature of two numbers of the curve's length (RFC 7518, section 3.4).
fn verify_ec(
    verifier: &mut sign::Verifier<'_>,
    curve: Nid,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let length = if curve == Nid::SECP384R1 { 48 } else { 32 };
    let Some((r, s)) = signature.split_at_checked(length).filter(|(_, s)| s.len() == length) else {
        return Ok(false);
    };
    let pair = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    verifier.verify_oneshot(&pair.to_der()?, message)
}

impl Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match self.is_of(message, signature) {
            Ok(true) => Ok(()),
            Ok(false) => Err(signature::Error::new()),
            Err(error) => Err(signature::Error::from_source(error)),
        }
    }
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
