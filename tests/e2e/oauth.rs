//! A listener of Apache Kafka that takes OAUTHBEARER only, and an authorization server that gives short-lived tokens.
//! Kafka ends every connection whose token is over (`connections.max.reauth.ms`), so what goes on has been renewed.

use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use openssl::base64::encode_block;
use serde_json::json;
use service::secret::Secret;
use service::settings::OAuth;
use tempfile::TempDir;
use testkit::authorization::TokenServer;
use testkit::deliveries::{delivery, name};
use testkit::eventually;

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::process::{Process, cluster_arguments};
use crate::support::system::{Ingest, Projector, now};

/// The life of a token.
const LIFE: Duration = Duration::from_secs(8);
/// How long what is waited for may take: some lives of a token, and librdkafka's pauses between attempts.
const WAIT_MAX: Duration = Duration::from_secs(90);
const SECRET: &str = "the secret of the client";
/// Server properties: the clients' listener takes tokens that are not signed, and ends connections with their tokens.
const LISTENER: [(&str, &str); 4] = [
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("KAFKA_SASL_ENABLED_MECHANISMS", "OAUTHBEARER"),
    (
        "KAFKA_LISTENER_NAME_CLIENTS_OAUTHBEARER_SASL_JAAS_CONFIG",
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
         unsecuredLoginStringClaim_sub=\"broker\";",
    ),
    ("KAFKA_CONNECTIONS_MAX_REAUTH_MS", "3600000"),
];

#[test]
fn everything_runs_by_tokens_that_are_renewed() {
    where_kafka_runs("oauth::everything_runs_by_tokens_that_are_renewed", async || {
        let kafka = Kafka::start(&LISTENER).await;
        let server = TokenServer::start(LIFE, unsigned_token).await;
        let names = Names::default();
        refused_with_the_cause(&kafka, &server, &names).await;

        let options = options(&kafka, &server);
        make_topics(&options, &names, 2, 1).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |raw| raw.kafka.oauth = oauth(&server)).await;
        let projector = Projector::start(&options, &names, store.path(), |raw| raw.kafka.oauth = oauth(&server)).await;
        ingest.ready().await;
        projector.ready().await;
        let name_after = async |change| {
            let delivered = ingest.post(delivery(180, change)).await;
            assert_eq!(delivered.status, StatusCode::OK, "{delivered:?}");
            let position = delivered.text("/position");
            projector.http.get(&format!("/users/180?at_least={position}&wait_ms=30000")).await.text("/name")
        };
        assert_eq!(name_after(0).await, name(180, 0));

        // Both services get new tokens, twice: no connection lives by its first token any more.
        let before = server.issued();
        eventually("the tokens are renewed", WAIT_MAX, async || (server.issued() >= before + 4).then_some(())).await;
        assert_eq!(name_after(1).await, name(180, 1));

        // The authorization server fails for longer than a token lives, and is back.
        server.refuse(Some((503, json!({}))));
        let status = async || ingest.post(delivery(180, 2)).await.status;
        eventually("there is no token any more", WAIT_MAX, async || {
            (status().await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
        })
        .await;
        server.refuse(None);
        eventually("there are tokens again", WAIT_MAX, async || (status().await == StatusCode::OK).then_some(())).await;
        assert_eq!(name_after(3).await, name(180, 3));

        verified_by_command(&options, &server, &names).await;
        ingest.stop().await.expect("ingest ends well");
        projector.stop().await.expect("the projector ends well");
    });
}

/// Asks while the authorization server refuses the client: the cause and the remedy are in the error.
async fn refused_with_the_cause(kafka: &Kafka, server: &TokenServer, names: &Names) {
    server.refuse(Some((401, json!({ "error": "invalid_client" }))));
    let described = kafka::topics::describe(&options(kafka, server), &names.users, WAIT_MAX).await;
    let error = described.expect_err("there is no token");
    let shown = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(shown.contains("invalid_client") && shown.contains("check kafka.oauth.client_id"), "{shown}");
    server.refuse(None);
}

/// Runs commands as an operator does, with the secret in a file.
async fn verified_by_command(options: &ClientOptions, server: &TokenServer, names: &Names) {
    let folder = TempDir::new().expect("a folder can be made");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("a file can be written");
    let settings = [
        format!("kafka.oauth.token_url={}", server.url()),
        "kafka.oauth.client_id=rollcall".to_owned(),
        format!("kafka.oauth.client_secret_file={}", secret.display()),
    ];
    let settings: Vec<String> = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
    for command in
        [&["topics", "check", "--partitions", "2", "--replication", "1"][..], &["verify"], &["forget", "180", "--yes"]]
    {
        let command = command.iter().map(|part| (*part).to_owned());
        let arguments: Vec<String> =
            command.chain(cluster_arguments(options, names)).chain(settings.iter().cloned()).collect();
        let finished = Process::start(&arguments).finished().await;
        assert!(finished.status.success(), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        assert!(!format!("{}{}", finished.stdout, finished.stderr).contains(SECRET));
    }
    let expected = format!("Basic {}", encode_block(format!("rollcall:{SECRET}").as_bytes()));
    assert!(server.requests().iter().all(|request| request.authorization == expected));
}

fn options(kafka: &Kafka, server: &TokenServer) -> ClientOptions {
    let mut options = ClientOptions::new(kafka.bootstrap());
    let properties = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "OAUTHBEARER")];
    options.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    options.tokens = oauth(server).tokens(&mut Default::default());
    options
}

fn oauth(server: &TokenServer) -> OAuth {
    OAuth {
        token_url: server.url(),
        client_id: "rollcall".to_owned(),
        client_secret: Some(Secret::new(SECRET)),
        ..OAuth::default()
    }
}

/// Returns a JSON Web Token without a signature, which the broker's default validator takes.
fn unsigned_token(life: Duration) -> String {
    let now = now().millis() / 1000;
    let part = |json: serde_json::Value| {
        let text = encode_block(json.to_string().as_bytes());
        text.replace('+', "-").replace('/', "_").replace(['=', '\n'], "")
    };
    let claims = json!({ "sub": "rollcall", "iat": now, "exp": now + life.as_secs() as i64 });
    format!("{}.{}.", part(json!({ "alg": "none" })), part(claims))
}
