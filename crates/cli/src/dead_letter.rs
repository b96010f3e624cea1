//! `rollcall dead-letter`: lists, shows and replays unreadable bodies.

use std::process::ExitCode;

use anyhow::Context as _;
use domain::wire::Framing;
use ingest::dead_letter::{self, Replayed};
use kafka::ClientOptions;
use upkeep::letters::{self, Kept};

use crate::cluster::Cluster;
use crate::environment::now;
use crate::ingest::{publisher, without_requests};
use crate::output::print;
use crate::sources::Sources;

/// Lists, shows or replays bodies that could not be read
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the dead letters, oldest first
    List {
        #[command(flatten)]
        sources: Sources,
    },
    /// Shows one dead letter with its body as received
    Show {
        /// The beginning of its key, long enough to be unique
        key: String,
        #[command(flatten)]
        sources: Sources,
    },
    /// Sends dead letters through the pipeline again, with the keys of ingest's configuration. A letter that passes is
    /// published and removed; exit status 1 if any is still refused
    Replay {
        /// Beginnings of keys; without any, all letters are replayed
        keys: Vec<String>,
        /// Only prints the outcome
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        sources: Sources,
    },
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { sources } => {
            let Cluster { options, names, .. } = Cluster::load(&sources)?;
            for kept in read(options, names.dead_letter).await? {
                print(&format!("{}\n", line(&kept)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { key, sources } => {
            let Cluster { options, names, .. } = Cluster::load(&sources)?;
            let mut found = read(options, names.dead_letter).await?;
            found.retain(|kept| kept.key.starts_with(&key));
            let [kept] = found.as_slice() else {
                anyhow::bail!("{} dead letters have a key that begins with {key:?}; one is expected", found.len());
            };
            print(&whole(kept))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { keys, dry_run, sources } => replay(&keys, dry_run, &sources).await,
    }
}

async fn replay(keys: &[String], dry_run: bool, sources: &Sources) -> anyhow::Result<ExitCode> {
    let config = without_requests(sources)?;
    let publisher = if dry_run { None } else { Some(publisher(&config)?) };
    let mut letters = read(config.kafka.clone(), config.topics.dead_letter.clone()).await?;
    // Checked before any letter is replayed, so that a mistyped key changes nothing.
    for key in keys {
        let known = letters.iter().any(|kept| kept.key.starts_with(key));
        anyhow::ensure!(known, "no dead letter has a key that begins with {key:?}; nothing was replayed");
    }
    letters.retain(|kept| keys.is_empty() || keys.iter().any(|key| kept.key.starts_with(key)));
    let mut refused = 0;
    for kept in letters {
        let (topics, policy, publisher) = (&config.topics, &config.policy.body, publisher.as_ref());
        let replayed = dead_letter::replay(&kept, topics, Framing::default(), policy, publisher, now()).await?;
        let outcome = match replayed {
            Replayed::WouldPass { user_id, event_id } => format!("would pass: user {user_id}, event {event_id}"),
            Replayed::Published { user_id, event_id, position } => {
                format!("published at {position}: user {user_id}, event {event_id}")
            }
            Replayed::Refused(rejection) => {
                refused += 1;
                format!("still refused: {rejection}")
            }
        };
        print(&format!("{:.12} {outcome}\n", kept.key))?;
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read(options: ClientOptions, topic: String) -> anyhow::Result<Vec<Kept>> {
    let read = tokio::task::spawn_blocking(move || letters::list(&options, &topic)).await?;
    read.context("the dead letters cannot be read")
}

fn line(kept: &Kept) -> String {
    let letter = &kept.letter;
    format!("{:.12} {} {:<14} {}", kept.key, letter.received_at, letter.rejection, letter.reason)
}

fn whole(kept: &Kept) -> String {
    let letter = &kept.letter;
    let body = String::from_utf8_lossy(&letter.body);
    format!(
        "key         {}\nposition    {}\nreceived    {}\nrejection   {}\nreason      {}\npointer     {}\n\
         iv          {}\n\n{body}\n",
        kept.key,
        kept.position,
        letter.received_at,
        letter.rejection,
        letter.reason,
        letter.pointer,
        letter.iv.as_deref().unwrap_or("none"),
    )
}
