//! `rollcall verify`: reads the whole log and reports all its faults.

mod compare;

mod projector;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::{TopicId, UserId};
use kafka::topics::{Finding, Severity};
use serde_json::{Value, json};
use upkeep::verify::{Found, Gap, Options, Overdue, Report, Unreadable, check_settings, topic, verify};

use crate::cluster::{Cluster, asked, schemas};
use crate::environment::now;
use crate::expect::{self, Expected};
use crate::fetch::ProjectorClient;
use crate::files;
use crate::output::print;
use crate::progress;
use crate::sources::Sources;

/// The unit of `--since`.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The bar moves once in this many records, so that it costs nothing beside reading.
const PROGRESS_EVERY: u64 = 4096;

/// Reads the whole log and reports dirty keys, gaps, unreadable and unknown records, events ahead, overdue tombstones,
/// misplaced keys, users behind on the state topic and wrong settings; exit status 1 on any, except gaps that are
/// awaited or were lost before --since
#[derive(Debug, clap::Args)]
#[command(after_help = files::EITHER)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// The expected state of each user, as written by `rollcall simulate --expect`
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Also compares the answers of this projector with the log, and with --expect if given: http://127.0.0.1:8081
    #[arg(long, value_name = "URL")]
    projector: Option<String>,
    /// The file with the token for the projector, which must have every scope
    #[arg(long, value_name = "FILE", requires = "projector")]
    token_file: Option<PathBuf>,
    /// Certificate authorities (PEM) for an https address, instead of those of the system
    #[arg(long, value_name = "FILE", requires = "projector")]
    ca_file: Option<PathBuf>,
    /// The time in seconds that a key has to be repaired, on a live system
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// How many days a lost delivery is a fault, from the moment at which the vendor gave up (22 d 18 h after the
    /// receipt of the event that shows it). Older ones are counted
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    since: u32,
    /// The number of threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Cluster { options: kafka, names, registry, .. } = Cluster::reach(&args.sources).await?;
    let mut expected = args.expect.as_ref().map(read_expected).transpose()?;
    let (token, authorities) = (args.token_file.as_deref(), args.ca_file.as_deref());
    let projector = args.projector.as_deref().map(|url| ProjectorClient::new(url, authorities)?.with_token_of(token));
    let projector = projector.transpose()?;
    let settings = check_settings(&kafka, &names).await.with_context(|| asked(&kafka))?;
    // A setting that the broker does not describe is neither right nor wrong.
    let (unknown, settings) = settings.into_iter().partition(|finding| finding.severity == Severity::Note);
    let (topic, retention) = topic(&kafka, &names).await.with_context(|| asked(&kafka))?;
    let schemas = schemas(&registry, &names).await?;
    let options = Options {
        kafka,
        schemas,
        topics: names,
        threads: args.threads.into(),
        settle: Duration::from_secs(args.settle),
        now: now(),
        since: DAY * args.since,
        retention,
        keep_winners: expected.is_some() || projector.is_some(),
    };
    let bar = progress::bar("{wide_bar} {pos}/{len} records, {per_sec}, {eta} left", Some(0));
    let mut report = tokio::task::spawn_blocking({
        let bar = bar.clone();
        let options = options.clone();
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

    if let Some(projector) = &projector {
        projector::until_read(projector, &options.topics.users, &report.read).await?;
    }
    let mut differences = Differences::default();
    if let Some(expected) = &mut expected {
        compare::leave_out_omitted(expected, &report.winners);
        let from_expected = differences.from_expected.insert(Found::default());
        compare::with_log(expected, &report.winners, from_expected);
        if let Some(projector) = &projector {
            compare::with_projector(expected, projector, from_expected).await?;
        }
    }
    if let Some(projector) = &projector {
        differences.of_projector = Some(projector::compare(&options, &report, projector).await?);
    }
    let findings = findings(&report, &unknown, &differences, topic);
    let is_clean = report.is_clean() && differences.is_empty();
    print(&if args.json {
        format!("{:#}\n", as_json(&report, findings, is_clean))
    } else {
        as_text(&report, findings)
    })?;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_expected(path: &PathBuf) -> anyhow::Result<BTreeMap<UserId, Expected>> {
    let at = || format!("{} cannot be used", path.display());
    let file = std::fs::File::open(path).with_context(at)?;
    let users = expect::read(BufReader::new(file)).map(|user| user.map(|user| (user.user_id, user)));
    users.collect::<anyhow::Result<_>>().with_context(at)
}

/// The users that are not as they must be.
#[derive(Debug, Default)]
struct Differences {
    /// The differences from `--expect`; `None` where it is not given.
    from_expected: Option<Found<String>>,
    /// The differences of a projector from the log; `None` where no projector is compared.
    of_projector: Option<Found<String>>,
}

impl Differences {
    fn is_empty(&self) -> bool {
        [&self.from_expected, &self.of_projector].into_iter().flatten().all(|found| found.count == 0)
    }
}

/// A kind of finding.
struct Findings {
    name: &'static str,
    /// The number of findings; `None` when it cannot be determined.
    count: Option<u64>,
    /// The first findings, and the unknown settings.
    examples: Vec<String>,
}

impl Findings {
    fn of<T>(name: &'static str, found: &Found<T>, describe: impl Fn(&T) -> String) -> Self {
        Self { name, count: Some(found.count), examples: found.examples.iter().map(describe).collect() }
    }

    fn of_settings(wrong: &[Finding], unknown: &[Finding]) -> Self {
        let count = if wrong.is_empty() && !unknown.is_empty() { None } else { Some(wrong.len() as u64) };
        let examples = wrong.iter().chain(unknown).map(ToString::to_string).collect();
        Self { name: "topic settings", count, examples }
    }
}

fn unread(unread: &Unreadable, topic: TopicId) -> String {
    format!("{}: {}", topic.at(unread.position), unread.reason)
}

fn missing(gap: &Gap, state: &str, topic: TopicId) -> String {
    let Gap { user_id, position, fields, awaited_until } = gap;
    let position = topic.at(*position);
    format!("user {user_id}: before {position}, in {}, {state} {awaited_until}", fields.join(", "))
}

fn findings(report: &Report, unknown: &[Finding], differences: &Differences, topic: TopicId) -> Vec<Findings> {
    let mut findings = vec![
        Findings::of("dirty keys", &report.dirty, |dirty| {
            let (newest, last) = (topic.at(dirty.newest), topic.at(dirty.last));
            if newest == last {
                let why = "has the newest event, but not all of its second, or not the copy that counts";
                return format!("user {}: the last record, at {last}, {why}", dirty.user_id);
            }
            format!("user {}: newest at {newest}, last at {last}", dirty.user_id)
        }),
        Findings::of("lost gaps", &report.gaps.lost, |gap| missing(gap, "lost since", topic)),
        Findings::of("lost gaps before --since", &report.gaps.lost_before, |gap| missing(gap, "lost since", topic)),
        Findings::of("awaited gaps", &report.gaps.awaited, |gap| missing(gap, "awaited until", topic)),
        Findings::of("unreadable records", &report.unreadable, |record| unread(record, topic)),
        Findings::of("unknown records", &report.unknown, |record| unread(record, topic)),
        Findings::of("users without a state", &report.stateless, |stateless| {
            let (user_id, last) = (stateless.user_id, topic.at(stateless.last));
            format!(
                "user {user_id}: no record can be read, the last is at {last}: `rollcall forget {user_id}` removes them"
            )
        }),
        Findings::of("users ending in unknown", &report.outdated, |outdated| {
            format!("user {}: unknown since {}, and never written over", outdated.user_id, outdated.since)
        }),
        Findings::of("overdue tombstones", &report.overdue, |overdue| {
            let Overdue { user_id, appended_at } = overdue;
            format!("user {user_id}: not renewed since {appended_at}: does a keeper run?")
        }),
        Findings::of("events ahead", &report.ahead, |ahead| {
            let at = topic.at(ahead.position);
            format!("user {}: at {at} occurred after its own receipt: check both clocks", ahead.user_id)
        }),
        Findings::of("misplaced keys", &report.misplaced, |misplaced| {
            format!(
                "user {}: at {}, belongs on partition {}",
                misplaced.user_id,
                topic.at(misplaced.position),
                misplaced.partition
            )
        }),
        Findings::of("behind on the state topic", &report.behind, |behind| {
            format!("user {}: the last record is not the state: does a keeper write it?", behind.user_id)
        }),
        Findings::of_settings(&report.settings, unknown),
    ];
    let from_expected = differences.from_expected.iter();
    findings.extend(from_expected.map(|found| Findings::of("differences from --expect", found, Clone::clone)));
    let of_projector = differences.of_projector.iter();
    findings.extend(of_projector.map(|found| Findings::of("projector differences", found, Clone::clone)));
    findings
}

fn as_text(report: &Report, findings: Vec<Findings>) -> String {
    let Report { records, users, forgotten, reasserted, .. } = report;
    let mut text =
        format!("{records} records: {users} users, {forgotten} forgotten, {reasserted} records appended again\n");
    for Findings { name, count, examples } in findings {
        let shown = count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        text.push_str(&format!("{name:<26}{shown}\n"));
        for example in &examples {
            text.push_str(&format!("  {example}\n"));
        }
        let more = count.unwrap_or_default().saturating_sub(examples.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    text
}

fn as_json(report: &Report, findings: Vec<Findings>, is_clean: bool) -> Value {
    let entry =
        |Findings { name, count, examples }: Findings| (key(name), json!({ "count": count, "examples": examples }));
    json!({
        "clean": is_clean,
        "records": report.records,
        "users": report.users,
        "forgotten": report.forgotten,
        "reasserted": report.reasserted,
        "findings": findings.into_iter().map(entry).collect::<serde_json::Map<String, Value>>(),
    })
}

/// Returns the name of a kind of finding as a key, in snake case.
fn key(name: &str) -> String {
    let words = name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        let [topic, subject, expected, found] = ["vcc.users", "x", "1", "2"].map(str::to_owned);
        Finding { topic, subject, expected, found, severity }
    }

    #[test]
    fn what_was_not_compared_is_not_reported() {
        let of = |differences: &Differences| {
            let report = Report::default();
            let found = |differences| findings(&report, &[], differences, TopicId::from_bytes([0; 16]));
            (as_text(&report, found(differences)), as_json(&report, found(differences), true))
        };
        let (text, json) = of(&Differences::default());
        assert!(!text.contains("expect") && !text.contains("projector"), "{text}");
        let keys: Vec<&String> = json["findings"].as_object().unwrap().keys().collect();
        let is_snake = |key: &str| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(keys.iter().all(|key| is_snake(key)), "{keys:?}");
        let compared = Differences { from_expected: Some(Found::default()), ..Differences::default() };
        let (text, json) = of(&compared);
        assert!(text.contains("differences from --expect 0"), "{text}");
        assert_eq!(json["findings"]["differences_from_expect"]["count"], 0);
    }

    #[test]
    fn settings_that_the_broker_does_not_describe_are_unknown() {
        let (none, wrong, note) = (&[][..], &[finding(Severity::Warn)][..], &[finding(Severity::Note)][..]);
        let table = [
            (none, none, "topic settings            0\n", json!(0), 0),
            (none, note, "topic settings            unknown\n  vcc.users: x is 2, expected 1\n", Value::Null, 1),
            (wrong, none, "topic settings            1\n  vcc.users: x is 2, expected 1\n", json!(1), 1),
            (wrong, note, "topic settings            1\n", json!(1), 2),
        ];
        for (wrong, unknown, line, count, examples) in table {
            let report = Report { settings: wrong.to_vec(), ..Report::default() };
            let text =
                as_text(&report, findings(&report, unknown, &Differences::default(), TopicId::from_bytes([0; 16])));
            assert!(text.contains(line), "{text}");
            let json = as_json(
                &report,
                findings(&report, unknown, &Differences::default(), TopicId::from_bytes([0; 16])),
                report.is_clean(),
            );
            assert_eq!(json["findings"]["topic_settings"]["count"], count);
            assert_eq!(json["findings"]["topic_settings"]["examples"].as_array().map(Vec::len), Some(examples));
            assert_eq!(json["clean"], wrong.is_empty());
        }
    }
}
