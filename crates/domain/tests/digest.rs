//! Properties of a user's version: it equals RFC 8785 where doubles are exact, and stays exact where they are not.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use domain::{SAFE_INTEGER_MAX, User, UserId};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Numbers have the form `coefficient × 10^exponent`, with exponents from -PLACES to PLACES.
const PLACES: u32 = 9;

fn user(extra: impl IntoIterator<Item = (String, String)>) -> User {
    let mut user = User::new(UserId::new(180).unwrap());
    user.extra = extra.into_iter().collect();
    user
}

fn version_of(number: &str) -> domain::Version {
    user([("n".to_owned(), format!(r#"{{"a":[{number}]}}"#))]).version()
}

/// Writes `coefficient × 10^exponent` with the point moved left by `point` digits, trailing zeros, and `E` or `e`.
fn written(coefficient: i64, exponent: i64, point: usize, zeros: usize, upper: bool) -> String {
    let sign = if coefficient < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", coefficient.unsigned_abs(), width = point + 1);
    let (whole, fraction) = digits.split_at(digits.len() - point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let fraction = format!("{fraction}{}", "0".repeat(zeros));
    let fraction = if fraction.is_empty() { fraction } else { format!(".{fraction}") };
    let exponent = exponent + i64::try_from(point).unwrap();
    let exponent = match (exponent, upper) {
        (0, _) => String::new(),
        (exponent, true) => format!("E{exponent:+}"),
        (exponent, false) => format!("e{exponent}"),
    };
    format!("{sign}{whole}{fraction}{exponent}")
}

fn coefficient() -> impl Strategy<Value = i64> {
    prop_oneof![
        -30..30_i64,
        SAFE_INTEGER_MAX - 3..SAFE_INTEGER_MAX + 6,
        -SAFE_INTEGER_MAX - 6..-SAFE_INTEGER_MAX + 3,
        any::<i64>(),
    ]
}

fn number() -> impl Strategy<Value = (i64, i64, String)> {
    let places = i64::from(PLACES);
    (coefficient(), -places..=places, 0..25_usize, 0..4_usize, any::<bool>()).prop_map(
        |(coefficient, exponent, point, zeros, upper)| {
            (coefficient, exponent, written(coefficient, exponent, point, zeros, upper))
        },
    )
}

/// Returns the number times 10^PLACES, exactly.
fn scaled(coefficient: i64, exponent: i64) -> i128 {
    i128::from(coefficient) * 10_i128.pow(u32::try_from(exponent + i64::from(PLACES)).unwrap())
}

/// Returns JSON that RFC 8785 and Rollcall write alike: its only numbers are integers that a double holds exactly.
fn plain_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x7f\u{d7ff}\u{e000}\u{ffff}\u{10000}]{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map("[a-z\\x00-\\x20\u{d7ff}\u{e000}\u{ffff}\u{10000}]{0,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Equal numbers give one version and different numbers give two, in every spelling.
    #[test]
    fn a_version_is_as_exact_as_its_numbers(a in number(), b in number(), point in 0..25_usize, zeros in 0..4_usize) {
        let (coefficient, exponent, text) = a;
        let again = written(coefficient, exponent, point, zeros, true);
        prop_assert_eq!(version_of(&text), version_of(&again), "{} and {}", text, again);
        let equal = scaled(coefficient, exponent) == scaled(b.0, b.1);
        prop_assert_eq!(version_of(&text) == version_of(&b.2), equal, "{} and {}", text, b.2);
    }

    #[test]
    fn neighbours_are_distinguished(coefficient in coefficient(), step in 1..3_i64, exponent in -9..=9_i64) {
        let (one, other) = (coefficient, coefficient.wrapping_add(step));
        let [one, other] = [one, other].map(|coefficient| written(coefficient, exponent, 0, 0, false));
        prop_assert_ne!(version_of(&one), version_of(&other), "{} and {}", one, other);
    }

    #[test]
    fn a_version_is_that_of_rfc_8785_where_doubles_are_exact(
        extra in btree_map("[a-z\u{e000}\u{10000}]{0,4}", plain_json(), 0..4),
        name in any::<String>(),
        lists in vec(any::<String>(), 0..3),
        hourly in -SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX,
    ) {
        let mut user = user(extra.iter().map(|(name, value)| (name.clone(), format!("{value:#}"))));
        (user.name, user.message_lists, user.hourly) = (Some(name), Some(lists), Some(hourly));
        let canonical = serde_json_canonicalizer::to_vec(&user.to_json()).unwrap();
        prop_assert_eq!(user.version().to_string(), hex::encode(&Sha256::digest(canonical)[..16]));
    }
}
