//! `[registry]`: the schema registry, and the schemas that are known by its ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::wire::{Ids, SCHEMAS};
use serde::{Deserialize, Serialize};

use super::endpoint;
use crate::client::Credentials;
use crate::config::Faults;
use crate::registry::Options;
use crate::secret::{Secret, SecretSource, check_permissions};

/// `[registry]`: the schema registry, with Confluent's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// `https://host:port/path`. Empty: events are written in single-object encoding.
    pub url: String,
    pub username: String,
    pub password: Option<Secret>,
    /// A file with the password, read at each request.
    pub password_file: PathBuf,
    pub token: Option<Secret>,
    /// A file with a bearer token, read at each request.
    pub token_file: PathBuf,
    /// Certificate authorities, PEM. Empty: those of the system.
    pub ca_file: PathBuf,
    /// Register the schema and set the compatibility of its subjects. Otherwise both must be there.
    pub auto_register: bool,
    /// The time limit of a request.
    pub timeout_ms: u64,
    /// The version of the released schema that each of these ids stands for, for readers without a registry.
    pub ids: BTreeMap<String, usize>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password: None,
            password_file: PathBuf::new(),
            token: None,
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            auto_register: true,
            timeout_ms: 5_000,
            ids: BTreeMap::new(),
        }
    }
}

impl Registry {
    /// Returns the section as validated. Adds a fault for each value that cannot be used.
    pub fn options(self, faults: &mut Faults) -> Options {
        let mut ids = Ids::NONE;
        for (id, version) in &self.ids {
            match id.parse() {
                Ok(id) if ids.list_released(id, *version) => {}
                Ok(_) => {
                    faults.push(format!("registry.ids.{id}"), format!("expected a version, 1 to {}", SCHEMAS.len()))
                }
                Err(_) => faults.push("registry.ids", format!("expected ids as a registry gives them, found {id:?}")),
            }
        }
        if self.timeout_ms == 0 {
            faults.push("registry.timeout_ms", "expected at least 1");
        }
        let credentials = credentials(&self, faults);
        let timeout = Duration::from_millis(self.timeout_ms);
        let (url, ca_file) = (("registry.url", &*self.url), ("registry.ca_file", &*self.ca_file));
        let endpoint = (!self.url.is_empty()).then(|| endpoint(url, ca_file, credentials, timeout, faults));
        Options { endpoint: endpoint.flatten(), auto_register: self.auto_register, ids }
    }
}

fn credentials(registry: &Registry, faults: &mut Faults) -> Credentials {
    let password = source("registry.password", registry.password.as_ref(), &registry.password_file, faults);
    let token = source("registry.token", registry.token.as_ref(), &registry.token_file, faults);
    match (registry.username.is_empty(), password, token) {
        (true, None, None) => Credentials::None,
        (false, Some(password), None) => Credentials::Basic { username: registry.username.clone(), password },
        (true, None, Some(token)) => Credentials::Bearer(token),
        (_, _, _) => {
            faults.push("registry.username", "expected a username with a password, or a token, or none of them");
            Credentials::None
        }
    }
}

/// Returns the secret that is given as text or by its file. Adds a fault if it is given as both, or cannot be read.
pub(super) fn source(key: &str, text: Option<&Secret>, file: &Path, faults: &mut Faults) -> Option<SecretSource> {
    let file = (!file.as_os_str().is_empty()).then(|| SecretSource::File(file.to_owned()));
    let source = match (text, file) {
        (None, file) => file,
        (Some(text), None) => Some(SecretSource::Text(text.clone())),
        (Some(_), Some(_)) => {
            faults.push(key, format!("expected either {key} or {key}_file"));
            None
        }
    };
    if let Some(SecretSource::File(path)) = &source {
        let key = format!("{key}_file");
        check_permissions(&key, path, faults);
        let path = path.display();
        match source.as_ref().map(SecretSource::read) {
            Some(Err(error)) => faults.push(key, format!("{path} cannot be read: {error}")),
            Some(Ok(secret)) if secret.is_empty() => faults.push(key, format!("{path} is empty")),
            Some(Ok(_)) | None => {}
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, Faults> {
        let mut faults = Faults::default();
        let options = toml::from_str::<Registry>(text).unwrap().options(&mut faults);
        faults.or(options)
    }

    #[test]
    fn without_a_url_there_is_no_registry() {
        assert!(options("").unwrap().endpoint.is_none());
        let ids = options("ids = { 17 = 1 }").unwrap().ids;
        assert_eq!((ids.unlisted(&[0, 0, 0, 0, 17]), ids.unlisted(&[0, 0, 0, 0, 18])), (None, Some(18)));
    }

    #[test]
    fn each_fault_has_its_key() {
        let missing = options("token_file = '/no/such/file'").unwrap_err().to_string();
        assert!(missing.starts_with("registry.token_file: /no/such/file cannot be read: "), "{missing}");
        for (text, key) in [
            ("ids = { 17 = 2 }", "registry.ids.17"),
            ("ids = { x = 1 }", "registry.ids"),
            ("timeout_ms = 0", "registry.timeout_ms"),
            ("url = 'registry:8081'", "registry.url"),
            ("url = 'ftp://registry'", "registry.url"),
            ("url = 'https://registry'\nca_file = '/no/such/file'", "registry.ca_file"),
            ("url = 'registry'\nca_file = '/no/such/file'", "registry.ca_file"),
            ("url = 'registry'\nca_file = '/dev/null'\ntoken_file = '/no/such/file'", "registry.token_file"),
            ("username = 'u'", "registry.username"),
            ("password = 'p'", "registry.username"),
            ("username = 'u'\npassword = 'p'\ntoken = 't'", "registry.username"),
            ("token = 't'\ntoken_file = '/dev/null'", "registry.token"),
            ("token_file = '/no/such/file'", "registry.token_file"),
        ] {
            let faults = options(text).unwrap_err();
            assert_eq!(faults.iter().next().unwrap().key, key, "{text}");
        }
        for text in
            ["url = 'http://127.0.0.1:8081/apis/ccompat/v7/'", "url = 'https://r'\nusername = 'u'\npassword = 'p'"]
        {
            assert!(options(text).unwrap().endpoint.is_some(), "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let raw: Registry = toml::from_str("url = 'http://r'\nusername = 'u'\npassword = 'hunter2'").unwrap();
        let shown = format!("{raw:?}{}", toml::to_string(&raw).unwrap());
        let shown = format!("{shown}{:?}", raw.options(&mut Faults::default()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
