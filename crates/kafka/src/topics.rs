//! Topics on the cluster: created, described, told apart, and compared with their contract ([`domain::topics`]).

mod admin;
mod check;
mod delete;
mod description;
mod error;
mod log_probe;
mod watch;

use std::time::Duration;

use domain::topics::{DELETE_RETENTION, RETENTION, Spec};

use crate::ClientOptions;

pub(crate) use admin::watermarks_of;
pub use admin::{Created, Watermarks, create, describe, watermarks};
use check::judge_together;
pub use check::{Finding, Severity, judge};
pub use delete::{NotDeleted, delete_before};
pub use description::Description;
pub use error::Error;
pub use log_probe::LogProbe;
pub(crate) use watch::{Changed, Confirmed, Watch};

/// Compares the topics with their contract, and the retention of deliveries with that of tombstones.
///
/// # Errors
/// If the cluster does not answer. A missing topic is a finding, not an error.
pub async fn check(options: &ClientOptions, specs: &[Spec], deadline: Duration) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let (mut with_tombstones, mut by_age) = (Vec::new(), Vec::new());
    for spec in specs {
        match describe(options, &spec.topic, deadline).await {
            Ok(description) => {
                findings.extend(judge(spec, Some(&description)));
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
    for users in &with_tombstones {
        findings.extend(by_age.iter().filter_map(|other| judge_together(users, other)));
    }
    Ok(findings)
}
