//! An issuer of JWTs: keys that sign, and a server that publishes them (RFC 7517).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A key of an issuer, and the algorithm that it signs by.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub id: String,
    algorithm: &'static str,
    key: PKey<Private>,
}

impl SigningKey {
    pub fn rsa(id: &str, algorithm: &'static str, bits: u32) -> Self {
        Self { id: id.to_owned(), algorithm, key: PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap() }
    }

    /// Returns a key of the curve P-256.
    pub fn ec(id: &str) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        Self { id: id.to_owned(), algorithm: "ES256", key }
    }

    pub fn ed25519(id: &str) -> Self {
        Self { id: id.to_owned(), algorithm: "EdDSA", key: PKey::generate_ed25519().unwrap() }
    }

    /// Returns the public key as its issuer publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match self.key.id() {
            Id::RSA => {
                let rsa = self.key.rsa().unwrap();
                json!({ "kty": "RSA", "n": base64url(&rsa.n().to_vec()), "e": base64url(&rsa.e().to_vec()) })
            }
            Id::EC => {
                let key = self.key.ec_key().unwrap();
                let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
                let mut context = BigNumContext::new().unwrap();
                key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
                let whole = |number: &BigNum| base64url(&number.to_vec_padded(32).unwrap());
                json!({ "kty": "EC", "crv": "P-256", "x": whole(&x), "y": whole(&y) })
            }
            _ => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&self.key.raw_public_key().unwrap()) }),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Returns the public key as PEM, which a server that trusts a token's own algorithm takes for a secret.
    pub fn public_pem(&self) -> Vec<u8> {
        self.key.public_key_to_pem().unwrap()
    }

    /// Returns a token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.algorithm, "kid": self.id, "typ": "at+jwt" }), claims)
    }

    /// Returns a token that says this of itself, signed by the key whatever it says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", base64url(&signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match self.algorithm {
            "EdDSA" => Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(message).unwrap(),
            "ES256" => {
                let digest = hash(MessageDigest::sha256(), message).unwrap();
                let pair = EcdsaSig::sign(&digest, &self.key.ec_key().unwrap()).unwrap();
                [pair.r().to_vec_padded(32).unwrap(), pair.s().to_vec_padded(32).unwrap()].concat()
            }
            algorithm => {
                let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
                if algorithm == "PS256" {
                    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                    signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
                }
                signer.sign_oneshot_to_vec(message).unwrap()
            }
        }
    }
}

/// Returns a token that is signed by a shared secret.
pub fn token_by_secret(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let (message, key) = (unsigned(header, claims), PKey::hmac(secret).unwrap());
    let signature = Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(message.as_bytes());
    format!("{message}.{}", base64url(&signature.unwrap()))
}

/// Returns the part of a token that is signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    let text = openssl::base64::encode_block(bytes);
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A server of keys, until it is dropped.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<Published>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Published {
    keys: Vec<Value>,
    is_down: bool,
    requests: usize,
}

impl Issuer {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<Published>>::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        let issuer = Self { address, state, server };
        issuer.publish(keys);
        issuer
    }

    pub fn keys_url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// From now on these are the keys.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    /// From now on every request is refused, or none.
    pub fn fail(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Returns how often the keys were asked for.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<Published>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = service_fn(move |_: Request<Incoming>| {
                let mut state = state.lock().unwrap();
                state.requests += 1;
                let mut response = Response::new(Full::new(Bytes::from(json!({ "keys": state.keys }).to_string())));
                if state.is_down {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes away ends the connection with an error.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.is_ok();
        });
    }
}
