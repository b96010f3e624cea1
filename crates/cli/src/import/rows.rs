//! The users of a file, each as a JSON object: NDJSON, or CSV with the vendor's names in its first row.
//!
//! A file whose first character is `{` is NDJSON, any other is CSV. The first of comma, semicolon and tab in the first
//! row of CSV separates its columns. A first row with one of the vendor's names in another case is an error: the field
//! would be null for every user. CSV ends with an error where a quote is not closed, or where a text follows it:
//! rows would vanish in a cell. In CSV an empty cell is null, `messageLists` is a JSON array, and a column outside the
//! vendor's table is a member with a text.

mod quotes;

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use anyhow::Context as _;
use csv::{ByteRecord, Reader, ReaderBuilder};
use domain::{Field, User, UserId};
use serde::de::IgnoredAny;

use quotes::Quoted;

/// The longest row that is read. A longer line of NDJSON is left out; CSV ends there, since a quote may be open.
const ROW_BYTES_MAX: usize = 1024 * 1024;
/// The byte order mark that some programs write at the beginning of a file.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// What can separate the columns.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// The two spellings of the identifier.
const IDENTIFIERS: [&str; 2] = ["userId", "userid"];

pub(super) type Input = Box<dyn BufRead + Send>;

/// The rows of a file, in its order.
pub(super) enum Rows {
    Ndjson { input: Input, number: u64 },
    Csv { reader: Box<Reader<Quoted>>, names: Vec<String>, number: u64 },
}

/// A row, or the reason why it is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its number, from 1: the line of NDJSON; in CSV the first row counts too, and rows of nothing do not.
    pub(super) number: u64,
    pub(super) user: Result<Vec<u8>, String>,
}

impl Rows {
    /// Begins to read.
    ///
    /// # Errors
    /// If the file has no rows, or if the first row of CSV does not name the columns.
    pub(super) fn of(mut input: Input) -> anyhow::Result<Self> {
        skip_mark(&mut input)?;
        match first(&mut input)? {
            None => anyhow::bail!("it is empty"),
            Some(b'[') => anyhow::bail!("it is one JSON array; one user a line is expected: jq -c '.[]'"),
            Some(b'{') => Ok(Self::Ndjson { input, number: 0 }),
            Some(_) => Self::csv(input),
        }
    }

    fn csv(mut input: Input) -> anyhow::Result<Self> {
        let mut head = Vec::new();
        (&mut input).take(ROW_BYTES_MAX as u64).read_until(b'\n', &mut head)?;
        let delimiter = head.iter().find(|byte| DELIMITERS.contains(byte)).copied().unwrap_or(b',');
        let quoted = Quoted::new(head, input, delimiter);
        let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(quoted);
        let names = reader.byte_headers()?.iter().map(|name| String::from_utf8(name.to_vec()));
        let names: Vec<String> = names.collect::<Result<_, _>>().context("its first row is not UTF-8")?;
        in_vendors_case(names.iter())?;
        let has_identifier = names.iter().any(|name| IDENTIFIERS.contains(&name.as_str()));
        anyhow::ensure!(has_identifier, "it is no NDJSON, and as CSV its first row names no column userId");
        for (at, name) in names.iter().enumerate() {
            anyhow::ensure!(!name.is_empty(), "column {} has no name in its first row", at + 1);
            anyhow::ensure!(!names[..at].contains(name), "its first row names the column {name} twice");
        }
        Ok(Self::Csv { reader: Box::new(reader), names, number: 1 })
    }

    fn read(&mut self) -> anyhow::Result<Option<Row>> {
        match self {
            Self::Ndjson { input, number } => loop {
                let mut text = Vec::new();
                if input.take(ROW_BYTES_MAX as u64).read_until(b'\n', &mut text)? == 0 {
                    return Ok(None);
                }
                *number += 1;
                if text.len() == ROW_BYTES_MAX && !text.ends_with(b"\n") {
                    input.skip_until(b'\n')?;
                    return Ok(Some(Row { number: *number, user: Err(too_long()) }));
                }
                let text = text.trim_ascii();
                if !text.is_empty() {
                    if *number == 1
                        && let Ok(members) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(text)
                    {
                        in_vendors_case(members.keys())?;
                    }
                    return Ok(Some(Row { number: *number, user: Ok(text.to_vec()) }));
                }
            },
            Self::Csv { reader, names, number } => {
                reader.get_mut().next_row();
                let mut record = ByteRecord::new();
                if !reader.read_byte_record(&mut record)? {
                    return Ok(None);
                }
                *number += 1;
                let user = if record.len() == names.len() {
                    Ok(object(names, &record))
                } else {
                    Err(format!("it has {} columns, the first row has {}", record.len(), names.len()))
                };
                Ok(Some(Row { number: *number, user }))
            }
        }
    }
}

impl Iterator for Rows {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// # Errors
/// If one of the vendor's names is there in another case alone.
fn in_vendors_case<'n>(names: impl Iterator<Item = &'n String>) -> anyhow::Result<()> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    let user = User::new(UserId::MIN);
    let others = names.iter().filter(|name| User::is_field_in_another_case(name) && !IDENTIFIERS.contains(name));
    let renamed = others.filter_map(|name| {
        let (field, _) = user.fields().into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        (!names.contains(&field)).then(|| format!("{field} for {name}"))
    });
    let renamed: Vec<String> = renamed.collect();
    let expected = renamed.join(", ");
    anyhow::ensure!(
        renamed.is_empty(),
        "its first row has names in another case than the vendor's: expected {expected}"
    );
    Ok(())
}

fn too_long() -> String {
    format!("it is longer than {ROW_BYTES_MAX} bytes")
}

/// Takes the byte order mark off the beginning.
fn skip_mark(input: &mut Input) -> anyhow::Result<()> {
    let mut begin = Vec::new();
    while begin.len() < MARK.len() && input.fill_buf()?.first() == Some(&MARK[begin.len()]) {
        begin.push(MARK[begin.len()]);
        input.consume(1);
    }
    let is_whole = begin.is_empty() || begin.len() == MARK.len();
    anyhow::ensure!(is_whole, "it is neither NDJSON nor CSV in UTF-8");
    Ok(())
}

/// Returns the first character that is no white space, which is then the next one.
fn first(input: &mut Input) -> anyhow::Result<Option<u8>> {
    loop {
        let buffer = input.fill_buf()?;
        let Some(byte) = buffer.first().copied() else { return Ok(None) };
        if !byte.is_ascii_whitespace() {
            return Ok(Some(byte));
        }
        input.consume(1);
    }
}

/// Returns the user of a row as a JSON object. Bytes that are not UTF-8 stay as they are; the next stage refuses them.
fn object(names: &[String], record: &ByteRecord) -> Vec<u8> {
    let mut json = b"{".to_vec();
    for (name, cell) in names.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend(quoted(name.as_bytes()));
        json.push(b':');
        json.extend(value(name, cell));
    }
    json.push(b'}');
    json
}

/// Returns the JSON of a cell, by the type of its column.
fn value(name: &str, cell: &[u8]) -> Vec<u8> {
    let fields = User::new(UserId::MIN);
    let fields = fields.fields();
    let field = fields.iter().find(|(field, _)| *field == name || (IDENTIFIERS.contains(&name) && *field == "userId"));
    let is_json = match field.map(|(_, field)| field) {
        Some(Field::Texts(_)) => serde_json::from_slice::<Vec<IgnoredAny>>(cell).is_ok(),
        Some(Field::Integer(_)) => serde_json::from_slice::<serde_json::Number>(cell).is_ok(),
        // Spreadsheets write TRUE.
        Some(Field::Boolean(_)) => return quoted(&cell.to_ascii_lowercase()),
        Some(Field::Text(_)) | None => false,
    };
    if is_json { cell.to_vec() } else { quoted(cell) }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => serde_json::to_vec(text).expect("a text is JSON"),
        Err(_) => [b"\"", text, b"\""].concat(),
    }
}

#[cfg(test)]
mod tests;
