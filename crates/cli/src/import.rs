//! `rollcall import`: the users who were there before the webhook.

mod rows;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::roll::Standing;
use domain::{Letter, UnixMillis};
use futures_util::StreamExt as _;
use ingest::dead_letter::{Destination, IDENTIFY_DEADLINE};
use ingest::import::{List, Listed, miscased};
use kafka::publish::Outgoing;
use kafka::topics::LogProbe;

use crate::cluster::{reach, schemas};
use crate::environment::now;
use crate::files;
use crate::ingest::{framing, publisher, table, without_requests};
use crate::output::{escaped, print};
use crate::progress;
use crate::sources::Sources;
use rows::{Row, Rows};

/// The most records on their way to Kafka at a time.
const IN_FLIGHT_MAX: usize = 256;
/// The most names in another case that the summary lists.
const NAMES_MAX: usize = 20;

/// Writes the users of a list, who were there before the webhook. Whatever a webhook said of a user stays, a forgotten
/// user stays forgotten, and the same list can be imported again at no harm. Exit status 1 if a user was refused
#[derive(Debug, clap::Args)]
#[command(after_help = files::INGEST)]
pub(crate) struct Args {
    /// The list, by the vendor's names: NDJSON with one user a line, or CSV with the names in its first row, an empty
    /// cell for null, and messageLists as a JSON array; - for standard input
    file: PathBuf,
    /// The time as of which the list is right, which is when its export began: ISO 8601 with an offset, not in the
    /// future
    #[arg(long, value_name = "TIME", value_parser = UnixMillis::parse_iso8601)]
    as_of: UnixMillis,
    /// Only prints the outcome
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sources: Sources,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, as_of, dry_run, sources } = args;
    anyhow::ensure!(as_of <= now(), "--as-of {as_of} is in the future");
    let config = without_requests(&sources)?;
    let rows = open(&file).with_context(|| format!("{} is not a list of users", file.display()))?;
    reach(&config.kafka).await?;
    let schemas = schemas(&config.registry, &config.topics).await?;
    let logs = LogProbe::new(&config.kafka, &config.topics.users);
    let log = logs.now(IDENTIFY_DEADLINE).await.context("the users topic cannot be identified")?;
    let writer = if dry_run { None } else { Some((publisher(&config)?, framing(&config, &schemas).await?)) };
    let table = table(&config, schemas).await?;
    let topics = &config.topics;
    let to = writer.as_ref().map(|(publisher, framing)| Destination {
        publisher,
        topics,
        framing: *framing,
        log: &log,
        logs: &logs,
    });
    let body_bytes_max = config.body_bytes_max;
    let mut list = List { as_of, policy: &config.policy.body, body_bytes_max, table: &table, seen: HashMap::new() };
    let (mut tally, bar) = (Tally::default(), progress::bar("{spinner} {pos} users, {per_sec}", None));
    // After a failure no more are begun. Those under way are waited for, so that everything that was written counts.
    let (has_failed, mut failure) = (Cell::new(false), None);
    let rows = rows.take_while(|_| !has_failed.get());
    let written = futures_util::stream::iter(rows).map(|row| {
        has_failed.set(has_failed.get() || row.is_err());
        let (read, to) = (row.map(|Row { number, user }| (number, user.map(|user| list.read(&user, now())))), to);
        async move {
            let (number, listed) = read?;
            write(&listed, to.as_ref()).await?;
            anyhow::Ok((number, listed))
        }
    });
    let mut written = written.buffer_unordered(IN_FLIGHT_MAX);
    while let Some(row) = written.next().await {
        let (number, listed) = match row {
            Ok(row) => row,
            Err(error) => {
                has_failed.set(true);
                failure.get_or_insert(error);
                continue;
            }
        };
        bar.inc(1);
        if let Some(said) = tally.add(number, &listed, dry_run) {
            bar.suspend(|| print(&escaped(&said)))?;
        }
    }
    bar.finish_and_clear();
    print(&escaped(&tally.summary(as_of, dry_run)))?;
    if let Some(error) = failure {
        return Err(error.context(tally.interrupted()));
    }
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(file: &Path) -> anyhow::Result<Rows> {
    if file == Path::new("-") {
        return Rows::of(Box::new(BufReader::new(stdin())));
    }
    Rows::of(Box::new(BufReader::new(File::open(file)?)))
}

/// Writes a user where its standing says, or its letter. Without a destination nothing is written.
async fn write(listed: &Result<Listed, String>, to: Option<&Destination<'_>>) -> anyhow::Result<()> {
    let Some(to) = to else { return Ok(()) };
    match listed {
        Ok(Listed::Event(event, standing)) => {
            to.store(event, *standing, &[]).await.with_context(|| format!("user {} was not written", event.user_id))?;
        }
        Ok(Listed::Refused(_, Some(letter))) => {
            let kept = to.publisher.publish(Outgoing::letter(letter, &to.topics.dead_letter)).await;
            kept.context("a dead letter was not written")?;
        }
        Ok(Listed::Refused(_, None) | Listed::Repeated(_) | Listed::Ambiguous(_)) | Err(_) => {}
    }
    Ok(())
}

/// What became of the users of the list.
#[derive(Debug, Default)]
struct Tally {
    stored: u64,
    known: u64,
    superseded: u64,
    forgotten: u64,
    refused: u64,
    letters: u64,
    miscased: BTreeSet<String>,
}

impl Tally {
    /// Counts a user; returns the text about one that was refused.
    fn add(&mut self, number: u64, listed: &Result<Listed, String>, dry_run: bool) -> Option<String> {
        let reason = match listed {
            Ok(Listed::Event(event, standing)) => {
                let room = NAMES_MAX.saturating_sub(self.miscased.len());
                self.miscased.extend(miscased(event).take(room).map(str::to_owned));
                *match standing {
                    Standing::News => &mut self.stored,
                    Standing::Known(_) => &mut self.known,
                    Standing::Older(_) => &mut self.superseded,
                    Standing::Forgotten(_) => &mut self.forgotten,
                } += 1;
                return None;
            }
            Ok(Listed::Repeated(_)) => {
                self.known += 1;
                return None;
            }
            Ok(Listed::Ambiguous(user)) => format!("user {user} stands on the list before, with other fields"),
            Ok(Listed::Refused(rejection, letter)) => match letter.as_deref().filter(|_| !dry_run).map(Letter::key) {
                Some(key) => {
                    self.letters += 1;
                    format!("{rejection}; dead letter {key:.12}")
                }
                None => rejection.to_string(),
            },
            Err(reason) => reason.clone(),
        };
        self.refused += 1;
        Some(format!("row {number} refused: {reason}\n"))
    }

    fn users(&self) -> u64 {
        self.stored + self.known + self.superseded + self.forgotten + self.refused
    }

    fn interrupted(&self) -> String {
        format!("the import ended after {} users; it can be run again", self.users())
    }

    fn summary(&self, as_of: UnixMillis, dry_run: bool) -> String {
        let Self { stored, known, superseded, forgotten, refused, letters, miscased } = self;
        let stored_as = if dry_run { "would be stored" } else { "stored" };
        let mut text = format!(
            "{} users as of {as_of}: {stored} {stored_as}, {known} known already, {superseded} superseded by newer \
             events, {forgotten} of forgotten users, {refused} refused\n",
            self.users()
        );
        if *letters > 0 {
            text.push_str(&format!(
                "{letters} dead letters: correct the list and import it again, or see `rollcall dead-letter`\n"
            ));
        }
        if !miscased.is_empty() {
            let names: Vec<&str> = miscased.iter().map(String::as_str).collect();
            text.push_str(&format!(
                "names in another case than the vendor's, whose fields are null: {}\n",
                names.join(", ")
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Rejection;

    #[test]
    fn the_summary_counts_every_row_and_names_the_refused() {
        let letter = Letter {
            body: Vec::new(),
            iv: None,
            rejection: String::new(),
            reason: String::new(),
            pointer: String::new(),
            received_at: UnixMillis::from_millis(0),
            as_of: None,
            record: None,
        };
        let refused = || Ok(Listed::Refused(Rejection::BodyTooLarge, Some(Box::new(letter.clone()))));
        let user = "7".parse().unwrap();
        let mut tally = Tally::default();
        assert_eq!(tally.add(2, &Ok(Listed::Repeated(user)), false), None);
        let said = tally.add(3, &Ok(Listed::Ambiguous(user)), false).unwrap();
        assert_eq!(said, "row 3 refused: user 7 stands on the list before, with other fields\n");
        let said = tally.add(4, &refused(), false).unwrap();
        assert_eq!(said, "row 4 refused: the body is over the limit; dead letter e3b0c44298fc\n");
        assert_eq!(tally.add(5, &refused(), true).unwrap(), "row 5 refused: the body is over the limit\n");
        tally.miscased.insert("Email".to_owned());
        assert_eq!(
            tally.summary(UnixMillis::from_millis(0), false),
            "4 users as of 1970-01-01T00:00:00Z: 0 stored, 1 known already, 0 superseded by newer events, 0 of \
             forgotten users, 3 refused\n\
             1 dead letters: correct the list and import it again, or see `rollcall dead-letter`\n\
             names in another case than the vendor's, whose fields are null: Email\n"
        );
    }
}
