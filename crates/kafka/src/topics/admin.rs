//! Requests to the cluster about topics.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use domain::topics::Spec;
use domain::{LogId, TopicId};

use super::{Description, Error};
use crate::client::TracingContext;
use crate::native::{authorize, topic_id, topic_name};
use crate::{ClientOptions, Fault};

/// The prefix of the cluster id of librdkafka's mock broker. That broker names a controller that does not exist, so a
/// request to the controller, such as an admin request, would only run into its deadline.
const EMBEDDED_CLUSTER: &str = "mockCluster";

/// The pause before a new topic is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whether this request created a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Now,
    Before,
}

/// Creates the topics that do not exist, and leaves existing ones unchanged.
///
/// # Errors
/// If the cluster refuses a topic or does not answer within the deadline.
pub async fn create(
    options: &ClientOptions,
    specs: &[Spec],
    deadline: Duration,
) -> Result<Vec<(String, Created)>, Error> {
    let admin = admin(options).await.map_err(Error::Client)?;
    let mut outcomes = Vec::new();
    for spec in specs {
        // Checked first: a broker that cannot create topics may still have them.
        let outcome = match shape(options, &spec.topic, deadline).await {
            Ok(_) => Created::Before,
            Err(Error::Missing { topic }) if is_embedded(options, deadline).await => {
                return Err(Error::NotCreated { topic, source: Code::UnsupportedFeature.into() });
            }
            Err(Error::Missing { .. }) => {
                let created = create_one(&admin, spec, deadline).await?;
                until_seen(options, &spec.topic, deadline).await?;
                created
            }
            Err(error) => return Err(error),
        };
        outcomes.push((spec.topic.clone(), outcome));
    }
    Ok(outcomes)
}

async fn create_one(admin: &AdminClient<TracingContext>, spec: &Spec, deadline: Duration) -> Result<Created, Error> {
    let mut topic = NewTopic::new(&spec.topic, spec.partitions, TopicReplication::Fixed(spec.replication));
    for (name, value) in &spec.settings {
        topic = topic.set(name, value);
    }
    let not_created = |source| Error::NotCreated { topic: spec.topic.clone(), source };
    let admin_options = AdminOptions::new()
        .request_timeout(Some(deadline))
        // Waits until every broker knows the topic, so that the next request finds it.
        .operation_timeout(Some(deadline));
    let outcomes = admin.create_topics([&topic], &admin_options).await.map_err(|error| not_created(error.into()))?;
    for outcome in outcomes {
        match outcome {
            Ok(_) => {}
            Err((_, Code::TopicAlreadyExists)) => return Ok(Created::Before),
            Err((_, code)) => return Err(not_created(code.into())),
        }
    }
    Ok(Created::Now)
}

/// Waits until the topic is in the cluster's metadata: brokers hear of a new topic one after the other.
async fn until_seen(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<(), Error> {
    let seen = async {
        loop {
            match shape(options, topic, deadline).await {
                Ok(_) => return Ok(()),
                Err(Error::Missing { .. }) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(error),
            }
        }
    };
    let timed_out = |_| Err(Error::NotDescribed { topic: topic.to_owned(), source: Code::OperationTimedOut.into() });
    tokio::time::timeout(deadline, seen).await.unwrap_or_else(timed_out)
}

/// Returns the description of a topic.
///
/// # Errors
/// [`Error::Missing`] if there is no such topic. Others if the cluster does not answer within the deadline.
pub async fn describe(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Description, Error> {
    let (asked, name) = (options.clone(), topic.to_owned());
    let (shape, log) = tokio::task::spawn_blocking(move || {
        let client = reader(&asked)?;
        let shape = shape_of(&client, &name, deadline)?;
        Ok::<_, Error>((shape, log_of(&client, &name, deadline)?))
    })
    .await
    .expect("asking does not panic")?;
    let settings = if shape.is_embedded() { None } else { settings(options, topic, deadline).await? };
    Ok(Description {
        topic: topic.to_owned(),
        partitions: shape.partitions,
        replication: shape.replication,
        settings,
        log,
    })
}

/// A topic in the cluster's metadata.
pub(super) struct Shape {
    pub(super) partitions: i32,
    replication: i32,
    cluster_id: Option<String>,
    /// The partitions of each leader, under -1 those without one.
    pub(super) by_leader: BTreeMap<i32, Vec<i32>>,
}

impl Shape {
    fn is_embedded(&self) -> bool {
        is_embedded_id(self.cluster_id.as_deref())
    }
}

pub(crate) fn is_embedded_id(cluster_id: Option<&str>) -> bool {
    cluster_id.is_some_and(|id| id.starts_with(EMBEDDED_CLUSTER))
}

pub(super) async fn is_embedded(options: &ClientOptions, deadline: Duration) -> bool {
    let options = options.clone();
    let asking = tokio::task::spawn_blocking(move || reader(&options).ok()?.client().fetch_cluster_id(deadline));
    let cluster_id = asking.await.expect("asking does not panic");
    is_embedded_id(cluster_id.as_deref())
}

async fn shape(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Shape, Error> {
    let (options, topic) = (options.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || shape_of(&reader(&options)?, &topic, deadline))
        .await
        .expect("asking does not panic")
}

/// Returns the log that a topic's name stands for at this moment. One request.
pub(crate) fn log_of<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    deadline: Duration,
) -> Result<LogId, Error> {
    let not_described = |source| Error::NotDescribed { topic: topic.to_owned(), source };
    // Waits for the first answer of the cluster; later it is known.
    let cluster_id = || client.client().fetch_cluster_id(deadline);
    let known = cluster_id().ok_or_else(|| not_described(Code::OperationTimedOut.into()))?;
    let id = if is_embedded_id(Some(&known)) {
        shape_of(client, topic, deadline)?;
        None
    } else {
        topic_name(topic).and_then(|name| topic_id(client, &name, deadline)).map_err(|source| match source.code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Error::Missing { topic: topic.to_owned() },
            _ => not_described(source),
        })?
    };
    // As the answer said: another cluster may stand at the address since the last one.
    let cluster = cluster_id().unwrap_or(known);
    let topic = id.unwrap_or_else(|| TopicId::derived(&cluster, topic));
    Ok(LogId { cluster, topic })
}

pub(super) fn shape_of<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    deadline: Duration,
) -> Result<Shape, Error> {
    let missing = || Error::Missing { topic: topic.to_owned() };
    let not_described = |source| Error::NotDescribed { topic: topic.to_owned(), source };
    let metadata = client.fetch_metadata(Some(topic), deadline).map_err(|error| not_described(error.into()))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or_else(missing)?;
    match found.error().map(Code::from) {
        None => {}
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Err(missing()),
        Some(code) => return Err(not_described(code.into())),
    }
    let replicas = found.partitions().iter().map(|partition| partition.replicas().len());
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in found.partitions() {
        by_leader.entry(partition.leader()).or_default().push(partition.id());
    }
    Ok(Shape {
        partitions: count(found.partitions().len()),
        replication: count(replicas.min().unwrap_or(0)),
        cluster_id: client.client().fetch_cluster_id(deadline),
        by_leader,
    })
}

/// Returns the topic's settings, or `None` if the broker does not support the request.
async fn settings(
    options: &ClientOptions,
    topic: &str,
    deadline: Duration,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let not_described = |source| Error::NotDescribed { topic: topic.to_owned(), source };
    let admin = admin(options).await.map_err(Error::Client)?;
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new().request_timeout(Some(deadline)))
        .await
        .map_err(Fault::from)
        .and_then(|resources| resources.into_iter().next().unwrap_or(Err(Code::Fail)).map_err(Fault::from));
    match described {
        Ok(resource) => Ok(settings_of(resource)),
        // A broker that cannot describe settings, or denies permission, must not prevent the service from running.
        Err(fault)
            if matches!(
                fault.code(),
                Some(
                    Code::UnsupportedFeature
                        | Code::UnsupportedVersion
                        | Code::TopicAuthorizationFailed
                        | Code::ClusterAuthorizationFailed
                )
            ) =>
        {
            Ok(None)
        }
        Err(fault) => Err(not_described(fault)),
    }
}

/// Returns the settings of an answer, or `None` if it has none. A topic always has settings; rdkafka returns an empty
/// list when permission is missing.
fn settings_of(resource: ConfigResource) -> Option<BTreeMap<String, String>> {
    let settings: BTreeMap<_, _> =
        resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
    (!settings.is_empty()).then_some(settings)
}

pub(super) async fn admin(options: &ClientOptions) -> Result<AdminClient<TracingContext>, Fault> {
    let admin: AdminClient<_> = options.admin().create_with_context(options.context())?;
    let authorized = tokio::task::spawn_blocking(move || authorize(admin.inner()).map(|()| admin));
    authorized.await.expect("asking for a token does not panic")
}

pub(super) fn reader(options: &ClientOptions) -> Result<BaseConsumer<TracingContext>, Error> {
    options.inquirer().map_err(Error::Client)
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::{ConfigEntry, ConfigSource, OwnedResourceSpecifier};

    use super::*;

    #[test]
    fn an_empty_answer_means_unknown_settings() {
        let resource = |names: &[&str]| {
            let entries = names.iter().map(|name| ConfigEntry {
                name: (*name).to_owned(),
                value: Some("1".to_owned()),
                source: ConfigSource::Default,
                is_read_only: false,
                is_default: true,
                is_sensitive: false,
            });
            ConfigResource { specifier: OwnedResourceSpecifier::Topic("users".to_owned()), entries: entries.collect() }
        };
        assert_eq!(settings_of(resource(&[])), None);
        let one = BTreeMap::from([("segment.bytes".to_owned(), "1".to_owned())]);
        assert_eq!(settings_of(resource(&["segment.bytes"])), Some(one));
    }
}
