//! `rollcall config check --online`: what a configuration names exists and can be used.

use anyhow::Context as _;
use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::topics::{self, Severity};
use service::permissions::Asked;
use service::registry;

use crate::cluster::{ANSWER_WAIT_MAX, asked, reach, schemas};

/// What a service needs of the cluster and of the registry.
pub(super) struct Needs {
    pub(super) options: ClientOptions,
    pub(super) names: Names,
    pub(super) registry: registry::Options,
    pub(super) partitions: i32,
    pub(super) body_bytes_max: usize,
    pub(super) role: Role,
}

/// The service, for what it does with the topics.
pub(super) enum Role {
    /// Needs all topics; `keeps` says whether it repairs.
    Ingest { keeps: bool },
    /// Reads two topics, or one.
    Projector { late: Option<String> },
}

/// What a configuration lacks on the cluster and in the registry.
pub(super) struct Found {
    pub(super) kafka_can_be_used: bool,
    pub(super) faults: Vec<String>,
}

/// Connects, and returns each fault of cluster, topics, permissions and registry. What Kafka lacks does not keep the
/// registry from being asked.
pub(super) async fn find(needs: &Needs) -> Found {
    let (kafka, registry) = tokio::join!(kafka_faults(needs), schemas(&needs.registry, &needs.names));
    let kafka_can_be_used = kafka.is_ok();
    let mut faults = kafka.unwrap_or_else(|error| vec![format!("{error:#}")]);
    faults.extend(registry.err().map(|error| format!("{error:#}")));
    Found { kafka_can_be_used, faults }
}

/// Returns each fault of the permissions and the topics.
///
/// # Errors
/// If the cluster cannot be used, with the reason and the remedy.
async fn kafka_faults(needs: &Needs) -> anyhow::Result<Vec<String>> {
    reach(&needs.options).await?;
    let mut faults = missing_permissions(needs).await.with_context(|| asked(&needs.options))?;
    faults.extend(topic_faults(needs).await);
    Ok(faults)
}

/// Returns a line for each permission that the service lacks, by the questions that it asks while it runs.
async fn missing_permissions(needs: &Needs) -> Result<Vec<String>, kafka::Fault> {
    let Needs { options, names, role, .. } = needs;
    let asked = match role {
        Role::Ingest { keeps } => ingest::ask_permissions(options, names, *keeps).await?,
        Role::Projector { late } => projector::ask_permissions(options, &names.users, late.as_deref()).await?,
    };
    let missing = asked.into_iter().filter(|asked| asked.is_missing);
    Ok(missing
        .map(|Asked { resource, permission, .. }| format!("missing permission: {permission} {resource}"))
        .collect())
}

async fn topic_faults(needs: &Needs) -> Vec<String> {
    let Needs { names, partitions, body_bytes_max, role, .. } = needs;
    let writes = matches!(role, Role::Ingest { .. });
    // The operator chooses the number of replicas.
    let specs: Vec<Spec> = crate::topics::specs(names, *partitions, 1, *body_bytes_max)
        .into_iter()
        .filter(|spec| writes || spec.topic == names.users || spec.topic == names.late)
        .collect();
    match topics::check(&needs.options, &specs, ANSWER_WAIT_MAX).await {
        Ok(findings) => {
            let wrong = findings.iter().filter(|finding| finding.severity > Severity::Note);
            wrong.map(ToString::to_string).collect()
        }
        Err(error) => vec![format!("{:#}", anyhow::Error::from(error))],
    }
}
