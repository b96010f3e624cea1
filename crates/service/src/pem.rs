//! What is wrong with a file that should be PEM, in a sentence: OpenSSL's own texts name its functions.

use std::path::Path;

use openssl::error::ErrorStack;

/// What a file should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Certificate,
    PrivateKey,
}

/// Returns the reason why OpenSSL has not read a part of a file's content.
pub(crate) fn fault(content: &[u8], wanted: Wanted) -> &'static str {
    let text = String::from_utf8_lossy(content);
    let has = |label: &str| text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(label));
    match (has("CERTIFICATE-----"), has("PRIVATE KEY-----"), wanted) {
        _ if text.trim().is_empty() => "it is empty",
        (true, _, Wanted::Certificate) | (_, true, Wanted::PrivateKey) => "its text is cut off or damaged",
        (false, true, Wanted::Certificate) => "it has a private key and no certificate",
        (true, false, Wanted::PrivateKey) => "it has a certificate and no private key",
        (false, false, _) => "there is no PEM of that kind in it",
    }
}

/// Returns the reason why OpenSSL has not read a file.
pub(crate) fn file_fault(path: &Path, wanted: Wanted) -> String {
    match std::fs::read(path) {
        Ok(content) => fault(&content, wanted).to_owned(),
        Err(error) => format!("it cannot be read: {error}"),
    }
}

/// Returns the reason why OpenSSL does not use what it has read.
pub(crate) fn refused(errors: &ErrorStack) -> String {
    let reason = errors.errors().first().and_then(|error| error.reason());
    format!("OpenSSL refuses it: {}", reason.unwrap_or("no reason given"))
}
