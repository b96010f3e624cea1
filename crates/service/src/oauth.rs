//! Tokens for Kafka, by the client credentials of OAuth 2.0 (RFC 6749, section 4.4): SASL OAUTHBEARER.
//!
//! All clients of a process share one token. It is asked for anew when three quarters of its life are over, by the
//! first client that needs one then: librdkafka asks after 0.8 of it. If the authorization server does not answer, the
//! token is used to its end.
//!
//! Name and secret are sent by `Authorization: Basic`, as librdkafka and the Java client do.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use domain::{AccessToken, TokenError, TokenSource};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{self, Answer, Endpoint};
use crate::telemetry::chain;

/// The part of a token's life after which the next one is asked for, earlier than librdkafka asks.
const RENEWED_AT: f64 = 0.75;
/// The life of a token whose answer does not say how long it is.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);
/// The time for which a failure is the answer to all: clients that wait in turn must not each wait for the server.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// The most characters of the server's own text that are shown.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// The tokens of one client at its authorization server.
#[derive(Debug)]
pub struct Tokens {
    endpoint: Endpoint,
    client_id: String,
    scope: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<(Instant, Arc<Error>)>,
}

/// A token, and when its life began and ends.
struct Kept {
    value: String,
    from: Instant,
    life: Duration,
}

/// The reason why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the token endpoint {url} does not answer: check kafka.oauth.token_url, ca_file and the network")]
    Unanswered { url: String, source: client::Error },
    #[error("the token endpoint {url} refuses, with status {status} and {error}: {remedy}")]
    Refused { url: String, status: u16, error: String, remedy: &'static str },
    #[error("the answer of {url} has no {lacking}: check that kafka.oauth.token_url is that of a token endpoint")]
    NoToken { url: String, lacking: &'static str },
}

impl Tokens {
    /// Prepares requests to a token endpoint, which has the credentials. Nothing is sent yet.
    pub fn new(endpoint: Endpoint, client_id: String, scope: String) -> Self {
        Self { endpoint, client_id, scope, state: Mutex::default() }
    }

    /// Asks for a token, on a thread with a runtime of its own: the caller may be a thread of any kind.
    fn ask(&self) -> Result<Kept, Error> {
        let mut form = vec![("grant_type", "client_credentials")];
        if !self.scope.is_empty() {
            form.push(("scope", &self.scope));
        }
        let from = Instant::now();
        let answer = thread::scope(|scope| {
            let asking = thread::Builder::new().name("oauth-token".to_owned()).spawn_scoped(scope, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("the system can make a runtime");
                let answer = runtime.block_on(self.endpoint.post_form(&form));
                // A look-up of the host's name can outlive the time limit.
                runtime.shutdown_background();
                answer
            });
            asking.expect("the system can start a thread").join().expect("asking does not panic")
        });
        let url = || self.endpoint.url().to_owned();
        let answer = answer.map_err(|source| Error::Unanswered { url: url(), source })?;
        let (value, life) = token(&answer, url)?;
        Ok(Kept { value, from, life })
    }
}

impl TokenSource for Tokens {
    fn token(&self) -> Result<AccessToken, TokenError> {
        // Held while the server is asked: one asks, and the others share the answer.
        let mut state = self.state.lock();
        let now = Instant::now();
        let given = |kept: &Kept| AccessToken {
            value: kept.value.clone(),
            principal: self.client_id.clone(),
            valid_for: kept.rest(Instant::now()),
        };
        if let Some(kept) = state.kept.as_ref().filter(|kept| kept.is_fresh(now)) {
            return Ok(given(kept));
        }
        let failed = state.failed.as_ref().filter(|(at, _)| now.duration_since(*at) < FAILURE_KEPT);
        let error = match failed {
            Some((_, error)) => Arc::clone(error),
            None => match self.ask() {
                Ok(kept) => {
                    tracing::debug!(life_s = kept.life.as_secs(), "a new token for Kafka");
                    let token = given(&kept);
                    *state = State { kept: Some(kept), failed: None };
                    return Ok(token);
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "no new token for Kafka");
                    let error = Arc::new(error);
                    state.failed = Some((Instant::now(), Arc::clone(&error)));
                    error
                }
            },
        };
        // The time of the request is over too.
        let now = Instant::now();
        state.kept.as_ref().filter(|kept| !kept.rest(now).is_zero()).map(given).ok_or(error)
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.from) < self.life.mul_f64(RENEWED_AT)
    }

    fn rest(&self, now: Instant) -> Duration {
        self.life.saturating_sub(now.duration_since(self.from))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Returns the token of an answer and its life.
fn token(answer: &Answer, url: impl Fn() -> String) -> Result<(String, Duration), Error> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.status.is_success() {
        return Err(refusal(answer.status, &json, url()));
    }
    // Of its characters (RFC 6749, appendix A.12). librdkafka quotes a token that has others.
    let is_token = |value: &&str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let value = json["access_token"].as_str().filter(is_token);
    let value = value.ok_or_else(|| Error::NoToken { url: url(), lacking: "access_token" })?;
    if json["token_type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(Error::NoToken { url: url(), lacking: "token_type of Bearer" });
    }
    // Some servers write the number as a text.
    let expires_in = &json["expires_in"];
    match expires_in.as_u64().or_else(|| expires_in.as_str()?.parse().ok()) {
        Some(0) => Err(Error::NoToken { url: url(), lacking: "expires_in above 0" }),
        seconds => Ok((value.to_owned(), seconds.map_or(LIFE_DEFAULT, Duration::from_secs))),
    }
}

fn refusal(status: StatusCode, json: &Value, url: String) -> Error {
    let error = json["error"].as_str().unwrap_or("no error of OAuth");
    let remedy = match (error, status) {
        ("invalid_client", _) | (_, StatusCode::UNAUTHORIZED) => {
            "check kafka.oauth.client_id and client_secret, or the file of the secret"
        }
        ("invalid_scope", _) => "check kafka.oauth.scope",
        ("unauthorized_client" | "unsupported_grant_type", _) => {
            "permit client credentials for this client at the authorization server"
        }
        (_, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => "check kafka.oauth.token_url",
        (_, status) if status.is_server_error() => "the server is asked again",
        (_, _) => "the log of the authorization server may say why",
    };
    let description = json["error_description"].as_str().map(|text| format!(" ({text})")).unwrap_or_default();
    // It becomes a C string.
    let said = format!("{error}{description}").replace(char::is_control, " ");
    Error::Refused { url, status: status.as_u16(), error: said.chars().take(DESCRIPTION_CHARS_MAX).collect(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<(String, Duration), Error> {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned().into() };
        token(&answer, || "https://idp/token".to_owned())
    }

    #[test]
    fn a_token_is_renewed_before_its_end_and_used_until_then() {
        let from = Instant::now();
        let kept = Kept { value: "t".to_owned(), from, life: Duration::from_secs(100) };
        for (seconds, fresh, rest) in
            [(0, true, 100), (74, true, 26), (75, false, 25), (100, false, 0), (101, false, 0)]
        {
            let now = from + Duration::from_secs(seconds);
            assert_eq!((kept.is_fresh(now), kept.rest(now).as_secs()), (fresh, rest), "after {seconds} s");
        }
    }

    #[test]
    fn a_token_lives_as_long_as_its_server_says() {
        for (body, seconds) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#, 60),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":"60"}"#, 60),
            (r#"{"access_token":"t"}"#, 300),
        ] {
            assert_eq!(answered(200, body).unwrap(), ("t".to_owned(), Duration::from_secs(seconds)), "{body}");
        }
    }

    #[test]
    fn each_answer_without_a_token_has_its_remedy() {
        for (status, body, parts) in [
            (401, r#"{"error":"invalid_client","error_description":"who\nis it"}"#, ["(who is it)", "client_secret"]),
            (401, "<html>", ["no error of OAuth", "client_secret"]),
            (400, r#"{"error":"invalid_scope"}"#, ["invalid_scope", "kafka.oauth.scope"]),
            (400, r#"{"error":"unauthorized_client"}"#, ["unauthorized_client", "permit client credentials"]),
            (404, "", ["404", "kafka.oauth.token_url"]),
            (503, "", ["503", "asked again"]),
            (200, "<html>", ["no access_token", "token_url"]),
            (200, r#"{"access_token":"hunter2 "}"#, ["no access_token", "token_url"]),
            (200, r#"{"access_token":"hunter2","token_type":"mac"}"#, ["token_type", "token_url"]),
            (200, r#"{"access_token":"hunter2","expires_in":0}"#, ["expires_in", "token_url"]),
        ] {
            let error = answered(status, body).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
