//! `rollcall simulate`: simulates the vendor against a webhook address.

use std::fs::File;
use std::io::BufWriter;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::{SAFE_INTEGER_MAX, UnixMillis, UserId};
use indicatif::ProgressBar;
use service::Shutdown;
use simulator::delivery::{Answered, deliver};
use simulator::encrypt::Encryption;
use simulator::history::{History, Population};
use simulator::post::Post;
use simulator::sender::{Desk, Habits};

use crate::ending::ended_by;
use crate::environment;
use crate::expect::{self, Expected};
use crate::output::print;
use crate::progress;

/// Simulates the vendor: posts the events of an invented call centre to a webhook address; exit status 1 if any is
/// given up. A signal ends it early, with a report of what was delivered, and the status of a signal
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The webhook address with its secret: http://127.0.0.1:8080/webhooks/users?secret-key=…
    url: String,
    /// Events per second
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    rate: f64,
    /// The number of users
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// The identifier of the first user; a second simulation on one topic needs other users
    #[arg(long, default_value = "1000")]
    first_user: UserId,
    /// The number of events
    #[arg(long, default_value_t = 1000, conflicts_with = "duration")]
    events: u64,
    /// The duration in seconds in which events occur, instead of a number of events
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    duration: Option<f64>,
    /// The same seed (and --start) gives the same history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When the first event occurs, ISO 8601 with an offset; by default now
    #[arg(long, value_parser = UnixMillis::parse_iso8601)]
    start: Option<UnixMillis>,
    /// The share of events, 0 to 1, that arrive late because their first attempts are lost
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    late: f64,
    /// The share of deliveries, 0 to 1, that are sent again although they were accepted
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    repeat: f64,
    /// The length of one minute of the vendor's retry rule (1, 2, 4, 8 … minutes, 15 attempts) in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60_000))]
    minute_ms: u64,
    /// Encrypts bodies with this cipher, by its name in PHP: aes-256-ctr
    #[arg(long, value_name = "CIPHER", requires = "key")]
    encrypt: Option<String>,
    /// The key of --encrypt. Users then also set passwords, which the vendor sends in encrypted bodies only
    #[arg(long, requires = "encrypt")]
    key: Option<String>,
    /// Certificate authorities (PEM) for an https address, instead of those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The most requests in flight
    #[arg(long, default_value = "64")]
    concurrency: NonZeroUsize,
    /// Writes the expected final state of each user, for `rollcall verify --expect FILE`
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let encryption = encryption(&args)?;
    let population = population(&args, encryption.is_some())?;
    let mut sender = Desk::new(habits(&args), History::new(population), args.seed);
    let post = Arc::new(Post::new(&args.url, encryption, args.ca_file.as_deref())?);
    // Before anything is sent, so that a folder that cannot be written does not waste a run.
    let expect = args.expect.as_deref().map(create).transpose()?;

    let bar = progress::bar("{wide_bar} {pos}/{len} delivered, {per_sec}, {eta} left{msg}", sender.events());
    let mut failures = 0;
    let tally =
        deliver(&mut sender, &post, args.concurrency, &shutdown, |line: Answered<'_>| show(&bar, &mut failures, &line))
            .await;
    bar.finish_and_clear();

    print(&tally.report())?;
    if let (Some(file), Some(path)) = (expect, &args.expect) {
        let users = sender.history().newest().map(Expected::from);
        expect::write(BufWriter::new(file), users).with_context(|| format!("{} cannot be written", path.display()))?;
        print(&format!("{:<12} {}\n", "expected", path.display()))?;
    }
    Ok(match shutdown.signal() {
        // What was still to be delivered was not.
        Some(signal) => ended_by(signal),
        None if tally.dropped > 0 => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

fn encryption(args: &Args) -> anyhow::Result<Option<Encryption>> {
    match (&args.encrypt, &args.key) {
        (Some(cipher), Some(key)) => Ok(Some(Encryption::new(cipher, key)?)),
        _ => Ok(None),
    }
}

fn population(args: &Args, passwords: bool) -> anyhow::Result<Population> {
    anyhow::ensure!(
        args.first_user.get() <= SAFE_INTEGER_MAX - i64::from(args.users),
        "the identifiers of {} users from {} are too large",
        args.users,
        args.first_user
    );
    Ok(Population {
        seed: args.seed,
        users: args.users,
        first_user: args.first_user,
        start: args.start.unwrap_or_else(environment::now),
        events_per_second: args.rate,
        passwords,
    })
}

fn habits(args: &Args) -> Habits {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of events; the cast saturates"
    )]
    let events = args.duration.map_or(args.events, |seconds| (seconds * args.rate).ceil() as u64);
    Habits {
        events_per_second: args.rate,
        events: Some(events),
        late: args.late,
        repeat: args.repeat,
        minute: Duration::from_millis(args.minute_ms),
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("{} cannot be written", path.display()))
}

/// Shows the progress. The first failure is shown at once, because a wrong secret would otherwise be retried for an
/// hour unnoticed.
fn show(bar: &ProgressBar, failures: &mut u64, line: &Answered<'_>) {
    bar.set_position(line.delivered);
    if line.answer.is_accepted() {
        return;
    }
    let reason = line.answer.reason();
    if *failures == 0 {
        bar.suspend(|| eprintln!("rollcall: the first failure: {reason}; it is retried by the vendor's rule"));
    }
    *failures += 1;
    bar.set_message(format!(", {failures} failures, the last: {reason}"));
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "must be a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "must be a share from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_have_bounds() {
        for text in ["0", "0.3", "1", "1.0"] {
            assert!(share(text).is_ok(), "{text}");
        }
        for text in ["", "-0.1", "1.01", "30%", "NaN"] {
            assert!(share(text).is_err(), "{text}");
        }
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(positive(text).is_err(), "{text}");
        }
        assert_eq!(positive("2.5"), Ok(2.5));
    }
}
