//! Validates the section `[security]`: its secrets, keys and networks become the policy of the pipeline.

use std::path::Path;

use service::config::Faults;
use service::secret::{Secret, check_permissions};
use service::settings::networks;

use super::raw::{RawBodyKey, Security};
use crate::transport::{BodyCipher, BodyKey, BodyPolicy, Policy, SenderPolicy};

/// Returns the policy of the section, with the fields that are left out of events. Adds each fault to `faults`.
pub(super) fn policy(raw: Security, omit: Vec<String>, faults: &mut Faults) -> Policy {
    let has_secret = !raw.secret_keys.is_empty() || !raw.secret_key_files.is_empty();
    let mut secrets = raw.secret_keys;
    secrets.iter().for_each(|secret| secret.check_length("security.secret_keys", None, faults));
    secrets.extend(raw.secret_key_files.iter().filter_map(|path| from_file("security.secret_key_files", path, faults)));
    match (!has_secret, raw.allow_unauthenticated) {
        (true, false) => faults.push(
            "security.secret_keys",
            "expected at least one secret; to take requests from anybody, set security.allow_unauthenticated = true",
        ),
        (false, true) => {
            faults.push("security.allow_unauthenticated", "contradicts security.secret_keys: set one or the other")
        }
        (true, true) | (false, false) => {}
    }
    if raw.undecryptable_per_minute == 0 {
        faults.push("security.undecryptable_per_minute", "expected at least 1");
    }
    let keys = raw.body_keys.into_iter().enumerate().filter_map(|(index, key)| body_key(index, key, faults)).collect();
    Policy {
        sender: SenderPolicy {
            secrets,
            allowed: networks("security.allowed_sources", &raw.allowed_sources, faults),
            trusted_proxies: networks("security.trusted_proxies", &raw.trusted_proxies, faults),
        },
        body: BodyPolicy { keys, clear_text_too: raw.clear_text_too, require_iv: raw.require_iv, omit },
    }
}

fn body_key(index: usize, raw: RawBodyKey, faults: &mut Faults) -> Option<BodyKey> {
    let at = |key: &str| format!("security.body_keys.{index}.{key}");
    let cipher = BodyCipher::named(&raw.cipher).map_err(|error| faults.push(at("cipher"), error.to_string())).ok();
    let key = match (raw.key, raw.key_file) {
        (Some(key), None) => {
            key.check_length(&at("key"), None, faults);
            Some(key)
        }
        (None, Some(path)) => from_file(&at("key_file"), &path, faults),
        (None, None) | (Some(_), Some(_)) => {
            faults.push(at("key"), "expected either key or key_file");
            None
        }
    };
    Some(BodyKey { cipher: cipher?, key: key? })
}

fn from_file(key: &str, path: &Path, faults: &mut Faults) -> Option<Secret> {
    check_permissions(key, path, faults);
    match Secret::from_file(path) {
        Ok(secret) => {
            secret.check_length(key, Some(path), faults);
            Some(secret)
        }
        Err(error) => {
            faults.push(key, format!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}
