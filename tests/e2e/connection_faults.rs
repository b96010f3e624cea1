//! A listener of Apache Kafka with SASL and an authorizer: each login and permission that is wrong has its reason and
//! its remedy; a clock that Kafka refuses is told in readiness.

use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::Kind;
use kafka::client::connect;
use testkit::deliveries::delivery;
use testkit::eventually;

use crate::support::broker::{Broker, make_topics, on_kafka, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::process::{Process, cluster_arguments};
use crate::support::system::{Ingest, now};

/// Bounds a failing test.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Server properties: two users who log in by PLAIN, of whom one may do everything.
const LISTENER: [(&str, &str); 5] = [
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("KAFKA_SASL_ENABLED_MECHANISMS", "PLAIN"),
    (
        "KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG",
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_admin=\"of admin\" \
         user_stranger=\"of stranger\";",
    ),
    ("KAFKA_AUTHORIZER_CLASS_NAME", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("KAFKA_SUPER_USERS", "User:admin;User:ANONYMOUS"),
];

#[test]
fn each_refusal_has_its_reason_and_its_remedy() {
    where_kafka_runs("connection_faults::each_refusal_has_its_reason_and_its_remedy", async || {
        let kafka = Kafka::start(&LISTENER).await;
        let names = Names::default();
        let admin = plain(&kafka, "admin", "of admin");
        connect(&admin, WAIT_MAX).await.expect("the login is right");
        make_topics(&admin, &names, 1, 1).await;

        let mut scram = admin.clone();
        scram.properties.insert("sasl.mechanism".to_owned(), "SCRAM-SHA-256".to_owned());
        let without = ClientOptions::new(kafka.bootstrap());
        let cases = [
            ("wrong password", plain(&kafka, "admin", "wrong"), Kind::Credentials, "check `sasl.username`"),
            ("unknown user", plain(&kafka, "nobody", "x"), Kind::Credentials, "the user is unknown"),
            ("mechanism off", scram, Kind::Mechanism, "(PLAIN); set `sasl.mechanism`"),
            ("no login", without, Kind::SaslExpected, "set `security.protocol` to SASL_SSL"),
        ];
        for (what, options, kind, remedy) in cases {
            let fault = connect(&options, WAIT_MAX).await.expect_err(what);
            assert_eq!(fault.trouble().map(|trouble| trouble.kind), Some(kind), "{what}: {fault}");
            assert!(fault.to_string().contains(remedy), "{what}: {fault}");
        }

        let stranger = plain(&kafka, "stranger", "of stranger");
        let arguments = ["verify".to_owned()].into_iter().chain(cluster_arguments(&stranger, &names));
        let finished = Process::start(&arguments.collect::<Vec<_>>()).finished().await;
        assert!(!finished.status.success());
        for part in ["topic authorization failed", "grant this user Describe", &names.users] {
            assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
        }
        assert!(!finished.stderr.contains("ERROR"), "{}", finished.stderr);
    });
}

fn plain(kafka: &Kafka, user: &str, password: &str) -> ClientOptions {
    let mut options = ClientOptions::new(kafka.bootstrap());
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    options.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    options
}

#[test]
fn a_clock_that_kafka_refuses_is_told_in_readiness() {
    on_kafka("connection_faults::a_clock_that_kafka_refuses_is_told_in_readiness", a_refused_clock);
}

async fn a_refused_clock(broker: &Broker) {
    let names = broker.make_topics(1).await;
    // Kafka takes records of at most an hour ahead by default.
    let ahead = || domain::UnixMillis::from_millis(now().millis() + 2 * 60 * 60 * 1000);
    let ingest = Ingest::start_with_clock(&broker.client_options(), &names, ahead, |_| ()).await;
    ingest.ready().await;
    assert_eq!(ingest.post(delivery(180, 0)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    eventually("it is not ready, for the clock", WAIT_MAX, async || {
        let readiness = ingest.readiness().await;
        readiness.body_text().contains("publish: the clock of this machine is one that Kafka refuses").then_some(())
    })
    .await;
    ingest.stop().await.expect("ingest ends well");
}
