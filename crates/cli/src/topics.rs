//! `rollcall topics`: creates the topics by their contract, checks a cluster against it, and copies the users topic.

mod copy;

use std::process::ExitCode;

use anyhow::Context as _;
use domain::position::PARTITIONS_MAX;
use domain::topics::{Names, REPLICAS_FOR_PRODUCTION, Spec};
use kafka::ClientOptions;
use kafka::topics::{self, Created, Finding, Severity};
use serde_json::{Value, json};

use crate::cluster::{ANSWER_WAIT_MAX, Cluster, asked};
use crate::files;
use crate::output::{print, print_json};
use crate::sources::Sources;

/// Creates the topics, checks them against their contract, or copies the users topic
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates missing topics, then checks all
    #[command(after_help = files::EITHER)]
    Create(Args),
    /// Compares the topics with their contract; exit status 1 on any finding
    #[command(after_help = files::EITHER)]
    Check(Args),
    Copy(copy::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Partitions of each new topic, and of the users topic in any case: topics.partitions by default. Consumers that
    /// join by key need equal numbers; `topics copy` makes a topic with another number
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=i64::from(PARTITIONS_MAX)))]
    partitions: Option<i32>,
    /// Replicas of each partition; 1 on a cluster of one broker
    #[arg(long, default_value_t = REPLICAS_FOR_PRODUCTION, value_parser = clap::value_parser!(i32).range(1..))]
    replication: i32,
    /// Prints the findings as a JSON array
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let args = match &command {
        Command::Create(args) | Command::Check(args) => args,
        Command::Copy(args) => return copy::run(args).await,
    };
    let Cluster { options, names, partitions, body_bytes_max, .. } = Cluster::reach(&args.sources).await?;
    let specs = specs(&names, args.partitions.unwrap_or(partitions), args.replication, body_bytes_max);
    if matches!(command, Command::Create(_)) && !create(&options, &specs, args).await? {
        return Ok(ExitCode::FAILURE);
    }
    let findings = topics::check(&options, &specs, ANSWER_WAIT_MAX).await.with_context(|| asked(&options))?;
    if args.json {
        print_json(&json(&findings).to_string())?;
    } else {
        print(&report(&specs, &findings))?;
    }
    let wrong = findings.iter().any(|finding| finding.severity > Severity::Note);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns the contract of the topics as they are on the cluster: the users topic has exactly these partitions.
pub(crate) fn specs(names: &Names, partitions: i32, replication: i32, body_bytes_max: usize) -> Vec<Spec> {
    let specs = Spec::contract(names, partitions, replication).into_iter();
    let specs = specs.map(|spec| if spec.topic == names.users { spec.with_partitions_fixed() } else { spec });
    specs.map(|spec| Spec { body_bytes_max, ..spec }).collect()
}

/// Creates the missing topics one by one, and prints what became of each. Returns whether all exist.
async fn create(options: &ClientOptions, specs: &[Spec], args: &Args) -> anyhow::Result<bool> {
    let mut all_exist = true;
    for spec in specs {
        let line = match topics::create(options, std::slice::from_ref(spec), ANSWER_WAIT_MAX).await {
            Ok(created) => created.into_iter().map(|(_, created)| outcome(created)).collect(),
            Err(error) => {
                all_exist = false;
                format!("not created with --replication {}: {:#}", args.replication, anyhow::Error::from(error))
            }
        };
        if !args.json || !all_exist {
            print(&format!("{}: {line}\n", spec.topic))?;
        }
    }
    if !all_exist {
        print("what exists stays; the command can be repeated\n")?;
    }
    Ok(all_exist)
}

fn outcome(created: Created) -> &'static str {
    match created {
        Created::Now => "created",
        Created::Before => "exists",
    }
}

fn report(specs: &[Spec], findings: &[Finding]) -> String {
    let mut lines = String::new();
    for spec in specs {
        if findings.iter().all(|finding| finding.topic != spec.topic) {
            lines.push_str(&format!("{}: meets its contract\n", spec.topic));
        }
    }
    for finding in findings {
        lines.push_str(&format!("{finding} ({})\n", weight(finding.severity)));
    }
    lines
}

fn weight(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warn => "warning",
        Severity::Refuse => "refused",
    }
}

fn json(findings: &[Finding]) -> Value {
    let object = |Finding { topic, subject, expected, found, severity }: &Finding| {
        json!({
            "topic": topic, "subject": subject, "expected": expected, "found": found, "severity": weight(*severity),
        })
    };
    findings.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_right_or_has_its_findings() {
        let specs = Spec::contract(&Names::default(), 1, 1);
        let findings = topics::judge(&specs[0], None);
        let expected = "vcc.users.late: meets its contract\n\
                        vcc.users.dead-letter: meets its contract\n\
                        vcc.users: topic is missing, expected present (refused)\n";
        assert_eq!(report(&specs, &findings), expected);
        let expected = json!([{
            "topic": "vcc.users", "subject": "topic", "expected": "present", "found": "missing", "severity": "refused",
        }]);
        assert_eq!(json(&findings), expected);
    }
}
