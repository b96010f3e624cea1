//! The permissions that a service lacks on the cluster: a condition of its readiness, and a metric.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Readiness;

/// Readiness: no permission that the service needs is missing, as far as the cluster tells.
const PERMISSIONS: &str = "permissions";

/// A permission that a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Describe on a topic.
    Describe,
    /// Read on a topic.
    Read,
    /// Write on a topic.
    Write,
    /// Read on a consumer group.
    Group,
    /// DescribeConfigs on a topic. Without it a service runs, and cannot check the settings of the topic.
    DescribeConfigs,
}

impl Permission {
    fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Read => "read",
            Self::Write => "write",
            Self::Group => "group",
            Self::DescribeConfigs => "describe_configs",
        }
    }

    /// Returns whether a service is not ready without it.
    pub fn is_needed(self) -> bool {
        match self {
            Self::Describe | Self::Read | Self::Write | Self::Group => true,
            Self::DescribeConfigs => false,
        }
    }
}

/// The permission as Kafka's access lists name it.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "Describe on the topic",
            Self::Read => "Read on the topic",
            Self::Write => "Write on the topic",
            Self::Group => "Read on the group",
            Self::DescribeConfigs => "DescribeConfigs on the topic",
        })
    }
}

/// The answer of a cluster about one permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The topic or the group.
    pub resource: String,
    pub permission: Permission,
    pub is_missing: bool,
}

impl Asked {
    pub fn new(resource: &str, permission: Permission, is_permitted: bool) -> Self {
        Self { resource: resource.to_owned(), permission, is_missing: !is_permitted }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    permission: &'static str,
    /// The topic or the group: names of the configuration, so there are few.
    resource: String,
}

/// The permissions that are missing; clones share them.
#[derive(Clone, Debug)]
pub struct MissingPermissions {
    missing: Arc<Mutex<BTreeSet<(String, Permission)>>>,
    gauge: Family<Label, Gauge>,
    readiness: Readiness,
}

impl MissingPermissions {
    /// Returns a list without any, which `readiness` will follow.
    pub fn new(readiness: &Readiness) -> Self {
        Self { missing: Arc::default(), gauge: Family::default(), readiness: readiness.clone() }
    }

    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        let help = "1 for a permission that the service needs and does not have, else 0";
        registry.register("rollcall_missing_permission", help, self.gauge.clone());
    }

    /// Takes what the cluster said about one permission. A change is logged.
    pub fn report(&self, resource: &str, permission: Permission, is_missing: bool) {
        let label = Label { permission: permission.as_str(), resource: resource.to_owned() };
        self.gauge.get_or_create(&label).set(i64::from(is_missing));
        let (mut missing, key) = (self.missing.lock(), (resource.to_owned(), permission));
        let is_news = if is_missing { missing.insert(key) } else { missing.remove(&key) };
        match (is_news, is_missing) {
            (true, true) => tracing::error!(
                resource,
                permission = permission.as_str(),
                "the service lacks a permission on the cluster: it is not ready until the access list has it"
            ),
            (true, false) => tracing::info!(resource, permission = permission.as_str(), "a permission is there again"),
            (false, _) => {}
        }
        if missing.is_empty() {
            self.readiness.holds(PERMISSIONS);
        } else {
            let shown =
                |(resource, permission): &(String, Permission)| format!("{} on {resource}", permission.as_str());
            let missing: Vec<String> = missing.iter().map(shown).collect();
            self.readiness.lacks(PERMISSIONS, format!("missing: {}", missing.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn what_is_missing_is_named_until_it_is_there() {
        let (metrics, readiness) = (Metrics::new(), Readiness::new(&[]));
        let permissions = MissingPermissions::new(&readiness);
        metrics.register(|registry| permissions.register(registry));
        let series =
            |value| format!("rollcall_missing_permission{{permission=\"write\",resource=\"vcc.users\"}} {value}\n");
        permissions.report("vcc.users", Permission::Write, false);
        assert!(readiness.missing().is_empty() && metrics.encode().contains(&series(0)));
        permissions.report("vcc.users", Permission::Write, true);
        permissions.report("rollcall-keeper", Permission::Group, true);
        let reason = "missing: group on rollcall-keeper, write on vcc.users".to_owned();
        assert_eq!(readiness.missing(), [(PERMISSIONS, reason)]);
        assert!(metrics.encode().contains(&series(1)));
        permissions.report("vcc.users", Permission::Write, false);
        permissions.report("rollcall-keeper", Permission::Group, false);
        assert!(readiness.missing().is_empty() && metrics.encode().contains(&series(0)));
    }
}
