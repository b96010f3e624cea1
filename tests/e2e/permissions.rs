//! Permissions that go and come while the services run: readiness and a metric say which is missing, and both heal when
//! the access list has it again. `config check --online` says it before they run.

use std::time::Duration;

use domain::topics::{Names, PARTITIONS_DEFAULT};
use kafka::ClientOptions;
use tempfile::TempDir;
use testkit::eventually;

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::process::{Process, cluster_arguments};
use crate::support::system::{Ingest, Projector};

/// How long a change may take to be noticed: some intervals of the questions, and librdkafka's pauses.
const NOTICED_MAX: Duration = Duration::from_secs(120);
/// Server properties: the clients' listener takes names and passwords, and an access list says what each may do.
/// The tools in the container, and the test that makes the topics, are above it.
const LISTENER: [(&str, &str); 5] = [
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("KAFKA_SASL_ENABLED_MECHANISMS", "PLAIN"),
    (
        "KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG",
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_rollcall=\"secret\" \
         user_admin=\"secret\";",
    ),
    ("KAFKA_AUTHORIZER_CLASS_NAME", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("KAFKA_SUPER_USERS", "User:ANONYMOUS;User:admin"),
];

#[test]
fn a_missing_permission_is_said_until_it_is_there() {
    where_kafka_runs("permissions::a_missing_permission_is_said_until_it_is_there", async || {
        let kafka = Kafka::start(&LISTENER).await;
        let names = Names::default();
        make_topics(&options(&kafka, "admin"), &names, 2, 1).await;
        let Names { users, late, dead_letter, .. } = &names;
        for topic in [users, late, dead_letter] {
            for operation in ["Read", "Write", "DescribeConfigs"] {
                change(&kafka, "--add", operation, &["--topic", topic]).await;
            }
        }
        let groups = ["--group", "rollcall-", "--resource-pattern-type", "prefixed"];
        change(&kafka, "--add", "Read", &groups).await;
        let store = TempDir::new().expect("a folder can be made");
        let client = options(&kafka, "rollcall");
        let ingest = Ingest::start(&client, &names, |_| ()).await;
        let projector = Projector::start(&client, &names, store.path(), |_| ()).await;
        ingest.ready().await;
        projector.ready().await;

        for (operation, resource, missing) in [
            ("Write", ["--topic", users].as_slice(), "permission=\"write\",resource=\"vcc.users\""),
            ("Read", ["--topic", users].as_slice(), "permission=\"read\",resource=\"vcc.users\""),
            ("Write", ["--topic", dead_letter].as_slice(), "permission=\"write\",resource=\"vcc.users.dead-letter\""),
        ] {
            change(&kafka, "--remove", operation, resource).await;
            let series = format!("rollcall_missing_permission{{{missing}}}");
            said(&format!("{series} 1"), async || ingest.metrics().await).await;
            assert_ne!(ingest.readiness().await.body_text(), "ok\n", "{missing}");
            if operation == "Read" {
                said(&format!("{series} 1"), async || projector.metrics().await).await;
                assert!(projector.readiness().await.body_text().contains("read on vcc.users"));
            }
            change(&kafka, "--add", operation, resource).await;
            said(&format!("{series} 0"), async || ingest.metrics().await).await;
            ingest.ready().await;
            projector.ready().await;
        }
        ingest.stop().await.expect("ingest ends well");
        projector.stop().await.expect("the projector ends well");
    });
}

#[test]
fn the_check_of_a_configuration_names_each_missing_permission() {
    where_kafka_runs("permissions::the_check_of_a_configuration_names_each_missing_permission", async || {
        let kafka = Kafka::start(&LISTENER).await;
        let names = Names::default();
        make_topics(&options(&kafka, "admin"), &names, PARTITIONS_DEFAULT, 1).await;
        let Names { users, late, dead_letter, .. } = &names;
        let client = options(&kafka, "rollcall");
        let of_group = "Read on the group rollcall-keeper".to_owned();

        let missing = missing_by_check("ingest", &client, &names).await;
        for permission in ["Read", "Write", "DescribeConfigs"] {
            assert!(missing.contains(&format!("{permission} on the topic {users}")), "{permission}: {missing:?}");
        }
        for topic in [late, dead_letter] {
            assert!(missing.contains(&format!("Write on the topic {topic}")), "{missing:?}");
        }
        assert!(missing.contains(&of_group), "{missing:?}");

        for topic in [users, late, dead_letter] {
            for operation in ["Read", "Write", "DescribeConfigs"] {
                change(&kafka, "--add", operation, &["--topic", topic]).await;
            }
        }
        // Of the group it may know, and may not join it.
        change(&kafka, "--add", "Describe", &["--group", "rollcall-keeper"]).await;
        for (operation, topic, is_of_ingest, is_of_projector) in [
            ("Write", users, true, false),
            ("Read", users, true, true),
            ("DescribeConfigs", users, true, true),
            ("Read", late, false, true),
        ] {
            let line = format!("{operation} on the topic {topic}");
            change(&kafka, "--remove", operation, &["--topic", topic]).await;
            for (service, expected) in [
                ("ingest", [is_of_ingest.then_some(line.clone()), Some(of_group.clone())]),
                ("projector", [is_of_projector.then_some(line.clone()), None]),
            ] {
                let expected: Vec<String> = expected.into_iter().flatten().collect();
                eventually(&format!("{service}: {expected:?}"), NOTICED_MAX, async || {
                    (missing_by_check(service, &client, &names).await == expected).then_some(())
                })
                .await;
            }
            change(&kafka, "--add", operation, &["--topic", topic]).await;
        }
        change(&kafka, "--add", "Read", &["--group", "rollcall-keeper"]).await;
        eventually("nothing is missing any more", NOTICED_MAX, async || {
            missing_by_check("ingest", &client, &names).await.is_empty().then_some(())
        })
        .await;
    });
}

/// Returns the permissions that `config check --online` finds missing for a service.
async fn missing_by_check(service: &str, options: &ClientOptions, names: &Names) -> Vec<String> {
    let open = ["--set", "security.allow_unauthenticated=true"];
    let more = if service == "ingest" { open.as_slice() } else { &[] };
    let command = [&["config", "check", service, "--online"], more].concat();
    let command = command.into_iter().map(str::to_owned);
    let arguments: Vec<String> = command.chain(cluster_arguments(options, names)).collect();
    let finished = Process::start(&arguments).finished().await;
    assert!(finished.stdout.contains("can be used"), "{finished:?}");
    let missing: Vec<String> = finished
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("missing permission: "))
        .map(str::to_owned)
        .collect();
    assert!(missing.is_empty() || !finished.status.success(), "{finished:?}");
    missing
}

async fn said(series: &str, metrics: impl AsyncFn() -> String) {
    eventually(series, NOTICED_MAX, async || metrics().await.contains(series).then_some(())).await;
}

/// Adds or removes an entry of the access list.
async fn change(kafka: &Kafka, change: &str, operation: &str, resource: &[&str]) {
    let arguments = [&[change, "--force", "--allow-principal", "User:rollcall", "--operation", operation], resource];
    kafka.change_access(&arguments.concat()).await.expect("the access list can be changed");
}

fn options(kafka: &Kafka, user: &str) -> ClientOptions {
    let mut options = ClientOptions::new(kafka.bootstrap());
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", "secret"),
    ];
    options.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    options
}
