//! Memory for many byte strings of about the same size, in large pieces: a piece goes back to the system as a whole, so
//! that nothing of a rebuild stays with the process.

use std::collections::BTreeMap;

/// Size of a piece. Small ones would come from the heap and stay there.
const PIECE: usize = 1 << 20;
/// Strings are kept in steps of this many bytes: the next event of a user then mostly fits where the last one was.
const STEP: usize = 16;

/// Where a string is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    piece: u32,
    start: u32,
    len: u32,
    room: u32,
}

#[derive(Debug, Default)]
pub(super) struct Slab {
    pieces: Vec<Vec<u8>>,
    /// Spans that are free, by their room.
    free: BTreeMap<u32, Vec<Span>>,
    bytes: usize,
}

impl Slab {
    /// Returns how much memory the pieces take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        &self.pieces[span.piece as usize][start..start + span.len as usize]
    }

    pub(super) fn put(&mut self, value: &[u8]) -> Span {
        let room = narrow(value.len().next_multiple_of(STEP).max(STEP));
        let free = self.free.get_mut(&room).and_then(Vec::pop);
        let span = free.unwrap_or_else(|| self.append(room));
        self.write(span, value)
    }

    /// Replaces a string by another, in its place if it fits.
    pub(super) fn replace(&mut self, span: Span, value: &[u8]) -> Span {
        if value.len() <= span.room as usize {
            return self.write(span, value);
        }
        self.remove(span);
        self.put(value)
    }

    pub(super) fn remove(&mut self, span: Span) {
        self.free.entry(span.room).or_default().push(span);
    }

    fn write(&mut self, span: Span, value: &[u8]) -> Span {
        let start = span.start as usize;
        self.pieces[span.piece as usize][start..start + value.len()].copy_from_slice(value);
        Span { len: narrow(value.len()), ..span }
    }

    fn append(&mut self, room: u32) -> Span {
        let fits = self.pieces.last().is_some_and(|piece| piece.len() + room as usize <= piece.capacity());
        if !fits {
            let piece = Vec::with_capacity(PIECE.max(room as usize));
            self.bytes += piece.capacity();
            self.pieces.push(piece);
        }
        let index = self.pieces.len() - 1;
        let piece = &mut self.pieces[index];
        let start = piece.len();
        piece.resize(start + room as usize, 0);
        Span { piece: narrow(index), start: narrow(start), len: 0, room }
    }
}

/// A value of a record is far below 4 GiB, and so is a piece; 4 G pieces would be 4 PiB.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("a piece and the number of pieces are below 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_and_what_is_free_is_used_again() {
        let mut slab = Slab::default();
        let first = slab.put(b"first");
        let second = slab.put(&[7; 100]);
        assert_eq!((slab.get(first), slab.get(second)), (&b"first"[..], &[7; 100][..]));
        let first = slab.replace(first, b"1");
        assert_eq!(slab.get(first), b"1");
        let moved = slab.replace(first, &[9; 65]);
        let third = slab.put(b"third");
        assert_eq!((third.piece, third.start), (first.piece, first.start));
        assert_eq!((slab.get(moved), slab.get(third), slab.get(second)), (&[9; 65][..], &b"third"[..], &[7; 100][..]));
        assert_eq!(slab.bytes(), PIECE);
    }

    #[test]
    fn a_string_larger_than_a_piece_has_its_own() {
        let mut slab = Slab::default();
        let small = slab.put(b"small");
        let large = slab.put(&vec![1; PIECE + 1]);
        assert_eq!((slab.get(small), slab.get(large).len()), (&b"small"[..], PIECE + 1));
    }
}
