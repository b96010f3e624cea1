//! `rollcall forget`: removes a user, and reports when each copy is gone.

mod erasure;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::{Letter, Position, TopicId, UnixMillis, UserId};
use ingest::dead_letter::{self, IDENTIFY_DEADLINE};
use kafka::topics::LogProbe;
use upkeep::forget::{Forgotten, Held, Log, forget, look};
use upkeep::verify::Found;

use crate::cluster::{reach, schemas};
use crate::environment::now;
use crate::fetch::ProjectorClient;
use crate::files;
use crate::ingest::{publisher, without_requests};
use crate::output::print;
use crate::sources::Sources;

/// The default time limit for the erasure in a projector, in seconds: it writes its whole table again.
const ERASURE_WAIT_SECONDS: u64 = 60;

/// Forgets a user. Late deliveries of earlier events do not bring the user back, nor does a creation of any time; a
/// newer change does. Exit status 1 if no topic has a record of the user, or if a projector has not erased the user in
/// time
#[derive(Debug, clap::Args)]
#[command(after_help = files::INGEST)]
pub(crate) struct Args {
    /// The user's identifier
    user_id: UserId,
    /// The time as of which the user is forgotten, ISO 8601 with an offset, not in the future; by default now, or the
    /// time of the user's newest event if that is later
    #[arg(long, value_parser = UnixMillis::parse_iso8601)]
    at: Option<UnixMillis>,
    /// Does not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Also waits until this projector has erased the user: http://127.0.0.1:8081; can be repeated
    #[arg(long, value_name = "URL")]
    projector: Vec<String>,
    /// The file with the token for the projectors, of scope status:read
    #[arg(long, value_name = "FILE", requires = "projector")]
    token_file: Option<PathBuf>,
    /// Certificate authorities (PEM) for an https address, instead of those of the system
    #[arg(long, value_name = "FILE", requires = "projector")]
    ca_file: Option<PathBuf>,
    /// The time in seconds to wait for the projectors
    #[arg(long, value_name = "SECONDS", default_value_t = ERASURE_WAIT_SECONDS)]
    wait: u64,
    #[command(flatten)]
    sources: Sources,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = without_requests(&args.sources)?;
    reach(&config.kafka).await?;
    let (token, authorities) = (args.token_file.as_deref(), args.ca_file.as_deref());
    let projector = |url: &String| ProjectorClient::new(url, authorities)?.with_token_of(token);
    let projectors: Vec<ProjectorClient> = args.projector.iter().map(projector).collect::<anyhow::Result<_>>()?;
    let publisher = publisher(&config)?;
    let schemas = schemas(&config.registry, &config.topics).await?;
    let log = Log { kafka: config.kafka.clone(), topics: config.topics.clone(), schemas };
    let (policy, user_id) = (Arc::new(config.policy.body), args.user_id);
    let mentions = move |letter: &Letter| dead_letter::mentions(letter, &policy, user_id);
    if !args.yes {
        anyhow::ensure!(std::io::stdin().is_terminal(), "there is no terminal to confirm on; use --yes");
        let held = look(&log, mentions.clone(), user_id).await?;
        if !held.is_nothing() && !confirmed(user_id, &held)? {
            print("nothing was done\n")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let logs = LogProbe::new(&config.kafka, &config.topics.users);
    let log_id = logs.now(IDENTIFY_DEADLINE).await.context("the users topic cannot be identified")?;
    let forgotten = forget(&log, &publisher, mentions, user_id, args.at, now()).await?;
    print(&report(user_id, log_id.topic, &forgotten))?;
    let wait = Duration::from_secs(args.wait);
    let erased = erasure::wait(&projectors, &config.topics.users, &forgotten.positions, wait).await;
    for line in erased.iter().map(erasure::Outcome::line) {
        print(&line)?;
    }
    Ok(if erased.iter().all(erasure::Outcome::is_done) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn confirmed(user_id: UserId, held: &Held) -> anyhow::Result<bool> {
    print(&format!("forget user {user_id}, {}? This cannot be undone. [y/N] ", described(held)))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Returns the words by which a person recognises the user.
fn described(held: &Held) -> String {
    match (&held.name, &held.state) {
        (Some(name), _) => name.clone(),
        (None, Some(state)) if state.rank().is_forgotten() => format!("forgotten as of {}", state.rank().time()),
        (None, Some(_)) => "who has no name".to_owned(),
        (None, None) if held.partitions.is_empty() => format!(
            "who is not on the users topic, but in {} late deliveries and {} dead letters",
            held.late, held.dead_letters
        ),
        (None, None) => "whose records cannot be read".to_owned(),
    }
}

fn report(user_id: UserId, topic: TopicId, forgotten: &Forgotten) -> String {
    let Forgotten { positions, at, newest, dead_letters_removed, dead_letters_perhaps, late, deadlines } = forgotten;
    let by = |deadline: Option<UnixMillis>| {
        deadline.map_or_else(|| "at a time that the broker does not report".to_owned(), |at| format!("by {at}"))
    };
    let mut text = format!("user {user_id} is forgotten as of {at}: tombstone at {}\n", listed(positions, topic));
    let mut say = |line: String| writeln!(text, "{line}").expect("a String takes every character");
    say(match newest {
        Some(newest) if newest > at => format!(
            "the user's newest record: of {newest}, which is later, and does not bring the user back all the same: an \
             import and a creation rank below a tombstone of any time; a change after {at} brings the user back"
        ),
        Some(newest) => format!("the user's newest record: of {newest}, and does not bring the user back"),
        None => "the user's newest record: none was on the users topic".to_owned(),
    });
    say(match deadlines.events {
        Some(at) => format!(
            "events on the users topic: the keeper appends the tombstone once more at {at}, \
             and the cleaner removes the events at its next pass"
        ),
        None => {
            "events on the users topic: compaction removes them at a time that the broker does not report".to_owned()
        }
    });
    say("the tombstone itself: stays, so that no older delivery brings the user back; it has the identifier only"
        .to_owned());
    say(match dead_letters_removed {
        0 => "dead letters that named the user: none".to_owned(),
        removed => format!(
            "dead letters that named the user: {removed} removed; their bodies are gone {}",
            by(deadlines.dead_letters)
        ),
    });
    if dead_letters_perhaps.count > 0 {
        say(perhaps(dead_letters_perhaps));
    }
    match (late.records, &late.stay_because) {
        (0, _) => say("late deliveries of the user: none".to_owned()),
        (records, None) => say(format!(
            "late deliveries of the user: {records} deleted; their bytes leave Kafka's files {}; {} of others kept",
            by(deadlines.late),
            late.others_kept
        )),
        (records, Some(reason)) => say(format!(
            "late deliveries of the user: {records}, which stay until retention removes them {} ({reason})",
            by(deadlines.late)
        )),
    }
    text
}

fn perhaps(letters: &Found<String>) -> String {
    let keys: Vec<String> = letters.examples.iter().map(|key| format!("{key:.12}")).collect();
    let more = letters.count.saturating_sub(keys.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("dead letters that are perhaps about the user, and stay: {} ({}{more})", letters.count, keys.join(", "))
}

fn listed(positions: &[Position], topic: TopicId) -> String {
    positions.iter().map(|position| topic.at(*position).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::roll::Roll;
    use upkeep::forget::{Deadlines, Late};

    const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

    #[test]
    fn the_report_names_the_remaining_copies_and_their_deadlines() {
        let (id, at) = (UserId::new(180).unwrap(), UnixMillis::from_millis(0));
        let mut forgotten = Forgotten {
            positions: vec![Position { partition: 0, offset: 7 }, Position { partition: 2, offset: 5 }],
            at,
            newest: Some(UnixMillis::from_millis(-1000)),
            dead_letters_removed: 1,
            dead_letters_perhaps: Found { count: 3, examples: vec!["0123456789abcdef".to_owned(), "fed".to_owned()] },
            late: Late { records: 3, newest: Some(at), stay_because: Some("no permission".to_owned()), others_kept: 0 },
            deadlines: Deadlines { events: Some(UnixMillis::from_millis(86_400_000)), ..Deadlines::default() },
        };
        let text = report(id, TOPIC, &forgotten);
        for part in [
            &format!("as of 1970-01-01T00:00:00Z: tombstone at {}", listed(&forgotten.positions, TOPIC)),
            "of 1969-12-31T23:59:59Z, and",
            "once more at 1970-01-02T00:00:00Z, and the cleaner",
            "1 removed",
            "and stay: 3 (0123456789ab, fed and 1 more)",
            "user: 3, which stay",
            "(no permission)",
            "does not report",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        forgotten.late = Late { records: 3, newest: Some(at), stay_because: None, others_kept: 5 };
        assert!(
            report(id, TOPIC, &forgotten).contains("user: 3 deleted; their bytes leave Kafka's files at a time that")
        );
        assert!(report(id, TOPIC, &forgotten).contains("5 of others kept"));
        forgotten.newest = Some(UnixMillis::from_millis(1000));
        let text = report(id, TOPIC, &forgotten);
        assert!(text.contains("of 1970-01-01T00:00:01Z, which is later, and does not bring the user back"), "{text}");
        assert!(text.contains("a change after 1970-01-01T00:00:00Z brings the user back"), "{text}");
        (forgotten.late, forgotten.newest) = (Late::default(), None);
        let text = report(id, TOPIC, &forgotten);
        assert!(text.contains("late deliveries of the user: none") && text.contains("none was on the"), "{text}");
    }
    #[test]
    fn the_question_shows_who_the_user_is() {
        let mut held = Held { late: 2, ..Held::default() };
        assert_eq!(described(&held), "who is not on the users topic, but in 2 late deliveries and 0 dead letters");
        held.partitions.insert(0);
        assert_eq!(described(&held), "whose records cannot be read");
        held.state = Some(Roll::forgotten(UnixMillis::from_millis(0), Position { partition: 0, offset: 7 }));
        assert_eq!(described(&held), "forgotten as of 1970-01-01T00:00:00Z");
        held.name = Some("Rachel Smith".to_owned());
        assert_eq!(described(&held), "Rachel Smith");
    }
}
