//! `rollcall tail`: the changes of users, as they come.

use std::process::ExitCode;
use std::time::Duration;

use domain::{PositionError, Positions};
use serde_json::value::RawValue;

use crate::output::print_json;
use crate::target::Target;

/// The pause before the projector is asked again after a stream has ended.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Prints the changes of users as they come, one JSON object a line: event, id and data. Goes on after an interruption
/// where it was, and runs until a signal
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prints all current users first
    #[arg(long, conflicts_with = "from")]
    snapshot: bool,
    /// Goes on after the event with this id
    #[arg(long, value_name = "ID", value_parser = event_id)]
    from: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let projector = args.target.projector()?;
    let mut tail = Tail { skips_users: !args.snapshot && args.from.is_none(), id: args.from, ..Tail::default() };
    loop {
        let last_id = tail.id.clone();
        let ended = projector.events("/changes", last_id.as_deref(), |line| tail.take(line)).await;
        match ended {
            // Nothing was ever answered: a wrong address, or a token that may not.
            Err(error) if !tail.has_heard || crate::output::is_reader_gone(&error) => return Err(error),
            Err(error) => eprintln!("rollcall: {error:#}; asking again"),
            Ok(()) => {}
        }
        tail.interrupted();
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Takes the id of an event: with any other the whole table would be sent again.
fn event_id(text: &str) -> Result<String, PositionError> {
    text.parse::<Positions>().map(|_| text.to_owned())
}

/// A stream of events, line by line.
#[derive(Debug, Default)]
struct Tail {
    /// Whether the users of the snapshot are left out; until it is complete.
    skips_users: bool,
    has_heard: bool,
    /// The id that the stream goes on from.
    id: Option<String>,
    event: String,
    data: String,
}

impl Tail {
    /// Takes a line, and prints the event that it ends.
    fn take(&mut self, line: &[u8]) -> anyhow::Result<()> {
        match self.event_of(line) {
            Some(text) => print_json(&text),
            None => Ok(()),
        }
    }

    /// Returns the event that the line ends, unless it is left out.
    fn event_of(&mut self, line: &[u8]) -> Option<String> {
        self.has_heard = true;
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            return self.end();
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push_str(value),
            // A comment, or the time after which a browser comes back.
            _ => {}
        }
        None
    }

    fn end(&mut self) -> Option<String> {
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        let data = serde_json::from_str::<&RawValue>(&data).ok()?;
        let is_left_out = self.skips_users && ["user", "forgotten"].contains(&event.as_str());
        self.skips_users &= event != "caught-up";
        let line = Line { event: &event, id: self.id.as_deref(), data };
        (!is_left_out).then(|| serde_json::to_string(&line).expect("texts and JSON are JSON"))
    }

    /// Drops the event that was not ended.
    fn interrupted(&mut self) {
        self.event.clear();
        self.data.clear();
    }
}

#[derive(serde::Serialize)]
struct Line<'l> {
    event: &'l str,
    id: Option<&'l str>,
    data: &'l RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut tail: Tail, stream: &str, expected: &[&str]) -> Tail {
        let lines: Vec<String> = stream.split('\n').filter_map(|line| tail.event_of(line.as_bytes())).collect();
        assert_eq!(lines, expected);
        tail
    }

    const STREAM: &str = "retry: 2000\n\nid: 1\nevent: user\ndata: {\"userId\":1}\n\nid: 2\nevent: caught-up\n\
                          data: {}\n\n: heartbeat\nid: 3\n\nid: 4\r\nevent: changed\ndata: {\"monthly\":1.50}\n\n";

    #[test]
    fn the_changes_follow_the_snapshot_that_is_left_out() {
        let caught_up = r#"{"event":"caught-up","id":"2","data":{}}"#;
        let changed = r#"{"event":"changed","id":"4","data":{"monthly":1.50}}"#;
        let user = r#"{"event":"user","id":"1","data":{"userId":1}}"#;
        let tail = check(Tail { skips_users: true, ..Tail::default() }, STREAM, &[caught_up, changed]);
        assert_eq!(tail.id.as_deref(), Some("4"));
        check(Tail::default(), STREAM, &[user, caught_up, changed]);
    }

    #[test]
    fn a_quiet_stream_moves_the_place_to_go_on_from() {
        let tail = check(Tail::default(), "id: 7\n: heartbeat\n\n", &[]);
        assert_eq!((tail.id.as_deref(), tail.has_heard), (Some("7"), true));
    }
}
