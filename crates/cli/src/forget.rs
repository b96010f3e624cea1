//! `rollcall forget`: removes a user, and reports when each copy is gone.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use domain::{Letter, UnixMillis, UserId};
use ingest::dead_letter;
use upkeep::forget::{Forgotten, forget};

use crate::environment::now;
use crate::ingest::{publisher, without_requests};
use crate::output::print;
use crate::sources::Sources;

/// Forgets a user. Late deliveries of earlier events do not bring the user back, newer events do
#[derive(Debug, clap::Args)]
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
    #[command(flatten)]
    sources: Sources,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = without_requests(&args.sources)?;
    if !args.yes && !confirmed(args.user_id)? {
        print("nothing was done\n")?;
        return Ok(ExitCode::FAILURE);
    }
    let publisher = publisher(&config)?;
    let now = now();
    let (policy, user_id) = (config.policy.body, args.user_id);
    let mentions = move |letter: &Letter| dead_letter::mentions(letter, &policy, user_id);
    let forgotten = forget(&config.kafka, &config.topics, &publisher, mentions, user_id, args.at, now).await?;
    print(&report(args.user_id, &forgotten))?;
    Ok(ExitCode::SUCCESS)
}

fn confirmed(user_id: UserId) -> anyhow::Result<bool> {
    anyhow::ensure!(std::io::stdin().is_terminal(), "there is no terminal to confirm on; use --yes");
    print(&format!("forget user {user_id}? This cannot be undone. [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn report(user_id: UserId, forgotten: &Forgotten) -> String {
    let Forgotten { position, at, newest, dead_letters_removed, dead_letters_unreadable, late, deadlines } = forgotten;
    let by = |deadline: Option<UnixMillis>| {
        deadline.map_or_else(|| "at a time that the broker does not report".to_owned(), |at| format!("by {at}"))
    };
    let mut text = format!("user {user_id} is forgotten as of {at}: tombstone at {position}\n");
    let mut say = |line: String| writeln!(text, "{line}").expect("a String takes every character");
    say(match newest {
        Some(newest) => format!("the user's newest event: happened at {newest}, and does not bring the user back"),
        None => "the user's newest event: none was on the users topic".to_owned(),
    });
    say(format!("events on the users topic: compaction may remove them {}", by(deadlines.events)));
    say(format!("the tombstone itself: removed {}", by(deadlines.tombstone)));
    say(format!(
        "dead letters that named the user: {dead_letters_removed} removed; their bodies are gone {}",
        by(deadlines.dead_letters)
    ));
    if *dead_letters_unreadable > 0 {
        say(format!("unreadable dead letters: {dead_letters_unreadable}; they may be about the user"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Position;
    use upkeep::forget::{Deadlines, Late};

    #[test]
    fn the_report_names_the_remaining_copies_and_their_deadlines() {
        let (id, at) = (UserId::new(180).unwrap(), UnixMillis::from_millis(0));
        let mut forgotten = Forgotten {
            position: Position { partition: 0, offset: 7 },
            at,
            newest: Some(UnixMillis::from_millis(-1000)),
            dead_letters_removed: 1,
            dead_letters_unreadable: 2,
            late: Late { records: 3, newest: Some(at), stay_because: Some("no permission".to_owned()), others_kept: 0 },
            deadlines: Deadlines { events: Some(UnixMillis::from_millis(86_400_000)), ..Deadlines::default() },
        };
        let text = report(id, &forgotten);
        for part in [
            "as of 1970-01-01T00:00:00Z: tombstone at 0:7",
            "happened at 1969-12-31T23:59:59Z, and",
            "by 1970-01-02T00:00:00Z",
            "1 removed",
            "unreadable dead letters: 2",
            "user: 3, which stay",
            "(no permission)",
            "does not report",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        forgotten.late = Late { records: 3, newest: Some(at), stay_because: None, others_kept: 5 };
        assert!(report(id, &forgotten).contains("user: 3 deleted; their bytes leave Kafka's files at a time that"));
        assert!(report(id, &forgotten).contains("5 of others kept"));
        (forgotten.late, forgotten.newest) = (Late::default(), None);
        let text = report(id, &forgotten);
        assert!(text.contains("late deliveries of the user: none") && text.contains("none was on the"), "{text}");
    }
}
