//! The erasure of a forgotten user in projectors: asked until each of them has done it, or the time is over.

use std::time::Duration;

use domain::Position;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::fetch::ProjectorClient;

/// The pause between two questions to a projector.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Whether a projector has erased the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Erasure {
    Done,
    Pending(String),
}

/// The outcome in one projector.
#[derive(Debug)]
pub(super) struct Outcome {
    projector: String,
    erasure: Erasure,
}

impl Outcome {
    pub(super) fn is_done(&self) -> bool {
        self.erasure == Erasure::Done
    }

    /// Returns the outcome as a line of the report.
    pub(super) fn line(&self) -> String {
        match &self.erasure {
            Erasure::Done => format!("projector {}: erased\n", self.projector),
            Erasure::Pending(reason) => format!("projector {}: pending: {reason}\n", self.projector),
        }
    }
}

/// Asks each projector until it has erased every record up to `tombstones`, or `wait` is over.
pub(super) async fn wait(
    projectors: &[ProjectorClient],
    topic: &str,
    tombstones: &[Position],
    wait: Duration,
) -> Vec<Outcome> {
    let until = Instant::now() + wait;
    let outcomes = projectors.iter().map(async |projector| {
        let erasure = loop {
            let erasure = ask(projector, topic, tombstones).await;
            if erasure == Erasure::Done || Instant::now() + ASK_AGAIN > until {
                break erasure;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        Outcome { projector: projector.base().to_owned(), erasure }
    });
    join_all(outcomes).await
}

async fn ask(projector: &ProjectorClient, topic: &str, tombstones: &[Position]) -> Erasure {
    match projector.get("/status").await {
        Ok((StatusCode::OK, status)) => judge(&status, topic, tombstones),
        Ok((status, _)) => Erasure::Pending(format!("/status is answered {status}")),
        Err(error) => Erasure::Pending(format!("{error:#}")),
    }
}

/// Judges the answer of `/status`: `partitions[].erasedUpTo` is above the offset of each tombstone that is erased from
/// every file of the projector.
fn judge(status: &Value, topic: &str, tombstones: &[Position]) -> Erasure {
    if status["topic"] != topic {
        return Erasure::Pending(format!("it follows topic {}, not {topic}", status["topic"]));
    }
    let partitions = status["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    for tombstone in tombstones {
        let Some(partition) = partitions.iter().find(|found| found["partition"] == tombstone.partition) else {
            return Erasure::Pending(format!("it does not know partition {} yet", tombstone.partition));
        };
        let is_below = |member: &str| partition[member].as_i64().is_none_or(|next| next <= tombstone.offset);
        if is_below("nextOffset") {
            return Erasure::Pending(format!("it has not read the tombstone at {tombstone} yet"));
        }
        if is_below("erasedUpTo") {
            let reason = status["erasureHeldBack"].as_str();
            return Erasure::Pending(reason.unwrap_or("the erasure is not finished").to_owned());
        }
    }
    Erasure::Done
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn partition(number: i32, [next, erased]: [i64; 2]) -> Value {
        json!({"partition": number, "nextOffset": next, "erasedUpTo": erased})
    }

    #[test]
    fn a_user_is_erased_when_every_tombstone_is() {
        let tombstones = [Position { partition: 0, offset: 7 }, Position { partition: 2, offset: 5 }];
        let status = |first: [i64; 2], second: [i64; 2], reason: Value| {
            json!({
                "topic": "vcc.users",
                "partitions": [partition(0, first), partition(1, [0, 0]), partition(2, second)],
                "erasureHeldBack": reason,
            })
        };
        let pending = |reason: &str| Erasure::Pending(reason.to_owned());
        let unread = pending(&format!("it has not read the tombstone at {} yet", tombstones[1]));
        let (held, none) = (json!("a reader holds the write-ahead log"), Value::Null);
        let table = [
            (status([8, 8], [6, 6], none.clone()), Erasure::Done),
            (status([9, 8], [6, 6], held.clone()), Erasure::Done),
            (status([8, 7], [6, 6], none.clone()), pending("the erasure is not finished")),
            (status([8, 7], [6, 6], held), pending("a reader holds the write-ahead log")),
            (status([8, 8], [5, 5], none.clone()), unread),
            (json!({"topic": "other"}), pending("it follows topic \"other\", not vcc.users")),
            (json!({"topic": "vcc.users", "partitions": []}), pending("it does not know partition 0 yet")),
        ];
        for (status, expected) in table {
            assert_eq!(judge(&status, "vcc.users", &tombstones), expected, "{status}");
        }
    }
}
