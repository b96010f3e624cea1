//! A number with its original token and its exact value.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::SAFE_INTEGER_MAX;

/// Every integer with at most this many digits is within ±(2^53 - 1).
const SAFE_DIGITS: usize = 15;
/// Every integer with at most this many digits fits `i128`.
const I128_DIGITS: usize = 38;

/// A number of JSON, as its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'t>(&'t str);

/// A number as digits without leading or trailing zeros, times ten to an exponent; zero has no digits.
struct Decimal<'t> {
    negative: bool,
    digits: Cow<'t, str>,
    exponent: i32,
}

impl<'t> Number<'t> {
    /// Returns the number of a JSON token. Returns `None` when the exponent, after trailing zeros are removed, does not
    /// fit `i32`.
    pub(super) fn new(token: &'t str) -> Option<Self> {
        let number = Self(token);
        (number.plain().is_some() || decimal(token).is_some()).then_some(number)
    }

    /// Returns the value of a short number that is written as an integer: nearly all are.
    fn plain(self) -> Option<i64> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        let is_plain = digits.len() <= SAFE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { self.0.parse().ok() } else { None }
    }

    /// Returns the number as it was sent.
    pub fn as_str(self) -> &'t str {
        self.0
    }

    /// Returns whether the number is an integer, in any spelling: `4`, `4.0`, `40e-1`.
    pub fn is_integer(self) -> bool {
        self.plain().is_some() || decimal(self.0).is_some_and(|decimal| decimal.exponent >= 0)
    }

    /// Returns the value of an integer with at most 38 digits.
    pub fn integer(self) -> Option<i128> {
        if let Some(integer) = self.plain() {
            return Some(integer.into());
        }
        let Decimal { negative, digits, exponent } = decimal(self.0)?;
        let zeros = usize::try_from(exponent).ok()?;
        if digits.is_empty() {
            return Some(0);
        }
        if zeros > I128_DIGITS || digits.len() + zeros > I128_DIGITS {
            return None;
        }
        let magnitude = digits.parse::<i128>().ok()? * 10_i128.pow(exponent.unsigned_abs());
        Some(if negative { -magnitude } else { magnitude })
    }

    /// Appends the form that equal numbers share and that no other number has. An integer within ±(2^53 - 1) is its
    /// digits. Any other number is its sign, its digits without leading or trailing zeros, `e`, and the exponent.
    pub fn write_canonical(self, out: &mut String) {
        if let Some(integer) = self.plain() {
            return out.push_str(if integer == 0 { "0" } else { self.0 });
        }
        let Some(Decimal { negative, digits, exponent }) = decimal(self.0) else { return out.push_str(self.0) };
        match self.integer().and_then(|integer| i64::try_from(integer).ok()) {
            Some(integer) if integer.unsigned_abs() <= SAFE_INTEGER_MAX.unsigned_abs() => {
                write!(out, "{integer}").expect("a String takes every text");
            }
            _ => {
                let sign = if negative { "-" } else { "" };
                write!(out, "{sign}{digits}e{exponent}").expect("a String takes every text");
            }
        }
    }
}

/// Appends an integer as [`Number::write_canonical`] does.
pub(crate) fn write_integer(integer: i64, out: &mut String) {
    if integer.unsigned_abs() <= SAFE_INTEGER_MAX.unsigned_abs() {
        write!(out, "{integer}").expect("a String takes every text");
    } else {
        Number(&integer.to_string()).write_canonical(out);
    }
}

/// Returns the value of a token. Returns `None` when its exponent does not fit `i32`.
fn decimal(token: &str) -> Option<Decimal<'_>> {
    let (negative, magnitude) = match token.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, token),
    };
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = match (whole.trim_start_matches('0'), fraction) {
        (whole, "") => Cow::Borrowed(whole),
        ("", fraction) => Cow::Borrowed(fraction.trim_start_matches('0')),
        (whole, fraction) => Cow::Owned(format!("{whole}{fraction}")),
    };
    if digits.is_empty() {
        return Some(Decimal { negative: false, digits, exponent: 0 });
    }
    let exponent: i64 = exponent.parse().ok()?;
    let kept = digits.trim_end_matches('0').len();
    let shift = i64::try_from(digits.len() - kept).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = i32::try_from(exponent.checked_add(shift)?).ok()?;
    let digits = match digits {
        Cow::Borrowed(digits) => Cow::Borrowed(digits.trim_end_matches('0')),
        Cow::Owned(mut digits) => {
            digits.truncate(kept);
            Cow::Owned(digits)
        }
    };
    Some(Decimal { negative, digits, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(token: &str) -> String {
        let mut out = String::new();
        Number::new(token).unwrap().write_canonical(&mut out);
        out
    }

    #[test]
    fn equal_numbers_have_one_form() {
        let table: [(&str, &[&str]); 12] = [
            ("0", &["0", "-0", "0.0", "-0e7", "0e-99999999999999999999"]),
            ("4", &["4", "4.0", "4e0", "40e-1", "0.4E+1", "0.00004e5"]),
            ("-4", &["-4", "-4.00"]),
            ("1000", &["1000", "1e3", "1000.0"]),
            ("9007199254740991", &["9007199254740991", "9007199254740991.0", "900719925474099.1e1"]),
            ("9007199254740992e0", &["9007199254740992", "9007199254740992.0"]),
            ("9007199254740993e0", &["9007199254740993"]),
            ("-9007199254740993e0", &["-9007199254740993"]),
            ("1e20", &["1e20", "100000000000000000000", "10.0e19"]),
            ("11e-1", &["1.1", "1.10", "11E-1", "0.11e1"]),
            ("1e400", &["1e400", "0.1e401"]),
            ("1e2147483647", &["1e2147483647", "0.1e2147483648"]),
        ];
        for (form, tokens) in table {
            for token in tokens {
                assert_eq!(canonical(token), form, "{token}");
            }
        }
    }

    #[test]
    fn an_exponent_beyond_32_bits_is_not_a_number() {
        for token in ["1e2147483648", "10e2147483647", "1e-2147483649", "1.5e-2147483648", "1e99999999999999999999"] {
            assert_eq!(Number::new(token), None, "{token}");
        }
    }

    #[test]
    fn an_integer_is_that_integer_however_it_is_written() {
        let integer = |token| Number::new(token).unwrap().integer();
        for (token, value) in [("4.0", 4), ("1e3", 1000), ("-0", 0), ("-1.50e1", -15), ("0e400", 0)] {
            assert_eq!(integer(token), Some(value), "{token}");
        }
        assert_eq!(integer("18446744073709551615"), Some(i128::from(u64::MAX)));
        assert_eq!(integer("9e37"), Some(9 * 10_i128.pow(37)));
        for token in ["1.5", "1e-1", "1e38", "1e400"] {
            assert_eq!(integer(token), None, "{token}");
        }
        assert!(Number::new("1e400").unwrap().is_integer() && !Number::new("1.5").unwrap().is_integer());
    }
}
