//! The topic that the examples read, and what the projector answers of it.

use std::collections::BTreeMap;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::Value;
use tempfile::TempDir;
use testkit::deliveries::{CREATED, delivery};
use testkit::event::{created, user_id};
use testkit::http::request;
use tokio::sync::OnceCell;

use crate::registry::{in_version_2, version_2};
use crate::support::apicurio::Apicurio;
use crate::support::broker::{Broker, make_topics};
use crate::support::system::{Ingest, Projector, now};

pub(super) const PARTITIONS: i32 = 3;
/// Users of the first ingest, each of whom the second one changes.
const USERS: u64 = 20;
/// The user who is forgotten.
pub(super) const FORGOTTEN: i64 = 5;
/// A user whose event has a later version of the schema.
const OF_VERSION_2: i64 = 1000;

/// A topic on which every user is as the projector answers.
pub(super) struct Topic {
    pub(super) options: ClientOptions,
    pub(super) bootstrap: String,
    /// The registry's address for clients of Confluent's API, and for Apicurio's own.
    pub(super) registry: String,
    pub(super) apicurio: String,
    pub(super) names: Names,
    /// What the projector answers, by user.
    pub(super) users: BTreeMap<i64, Value>,
}

impl Topic {
    /// Returns `vcc.users`, half of it in single-object encoding and half in Confluent framing. Made once in a run.
    pub(super) async fn mixed(broker: &Broker) -> Result<&'static Self, String> {
        static MIXED: OnceCell<Result<Topic, String>> = OnceCell::const_new();
        let make = async || {
            let names = Names::default();
            make_topics(&broker.client_options(), &names, PARTITIONS, 1).await;
            Self::fill(broker, names, false).await
        };
        MIXED.get_or_init(make).await.as_ref().map_err(Clone::clone)
    }

    /// Returns a topic in Confluent framing alone.
    pub(super) async fn framed(broker: &Broker) -> Result<Self, String> {
        Self::fill(broker, broker.make_topics(PARTITIONS).await, true).await
    }

    async fn fill(broker: &Broker, names: Names, framed: bool) -> Result<Self, String> {
        let registry = Apicurio::shared().await?;
        let options = broker.client_options();
        for (change, framed) in [(0, framed), (1, true)] {
            let url = if framed { registry.url() } else { String::new() };
            let ingest = Ingest::start(&options, &names, |raw| raw.registry.url = url).await;
            ingest.ready().await;
            for user in 1..=USERS {
                // Of the odd ones, the last record is the first one.
                if change == 0 || user % 2 == 0 {
                    assert_eq!(ingest.post(delivery(user, change)).await.status, StatusCode::OK);
                }
            }
            assert_eq!(ingest.post(CREATED).await.status, StatusCode::OK);
            ingest.stop().await.expect("ingest ends well");
        }
        let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");
        let forgotten = Outgoing::forgotten(user_id(FORGOTTEN), &names.users, now(), now());
        publisher.publish(forgotten).await.expect("the broker takes a record");
        let registered = registry.register(&format!("{}-value", names.users), &version_2().to_string()).await;
        let id = u32::try_from(registered.json()["id"].as_u64().expect("it is compatible")).expect("it is an id");
        let event = created(OF_VERSION_2, "of version 2", 1);
        let record = Outgoing { value: Some(in_version_2(&event, id)), ..Outgoing::event(&event, &names.users, None) };
        publisher.publish(record).await.expect("the broker takes a record");

        let users = answered(&options, &names, registry).await;
        assert_eq!(users.len() as u64, USERS + 1, "all but one of them, the vendor's own, and one of version 2");
        Ok(Self {
            bootstrap: options.bootstrap.clone(),
            options,
            registry: registry.url(),
            apicurio: registry.own_url(),
            names,
            users,
        })
    }

    /// Asserts that an example has printed each user of the projector, field by field, and nobody else.
    pub(super) fn assert_read(&self, printed: &str) {
        let users = printed.lines().filter(|line| line.starts_with('{')).map(|line| {
            let mut user: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            user.as_object_mut().expect("it is an object").remove("extra");
            (user["userId"].as_i64().expect("a user has an identifier"), user)
        });
        assert_eq!(users.collect::<BTreeMap<_, _>>(), self.users);
    }
}

/// Returns what a projector that reads the whole topic answers of its users: the fields of the vendor's table.
async fn answered(options: &ClientOptions, names: &Names, registry: &Apicurio) -> BTreeMap<i64, Value> {
    let store = TempDir::new().expect("a folder can be made");
    let projector = Projector::start(options, names, store.path(), |raw| raw.registry.url = registry.url()).await;
    projector.ready().await;
    let request = request("GET", "/users?limit=100", &["accept: application/x-ndjson"], "");
    let answer = projector.http.exchange(&request).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let users = answer.body_text().lines().filter_map(|line| {
        let mut user: Value = serde_json::from_str(line).expect("a line is JSON");
        user.as_object_mut()?.remove("_meta");
        Some((user["userId"].as_i64()?, user))
    });
    let users = users.collect();
    projector.stop().await.expect("the projector ends well");
    users
}
