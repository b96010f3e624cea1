//! `rollcall config check --online`: what a configuration names exists and can be used.

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::topics::{self, Severity};
use service::registry;

use crate::cluster::{ANSWER_WAIT_MAX, reach, schemas};
use crate::output::print;

/// What a service needs of the cluster and of the registry.
pub(super) struct Needs {
    pub(super) options: ClientOptions,
    pub(super) names: Names,
    pub(super) registry: registry::Options,
    pub(super) partitions: i32,
    pub(super) body_bytes_max: usize,
    /// Whether the service writes, and so needs all topics. The projector reads two.
    pub(super) writes: bool,
}

/// Connects, and prints each fault. Returns whether there is none.
///
/// # Errors
/// If the cluster cannot be used, with the reason and the remedy.
pub(super) async fn check(needs: &Needs) -> anyhow::Result<bool> {
    reach(&needs.options).await?;
    print(&format!("Kafka at {} can be used\n", needs.options.bootstrap))?;
    let mut is_right = true;
    for line in topic_faults(needs).await {
        is_right = false;
        print(&format!("{line}\n"))?;
    }
    match schemas(&needs.registry, &needs.names).await {
        Ok(_) => {}
        Err(error) => {
            is_right = false;
            print(&format!("{error:#}\n"))?;
        }
    }
    if is_right {
        print("topics and registry are right\n")?;
    }
    Ok(is_right)
}

async fn topic_faults(needs: &Needs) -> Vec<String> {
    let Needs { names, partitions, body_bytes_max, writes, .. } = needs;
    // The operator chooses the number of replicas.
    let specs: Vec<Spec> = crate::topics::specs(names, *partitions, 1, *body_bytes_max)
        .into_iter()
        .filter(|spec| *writes || spec.topic == names.users || spec.topic == names.late)
        .collect();
    match topics::check(&needs.options, &specs, ANSWER_WAIT_MAX).await {
        Ok(findings) => {
            let wrong = findings.iter().filter(|finding| finding.severity > Severity::Note);
            wrong.map(ToString::to_string).collect()
        }
        Err(error) => vec![format!("{:#}", anyhow::Error::from(error))],
    }
}
