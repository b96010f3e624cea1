//! `[kafka.oauth]`: where the Kafka clients get their tokens from, for `sasl.mechanism = OAUTHBEARER`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::TokenSource;
use serde::{Deserialize, Serialize};

use super::endpoint;
use super::registry::source;
use crate::client::Credentials;
use crate::config::Faults;
use crate::oauth::Tokens;
use crate::secret::Secret;

/// `[kafka.oauth]`: the client credentials that tokens are given for (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth {
    /// The token endpoint of the authorization server. Empty: the clients need no tokens.
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Option<Secret>,
    /// A file with the secret, read at each request.
    pub client_secret_file: PathBuf,
    /// The scopes that are asked for, separated by spaces.
    pub scope: String,
    /// Certificate authorities, PEM. Empty: those of the system.
    pub ca_file: PathBuf,
    /// The time limit of a request. A client that needs a token waits as long.
    pub timeout_ms: u64,
}

impl Default for OAuth {
    fn default() -> Self {
        Self {
            token_url: String::new(),
            client_id: String::new(),
            client_secret: None,
            client_secret_file: PathBuf::new(),
            scope: String::new(),
            ca_file: PathBuf::new(),
            timeout_ms: 5_000,
        }
    }
}

impl OAuth {
    /// Returns the source of tokens, or `None` if none is set. Adds a fault for each value that cannot be used.
    pub fn tokens(self, faults: &mut Faults) -> Option<Arc<dyn TokenSource>> {
        if self == Self::default() {
            return None;
        }
        if self.client_id.is_empty() || self.client_id.contains(':') {
            faults.push("kafka.oauth.client_id", "expected the client's name at the authorization server, without :");
        }
        let secret = source("kafka.oauth.client_secret", self.client_secret.as_ref(), &self.client_secret_file, faults);
        if secret.is_none() {
            faults.push("kafka.oauth.client_secret_file", "expected the file of the client's secret, or client_secret");
        }
        if self.timeout_ms == 0 {
            faults.push("kafka.oauth.timeout_ms", "expected at least 1");
        }
        let credentials = secret.as_ref().map_or(Credentials::None, |password| Credentials::Basic {
            username: self.client_id.clone(),
            password: password.clone(),
        });
        let timeout = Duration::from_millis(self.timeout_ms);
        let (url, ca_file) = (("kafka.oauth.token_url", &*self.token_url), ("kafka.oauth.ca_file", &*self.ca_file));
        let endpoint = endpoint(url, ca_file, credentials, timeout, faults);
        secret
            .and(endpoint)
            .map(|endpoint| -> Arc<dyn TokenSource> { Arc::new(Tokens::new(endpoint, self.client_id, self.scope)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_key() {
        let whole = "token_url = 'https://idp/token'\nclient_id = 'rollcall'\nclient_secret = 's'";
        for (text, key) in [
            ("client_id = 'rollcall'\nclient_secret = 's'", "token_url"),
            ("token_url = 'idp/token'\nclient_id = 'rollcall'\nclient_secret = 's'", "token_url"),
            ("token_url = 'https://idp/token'\nclient_secret = 's'", "client_id"),
            ("token_url = 'https://idp/token'\nclient_id = 'a:b'\nclient_secret = 's'", "client_id"),
            ("token_url = 'https://idp/token'\nclient_id = 'rollcall'", "client_secret_file"),
            (&format!("{whole}\nclient_secret_file = '/dev/null'"), "client_secret"),
            (&format!("{whole}\nca_file = '/no/such/file'"), "ca_file"),
            (&format!("{whole}\ntimeout_ms = 0"), "timeout_ms"),
        ] {
            let mut faults = Faults::default();
            let _none = toml::from_str::<OAuth>(text).unwrap().tokens(&mut faults);
            assert_eq!(faults.iter().next().unwrap().key, format!("kafka.oauth.{key}"), "{text}");
        }
        let all = "token_url = 'idp'\nca_file = '/no/such/file'\ntimeout_ms = 0";
        let mut faults = Faults::default();
        assert!(toml::from_str::<OAuth>(all).unwrap().tokens(&mut faults).is_none());
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.trim_start_matches("kafka.oauth.")).collect();
        assert_eq!(keys, ["client_id", "client_secret_file", "timeout_ms", "ca_file", "token_url"]);
        let mut faults = Faults::default();
        assert!(toml::from_str::<OAuth>(whole).unwrap().tokens(&mut faults).is_some() && faults.is_empty());
        assert!(OAuth::default().tokens(&mut faults).is_none() && faults.is_empty());
    }

    #[test]
    fn the_secret_does_not_print() {
        let raw: OAuth =
            toml::from_str("token_url = 'http://idp'\nclient_id = 'u'\nclient_secret = 'hunter2'").unwrap();
        let shown =
            format!("{raw:?}{}{:?}", toml::to_string(&raw).unwrap(), raw.clone().tokens(&mut Faults::default()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
