//! `[kafka.oauth]`: where the Kafka clients get their tokens from, for `sasl.mechanism = OAUTHBEARER`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::TokenSource;
use serde::{Deserialize, Serialize};

use super::registry::source;
use crate::client::{Credentials, Endpoint};
use crate::config::Faults;
use crate::oauth::Tokens;
use crate::secret::Secret;
use crate::telemetry::chain;

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
        let credentials = Credentials::Basic { username: self.client_id.clone(), password: secret? };
        let ca_file = Some(self.ca_file).filter(|path| !path.as_os_str().is_empty());
        let timeout = Duration::from_millis(self.timeout_ms);
        match Endpoint::new(&self.token_url, credentials, ca_file.as_deref(), timeout) {
            Ok(endpoint) => Some(Arc::new(Tokens::new(endpoint, self.client_id, self.scope))),
            Err(error) => {
                faults.push("kafka.oauth.token_url", chain(&error));
                None
            }
        }
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
            (&format!("{whole}\nca_file = '/no/such/file'"), "token_url"),
            (&format!("{whole}\ntimeout_ms = 0"), "timeout_ms"),
        ] {
            let mut faults = Faults::default();
            let _none = toml::from_str::<OAuth>(text).unwrap().tokens(&mut faults);
            assert_eq!(faults.iter().next().unwrap().key, format!("kafka.oauth.{key}"), "{text}");
        }
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
