//! `rollcall dead-letter`: lists, shows, replays and deletes unreadable bodies.

mod choice;

use std::io::{IsTerminal as _, stdin, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::roll::Standing;
use domain::{TopicId, TopicPosition};
use ingest::dead_letter::{self, Destination, IDENTIFY_DEADLINE, Replay, Sorted};
use kafka::ClientOptions;
use kafka::publish::{Limits, Publisher};
use kafka::topics::LogProbe;
use upkeep::Table;
use upkeep::letters::{self, Kept};

use crate::cluster::{ANSWER_WAIT_MAX, Cluster, asked, reach, schemas};
use crate::environment::now;
use crate::files;
use crate::ingest::{framing, publisher, table, without_requests};
use crate::output::{escaped, print, print_bytes, print_json};
use crate::sources::Sources;
use choice::Choice;

/// Lists, shows, replays or deletes bodies that could not be read
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the dead letters, oldest first
    #[command(after_help = files::EITHER)]
    List {
        #[command(flatten)]
        choice: Choice,
        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
        /// Prints one line for each reason: how many letters, when, and the beginning of the key of the last one
        #[arg(long)]
        groups: bool,
        #[command(flatten)]
        sources: Sources,
    },
    /// Shows one dead letter with its body as received
    #[command(after_help = files::EITHER)]
    Show {
        /// The beginning of its key, long enough to be unique
        key: String,
        /// Writes the body alone, byte by byte. Refused on a terminal, which control characters in it could steer
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// Prints a JSON object; a body that is not UTF-8 as bodyBase64
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        sources: Sources,
    },
    /// Delivers dead letters again, as of now, with the keys of ingest's configuration. Each letter whose event can be
    /// read is stored, a duplicate, superseded by a newer event, or of a forgotten user, and is then removed; exit
    /// status 1 if any is still refused
    #[command(after_help = files::INGEST)]
    Replay {
        /// Beginnings of keys; without any, all letters that the conditions choose are replayed
        keys: Vec<String>,
        #[command(flatten)]
        choice: Choice,
        /// Only prints the outcome
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        sources: Sources,
    },
    /// Deletes dead letters, without delivering them. Kafka's files have them until the cleaner's next pass
    #[command(after_help = files::EITHER)]
    Delete {
        /// Beginnings of keys; without any, all letters that the conditions choose
        keys: Vec<String>,
        #[command(flatten)]
        choice: Choice,
        /// Does not ask for confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        sources: Sources,
    },
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { choice, json, groups, sources } => list(&choice, json, groups, &sources).await,
        Command::Show { key, raw, json, sources } => {
            let is_safe = !raw || !stdout().is_terminal();
            anyhow::ensure!(is_safe, "--raw does not write to a terminal: use a file or a pipe");
            let Cluster { options, names, .. } = Cluster::reach(&sources).await?;
            let topic = topic_id(&options, &names.dead_letter).await?;
            let mut found = read(options, names.dead_letter).await?;
            found.retain(|kept| kept.key.starts_with(&key));
            let [kept] = found.as_slice() else {
                anyhow::bail!("{} dead letters have a key that begins with {key:?}; one is expected", found.len());
            };
            if raw {
                print_bytes(&kept.letter.body)?;
            } else if json {
                print_json(&choice::json_with_body(kept, topic))?;
            } else {
                print(&escaped(&whole(kept, topic)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { keys, choice, dry_run, sources } => replay(&keys, &choice, dry_run, &sources).await,
        Command::Delete { keys, choice, yes, sources } => delete(&keys, &choice, yes, &sources).await,
    }
}

async fn list(choice: &Choice, json: bool, groups: bool, sources: &Sources) -> anyhow::Result<ExitCode> {
    let Cluster { options, names, .. } = Cluster::reach(sources).await?;
    let topic = if json && !groups { Some(topic_id(&options, &names.dead_letter).await?) } else { None };
    let mut letters = read(options, names.dead_letter).await?;
    letters.retain(|kept| choice.takes(kept));
    if groups {
        if json {
            choice::groups_json(&letters).iter().try_for_each(|group| print_json(group))?;
        } else {
            print(&escaped(&choice::groups(&letters)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    for kept in &letters {
        match topic {
            Some(topic) => print_json(&choice::json(kept, topic))?,
            None => print(&format!("{}\n", line(kept)))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn topic_id(options: &ClientOptions, topic: &str) -> anyhow::Result<TopicId> {
    let described = kafka::topics::describe(options, topic, ANSWER_WAIT_MAX).await;
    Ok(described.with_context(|| asked(options))?.log.topic)
}

async fn delete(keys: &[String], choice: &Choice, yes: bool, sources: &Sources) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!keys.is_empty() || !choice.is_all(), "keys or conditions must say which letters are deleted");
    let Cluster { options, names, .. } = Cluster::reach(sources).await?;
    let letters = chosen(read(options.clone(), names.dead_letter.clone()).await?, keys, choice)?;
    if !yes {
        anyhow::ensure!(stdin().is_terminal(), "there is no terminal to confirm on; use --yes");
        print(&escaped(&choice::groups(&letters)))?;
        print(&format!("delete {} dead letters? This cannot be undone. [y/N] ", letters.len()))?;
        let mut answer = String::new();
        stdin().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            print("nothing was done\n")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let publisher = Publisher::open(&options, Limits::default()).context("the Kafka client cannot be created")?;
    for kept in &letters {
        let removed = publisher.publish(kept.removal(&names.dead_letter, now())).await;
        removed.with_context(|| format!("dead letter {:.12} was not deleted", kept.key))?;
    }
    print(&format!("{} dead letters deleted\n", letters.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the letters that the keys and the conditions choose.
///
/// # Errors
/// If a key is of no letter: a mistyped key changes nothing.
fn chosen(mut letters: Vec<Kept>, keys: &[String], choice: &Choice) -> anyhow::Result<Vec<Kept>> {
    for key in keys {
        let known = letters.iter().any(|kept| kept.key.starts_with(key));
        anyhow::ensure!(known, "no dead letter has a key that begins with {key:?}; nothing was done");
    }
    let is_named = |kept: &Kept| keys.is_empty() || keys.iter().any(|key| kept.key.starts_with(key));
    letters.retain(|kept| is_named(kept) && choice.takes(kept));
    Ok(letters)
}

async fn replay(keys: &[String], choice: &Choice, dry_run: bool, sources: &Sources) -> anyhow::Result<ExitCode> {
    let config = without_requests(sources)?;
    reach(&config.kafka).await?;
    let schemas = schemas(&config.registry, &config.topics).await?;
    let writer = if dry_run { None } else { Some((publisher(&config)?, framing(&config, &schemas).await?)) };
    let letters = chosen(read(config.kafka.clone(), config.topics.dead_letter.clone()).await?, keys, choice)?;
    let Sorted { events, refused } = dead_letter::sort(letters, &config.policy.body, now());
    let logs = LogProbe::new(&config.kafka, &config.topics.users);
    let log = logs.now(IDENTIFY_DEADLINE).await.context("the users topic cannot be identified")?;
    let table = if events.is_empty() { Table::default() } else { table(&config, schemas).await? };
    for replay in &events {
        let standing = replay.standing(&table);
        let position = match &writer {
            Some((publisher, framing)) => {
                let (topics, framing) = (&config.topics, *framing);
                let to = Destination { publisher, topics, framing, log: &log, logs: &logs };
                Some(replay.deliver(standing, &to).await?)
            }
            None => None,
        };
        print(&outcome(replay, standing, log.topic, position))?;
    }
    for (kept, refusal) in &refused {
        print(&escaped(&format!("{:.12} still refused: {refusal}\n", kept.key)))?;
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a line for each letter of an event. `position` is `None` in a dry run.
fn outcome(replay: &Replay, standing: Standing, topic: TopicId, position: Option<TopicPosition>) -> String {
    let (stored, duplicate) = match position {
        Some(position) => (format!("stored at {position}"), format!("duplicate of {position}")),
        None => ("would be stored".to_owned(), "duplicate".to_owned()),
    };
    let (first, others) = match standing {
        Standing::News => (stored, duplicate),
        Standing::Known(at) => {
            let of = format!("duplicate of {}", topic.at(at));
            (of.clone(), of)
        }
        Standing::Older(newer) => {
            let by = format!("superseded by {}", topic.at(newer));
            (by.clone(), by)
        }
        Standing::Forgotten(marker) => {
            let of = format!("of a forgotten user, by the tombstone at {}", topic.at(marker));
            (of.clone(), of)
        }
    };
    let about = format!("user {}, event {}", replay.event().user_id, replay.event().event_id);
    let line =
        |(at, kept): (usize, &Kept)| format!("{:.12} {}: {about}\n", kept.key, if at == 0 { &first } else { &others });
    replay.letters().iter().enumerate().map(line).collect()
}

async fn read(options: ClientOptions, topic: String) -> anyhow::Result<Vec<Kept>> {
    let read = tokio::task::spawn_blocking(move || letters::list(&options, &topic)).await?;
    read.context("the dead letters cannot be read")
}

fn line(kept: &Kept) -> String {
    let letter = &kept.letter;
    // A time without fractions of a second is shorter.
    let received_at = letter.received_at.to_string();
    escaped(&format!("{:.12} {received_at:<24} {:<14} {}", kept.key, letter.rejection, letter.reason))
}

fn whole(kept: &Kept, topic: TopicId) -> String {
    let letter = &kept.letter;
    let body = String::from_utf8_lossy(&letter.body);
    format!(
        "key         {}\nposition    {}\nreceived    {}\nrejection   {}\nreason      {}\npointer     {}\n\
         iv          {}\n{}\n{body}\n",
        kept.key,
        topic.at(kept.position),
        letter.received_at,
        letter.rejection,
        letter.reason,
        letter.pointer,
        letter.iv.as_deref().unwrap_or("none"),
        letter.as_of.map(|as_of| format!("as of       {as_of}\n")).unwrap_or_default(),
    )
}
