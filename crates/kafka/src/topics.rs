//! Topics on the cluster: created, described, told apart, and compared with their contract ([`domain::topics`]).

mod admin;
mod check;
mod delete;
mod description;
mod ends;
mod error;
mod hold;
mod log_probe;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::{DELETE_RETENTION, RETENTION, Spec};

use crate::ClientOptions;

pub(crate) use admin::is_embedded_id;
pub use admin::{Created, create, describe};
pub use check::{Finding, Severity, judge};
use check::{judge_partitions, judge_together};
pub use delete::{NotDeleted, delete_before};
pub use description::Description;
pub(crate) use ends::watermarks_of;
pub use ends::{Ends, EndsProbe, Watermarks, watermarks};
pub use error::Error;
pub use hold::Hold;
pub(crate) use hold::hold_of;
pub use log_probe::LogProbe;
pub(crate) use watch::{Changed, Confirmed, Watch};

/// Compares the topics with their contract, and the retention of deliveries with that of tombstones.
///
/// # Errors
/// If the cluster does not answer. A missing topic is a finding, not an error.
pub async fn check(options: &ClientOptions, specs: &[Spec], deadline: Duration) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let (mut with_tombstones, mut by_age) = (Vec::new(), Vec::new());
    let mut partitions = BTreeMap::new();
    for spec in specs {
        match describe(options, &spec.topic, deadline).await {
            Ok(description) => {
                findings.extend(judge(spec, Some(&description)));
                partitions.insert(spec.topic.as_str(), description.partitions);
                if spec.settings.contains_key(DELETE_RETENTION) {
                    with_tombstones.push(description);
                } else if spec.settings.contains_key(RETENTION) {
                    by_age.push(description);
                }
            }
            Err(Error::Missing { .. }) => findings.extend(judge(spec, None)),
            Err(error) => return Err(error),
        }
    }
    findings.extend(specs.iter().filter_map(|spec| judge_partitions(spec, &partitions)));
    for users in &with_tombstones {
        findings.extend(by_age.iter().filter_map(|other| judge_together(users, other)));
    }
    Ok(findings)
}
