//! Notices that the files of the credentials have another content, and has the clients replaced.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::validate::whole_client_fault;
use super::{ClientOptions, Credentials};

/// The interval of looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The properties that name a file, or a folder, which the client library reads only when it makes a client.
const FILES: [&str; 5] =
    ["ssl.certificate.location", "ssl.key.location", "ssl.keystore.location", "ssl.ca.location", "ssl.crl.location"];
/// The value of `ssl.ca.location` that stands for the places where systems have their authorities.
const PROBE: &str = "probe";
/// The option with the file of the password.
const PASSWORD_FILE: &str = "sasl_password_file";

/// The watch of the files that credentials are in.
#[derive(Debug)]
pub struct CredentialsWatch {
    options: ClientOptions,
    /// The content with which the clients were made.
    used: Content,
    /// The reason that was logged last, until it is over.
    said: Option<String>,
}

/// The content of all files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    /// By property, a hash.
    files: BTreeMap<&'static str, u64>,
    password: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Same,
    /// The clients were replaced, because these files have changed.
    Changed(Vec<&'static str>),
    /// The clients stay as they are, for a reason.
    Unusable(String),
}

impl CredentialsWatch {
    /// Reads the files. To be called before the clients are made, so that no change is missed.
    pub fn begin(options: &ClientOptions) -> Self {
        // The password may have changed since the options were made.
        let password = options.credentials.password();
        let used = Content { password, ..Content::read(options).unwrap_or_default() };
        Self { options: options.clone(), used, said: None }
    }

    /// Looks at the files at intervals until `stop`, and replaces the clients after a change. What waits for an
    /// acknowledgement waits for it on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            // Not cancelled by the stop: no client may be made behind the back of what closes them all.
            let looking = tokio::task::spawn_blocking(move || {
                let found = self.look();
                self.say(found);
                self
            });
            self = looking.await.expect("looking does not panic");
        }
    }

    fn look(&mut self) -> Found {
        let now = match Content::read(&self.options) {
            Ok(now) if now == self.used => return Found::Same,
            Ok(now) => now,
            Err(reason) => return Found::Unusable(reason),
        };
        let credentials = Credentials::of(now.password.clone());
        let candidate = ClientOptions { credentials, ..self.options.clone() };
        if let Some(fault) = whole_client_fault(&candidate) {
            return Found::Unusable(fault.to_string());
        }
        if let Err(fault) = self.options.credentials.renew(now.password.clone()) {
            return Found::Unusable(format!("a client cannot be replaced: {fault}"));
        }
        let changed = now.differences(&self.used);
        self.used = now;
        Found::Changed(changed)
    }

    fn say(&mut self, found: Found) {
        match found {
            Found::Same => self.said = None,
            Found::Changed(files) => {
                tracing::info!(?files, "the credentials for Kafka have changed: the clients are replaced");
                self.said = None;
            }
            Found::Unusable(reason) => {
                if self.said.as_ref() != Some(&reason) {
                    tracing::warn!(
                        reason,
                        "the new credentials for Kafka cannot be used: the clients keep the former ones"
                    );
                }
                self.said = Some(reason);
            }
        }
    }
}

impl Content {
    /// # Errors
    /// The file that cannot be read, and why.
    fn read(options: &ClientOptions) -> Result<Self, String> {
        let mut content = Self::default();
        for name in FILES {
            let path = options.properties.get(name).filter(|path| path.as_str() != PROBE);
            if let Some(path) = path {
                let hash = hash_of(Path::new(path)).map_err(|error| format!("{name}: {path}: {error}"))?;
                content.files.insert(name, hash);
            }
        }
        content.password = options.credentials.read().map_err(|error| format!("{PASSWORD_FILE}: {error}"))?;
        Ok(content)
    }

    /// Returns the names of what differs from `former`.
    fn differences(&self, former: &Self) -> Vec<&'static str> {
        let files = self.files.iter().filter(|(name, hash)| former.files.get(*name) != Some(*hash));
        let password = (self.password != former.password).then_some(PASSWORD_FILE);
        files.map(|(name, _)| *name).chain(password).collect()
    }
}

/// Returns a hash of the content of a file, or of the files in a folder.
fn hash_of(path: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries.iter().filter(|entry| entry.path().is_file()) {
            entry.file_name().hash(&mut hasher);
            std::fs::read(entry.path())?.hash(&mut hasher);
        }
    } else {
        std::fs::read(path)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests;
