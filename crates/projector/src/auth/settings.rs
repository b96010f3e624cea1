//! `[auth]`: who may read.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};
use service::client::{Credentials, Endpoint};
use service::config::Faults;
use service::secret::check_permissions;
use service::settings::endpoint;
use service::telemetry::chain;

use super::follow::Followed;
use super::keys::Keys;
use super::shares::ShareLimits;
use super::table::TokenTable;

/// `[auth]`: who may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// A line for each bearer token: name, SHA-256 of the token, scopes. Read again when it changes.
    pub token_file: PathBuf,
    /// Beyond the loopback too, everybody who reaches the port reads everything.
    pub allow_anonymous: bool,
    pub requests_per_principal_max: usize,
    /// The streams of `/changes`.
    pub streams_per_principal_max: usize,
    pub jwt: Jwt,
}

/// `[auth.jwt]`: bearer tokens that an issuer signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// The claim `iss` of every token. Empty: no JWT is accepted.
    pub issuer: String,
    /// What `aud` must name.
    pub audience: String,
    /// Where the issuer publishes its keys (RFC 7517).
    pub jwks_url: String,
    /// A file of the keys instead; read again when it changes.
    pub jwks_file: PathBuf,
    /// Certificate authorities, PEM, of the issuer's server. Empty: those of the system.
    pub ca_file: PathBuf,
    /// The claim with the scopes: a text with spaces between them, or an array.
    pub scope_claim: String,
    /// The time limit of a request for the keys.
    pub timeout_ms: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            token_file: PathBuf::new(),
            allow_anonymous: false,
            requests_per_principal_max: 256,
            streams_per_principal_max: 128,
            jwt: Jwt::default(),
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            jwks_url: String::new(),
            jwks_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            scope_claim: "scope".to_owned(),
            timeout_ms: 5_000,
        }
    }
}

/// Who may read, validated. Without tokens and without an issuer it is everybody.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) token_file: Option<PathBuf>,
    pub(super) issuer: Option<Issuer>,
    /// Whether somebody has said that everybody may read.
    is_open: bool,
    pub(crate) shares: ShareLimits,
}

/// An issuer of JWTs.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) expected: Expected,
    pub(super) keys: KeySource,
}

/// What a JWT must say.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) scope_claim: String,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    File(PathBuf),
    Url(Endpoint),
}

impl Auth {
    /// Returns who may read on a listener with this address. Adds a fault for each value that cannot be used, and where
    /// everybody beyond this machine could read without anybody having said so.
    pub(crate) fn access(self, listen: SocketAddr, faults: &mut Faults) -> Access {
        let token_file = (!self.token_file.as_os_str().is_empty()).then_some(self.token_file);
        let has_jwt = self.jwt != Jwt::default();
        if let Some(file) = &token_file {
            check_permissions("auth.token_file", file, faults);
            if let Err(fault) = TokenTable::read(file) {
                faults.push("auth.token_file", format!("{}: {}", file.display(), chain(&fault)));
            }
        }
        match (token_file.is_some() || has_jwt, self.allow_anonymous) {
            (true, true) => faults.push("auth.allow_anonymous", "expected false beside token_file and [auth.jwt]"),
            (false, false) if !is_loopback(listen) => {
                let reason = format!(
                    "expected token_file or [auth.jwt], since {listen} is reached from other machines; or \
                     auth.allow_anonymous = true, and everybody who reaches it reads everything"
                );
                faults.push("auth", reason);
            }
            (_, _) => {}
        }
        for (key, value) in [
            ("auth.requests_per_principal_max", self.requests_per_principal_max),
            ("auth.streams_per_principal_max", self.streams_per_principal_max),
        ] {
            if value == 0 {
                faults.push(key, "expected at least 1");
            }
        }
        let shares =
            ShareLimits { requests_max: self.requests_per_principal_max, streams_max: self.streams_per_principal_max };
        let issuer = if has_jwt { self.jwt.issuer(faults) } else { None };
        Access { token_file, issuer, is_open: self.allow_anonymous, shares }
    }
}

impl Access {
    /// Returns whether everybody may read everything.
    pub(crate) fn is_for_everybody(&self) -> bool {
        self.token_file.is_none() && self.issuer.is_none()
    }

    /// Returns whether a socket with this address may be served. It need not be the one that was configured.
    pub(crate) fn may_listen_on(&self, listen: SocketAddr) -> bool {
        !self.is_for_everybody() || self.is_open || is_loopback(listen)
    }
}

impl Jwt {
    fn issuer(self, faults: &mut Faults) -> Option<Issuer> {
        let texts = [("issuer", &self.issuer), ("audience", &self.audience), ("scope_claim", &self.scope_claim)];
        for (key, text) in texts {
            if text.is_empty() {
                faults.push(format!("auth.jwt.{key}"), "expected beside the other options of [auth.jwt]");
            }
        }
        if self.timeout_ms == 0 {
            faults.push("auth.jwt.timeout_ms", "expected at least 1");
        }
        let expected = Expected { issuer: self.issuer, audience: self.audience, scope_claim: self.scope_claim };
        let (has_url, has_file) = (!self.jwks_url.is_empty(), !self.jwks_file.as_os_str().is_empty());
        if has_url == has_file {
            faults.push("auth.jwt.jwks_url", "expected either jwks_url or jwks_file");
        }
        if has_file && let Err(fault) = Keys::read(&self.jwks_file) {
            faults.push("auth.jwt.jwks_file", format!("{}: {}", self.jwks_file.display(), chain(&fault)));
        }
        if has_url && !is_private(&self.jwks_url) {
            let reason = "expected https://, or the loopback: who changes the keys on their way may read all";
            faults.push("auth.jwt.jwks_url", reason);
        }
        let timeout = Duration::from_millis(self.timeout_ms);
        let (url, ca_file) = (("auth.jwt.jwks_url", &*self.jwks_url), ("auth.jwt.ca_file", &*self.ca_file));
        let endpoint = has_url.then(|| endpoint(url, ca_file, Credentials::None, timeout, faults));
        let keys = match endpoint {
            Some(endpoint) => KeySource::Url(endpoint?),
            None => KeySource::File(self.jwks_file),
        };
        Some(Issuer { expected, keys })
    }
}

fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}

/// Returns whether nobody on the way can change what is read there.
fn is_private(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return true };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    uri.scheme_str() != Some("http") || is_loopback
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const EVERYWHERE: &str = "0.0.0.0:8081";

    fn faults_of(text: &str, listen: &str) -> Vec<String> {
        let mut faults = Faults::default();
        toml::from_str::<Auth>(text).unwrap().access(listen.parse().unwrap(), &mut faults);
        faults.iter().map(|fault| fault.key.clone()).collect()
    }

    #[test]
    fn a_token_file_for_all_users_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, expected) in [(0o600, 0), (0o440, 0), (0o644, 1)] {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            let mut faults = Faults::default();
            let auth: Auth = toml::from_str(&format!("token_file = {:?}", file.path())).unwrap();
            auth.access(EVERYWHERE.parse().unwrap(), &mut faults);
            let cautions = faults.take_cautions();
            assert_eq!((cautions.len(), faults.iter().count()), (expected, 0), "{mode:o}");
            assert!(cautions.iter().all(|caution| caution.key == "auth.token_file"), "{cautions:?}");
        }
    }

    #[test]
    fn beyond_the_loopback_somebody_must_have_said_who_may_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tokens = format!("token_file = {:?}", file.path());
        for (text, listen, key) in [
            ("", EVERYWHERE, Some("auth")),
            ("", "192.0.2.1:8081", Some("auth")),
            ("", "[::]:8081", Some("auth")),
            ("", "127.0.0.1:8081", None),
            ("", "[::1]:8081", None),
            ("", "[::ffff:127.0.0.1]:8081", None),
            ("allow_anonymous = true", EVERYWHERE, None),
            (&tokens, EVERYWHERE, None),
            (&format!("{tokens}\nallow_anonymous = true"), EVERYWHERE, Some("auth.allow_anonymous")),
        ] {
            let expected: Vec<&str> = key.into_iter().collect();
            assert_eq!(faults_of(text, listen), expected, "{text} on {listen}");
        }
    }

    #[test]
    fn each_fault_has_its_key() {
        let whole = "[jwt]\nissuer = 'https://idp'\naudience = 'rollcall'\njwks_url = 'https://idp/keys'";
        assert!(faults_of(whole, EVERYWHERE).is_empty());
        let local = "[jwt]\nissuer = 'i'\naudience = 'a'\njwks_url = 'http://127.0.0.1:9/keys'";
        assert!(faults_of(local, EVERYWHERE).is_empty());
        for (text, key) in [
            ("token_file = '/no/such/file'", "auth.token_file"),
            ("allow_anonymous = true\nstreams_per_principal_max = 0", "auth.streams_per_principal_max"),
            ("[jwt]\nissuer = 'i'\njwks_url = 'https://idp'", "auth.jwt.audience"),
            ("[jwt]\naudience = 'a'\njwks_url = 'https://idp'", "auth.jwt.issuer"),
            ("[jwt]\nissuer = 'i'\naudience = 'a'", "auth.jwt.jwks_url"),
            ("[jwt]\nissuer = 'i'\naudience = 'a'\njwks_url = 'http://idp/keys'", "auth.jwt.jwks_url"),
            ("[jwt]\nissuer = 'i'\naudience = 'a'\njwks_file = '/no/such/file'", "auth.jwt.jwks_file"),
            (&format!("{whole}\nca_file = '/no/such/file'"), "auth.jwt.ca_file"),
            (&format!("{whole}\ntimeout_ms = 0"), "auth.jwt.timeout_ms"),
            (&format!("{whole}\nscope_claim = ''"), "auth.jwt.scope_claim"),
        ] {
            assert_eq!(faults_of(text, EVERYWHERE), [key], "{text}");
        }
        for text in ["token_file = '/no/such/file'", "[jwt]\njwks_file = '/no/such/file'"] {
            let mut faults = Faults::default();
            toml::from_str::<Auth>(text).unwrap().access(EVERYWHERE.parse().unwrap(), &mut faults);
            let shown = faults.to_string();
            assert!(shown.contains("_file: /no/such/file: it cannot be read: "), "{shown}");
        }
        let marked = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(marked.path(), "\u{feff}{}").unwrap();
        for text in ["token_file", "[jwt]\njwks_file"] {
            let mut faults = Faults::default();
            let text = format!("{text} = {:?}", marked.path());
            toml::from_str::<Auth>(&text).unwrap().access(EVERYWHERE.parse().unwrap(), &mut faults);
            let shown = faults.to_string();
            assert!(shown.contains("it cannot be read: it begins with a byte order mark"), "{shown}");
        }
        let all = "[jwt]\nissuer = 'i'\njwks_url = 'http://idp/keys'\njwks_file = '/no/such/file'\nca_file = '/none'";
        let expected =
            ["audience", "jwks_url", "jwks_file", "jwks_url", "ca_file"].map(|key| format!("auth.jwt.{key}"));
        assert_eq!(faults_of(all, EVERYWHERE), expected, "one fault hides no other");
    }
}
