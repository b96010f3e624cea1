//! The committed examples of `deploy/examples`, each run as whoever copies it would, on a topic that ingest has filled:
//! what each makes of it is what the projector answers.
//!
//! Their dependencies are fetched by their own package managers into a folder of the build. An example whose runtime is
//! missing, or cannot be set up, is left out with a line that says why. `.ci/full` runs the `#[ignore]`d ones too.
//!
//! | module | content |
//! | --- | --- |
//! | [`topic`] | the topic that the examples read, and what the projector answers of it |
//! | [`tools`] | the examples in a folder where they can be built, and their processes |
//! | [`streams`] | Kafka Streams: calls joined with the table of users |
//! | [`flink`] | Flink SQL: the topic as a table |
//! | [`connect`] | Kafka Connect: the state topic as a table of PostgreSQL, with upserts and deletions |
//! | [`postgres`] | a PostgreSQL server of a test's own |

mod connect;
mod flink;
mod postgres;
mod streams;
mod tools;
mod topic;

use crate::support::broker::{Broker, on_kafka};
use crate::support::engine::leave_out_of_ecosystem;

use tools::{JAVA, built, run};
use topic::Topic;

const PYTHON: &[&[&str]] = &[
    &["python3", "-m", "venv", "venv"],
    &["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
];
const NODE: &[&[&str]] = &[&["npm", "install", "--silent", "--no-audit", "--no-fund"]];
const GO: &[&[&str]] = &[&["go", "build", "-o", "users", "."]];

/// Builds an example and runs it on the topic of both framings, or leaves it out.
async fn reads_the_topic(
    test: &str,
    broker: &Broker,
    example: (&str, &[&[&str]]),
    command: impl for<'a> FnOnce(&'a Topic) -> Vec<&'a str>,
) {
    let ready = async {
        let dir = built(example.0, example.1)?;
        Ok::<_, String>((dir, Topic::mixed(broker).await?))
    };
    match ready.await {
        Ok((dir, topic)) => {
            let printed = run(&dir, &command(topic)).unwrap_or_else(|why| panic!("{test}: {why}"));
            topic.assert_read(&printed);
        }
        Err(why) => leave_out_of_ecosystem(test, &why),
    }
}

#[test]
fn python_reads_the_topic() {
    let test = "examples::python_reads_the_topic";
    on_kafka(test, async |broker| {
        reads_the_topic(test, broker, ("python", PYTHON), |topic| {
            let Topic { bootstrap, registry, .. } = topic;
            vec!["venv/bin/python", "users.py", "--bootstrap", bootstrap, "--registry", registry]
        })
        .await;
    });
}

#[test]
fn go_reads_the_topic() {
    let test = "examples::go_reads_the_topic";
    on_kafka(test, async |broker| {
        reads_the_topic(test, broker, ("go", GO), |topic| {
            vec!["./users", "-bootstrap", &topic.bootstrap, "-registry", &topic.registry]
        })
        .await;
    });
}

#[test]
fn java_reads_the_topic() {
    let test = "examples::java_reads_the_topic";
    on_kafka(test, async |broker| {
        reads_the_topic(test, broker, ("java", JAVA), |topic| {
            let Topic { bootstrap, apicurio, .. } = topic;
            vec!["java", "-cp", tools::CLASS_PATH, "example.Users", bootstrap, "../../../schemas", apicurio]
        })
        .await;
    });
}

#[test]
#[ignore = "slow to install: .ci/full runs it"]
fn node_reads_the_topic() {
    let test = "examples::node_reads_the_topic";
    for client in ["kafkajs", "confluent"] {
        on_kafka(test, async |broker| {
            reads_the_topic(test, broker, ("node", NODE), |topic| {
                let Topic { bootstrap, registry, .. } = topic;
                vec!["node", "users.js", "--bootstrap", bootstrap, "--registry", registry, "--client", client]
            })
            .await;
        });
    }
}
