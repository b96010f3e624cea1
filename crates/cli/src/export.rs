//! `rollcall export`: the current users as a file.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Stdout, Write as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::json::{Json, Text};
use domain::{User, UserId};

use crate::output::escaped;
use crate::target::Target;

/// The deepest nesting of an answer: more than that of any body.
const DEPTH_MAX: usize = 64;
/// The member with what an answer says of the user's state.
const META: &str = "_meta";
type Members<'t> = Vec<(Text<'t>, Json<'t>)>;

/// The context of an error of standard output.
const OUTPUT: &str = "the output cannot be written";

/// Writes the current users, by the vendor's names, to standard output: as NDJSON with one user a line, or as CSV
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// CSV with the fields of the vendor's table and no other members; messageLists as a JSON array
    #[arg(long)]
    csv: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let projector = args.target.projector()?;
    let (mut out, mut hidden) = (Out::begin(args.csv)?, BTreeSet::new());
    let base = projector.base();
    let each = |line: &[u8]| {
        let unread = |reason: String| anyhow::anyhow!("a line of {base}/users cannot be read: it {reason}");
        let json = Json::read(line, DEPTH_MAX).map_err(|fault| unread(fault.reason.to_string()))?;
        let Json::Object(members) = json else { return Err(unread("is no object".to_owned())) };
        out.write(without_meta(members, &mut hidden))
    };
    projector.lines("/users", each).await?;
    out.end()?;
    if !hidden.is_empty() {
        let names: Vec<String> = hidden.into_iter().collect();
        eprintln!("rollcall: the token does not show all fields: {} are missing", escaped(&names.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the members of the user, with the vendor's own member of the name `_meta` at its place, and notes which are
/// hidden.
fn without_meta<'t>(members: Members<'t>, hidden: &mut BTreeSet<String>) -> Members<'t> {
    let (meta, mut user): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| name.as_str() == META);
    for (name, value) in meta.into_iter().flat_map(|(_, meta)| object(meta)) {
        match (name.as_str(), value) {
            ("redacted", Json::Array(names)) => hidden.extend(names.iter().map(written)),
            ("extra", extra) => user.extend(object(extra).into_iter().filter(|(name, _)| name.as_str() == META)),
            _ => {}
        }
    }
    user
}

fn object(json: Json<'_>) -> Members<'_> {
    if let Json::Object(members) = json { members } else { Vec::new() }
}

/// Where the users go, in their form.
enum Out {
    Ndjson(BufWriter<Stdout>),
    Csv(Box<csv::Writer<Stdout>>),
}

impl Out {
    fn begin(is_csv: bool) -> anyhow::Result<Self> {
        if !is_csv {
            return Ok(Self::Ndjson(BufWriter::new(stdout())));
        }
        let mut csv = csv::Writer::from_writer(stdout());
        csv.write_record(names()).map_err(output).context(OUTPUT)?;
        Ok(Self::Csv(Box::new(csv)))
    }

    fn write(&mut self, user: Members<'_>) -> anyhow::Result<()> {
        match self {
            Self::Ndjson(out) => writeln!(out, "{}", written(&Json::Object(user))).context(OUTPUT),
            Self::Csv(csv) => {
                csv.write_record(names().iter().map(|name| cell(&user, name))).map_err(output).context(OUTPUT)
            }
        }
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Ndjson(mut out) => out.flush(),
            Self::Csv(mut csv) => csv.flush(),
        }
        .context(OUTPUT)
    }
}

/// Returns the error of the output in that of CSV, which shows it twice.
fn output(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Returns the columns of CSV: the fields of the vendor's table.
fn names() -> Vec<&'static str> {
    User::new(UserId::MIN).fields().iter().map(|(name, _)| *name).collect()
}

/// Returns the cell of a field: a text as it is, nothing for null, any other value as JSON.
fn cell(user: &Members<'_>, name: &str) -> String {
    match user.iter().find(|(known, _)| known.as_str() == name) {
        None | Some((_, Json::Null)) => String::new(),
        Some((_, value)) => written(value),
    }
}

fn written(value: &Json<'_>) -> String {
    match value {
        Json::Text(text) => text.as_str().to_owned(),
        other => {
            let mut text = String::new();
            other.write(&mut text);
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> (Members<'_>, Vec<String>) {
        let mut hidden = BTreeSet::new();
        let user = without_meta(object(Json::read(text.as_bytes(), DEPTH_MAX).unwrap()), &mut hidden);
        (user, hidden.into_iter().collect())
    }

    #[test]
    fn a_line_has_the_members_of_the_user_as_they_were_answered() {
        let (shown, hidden) =
            user(r#"{"userId":1,"skills":[1.50,1e3],"_meta":{"redacted":["email","extra"],"extra":{"_meta":"own"}}}"#);
        assert_eq!(written(&Json::Object(shown)), r#"{"userId":1,"skills":[1.50,1e3],"_meta":"own"}"#);
        assert_eq!(hidden, ["email", "extra"]);
    }

    #[test]
    fn a_cell_has_the_text_or_the_json_of_a_value() {
        let (shown, _) =
            user(r#"{"userId":1,"name":"Smith, \"R\"","email":null,"isAgent":true,"messageLists":["a","b"]}"#);
        let cells = ["userId", "name", "email", "isAgent", "messageLists", "state"].map(|name| cell(&shown, name));
        assert_eq!(cells, ["1", "Smith, \"R\"", "", "true", r#"["a","b"]"#, ""]);
    }
}
