//! The file with the expected state of each user: `simulate --expect` writes it, `verify --expect` compares with it.
//!
//! JSON Lines, one user a line:
//!
//! ```json
//! {"userId":180,"eventId":"…","occurredAt":"2017-06-06T08:44:18Z","user":{"userId":180,"name":"Rachel Smith", …}}
//! {"userId":181,"forgotten":true}
//! ```

use std::io::{self, BufRead, Write};

use domain::{EventId, UnixMillis, UserEvent, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The expected state of a user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) user_id: UserId,
    pub(crate) state: ExpectedState,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExpectedState {
    /// The state after this event, with the vendor's names.
    Present {
        event_id: EventId,
        occurred_at: UnixMillis,
        user: Map<String, Value>,
    },
    Forgotten,
}

impl From<&UserEvent> for Expected {
    fn from(event: &UserEvent) -> Self {
        let (event_id, occurred_at) = (event.event_id, event.occurred_at);
        Self {
            user_id: event.user_id,
            state: ExpectedState::Present { event_id, occurred_at, user: event.new.to_json() },
        }
    }
}

/// Writes the users, one per line.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn write(mut out: impl Write, users: impl IntoIterator<Item = Expected>) -> io::Result<()> {
    for expected in users {
        serde_json::to_writer(&mut out, &Line::from(expected))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads the users of a file one by one: the file may be larger than memory.
///
/// Each item fails separately, with its line number.
pub(crate) fn read(lines: impl BufRead) -> impl Iterator<Item = anyhow::Result<Expected>> {
    (1..).zip(lines.lines()).map(|(number, line): (u64, _)| {
        let parsed =
            line.map_err(anyhow::Error::from).and_then(|line| Expected::try_from(serde_json::from_str::<Line>(&line)?));
        parsed.map_err(|error| error.context(format!("line {number} is not the expected state of a user")))
    })
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forgotten: bool,
}

impl From<Expected> for Line {
    fn from(Expected { user_id, state }: Expected) -> Self {
        match state {
            ExpectedState::Forgotten => {
                Self { user_id, event_id: None, occurred_at: None, user: None, forgotten: true }
            }
            ExpectedState::Present { event_id, occurred_at, user } => Self {
                user_id,
                event_id: Some(event_id.to_string()),
                occurred_at: Some(occurred_at.to_string()),
                user: Some(user),
                forgotten: false,
            },
        }
    }
}

impl TryFrom<Line> for Expected {
    type Error = anyhow::Error;

    fn try_from(line: Line) -> anyhow::Result<Self> {
        let state = match (line.forgotten, line.event_id, line.occurred_at, line.user) {
            (true, None, None, None) => ExpectedState::Forgotten,
            (false, Some(event_id), Some(occurred_at), Some(user)) => ExpectedState::Present {
                event_id: event_id.parse()?,
                occurred_at: UnixMillis::parse_iso8601(&occurred_at)?,
                user,
            },
            _ => anyhow::bail!("it must have either eventId, occurredAt and user, or forgotten alone"),
        };
        Ok(Self { user_id: line.user_id, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back() {
        let user = Map::from_iter([("userId".to_owned(), 180.into()), ("name".to_owned(), "Rachel Smith".into())]);
        let present = ExpectedState::Present {
            event_id: "7f3c1a52-0000-8000-8000-000000000000".parse().unwrap(),
            occurred_at: UnixMillis::from_millis(1_496_738_658_000),
            user,
        };
        let id = |id| UserId::new(id).unwrap();
        let users = vec![
            Expected { user_id: id(180), state: present },
            Expected { user_id: id(181), state: ExpectedState::Forgotten },
        ];
        let mut file = Vec::new();
        write(&mut file, users.clone()).unwrap();
        assert_eq!(String::from_utf8(file.clone()).unwrap().lines().last(), Some(r#"{"userId":181,"forgotten":true}"#));
        assert_eq!(read(file.as_slice()).collect::<anyhow::Result<Vec<_>>>().unwrap(), users);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let wrong =
            ["", "[]", r#"{"userId":1}"#, r#"{"userId":1,"forgotten":true,"user":{}}"#, r#"{"userId":1,"typo":1}"#];
        for line in wrong {
            let file = format!("{{\"userId\":180,\"forgotten\":true}}\n{line}\n");
            let error = read(file.as_bytes()).collect::<anyhow::Result<Vec<_>>>().unwrap_err();
            assert_eq!(error.to_string(), "line 2 is not the expected state of a user", "{line}");
        }
    }
}
