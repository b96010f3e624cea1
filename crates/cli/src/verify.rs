//! `rollcall verify`: reads the whole log and says where it is not what it must be.

mod compare;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::UserId;
use ingest::verify::{Found, Options, Report, check_settings, verify};
use serde_json::{Value, json};

use crate::expect::{self, Expected};
use crate::fetch::Service;
use crate::kafka::{Cluster, asked};
use crate::output::print;
use crate::progress;
use crate::sources::Sources;

use compare::Differences;

/// The bar is told of every so many records, which costs nothing beside reading them.
const PROGRESS_EVERY: u64 = 4096;

/// Reads the whole log and reports dirty keys, gaps, unreadable records, misplaced keys and wrong settings; exit status 1 on any
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// The state that each user must have, as `rollcall simulate --expect` writes it
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Also compares what this projector answers with --expect: http://127.0.0.1:8081
    #[arg(long, value_name = "URL", requires = "expect")]
    projector: Option<String>,
    /// How long a key may take to be repaired, in seconds, on a system that lives
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Cluster { options: kafka, names } = Cluster::load(&args.sources)?;
    let expected = args.expect.as_ref().map(read_expected).transpose()?;
    let settings = check_settings(&kafka, &names).await.with_context(|| asked(&kafka))?;
    let options = Options {
        kafka,
        topics: names,
        threads: args.threads.into(),
        settle: Duration::from_secs(args.settle),
        keep_winners: expected.is_some(),
    };
    let bar = progress::bar("{wide_bar} {pos}/{len} records, {per_sec}, {eta} left", Some(0));
    let mut report = tokio::task::spawn_blocking({
        let bar = bar.clone();
        move || {
            verify(&options, |done, total| {
                if done % PROGRESS_EVERY == 0 || done == total {
                    bar.set_length(total);
                    bar.set_position(done);
                }
            })
        }
    })
    .await??;
    bar.finish_and_clear();
    report.settings = settings;

    let mut differences = Differences::default();
    if let Some(expected) = &expected {
        differences.compare_log(expected, &report.winners);
        if let Some(url) = &args.projector {
            differences.compare_projector(expected, &Service::new(url)?).await?;
        }
    }
    print(&if args.json { format!("{:#}\n", as_json(&report, &differences)) } else { as_text(&report, &differences) })?;
    Ok(if report.is_clean() && differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_expected(path: &PathBuf) -> anyhow::Result<BTreeMap<UserId, Expected>> {
    let at = || format!("{} cannot be used", path.display());
    let file = std::fs::File::open(path).with_context(at)?;
    let users = expect::read(BufReader::new(file)).map(|user| user.map(|user| (user.user_id, user)));
    users.collect::<anyhow::Result<_>>().with_context(at)
}

/// Returns each kind of finding: its name, how many there are, and the first of them.
fn findings(report: &Report, differences: &Differences) -> Vec<(&'static str, u64, Vec<String>)> {
    fn told<T>(name: &'static str, found: &Found<T>, tell: impl Fn(&T) -> String) -> (&'static str, u64, Vec<String>) {
        (name, found.count, found.examples.iter().map(tell).collect())
    }
    vec![
        told("dirty keys", &report.dirty, |dirty| {
            format!("user {}: newest at {}, last at {}", dirty.user_id, dirty.newest, dirty.last)
        }),
        told("lineage gaps", &report.gaps, |gap| {
            format!("user {}: before {}, in {}", gap.user_id, gap.position, gap.fields.join(", "))
        }),
        told("unreadable records", &report.unreadable, |unreadable| {
            format!("{}: {}", unreadable.position, unreadable.reason)
        }),
        told("misplaced keys", &report.misplaced, |misplaced| {
            format!(
                "user {}: at {}, belongs on partition {}",
                misplaced.user_id, misplaced.position, misplaced.partition
            )
        }),
        ("topic settings", report.settings.len() as u64, report.settings.iter().map(ToString::to_string).collect()),
        ("differences from --expect", differences.count(), differences.examples().to_vec()),
    ]
}

fn as_text(report: &Report, differences: &Differences) -> String {
    let Report { records, users, forgotten, reasserted, .. } = report;
    let mut text =
        format!("{records} records: {users} users, {forgotten} forgotten, {reasserted} records appended again\n");
    for (name, count, examples) in findings(report, differences) {
        text.push_str(&format!("{name:<26}{count}\n"));
        for example in &examples {
            text.push_str(&format!("  {example}\n"));
        }
        let more = count.saturating_sub(examples.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    text
}

fn as_json(report: &Report, differences: &Differences) -> Value {
    let findings: serde_json::Map<String, Value> = findings(report, differences)
        .into_iter()
        .map(|(name, count, examples)| (name.replace(' ', "_"), json!({ "count": count, "examples": examples })))
        .collect();
    json!({
        "clean": report.is_clean() && differences.is_empty(),
        "records": report.records,
        "users": report.users,
        "forgotten": report.forgotten,
        "reasserted": report.reasserted,
        "findings": findings,
    })
}
