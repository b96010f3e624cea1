//! `rollcall dev --simulate`: a small call centre beside the services, printed line by line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::UserId;
use service::Shutdown;
use simulator::delivery::{Answered, deliver};
use simulator::history::{History, Population};
use simulator::post::{Answer, Post};
use simulator::sender::{Desk, Fate, Habits};

use super::settings::Settings;
use crate::environment;
use crate::output::print;

/// Slow enough to read.
const EVENTS_PER_SECOND: f64 = 2.0;
/// Few enough that the same people recur.
const USERS: u32 = 25;
/// Does not collide with the sample's user, 180.
const FIRST_USER: i64 = 1000;
/// More failures than in reality, so that some occur within a minute.
const LATE: f64 = 0.1;
const REPEAT: f64 = 0.05;
/// The length of one of the vendor's minutes: a late delivery is overtaken within seconds.
const MINUTE: Duration = Duration::from_secs(1);
const CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Returns what posts to the webhook, with the encryption that the settings ask for.
///
/// # Errors
/// When the address, the certificate or the key cannot be used.
pub(super) fn post(settings: &Settings, url: &str) -> anyhow::Result<Post> {
    Ok(Post::new(url, settings.encryption()?, settings.certificate().map(PathBuf::as_path))?)
}

/// Simulates the vendor until the shutdown, and prints a line for each answer.
pub(super) async fn play(post: Post, shutdown: Shutdown) -> anyhow::Result<()> {
    let population = Population {
        seed: 1,
        users: USERS,
        first_user: UserId::new(FIRST_USER).context("the first user's identifier")?,
        start: environment::now(),
        events_per_second: EVENTS_PER_SECOND,
        // The vendor sends passwords in encrypted bodies only.
        passwords: false,
    };
    let habits =
        Habits { events_per_second: EVENTS_PER_SECOND, events: None, late: LATE, repeat: REPEAT, minute: MINUTE };
    let mut sender = Desk::new(habits, History::new(population), 1);
    deliver(&mut sender, &Arc::new(post), CONCURRENCY, &shutdown, |line| {
        // The reader of the output may have gone. The simulation continues.
        print(&format!("{}\n", shown(&line))).ok();
    })
    .await;
    Ok(())
}

/// `changed 1007 Zsófia Nagy: contact phone, attempt 3 → 200 superseded 0:4`
fn shown(line: &Answered<'_>) -> String {
    let notice = &line.attempt.notice;
    let name = notice.event.new.name.as_deref().unwrap_or("");
    let attempt = match (line.attempt.number, line.attempt.repeated) {
        (1, _) => String::new(),
        (number, false) => format!(", late, attempt {number}"),
        (number, true) => format!(", repeated, attempt {number}"),
    };
    let position = match line.answer {
        Answer::Status(_, receipt) => {
            receipt.position.as_ref().map(|position| format!(" {position}")).unwrap_or_default()
        }
        Answer::None(_) => String::new(),
    };
    let fate = match line.fate {
        Fate::Delivered | Fate::AnswerLost => "",
        Fate::Waiting => ", to be tried again",
        Fate::Dropped => ", given up",
    };
    let (kind, user, what, label) = (notice.kind(), notice.event.user_id, notice.what, line.answer.label());
    format!("{kind} {user} {name}: {what}{attempt} → {label}{position}{fate}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::UnixMillis;
    use simulator::post::Receipt;
    use simulator::sender::Attempt;

    #[test]
    fn a_line_has_the_user_the_change_and_the_outcome() {
        let population = Population {
            seed: 1,
            users: 1,
            first_user: UserId::new(1000).unwrap(),
            start: UnixMillis::from_millis(1_700_000_000_000),
            events_per_second: 1.0,
            passwords: false,
        };
        let event = Arc::new(History::new(population).advance());
        let name = event.event.new.name.clone().unwrap();
        let line = |number, repeated, answer: &Answer, fate| {
            let attempt = Attempt { notice: Arc::clone(&event), number, due: Duration::ZERO, repeated };
            shown(&Answered { attempt: &attempt, answer, fate, delivered: 0 })
        };
        let receipt = Receipt { status: Some("stored".into()), position: Some("0:4".into()), ..Receipt::default() };
        let stored = Answer::Status(http::StatusCode::OK, receipt);
        assert_eq!(line(1, false, &stored, Fate::Delivered), format!("created 1000 {name}: hired → 200 stored 0:4"));
        let late = line(3, false, &stored, Fate::Delivered);
        assert_eq!(late, format!("created 1000 {name}: hired, late, attempt 3 → 200 stored 0:4"));
        let lost = line(2, true, &Answer::None("not connected"), Fate::Waiting);
        assert_eq!(lost, format!("created 1000 {name}: hired, repeated, attempt 2 → not connected, to be tried again"));
    }
}
