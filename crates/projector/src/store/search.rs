//! The texts that `q` is searched in: folded, of 64 users in one row. A walk over the table of a million users reads
//! some 16,000 rows, and looks for the text in each at the speed of memory.
//!
//! (Tried first, on a million users: with a row for each, SQLite takes 60 ms to step over them, and 150 with the
//! search. An FTS5 index by trigrams takes 6 s to fill and finds no texts of one or two letters; what was deleted stays
//! in it until its parts are merged.)

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::UserId;
use domain::wire::Facets;
use memchr::memmem::Finder;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};

use crate::fold::fold;

/// How many users a row has: the bits of a set of them.
const BLOCK_USERS: usize = 64;
/// The same as identifiers are divided by it.
const USERS_PER_BLOCK: i64 = 64;
/// By how much of the folded name users are sorted, in bytes: what a cursor carries.
const SORT_NAME_BYTES_MAX: usize = 64;
/// Ends each text. No byte of UTF-8 is like it, so that nothing is found across two texts.
const END: u8 = 0xFF;
/// The bytes of an entry's head: which user of the block, and the length of its texts.
const HEAD: usize = 1 + size_of::<u32>();

/// The folded texts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    /// Name, username and extension, each with its end.
    names: Vec<u8>,
    /// Apart, since not everybody may see it.
    email: Vec<u8>,
}

/// A row of the table while it is written.
#[derive(Debug)]
struct Block {
    block: i64,
    names: BTreeMap<u8, Vec<u8>>,
    emails: BTreeMap<u8, Vec<u8>>,
}

/// Gathers the rows of users who come in the order of their identifiers.
#[derive(Debug, Default)]
pub(crate) struct GatherSearch {
    block: i64,
    names: Column,
    emails: Column,
}

/// A row of the table as it is written.
#[derive(Debug)]
pub(crate) struct SearchRow {
    block: i64,
    names: Vec<u8>,
    emails: Vec<u8>,
}

/// A column of a row while it is gathered.
#[derive(Debug, Default)]
struct Column {
    count: u8,
    heads: Vec<u8>,
    texts: Vec<u8>,
}

/// The users whose texts contain a text, in the order of their identifiers.
pub(super) struct Search<'c> {
    statement: CachedStatement<'c>,
    sought: Finder<'static>,
    with_email: bool,
    /// The row where somebody was found last; `None` before the first and after the last.
    block: Option<i64>,
    /// Those who were found in it.
    found: u64,
    has_ended: bool,
    /// The names of the row, and where the name by which each user is sorted is in them.
    names: Vec<u8>,
    sort_names: [(usize, usize); BLOCK_USERS],
    for_sort: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the texts of a block of users are damaged")]
struct Damaged;

impl Texts {
    pub(crate) fn of(facets: &Facets<'_>) -> Self {
        let names = [&facets.name, &facets.username, &facets.extension];
        let length = |text: Option<&str>| text.map_or(0, str::len) + 1;
        let mut texts = Self::default();
        texts.names.reserve(names.iter().map(|text| length(text.as_deref())).sum());
        for text in names {
            texts.names.extend_from_slice(fold(text.as_deref().unwrap_or_default()).as_bytes());
            texts.names.push(END);
        }
        if let Some(email) = facets.email.as_deref().filter(|email| !email.is_empty()) {
            texts.email.reserve(length(Some(email)));
            texts.email.extend_from_slice(fold(email).as_bytes());
            texts.email.push(END);
        }
        texts
    }

    /// Returns the beginning of the folded name, by which users are sorted.
    pub(crate) fn sort_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(sort_name(&self.names))
    }
}

/// Cuts the first of the texts to as much of it as users are sorted by.
fn sort_name(names: &[u8]) -> &[u8] {
    let name = names.split(|byte| *byte == END).next().unwrap_or_default();
    let is_begin = |at: &usize| name.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let end = (0..=SORT_NAME_BYTES_MAX.min(name.len())).rev().find(is_begin).unwrap_or_default();
    &name[..end]
}

/// Returns the row of a user, and the place in it.
fn place(user_id: i64) -> (i64, u8) {
    let place = u8::try_from(user_id.rem_euclid(USERS_PER_BLOCK)).expect("a place is below 64");
    (user_id.div_euclid(USERS_PER_BLOCK), place)
}

/// Writes the texts of a user, in place of those that may be there.
pub(super) fn put(connection: &Connection, user_id: UserId, texts: &Texts) -> rusqlite::Result<()> {
    let (block, place) = place(user_id.get());
    let mut block = Block::load(connection, block)?;
    block.put(place, texts);
    block.store(connection)
}

/// Writes the row of users who are loaded, beside those of the row who were loaded before.
pub(crate) fn append(connection: &Connection, row: &SearchRow) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO search VALUES (?1, ?2, ?3)")?;
    if statement.execute(params![row.block, row.names, row.emails])? == 0 {
        let mut block = Block::load(connection, row.block)?;
        block.names.extend(owned(&row.names, 1)?);
        block.emails.extend(owned(&row.emails, 2)?);
        block.store(connection)?;
    }
    Ok(())
}

/// Removes the texts of a user.
pub(super) fn remove(connection: &Connection, user_id: UserId) -> rusqlite::Result<()> {
    let (block, place) = place(user_id.get());
    let mut block = Block::load(connection, block)?;
    block.names.remove(&place);
    block.emails.remove(&place);
    block.store(connection)
}

impl GatherSearch {
    /// Takes the next user. Returns the row of those before, if this one is not in it.
    pub(crate) fn put(&mut self, user_id: UserId, texts: &Texts) -> Option<SearchRow> {
        let (block, place) = place(user_id.get());
        let before = if block == self.block { None } else { self.take() };
        self.block = block;
        self.names.push(place, &texts.names);
        if !texts.email.is_empty() {
            self.emails.push(place, &texts.email);
        }
        before
    }

    /// Returns the row of those who were taken last, if there are any.
    pub(crate) fn take(&mut self) -> Option<SearchRow> {
        let is_empty = self.names.count == 0;
        let row = SearchRow { block: self.block, names: self.names.take(), emails: self.emails.take() };
        (!is_empty).then_some(row)
    }
}

impl Column {
    fn push(&mut self, place: u8, texts: &[u8]) {
        self.count += 1;
        self.heads.push(place);
        self.heads.extend(u32::try_from(texts.len()).expect("an event is shorter").to_le_bytes());
        self.texts.extend_from_slice(texts);
    }

    /// Returns the column: how many users it has, the head of each, and then all texts in one piece.
    fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.heads.len() + self.texts.len());
        bytes.push(std::mem::take(&mut self.count));
        bytes.append(&mut self.heads);
        bytes.append(&mut self.texts);
        bytes
    }
}

impl Block {
    fn load(connection: &Connection, block: i64) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT names, emails FROM search WHERE block = ?1")?;
        let column = |row: &Row<'_>, number| owned(row.get_ref(number)?.as_blob()?, number);
        let stored =
            statement.query_row([block], |row| Ok(Self { block, names: column(row, 0)?, emails: column(row, 1)? }));
        Ok(stored.optional()?.unwrap_or_else(|| Self { block, names: BTreeMap::new(), emails: BTreeMap::new() }))
    }

    fn put(&mut self, place: u8, texts: &Texts) {
        self.names.insert(place, texts.names.clone());
        if texts.email.is_empty() {
            self.emails.remove(&place);
        } else {
            self.emails.insert(place, texts.email.clone());
        }
    }

    fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.names.is_empty() {
            connection.prepare_cached("DELETE FROM search WHERE block = ?1")?.execute([self.block])?;
            return Ok(());
        }
        let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO search VALUES (?1, ?2, ?3)")?;
        statement.execute(params![self.block, written(&self.names), written(&self.emails)])?;
        Ok(())
    }
}

fn written(entries: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
    let mut column = Column::default();
    entries.iter().for_each(|(place, texts)| column.push(*place, texts));
    column.take()
}

/// Returns the heads of the entries, and all their texts.
fn parts(bytes: &[u8]) -> Option<(&[[u8; HEAD]], &[u8])> {
    let (count, rest) = bytes.split_first()?;
    let (heads, texts) = rest.split_at_checked(usize::from(*count) * HEAD)?;
    let (heads, _) = heads.as_chunks();
    let length: usize = heads.iter().map(|head| length(*head)).sum();
    (length == texts.len() && heads.iter().all(|head| i64::from(head[0]) < USERS_PER_BLOCK)).then_some((heads, texts))
}

fn length([_, length @ ..]: [u8; HEAD]) -> usize {
    usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)
}

fn owned(bytes: &[u8], column: usize) -> rusqlite::Result<BTreeMap<u8, Vec<u8>>> {
    Ok(entries(bytes, column)?.map(|(place, texts)| (place, texts.to_vec())).collect())
}

/// Returns the texts of each user in a column.
fn entries(bytes: &[u8], column: usize) -> rusqlite::Result<impl Iterator<Item = (u8, &[u8])>> {
    let (heads, texts) = parts(bytes).ok_or_else(|| damaged(column))?;
    let mut rest = texts;
    Ok(heads.iter().map(move |head| {
        let (texts, others) = rest.split_at(length(*head));
        rest = others;
        (head[0], texts)
    }))
}

fn damaged(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(Damaged))
}

/// Returns the set of the users whose texts contain what is sought.
fn found(bytes: &[u8], sought: &Finder<'_>) -> Option<u64> {
    let (heads, texts) = parts(bytes)?;
    let (mut found, mut from) = (0, 0);
    let mut ends = heads.iter().scan(0, |end, head| {
        *end += length(*head);
        Some((head[0], *end))
    });
    while let Some(at) = sought.find(&texts[from..]).map(|at| from + at) {
        let Some((place, end)) = ends.find(|(_, end)| at < *end) else { break };
        found |= 1 << place;
        from = end;
    }
    Some(found)
}

impl<'c> Search<'c> {
    /// Prepares to look for a folded text. An empty one is in the texts of everybody.
    pub(super) fn new(
        connection: &'c Connection,
        sought: &str,
        with_email: bool,
        for_sort: bool,
    ) -> rusqlite::Result<Self> {
        let statement =
            connection.prepare_cached("SELECT block, names, emails FROM search WHERE block >= ?1 ORDER BY block")?;
        Ok(Self {
            statement,
            sought: Finder::new(sought).into_owned(),
            with_email,
            block: None,
            found: 0,
            has_ended: false,
            names: Vec::new(),
            sort_names: [(0, 0); BLOCK_USERS],
            for_sort,
        })
    }

    /// Returns the first of the users from `from` on. Each call must ask for the same or a later one.
    pub(super) fn seek(&mut self, from: i64) -> rusqlite::Result<Option<i64>> {
        let (block, place) = place(from);
        while !self.has_ended {
            let Some(here) = self.block.filter(|here| *here >= block) else {
                self.go_on(block)?;
                continue;
            };
            let found = if here > block { self.found } else { self.found & u64::MAX << place };
            if found != 0 {
                return Ok(Some(here * USERS_PER_BLOCK + i64::from(found.trailing_zeros())));
            }
            self.go_on(here + 1)?;
        }
        Ok(None)
    }

    /// Goes on to the next row that has one of the users.
    fn go_on(&mut self, from: i64) -> rusqlite::Result<()> {
        let mut rows = self.statement.query([from])?;
        while let Some(row) = rows.next()? {
            let blob = |column| -> rusqlite::Result<&[u8]> { Ok(row.get_ref(column)?.as_blob()?) };
            let mut users = found(blob(1)?, &self.sought).ok_or_else(|| damaged(1))?;
            if self.with_email {
                users |= found(blob(2)?, &self.sought).ok_or_else(|| damaged(2))?;
            }
            if users == 0 {
                continue;
            }
            (self.block, self.found) = (Some(row.get(0)?), users);
            if self.for_sort {
                self.names.clear();
                for (place, texts) in entries(blob(1)?, 1)? {
                    let name = sort_name(texts);
                    self.sort_names[usize::from(place)] = (self.names.len(), self.names.len() + name.len());
                    self.names.extend(name);
                }
            }
            return Ok(());
        }
        (self.block, self.has_ended) = (None, true);
        Ok(())
    }

    /// Returns the name by which the user is sorted that was found last.
    pub(super) fn sort_name(&self, user_id: i64) -> &[u8] {
        let (begin, end) = self.sort_names[usize::from(place(user_id).1)];
        &self.names[begin..end]
    }
}

#[cfg(test)]
mod tests;
