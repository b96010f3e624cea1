//! Tokens for Kafka from an authorization server.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::sync::Arc;
use std::time::Duration;

use domain::{AccessToken, TokenError, TokenSource};
use serde_json::json;
use service::config::Faults;
use service::secret::Secret;
use service::settings::OAuth;
use testkit::authorization::TokenServer;
use testkit::eventually;
use testkit::wait::PATIENCE;

fn tokens(server: &TokenServer) -> Arc<dyn TokenSource> {
    let oauth = OAuth {
        token_url: server.url(),
        client_id: "rollcall".to_owned(),
        client_secret: Some(Secret::new("hunter2")),
        scope: "kafka:read kafka:write".to_owned(),
        ..OAuth::default()
    };
    oauth.tokens(&mut Faults::default()).unwrap()
}

async fn token(tokens: &Arc<dyn TokenSource>) -> Result<AccessToken, TokenError> {
    let tokens = Arc::clone(tokens);
    tokio::task::spawn_blocking(move || tokens.token()).await.unwrap()
}

#[tokio::test]
async fn one_token_serves_all_until_it_is_renewed() {
    let server = TokenServer::start(Duration::from_secs(600), |_| "t".to_owned()).await;
    let tokens = tokens(&server);
    for _ in 0..3 {
        let token = token(&tokens).await.unwrap();
        assert_eq!((token.value.as_str(), token.principal.as_str()), ("t", "rollcall"));
        assert!(token.valid_for > Duration::from_secs(500), "{token:?}");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/oauth/token");
    // rollcall:hunter2
    assert_eq!(requests[0].authorization, "Basic cm9sbGNhbGw6aHVudGVyMg==");
    assert_eq!(requests[0].body, "grant_type=client_credentials&scope=kafka%3Aread%20kafka%3Awrite");
    assert!(!format!("{tokens:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_token_near_its_end_is_replaced() {
    let server = TokenServer::start(Duration::from_secs(1), |_| "t".to_owned()).await;
    let tokens = tokens(&server);
    eventually("there is a second token", PATIENCE, async || {
        assert!(!token(&tokens).await.unwrap().valid_for.is_zero());
        (server.issued() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_to_its_end() {
    let server = TokenServer::start(Duration::from_secs(2), |_| "t".to_owned()).await;
    let tokens = tokens(&server);
    token(&tokens).await.unwrap();
    server.refuse(Some((401, json!({ "error": "invalid_client" }))));
    let mut used_after_refusal = false;
    let error = eventually("the token ends", PATIENCE, async || {
        let token = token(&tokens).await;
        used_after_refusal |= token.is_ok() && server.requests().len() > 1;
        token.err()
    })
    .await;
    assert!(used_after_refusal);
    let shown = error.to_string();
    assert!(shown.contains("status 401 and invalid_client") && shown.contains("kafka.oauth.client_id"), "{shown}");
    assert_eq!(server.requests().len(), 2, "a failure is kept for a while");
}
