//! Compares a projector with the fold of the log, while both go on.
//!
//! Every user is answered as of some moment after the position at which the fold was taken. So an answer is right if it
//! is the state of its user at that position or after one of the user's records that follow. The log is read on to the
//! end that it has after the last answer; what is then without such a moment is asked again a few times, and is a
//! difference if none of the answers is right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use domain::json::{Json, Text};
use domain::roll::{Reading, Roll};
use domain::{Checkpoint, EventId, Position, TopicPosition, User, UserId, wire};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use tokio::time::Instant;
use upkeep::verify::{Found, Options, Report, Winner, read_on};

use super::compare::QUESTIONS;
use crate::fetch::ProjectorClient;

/// The longest time that the projector may need to read as far as the fold.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(60);
/// The pause between two looks at its progress.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often a user whose answer is not right is asked for.
const ROUNDS: usize = 3;

/// The deepest nesting of an answer: more than that of any body.
const DEPTH_MAX: usize = 64;
/// The member with what an answer says of the user's state.
const META: &str = "_meta";
/// The member of it that names the fields which the reader may not see.
const REDACTED: &str = "redacted";

/// A user's members with their canonical JSON. No number passes through a double: any of the vendor's is read.
type Members = BTreeMap<String, String>;

/// The answer about a user.
#[derive(Debug)]
enum Answer {
    Present {
        event_id: Option<String>,
        position: Option<Position>,
        user: Members,
    },
    /// The user is not in the list of all users.
    NotListed,
    Gone,
    Other(StatusCode),
}

/// A user whose answer was not right so far, with the fold of the user's records.
#[derive(Debug)]
struct Suspect {
    roll: Option<Roll>,
    /// The newest value that was read of the winning event.
    value: Option<(EventId, Vec<u8>)>,
    answer: Answer,
    /// How the answer differs; `None` once a moment is found at which it was right.
    difference: Option<String>,
}

/// Returns the users whose answers are not the fold of the log. The projector has read as far as the report.
///
/// # Errors
/// If the projector does not answer or does not read on, or if the log cannot be read on.
pub(super) async fn compare(
    options: &Options,
    report: &Report,
    projector: &ProjectorClient,
) -> anyhow::Result<Found<String>> {
    let (topic, mut read) = (&options.topics.users, report.read.clone());
    let mut suspects = ask_all(projector, &report.winners).await?;
    for _ in 1..ROUNDS {
        (read, suspects) = follow(options, read, suspects).await?;
        if suspects.is_empty() {
            break;
        }
        until_read(projector, topic, &read).await?;
        suspects = ask_again(projector, suspects).await?;
    }
    (_, suspects) = follow(options, read, suspects).await?;
    let mut found = Found::default();
    for (user_id, suspect) in suspects {
        let difference = suspect.difference.unwrap_or_default();
        found.push(format!("user {user_id} {difference}"));
    }
    Ok(found)
}

/// Waits until the projector has read as far as `read`.
///
/// # Errors
/// If the projector does not answer, does not follow the topic or does not reach that position in time.
pub(super) async fn until_read(projector: &ProjectorClient, topic: &str, read: &Checkpoint) -> anyhow::Result<()> {
    let until = Instant::now() + CAUGHT_UP_MAX;
    loop {
        let (status, answer) = projector.get("/status").await?;
        let detail = answer["detail"].as_str().unwrap_or_default();
        anyhow::ensure!(status == StatusCode::OK, "/status of {} is answered {status}: {detail}", projector.base());
        anyhow::ensure!(
            answer["topic"] == topic,
            "{} follows topic {}, not {topic}",
            projector.base(),
            answer["topic"]
        );
        let partitions = answer["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let next = |number: i32| partitions.iter().find(|found| found["partition"] == number)?["nextOffset"].as_i64();
        let behind = read.iter().find(|(number, offset)| next(*number).unwrap_or(0) < *offset);
        let Some((partition, next_offset)) = behind else { return Ok(()) };
        anyhow::ensure!(
            Instant::now() < until,
            "{} has not read partition {partition} up to offset {next_offset} in {} s",
            projector.base(),
            CAUGHT_UP_MAX.as_secs()
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Asks for all users, and for each that is forgotten. Returns those whose answers are not the fold of the report.
async fn ask_all(
    projector: &ProjectorClient,
    winners: &BTreeMap<UserId, Winner>,
) -> anyhow::Result<BTreeMap<UserId, Suspect>> {
    let (mut suspects, mut listed) = (BTreeMap::new(), BTreeSet::new());
    let mut take = |user_id: UserId, answer: Answer| {
        let suspect = Suspect::of(winners.get(&user_id), answer);
        if suspect.difference.is_some() {
            suspects.insert(user_id, suspect);
        }
    };
    let each = |line: &[u8]| {
        let read = present(line).with_context(|| format!("a line of {}/users cannot be read", projector.base()));
        let (user_id, answer) = read?;
        listed.insert(user_id);
        take(user_id, answer);
        Ok(())
    };
    projector.lines("/users", each).await?;
    let others = || winners.iter().filter(|(user_id, _)| !listed.contains(user_id));
    let (forgotten, missing): (Vec<_>, Vec<_>) = others().partition(|(_, winner)| winner.roll.rank().is_forgotten());
    for (user_id, _) in missing {
        take(*user_id, Answer::NotListed);
    }
    for (user_id, answer) in ask(projector, forgotten.into_iter().map(|(user_id, _)| *user_id).collect()).await? {
        take(user_id, answer);
    }
    Ok(suspects)
}

/// Asks for each suspect again.
async fn ask_again(
    projector: &ProjectorClient,
    mut suspects: BTreeMap<UserId, Suspect>,
) -> anyhow::Result<BTreeMap<UserId, Suspect>> {
    // The list has been answered at some moment since: a user that it lacks is right only after a tombstone.
    let others = suspects.iter().filter(|(_, suspect)| !matches!(suspect.answer, Answer::NotListed));
    for (user_id, answer) in ask(projector, others.map(|(user_id, _)| *user_id).collect()).await? {
        if let Some(suspect) = suspects.get_mut(&user_id) {
            suspect.answer = answer;
            suspect.judge();
        }
    }
    suspects.retain(|_, suspect| suspect.difference.is_some());
    Ok(suspects)
}

async fn ask(projector: &ProjectorClient, users: Vec<UserId>) -> anyhow::Result<Vec<(UserId, Answer)>> {
    let questions = users.into_iter().map(async |user_id| {
        let answer = match projector.bytes(&format!("/users/{user_id}")).await? {
            (StatusCode::OK, user) => present(&user)?.1,
            (StatusCode::GONE, _) => Answer::Gone,
            (status, _) => Answer::Other(status),
        };
        anyhow::Ok((user_id, answer))
    });
    futures_util::stream::iter(questions).buffer_unordered(QUESTIONS).try_collect().await
}

/// Returns the user of an answer, and what it says.
fn present(answer: &[u8]) -> anyhow::Result<(UserId, Answer)> {
    let json = Json::read(answer, DEPTH_MAX).map_err(|fault| anyhow::anyhow!("it {}", fault.reason))?;
    let mut user: Members =
        members(&json).iter().map(|(name, value)| (name.as_str().to_owned(), canonical(value))).collect();
    user.remove(META);
    let meta = member(&json, META).unwrap_or(&Json::Null);
    let hidden = member(meta, REDACTED).is_some();
    anyhow::ensure!(!hidden, "fields are hidden: the token needs the scopes users:read, users:contact and users:pay");
    // The vendor's own member of that name.
    if let Some(own) = member(meta, "extra").and_then(|extra| member(extra, META)) {
        user.insert(META.to_owned(), canonical(own));
    }
    let user_id = user.get("userId").and_then(|id| id.parse().ok()).context("a user has no identifier")?;
    let text = |name| match member(meta, name) {
        Some(Json::Text(text)) => Some(text.as_str().to_owned()),
        _ => None,
    };
    let position = text("position").and_then(|text| {
        let named = text.parse().map(|named: TopicPosition| named.position);
        named.or_else(|_| text.parse::<Position>()).ok()
    });
    Ok((user_id, Answer::Present { event_id: text("eventId"), position, user }))
}

fn members<'j, 't>(json: &'j Json<'t>) -> &'j [(Text<'t>, Json<'t>)] {
    if let Json::Object(members) = json { members } else { &[] }
}

fn member<'j, 't>(json: &'j Json<'t>, name: &str) -> Option<&'j Json<'t>> {
    members(json).iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
}

fn canonical(json: &Json<'_>) -> String {
    let mut text = String::new();
    json.write_canonical(&mut text);
    text
}

/// Returns the members of a user as they must be answered: the fields, and the members of `extra` that hide none.
fn expected(user: &User) -> Members {
    let fields = user.fields().map(|(name, field)| (name, serde_json::to_string(&field).unwrap_or_default()));
    let extra = user.extra.iter().filter(|(name, _)| !User::is_field(name));
    let extra = extra.map(|(name, text)| (name.as_str(), text.clone()));
    let form = |text: &str| match Json::read(text.as_bytes(), DEPTH_MAX) {
        Ok(json) => canonical(&json),
        // Answered as a text.
        Err(_) => serde_json::to_string(text).unwrap_or_default(),
    };
    fields.into_iter().chain(extra).map(|(name, text)| (name.to_owned(), form(&text))).collect()
}

fn members_difference(expected: &Members, found: &Members) -> Option<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    let differ: Vec<&str> = differ.map(String::as_str).collect();
    (!differ.is_empty()).then(|| format!("differs in {}", differ.join(", ")))
}

/// Reads the log on, and drops the suspects whose answers were right at some moment.
async fn follow(
    options: &Options,
    mut read: Checkpoint,
    mut suspects: BTreeMap<UserId, Suspect>,
) -> anyhow::Result<(Checkpoint, BTreeMap<UserId, Suspect>)> {
    if suspects.is_empty() {
        return Ok((read, suspects));
    }
    let options = options.clone();
    let followed = tokio::task::spawn_blocking(move || {
        read_on(&options, &mut read, |reading| {
            if let Some(suspect) = suspects.get_mut(&reading.user_id) {
                suspect.apply(reading);
            }
        })?;
        suspects.retain(|_, suspect| suspect.difference.is_some());
        anyhow::Ok((read, suspects))
    });
    followed.await?
}

impl Suspect {
    fn of(winner: Option<&Winner>, answer: Answer) -> Self {
        let (roll, value) = (winner.map(|winner| winner.roll.clone()), winner.and_then(|winner| winner.event.clone()));
        let mut suspect = Self { roll, value, answer, difference: None };
        suspect.judge();
        suspect
    }

    /// Applies a further record of the user. An answer that was right once stays right.
    fn apply(&mut self, reading: &Reading<'_>) {
        match &mut self.roll {
            Some(roll) => drop(roll.apply(reading)),
            None => self.roll = Some(Roll::begin(reading).0),
        }
        let winner = self.roll.as_ref().and_then(Roll::winner);
        if let Some((winner, value)) = winner.and_then(|winner| Some((winner, reading.payload(winner)?))) {
            self.value = Some((winner.event_id, value.to_vec()));
        }
        if self.difference.is_some() {
            self.judge();
        }
    }

    /// Compares the answer with the state of this moment.
    fn judge(&mut self) {
        self.difference = difference(self.roll.as_ref(), self.value.as_ref(), &self.answer);
    }
}

/// Returns how an answer differs from a state; `value` is the winning event's, if it was read.
fn difference(roll: Option<&Roll>, value: Option<&(EventId, Vec<u8>)>, answer: &Answer) -> Option<String> {
    let Some(roll) = roll else { return Some("is answered, and is not on the log".to_owned()) };
    match (roll.winner(), answer) {
        (None, Answer::Gone | Answer::NotListed) => None,
        (None, Answer::Present { .. }) => Some("is answered, and is forgotten".to_owned()),
        (_, Answer::NotListed) => Some("is missing in the list of users".to_owned()),
        (_, Answer::Gone) => Some("is answered 410 Gone, and is not forgotten".to_owned()),
        (_, Answer::Other(status)) => Some(format!("is answered {status}")),
        (Some(winner), Answer::Present { event_id, position, user }) => {
            if *event_id != Some(winner.event_id.to_string()) {
                let found = event_id.as_deref().unwrap_or("unknown");
                return Some(format!("is in the state of event {found:?}, not \"{}\"", winner.event_id));
            }
            // A copy on another partition carries the same state: partitions are read in any order.
            let is_other = |found: Position| found.partition == winner.at.partition && found != winner.at;
            if position.is_none_or(is_other) {
                let found = position.map_or_else(|| "no position".to_owned(), |found| found.to_string());
                return Some(format!("is at {found}, not {}", winner.at));
            }
            let (_, value) = value.filter(|(event_id, _)| *event_id == winner.event_id)?;
            match wire::decode(value) {
                Ok(event) => members_difference(&expected(&event.new), user),
                Err(error) => Some(format!("cannot be read: {error}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Facts, UnixMillis, UserEvent};

    use super::*;

    #[test]
    fn every_number_and_every_name_of_the_vendor_is_compared() {
        let mut user = User::new(UserId::new(1013).unwrap());
        for (name, text) in [("x", "1e400"), ("_meta", r#"{"x":1}"#), ("hourly", "1.5"), ("rate", "1.10")] {
            user.extra.insert(name.to_owned(), text.to_owned());
        }
        let answer = r#"{"userId":1013,"x":10e399,"rate":1.1,"_meta":{"eventId":"e","extra":{"_meta":{"x":1.0}}}"#;
        let nulls = user.fields().map(|(name, _)| name).into_iter().filter(|name| *name != "userId");
        let nulls: String = nulls.map(|name| format!(r#","{name}":null"#)).collect();
        let (user_id, answer) = present(format!("{answer}{nulls}}}").as_bytes()).unwrap();
        let Answer::Present { user: found, event_id, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((user_id, event_id.as_deref()), (user.user_id, Some("e")));
        assert_eq!(members_difference(&expected(&user), &found), None);
        user.extra.insert("x".to_owned(), "1e401".to_owned());
        assert_eq!(members_difference(&expected(&user), &found), Some("differs in x".to_owned()));
        let facts = Facts {
            old: None,
            new: user,
            timestamp: "2026-01-02T03:04:05Z".to_owned(),
            received_at: UnixMillis::from_millis(0),
            password_changed: false,
            extra: Default::default(),
            omitted: Vec::new(),
        };
        assert!(UserEvent::new(facts).is_ok(), "it is a user that can be stored");
    }
}
