//! `rollcall status`: how far a projector is, and what it misses.

use std::process::ExitCode;

use anyhow::Context as _;
use http::StatusCode;
use serde_json::Value;

use crate::fetch::detail;
use crate::output::{escaped, print, print_json};
use crate::target::Target;

/// Prints how far a projector has read the log, how many users it has, and what it misses
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prints the whole answer of the projector as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let projector = args.target.projector()?;
    let (status, body) = projector.bytes("/status").await?;
    anyhow::ensure!(status == StatusCode::OK, "{} answers {}", projector.base(), escaped(&detail(status, &body)));
    if args.json {
        print_json(&String::from_utf8_lossy(&body))?;
    } else {
        let answer = serde_json::from_slice(&body).context("the answer is not JSON")?;
        print(&escaped(&report(&answer)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the answer of `/status` in words.
fn report(answer: &Value) -> String {
    let text = |pointer: &str| match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "unknown".to_owned(),
        Some(other) => other.to_string(),
    };
    let partitions = answer["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    // A partition whose end is unknown has no lag.
    let lag: Option<i64> = partitions.iter().map(|partition| partition["lag"].as_i64()).sum();
    let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
    let held_back = partitions.iter().filter(|partition| !partition["heldBack"].is_null()).count();
    let mut lines = vec![
        ("phase", text("/phaseDetail")),
        ("topic", format!("{} ({})", text("/topic"), text("/topicId"))),
        ("as of", text("/asOf")),
        ("lag", format!("{lag} records on {} partitions", partitions.len())),
        ("users", text("/users")),
        ("forgotten", text("/forgotten")),
        ("gaps", format!("{} lost, {} awaited", text("/gaps/lost"), text("/gaps/awaited"))),
        ("unreadable", format!("{} records", text("/unreadable/records"))),
        ("unknown", format!("{} users", text("/unknown/users"))),
    ];
    if held_back > 0 {
        lines.push(("held back", format!("{held_back} partitions, by open transactions")));
    }
    if !answer["erasureHeldBack"].is_null() {
        lines.push(("erasure", format!("held back: {}", text("/erasureHeldBack"))));
    }
    lines.into_iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_never_calls_an_unknown_lag_zero() {
        let mut answer = serde_json::json!({
            "phaseDetail": "following the log", "topic": "vcc.users", "topicId": "T", "users": 7, "forgotten": 1,
            "partitions": [{"lag": 2, "heldBack": null}, {"lag": 3, "heldBack": null}], "asOf": null,
            "gaps": {"lost": 0, "awaited": 1}, "unreadable": {"records": 0}, "unknown": {"users": 0},
            "erasureHeldBack": null,
        });
        let shown = report(&answer);
        for line in
            ["phase       following the log\n", "as of       unknown\n", "lag         5 records on 2 partitions\n"]
        {
            assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
        }
        assert!(!shown.contains("held back"), "{shown}");
        answer["partitions"][0] = serde_json::json!({"lag": null, "heldBack": "a transaction"});
        let shown = report(&answer);
        assert!(shown.contains("lag         unknown records on 2"), "{shown}");
        assert!(shown.contains("held back   1 partitions"), "{shown}");
    }
}
