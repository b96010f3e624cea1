//! Stage 1: checks by its head that the request comes from the vendor. The body of another sender is not read.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use ipnet::IpNet;
use service::Secret;

use super::request::RawRequest;
use crate::Rejection;

/// The query parameter with the shared secret ("Securing Requests" in the vendor's guide).
const SECRET_PARAMETER: &str = "secret-key";
/// The query parameter with the initialization vector, in hexadecimal.
const IV_PARAMETER: &str = "iv";

/// The accepted senders.
#[derive(Debug, Default)]
pub struct SenderPolicy {
    /// The live values of the shared secret: several during a change. If there are none, no secret is required.
    pub secrets: Vec<Secret>,
    /// The networks that requests may come from. Empty means any.
    pub allowed: Vec<IpNet>,
    /// Networks of proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// A sender with the secret and an allowed address. Its body may be read.
pub struct Sender {
    iv: Option<String>,
}

impl Sender {
    /// Returns the request with its body.
    pub fn sent(self, body: Bytes) -> Authentic {
        Authentic { body, iv: self.iv }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// A whole request of an authenticated sender.
pub struct Authentic {
    body: Bytes,
    iv: Option<String>,
}

impl Authentic {
    /// The body as received.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The initialization vector as received: hexadecimal text if the sender follows the vendor's format.
    pub fn iv(&self) -> Option<&str> {
        self.iv.as_deref()
    }
}

impl std::fmt::Debug for Authentic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authentic").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Checks the request's source and secret, and returns its sender.
///
/// # Errors
/// [`Rejection::AddressNotAllowed`], or [`Rejection::Unauthenticated`] when the secret is wrong, missing or given
/// twice.
pub fn authenticate(request: &RawRequest, policy: &SenderPolicy) -> Result<Sender, Rejection> {
    if !policy.allowed.is_empty() && !source(request, policy).is_some_and(|source| contains(&policy.allowed, source)) {
        return Err(Rejection::AddressNotAllowed);
    }
    let (mut secrets, mut vectors) = (Vec::new(), Vec::new());
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        match &*name {
            SECRET_PARAMETER => secrets.push(value),
            IV_PARAMETER => vectors.push(value.into_owned()),
            _ => {}
        }
    }
    if !policy.secrets.is_empty() {
        let [given] = secrets.as_slice() else { return Err(Rejection::Unauthenticated) };
        // All secrets are compared, so that the time does not show which one matched.
        let known = policy.secrets.iter().fold(false, |known, secret| known | secret.matches(given.as_bytes()));
        if !known {
            return Err(Rejection::Unauthenticated);
        }
    }
    // PHP, and so the vendor's example, takes the last of repeated parameters.
    Ok(Sender { iv: vectors.pop() })
}

/// Returns the source of the request: the peer, or behind trusted proxies the last hop that is not a trusted proxy.
/// Returns `None` when a trusted proxy sends an invalid address.
pub(crate) fn source(request: &RawRequest, policy: &SenderPolicy) -> Option<IpAddr> {
    let mut source = request.peer.to_canonical();
    let hops = request.forwarded_for.iter().flat_map(|field| field.split(','));
    // Empty elements of a list count for nothing (RFC 9110, section 5.6.1).
    let mut hops: Vec<&str> = hops.map(str::trim).filter(|hop| !hop.is_empty()).collect();
    while contains(&policy.trusted_proxies, source) {
        match hops.pop() {
            Some(hop) => source = address(hop)?.to_canonical(),
            None => break,
        }
    }
    Some(source)
}

/// Returns the address of a hop as proxies write it: bare, with a port, in brackets, or in quotation marks.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.strip_prefix('"').and_then(|hop| hop.strip_suffix('"')).unwrap_or(hop);
    let bracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let bare = bracketed.unwrap_or(hop).parse().ok();
    bare.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(secrets: &[&str], allowed: &[&str], proxies: &[&str]) -> SenderPolicy {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        SenderPolicy {
            secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
            allowed: networks(allowed),
            trusted_proxies: networks(proxies),
        }
    }

    fn request(query: &str, peer: &str, forwarded_for: &[&str]) -> RawRequest {
        RawRequest {
            query: query.to_owned(),
            peer: peer.parse().unwrap(),
            forwarded_for: forwarded_for.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn the_secret_is_one_of_the_live_ones_given_once() {
        let policy = policy(&["old key", "new+key"], &[], &[]);
        let yes =
            ["secret-key=old+key", "secret-key=old%20key", "a=b&secret-key=new%2Bkey&c", "secret-key=old%20key&iv=00"];
        for query in yes {
            assert!(authenticate(&request(query, "192.0.2.1", &[]), &policy).is_ok(), "{query}");
        }
        let no = [
            "",
            "secret-key=",
            "secret-key",
            "secret-key=new+key",
            "secret-key=old%20key%00",
            "Secret-Key=old%20key",
            "secret_key=old%20key",
            "secret-key=old%20key&secret-key=old%20key",
            "secret-key=wrong&secret-key=old%20key",
        ];
        for query in no {
            let refused = authenticate(&request(query, "192.0.2.1", &[]), &policy).unwrap_err();
            assert_eq!(refused, Rejection::Unauthenticated, "{query}");
        }
    }

    #[test]
    fn without_a_secret_every_sender_is_accepted() {
        assert!(authenticate(&request("", "192.0.2.1", &[]), &SenderPolicy::default()).is_ok());
    }

    #[test]
    fn the_vector_is_the_last_one_given() {
        let vector = |query: &str| {
            let sender = authenticate(&request(query, "192.0.2.1", &[]), &SenderPolicy::default()).unwrap();
            sender.sent(Bytes::new()).iv().map(str::to_owned)
        };
        assert_eq!(vector("iv=00ff"), Some("00ff".to_owned()));
        assert_eq!(vector("iv=1&iv=2"), Some("2".to_owned()));
        assert_eq!(vector("iv="), Some(String::new()));
        assert_eq!(vector(""), None);
    }

    #[test]
    fn addresses_are_taken_from_trusted_proxies_only() {
        let policy = policy(&[], &["198.51.100.0/24", "2001:db8::/32"], &["10.0.0.0/8"]);
        let table: [(&str, &[&str], bool, &str); 17] = [
            ("198.51.100.7", &[], true, "directly"),
            ("::ffff:198.51.100.7", &[], true, "directly, as an IPv6 socket shows it"),
            ("2001:db8::1", &[], true, "directly over IPv6"),
            ("203.0.113.1", &[], false, "a stranger"),
            ("203.0.113.1", &["198.51.100.7"], false, "a stranger who claims to be a proxy"),
            ("10.0.0.1", &["198.51.100.7"], true, "through a proxy"),
            ("10.0.0.1", &["198.51.100.7, 10.0.0.2"], true, "through two proxies"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.1"], false, "a stranger who claims a hop before it"),
            ("10.0.0.1", &["203.0.113.1", "198.51.100.7"], true, "the last of several fields is the nearest"),
            ("10.0.0.1", &["198.51.100.7:4711"], true, "with a port"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], true, "IPv6 with a port"),
            ("10.0.0.1", &["[2001:db8::1]"], true, "IPv6 in brackets"),
            ("10.0.0.1", &["\"[2001:db8::1]\""], true, "in quotation marks"),
            ("10.0.0.1", &["198.51.100.7, , ", ","], true, "empty elements"),
            ("10.0.0.1", &["198.51.100.7:x"], false, "no port"),
            ("10.0.0.1", &["unknown"], false, "no address"),
            ("10.0.0.1", &[], false, "a proxy that says nothing is the source itself"),
        ];
        for (peer, forwarded_for, allowed, what) in table {
            let answer = authenticate(&request("", peer, forwarded_for), &policy);
            assert_eq!(answer.is_ok(), allowed, "{what}");
        }
    }
}
