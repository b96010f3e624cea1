//! `rollcall topics copy`: the state of every user on another topic, with another number of partitions.

use std::process::ExitCode;

use anyhow::Context as _;
use domain::position::PARTITIONS_MAX;
use domain::topics::{REPLICAS_FOR_PRODUCTION, Spec};
use kafka::publish::{Limits, Publisher};
use kafka::topics::{self, Severity};
use serde_json::{Value, json};
use upkeep::copy::{Copied, copy};
use upkeep::forget::Log;

use crate::cluster::{ANSWER_WAIT_MAX, Cluster, asked, schemas};
use crate::environment::now;
use crate::files;
use crate::output::{print, print_json};
use crate::progress;
use crate::sources::Sources;

/// Appends the state of every user to another topic, created if it is missing. Can be repeated: it appends only the
/// states that the other topic lacks
#[derive(Debug, clap::Args)]
#[command(after_help = files::EITHER)]
pub(crate) struct Args {
    /// The other topic
    #[arg(long, value_name = "TOPIC")]
    to: String,
    /// The partitions of the other topic
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=i64::from(PARTITIONS_MAX)))]
    partitions: i32,
    /// Replicas of each partition of a new topic; 1 on a cluster of one broker
    #[arg(long, default_value_t = REPLICAS_FOR_PRODUCTION, value_parser = clap::value_parser!(i32).range(1..))]
    replication: i32,
    /// Prints the outcome as a JSON object, without the order of the switch
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sources: Sources,
}

/// Runs the command.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Cluster { options, names, registry, body_bytes_max, .. } = Cluster::reach(&args.sources).await?;
    let (from, to) = (&names.users, &args.to);
    anyhow::ensure!(from != to, "{to} is the users topic itself");
    let spec = Spec::users(to, args.partitions, args.replication).with_partitions_fixed();
    let spec = Spec { body_bytes_max, ..spec };
    let of_topic = || format!("{} for topic {to}", asked(&options));
    topics::create(&options, std::slice::from_ref(&spec), ANSWER_WAIT_MAX).await.with_context(of_topic)?;
    let description = topics::describe(&options, to, ANSWER_WAIT_MAX).await.with_context(of_topic)?;
    for finding in topics::judge(&spec, Some(&description)) {
        let is_wrong = finding.severity == Severity::Refuse || description.partitions != args.partitions;
        anyhow::ensure!(!is_wrong, "{finding}; nothing was copied");
        if args.json {
            eprintln!("rollcall: {finding}");
        } else {
            print(&format!("{finding}\n"))?;
        }
    }
    let publisher = Publisher::open(&options, Limits::default()).context("the Kafka client cannot be created")?;
    let log = Log { kafka: options.clone(), topics: names.clone(), schemas: schemas(&registry, &names).await? };
    let bar = progress::bar("{wide_bar} {pos}/{len} users, {per_sec}, {eta} left", Some(0));
    let copied = copy(&log, to, &publisher, now, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })
    .await?;
    bar.finish_and_clear();
    if args.json {
        print_json(&json(&copied, from, to, args.partitions).to_string())?;
    } else {
        print(&report(&copied, from, to, args.partitions))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json(copied: &Copied, from: &str, to: &str, partitions: i32) -> Value {
    let Copied { users, forgotten, appended, unknown, unreadable, only_there } = copied;
    json!({
        "from": from, "to": to, "partitions": partitions, "users": users, "forgotten": forgotten,
        "appended": appended, "unknown": unknown, "unreadable": unreadable, "only_there": only_there,
    })
}

fn report(copied: &Copied, from: &str, to: &str, partitions: i32) -> String {
    let Copied { users, forgotten, appended, unknown, unreadable, only_there } = copied;
    let mut text = format!(
        "{from} has {users} keys ({forgotten} forgotten users), and {to} has of each the same state, or a newer one: \
         {appended} records appended by this run\n"
    );
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            text.push_str(&format!("{what}: {count}\n"));
        }
    };
    note(*unknown, "keys that end in a record which this build does not know, copied as it is");
    note(*unreadable, "records with broken bytes, not copied");
    note(*only_there, &format!("keys that only {to} has"));
    text + &format!(
        "\nSwitch in this order:\n\
         1. Stop every replica of ingest. The vendor sends again later, so nothing is lost.\n\
         2. Run this command again. It appends the states that have changed since, users forgotten since included.\n\
         3. Set topics.users = \"{to}\" and topics.partitions = {partitions} for ingest, every projector and the \
         commands. The other topics stay.\n\
         4. Start ingest, then the projectors: each rebuilds its table from {to}. Positions in {from} are refused from \
         then on.\n\
         5. Move all other consumers to {to}, from its beginning.\n\
         6. Run `rollcall verify`, then delete {from}: `forget` does not reach it any more.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_rest_and_the_order_of_the_switch() {
        let copied = Copied { users: 7, forgotten: 2, appended: 5, unknown: 1, ..Copied::default() };
        let text = report(&copied, "vcc.users", "vcc.users.24", 24);
        for part in [
            "vcc.users has 7 keys (2 forgotten users), and vcc.users.24 has of each the same state, or a newer one: 5 ",
            "copied as it is: 1\n",
            "1. Stop every replica of ingest.",
            "topics.users = \"vcc.users.24\" and topics.partitions = 24",
            "delete vcc.users:",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("broken bytes") && !text.contains("only vcc.users.24"), "{text}");
        let expected = serde_json::json!({
            "from": "vcc.users", "to": "vcc.users.24", "partitions": 24, "users": 7, "forgotten": 2, "appended": 5,
            "unknown": 1, "unreadable": 0, "only_there": 0,
        });
        assert_eq!(json(&copied, "vcc.users", "vcc.users.24", 24), expected);
    }
}
