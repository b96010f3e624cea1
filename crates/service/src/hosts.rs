//! The names by which a server may be asked. A web page whose own name is made to point here (DNS rebinding) sends that
//! name in `Host`, and is refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};

/// The names by which a server may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    Any,
    /// `localhost`, and the addresses of the loopback.
    Loopback,
    /// Names and addresses in lower case, without a port.
    Named(Arc<[String]>),
}

impl AllowedHosts {
    /// Returns the names of a listener that nobody has named: those of the loopback there, any elsewhere.
    pub fn of(listen: SocketAddr) -> Self {
        if listen.ip().to_canonical().is_loopback() { Self::Loopback } else { Self::Any }
    }

    /// Returns whether a request is for one of the names: its target's, or that of its only `Host`.
    pub fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if *self == Self::Any {
            return true;
        }
        if let Some(host) = uri.host() {
            return self.contain(host);
        }
        let mut fields = headers.get_all(HOST).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        Authority::try_from(field.as_bytes()).is_ok_and(|authority| self.contain(authority.host()))
    }

    fn contain(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Loopback => host.eq_ignore_ascii_case("localhost") || is_loopback(host),
            Self::Named(names) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
        }
    }
}

/// Returns whether a request has one `Host` with a host in it, as it must (RFC 9112, section 3.2). An empty one is
/// valid, and only HTTP/1.1 needs one.
pub fn is_host_given(version: Version, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) => version != Version::HTTP_11,
        (Some(field), None) => field.is_empty() || Authority::try_from(field.as_bytes()).is_ok(),
        (Some(_), Some(_)) => false,
    }
}

/// Returns whether the text is an address of the loopback. An IPv6 address is in brackets.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the name in the form that requests are compared with; `None` for a text that is none, or has a port.
pub(crate) fn host_name(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let is_bare = authority.port().is_none() && authority.host() == text && !text.is_empty();
    is_bare.then(|| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(hosts: &AllowedHosts, target: &str, fields: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(HOST, HeaderValue::from_str(field).unwrap());
        }
        hosts.allow(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn one_host_is_given_and_it_is_a_host() {
        for (fields, given) in [
            (&["users.example:443"][..], true),
            (&["[::1]:80"], true),
            (&["vcc_1.internal"], true),
            (&[""], true),
            (&["a b/c"], false),
            (&["a/b"], false),
            (&["http://a"], false),
            (&["a", "a"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(HOST, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(is_host_given(Version::HTTP_11, &headers), given, "{fields:?}");
        }
        assert!(
            is_host_given(Version::HTTP_2, &HeaderMap::new()) && is_host_given(Version::HTTP_10, &HeaderMap::new())
        );
    }

    #[test]
    fn on_the_loopback_only_its_own_names_are_answered() {
        let hosts = AllowedHosts::of(([127, 0, 0, 1], 8081).into());
        for own in ["localhost", "LocalHost:8081", "127.0.0.1:8081", "127.9.9.9", "[::1]:80", "localhost."] {
            assert!(asked(&hosts, "/users", &[own]), "{own}");
        }
        for other in ["rebound.example", "10.0.0.1", "localhost.example", "127.0.0.1.example", "", "[::2]", "a@b@c"] {
            assert!(!asked(&hosts, "/users", &[other]), "{other:?}");
        }
        assert!(!asked(&hosts, "/users", &[]), "no name");
        assert!(!asked(&hosts, "/users", &["localhost", "localhost"]), "two names");
        assert!(asked(&hosts, "http://localhost:1/users", &["rebound.example"]), "the target comes first (RFC 9112)");
        assert!(!asked(&hosts, "http://rebound.example/users", &["localhost"]));
    }

    #[test]
    fn elsewhere_any_name_is_answered_unless_some_are_listed() {
        let any = AllowedHosts::of(([0, 0, 0, 0], 8081).into());
        assert!(asked(&any, "/users", &["users.example"]) && asked(&any, "/users", &[]));
        let named = AllowedHosts::Named(["users.example".to_owned(), "[::1]".to_owned()].into());
        for (host, allowed) in
            [("users.example", true), ("Users.Example:443", true), ("[::1]:9", true), ("localhost", false)]
        {
            assert_eq!(asked(&named, "/users", &[host]), allowed, "{host}");
        }
    }

    #[test]
    fn a_name_has_neither_port_nor_path() {
        for (text, name) in
            [("Users.example", Some("users.example")), ("10.0.0.1", Some("10.0.0.1")), ("[::1]", Some("[::1]"))]
        {
            assert_eq!(host_name(text).as_deref(), name);
        }
        for text in ["", "a:80", "http://a", "a/b", "a b", "u@a", "*"] {
            assert_eq!(host_name(text).filter(|name| name != "*"), None, "{text:?}");
        }
    }
}
