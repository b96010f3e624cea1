//! The header `rollcall-second`: the other events of a tied second, on the record that ends the second.
//!
//! ```text
//! version, 1 byte: 1 | count, 1 byte | for each event: length, 4 bytes big-endian | value, as framed on the log
//! ```

use super::SET_MAX;

/// The only version of the header's format.
const VERSION: u8 = 1;

/// A header that does not follow the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("its version is {0}, not {VERSION}")]
    Version(u8),
    #[error("it has {0} events, and not 1 to {max}", max = SET_MAX - 1)]
    Count(u8),
    #[error("it ends early")]
    Short,
    #[error("{0} bytes follow its last event")]
    Trailing(usize),
}

/// Returns the header that carries these values; `None` when there are none.
///
/// # Panics
/// When there are [`SET_MAX`] values or more: the record's value is the remaining event of the set.
pub fn encode<'v>(values: impl ExactSizeIterator<Item = &'v [u8]>) -> Option<Vec<u8>> {
    let count = values.len();
    assert!(count < SET_MAX, "a set has at most {SET_MAX} events, and the winner is the record's value");
    if count == 0 {
        return None;
    }
    let mut header = vec![VERSION, u8::try_from(count).expect("it is below SET_MAX")];
    for value in values {
        header.extend(u32::try_from(value.len()).expect("a value is far below 4 GiB").to_be_bytes());
        header.extend(value);
    }
    Some(header)
}

/// Returns the values in `header`.
///
/// # Errors
/// [`HeaderError`] for malformed bytes. The header of a later version may have any content.
pub fn decode(header: &[u8]) -> Result<Vec<&[u8]>, HeaderError> {
    let (&version, rest) = header.split_first().ok_or(HeaderError::Short)?;
    if version != VERSION {
        return Err(HeaderError::Version(version));
    }
    let (&count, mut rest) = rest.split_first().ok_or(HeaderError::Short)?;
    if !(1..SET_MAX).contains(&usize::from(count)) {
        return Err(HeaderError::Count(count));
    }
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| HeaderError::Short)?;
        let (value, after) = after.split_at_checked(length).ok_or(HeaderError::Short)?;
        values.push(value);
        rest = after;
    }
    if rest.is_empty() { Ok(values) } else { Err(HeaderError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_every_cut_is_an_error() {
        let values: [&[u8]; 3] = [b"one", b"", b"three"];
        let header = encode(values.into_iter()).unwrap();
        assert_eq!(decode(&header).unwrap(), values);
        for end in 0..header.len() {
            assert_eq!(decode(&header[..end]), Err(HeaderError::Short), "{end} bytes");
        }
        let mut longer = header.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Err(HeaderError::Trailing(1)));
        assert_eq!(decode(&[2, 0]), Err(HeaderError::Version(2)));
        assert_eq!(decode(&[1, 0]), Err(HeaderError::Count(0)));
        assert_eq!(decode(&[1, 8]), Err(HeaderError::Count(8)));
        assert_eq!(encode([].into_iter()), None);
    }
}
