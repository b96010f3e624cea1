//! Origins of web pages (RFC 6454), as browsers send them.

use std::net::Ipv6Addr;

/// Returns whether `text` is an origin as browsers send it, `scheme://host[:port]`: in lower case, without the scheme's
/// default port, and with nothing after it.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
        }
    };
    let is_port = port
        .is_none_or(|port| port.parse::<u16>().is_ok() && !matches!((scheme, port), ("http", "80") | ("https", "443")));
    is_scheme && is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_that_browsers_send() {
        for (text, is) in [
            ("https://desk.example", true),
            ("http://localhost:8080", true),
            ("http://[::1]:3000", true),
            ("http://[::1]", true),
            ("app://rollcall", true),
            ("desk.example", false),
            ("https://", false),
            ("https://desk.example/", false),
            ("https://desk.example/users", false),
            ("https://desk.example?x", false),
            ("https://me@desk.example", false),
            ("https://Desk.example", false),
            ("https://desk.example:443", false),
            ("https://desk.example:x", false),
            ("https://desk.example:", false),
            ("https://*.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_origin(text), is, "{text:?}");
        }
    }
}
