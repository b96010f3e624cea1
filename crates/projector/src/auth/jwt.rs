//! A JWT: signed by a key of its issuer, for this service, in its time.

use std::collections::HashSet;
use std::sync::Arc;

use domain::UnixMillis;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::denied::Denied;
use super::keys::Keys;
use super::settings::Expected;
use crate::scopes::{Principal, Scopes};

/// How far the clocks of issuer and service may be apart.
const SKEW_MS: i64 = 60_000;
/// What the names of principals by JWT begin with: none in a file of tokens does.
const NAME_PREFIX: &str = "jwt:";
const NAME_CHARS_MAX: usize = 128;

/// Returns the principal of a token.
///
/// # Errors
/// The first fault. [`Denied::UnknownKey`] may be one that the issuer has published since.
pub(super) fn principal(token: &str, keys: &Keys, expected: &Expected, now: UnixMillis) -> Result<Principal, Denied> {
    let header = decode_header(token).map_err(|_| Denied::UnknownToken)?;
    // An extension that must be understood (RFC 7515, section 4.1.11). None is.
    if header.crit.is_some() {
        return Err(Denied::Claims);
    }
    let key = keys.find(header.kid.as_deref()).ok_or(Denied::UnknownKey)?;
    let validation = validation(&key.algorithms, expected);
    let claims = match decode::<Map<String, Value>>(token, &key.key, &validation) {
        Ok(token) => token.claims,
        Err(error) => return Err(denied(error.kind())),
    };
    let until = time(&claims, "exp")?.ok_or(Denied::Claims)?.saturating_add(SKEW_MS);
    if now.millis() >= until {
        return Err(Denied::Expired);
    }
    if time(&claims, "nbf")?.is_some_and(|from| now.millis() < from.saturating_sub(SKEW_MS)) {
        return Err(Denied::NotYetValid);
    }
    let scopes = scopes(claims.get(&expected.scope_claim));
    Ok(Principal { name: name(&claims)?, scopes, until: Some(UnixMillis::from_millis(until)) })
}

/// Returns what the library checks: the signature by the key's algorithms, issuer and audience. The time is checked by
/// the clock of the service.
fn validation(algorithms: &[Algorithm], expected: &Expected) -> Validation {
    Validation {
        algorithms: algorithms.to_vec(),
        required_spec_claims: ["exp", "iss", "aud"].into_iter().map(str::to_owned).collect(),
        validate_exp: false,
        iss: Some(HashSet::from([expected.issuer.clone()])),
        aud: Some(HashSet::from([expected.audience.clone()])),
        ..Validation::default()
    }
}

fn denied(kind: &ErrorKind) -> Denied {
    match kind {
        ErrorKind::InvalidAlgorithm => Denied::Algorithm,
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) | ErrorKind::Provider(_) => Denied::Signature,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::InvalidAudience => Denied::Audience,
        _ => Denied::Claims,
    }
}

/// Returns a time in milliseconds. It is written in seconds, perhaps with a fraction (RFC 7519, section 2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Denied> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0).ok_or(Denied::Claims)?;
    // A conversion of floats saturates.
    #[expect(clippy::cast_possible_truncation, reason = "a time beyond the range is the end of it")]
    Ok(Some((seconds * 1000.0) as i64))
}

/// Returns the scopes that are known of those in a claim: a text with spaces between them (RFC 8693), or an array.
fn scopes(claim: Option<&Value>) -> Scopes {
    let words: Vec<&str> = match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    words.into_iter().filter_map(|word| word.parse().ok()).collect()
}

/// Returns the name of the principal in the trail: the subject, or the client where there is none.
fn name(claims: &Map<String, Value>) -> Result<Arc<str>, Denied> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("sub").or_else(|| text("client_id")).ok_or(Denied::Claims)?;
    let name = name.chars().map(|character| if character.is_control() { ' ' } else { character });
    Ok(NAME_PREFIX.chars().chain(name.take(NAME_CHARS_MAX)).collect::<String>().into())
}

#[cfg(test)]
mod tests;
