//! Which quote of a CSV file is open, followed byte by byte: the reader of CSV takes the end of the file for the end of
//! an open quote, and a text behind a closed one for a part of the cell. Either way rows would vanish in a cell.

use std::io::{self, Chain, Cursor, Read};

use super::{Input, ROW_BYTES_MAX};

/// Input that ends with an error where a quote is not closed, or a row is too long.
pub(in super::super) struct Quoted {
    inner: Chain<Cursor<Vec<u8>>, Input>,
    quotes: Quotes,
    /// How many more bytes the row may have.
    left: usize,
    is_broken: bool,
}

impl Quoted {
    /// Returns the input with this separator of columns, which begins with `head`.
    pub(super) fn new(head: Vec<u8>, rest: Input, delimiter: u8) -> Self {
        let quotes = Quotes { delimiter, line: 1, place: Place::Begin };
        Self { inner: Cursor::new(head).chain(rest), quotes, left: ROW_BYTES_MAX, is_broken: false }
    }

    /// Begins another row.
    pub(super) fn next_row(&mut self) {
        self.left = ROW_BYTES_MAX;
    }

    fn fault(&self) -> io::Error {
        let Quotes { line, place, .. } = self.quotes;
        io::Error::other(match place {
            Place::Open(line) => format!("the quote that opens in line {line} is not closed"),
            Place::Closed(line) => {
                format!("a text follows the quote that opens in line {line}: inside quotes, a quote is written twice")
            }
            Place::Begin | Place::Plain => format!("line {line} is longer than {ROW_BYTES_MAX} bytes"),
        })
    }
}

impl Read for Quoted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || self.is_broken {
            return Err(self.fault());
        }
        let length = into.len().min(self.left);
        let read = self.inner.read(&mut into[..length])?;
        if read == 0 && length > 0 && matches!(self.quotes.place, Place::Open(_)) {
            return Err(self.fault());
        }
        self.left -= read;
        match into[..read].iter().position(|byte| !self.quotes.take(*byte)) {
            None => Ok(read),
            // What comes before it is read first.
            Some(at) => {
                self.is_broken = true;
                if at > 0 { Ok(at) } else { Err(self.fault()) }
            }
        }
    }
}

/// Where a byte is, as RFC 4180 has it.
struct Quotes {
    delimiter: u8,
    line: u64,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// Of a cell.
    Begin,
    /// In a cell without quotes.
    Plain,
    /// In the quote that opens in that line.
    Open(u64),
    /// Behind a quote in it, which closes it unless another one follows.
    Closed(u64),
}

impl Quotes {
    /// Goes past a byte. Returns whether it may stand there.
    fn take(&mut self, byte: u8) -> bool {
        let is_end = byte == self.delimiter || byte == b'\r' || byte == b'\n';
        self.place = match (self.place, byte) {
            (Place::Begin, b'"') => Place::Open(self.line),
            (Place::Open(line), b'"') => Place::Closed(line),
            (Place::Open(line), _) | (Place::Closed(line), b'"') => Place::Open(line),
            (Place::Begin | Place::Plain | Place::Closed(_), _) if is_end => Place::Begin,
            (Place::Begin | Place::Plain, _) => Place::Plain,
            (Place::Closed(_), _) => return false,
        };
        self.line += u64::from(byte == b'\n');
        true
    }
}
