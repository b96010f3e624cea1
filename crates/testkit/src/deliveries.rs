//! Bodies as the vendor sends them: its own samples, and generated ones.

use serde_json::json;

/// The vendor's sample of *User Created*, of user 180.
pub const CREATED: &str = include_str!("../../../schemas/golden/v1/user-created.json");
/// The vendor's sample of *User Changed*, of the same user. Its timestamp is nine minutes before the creation.
pub const CHANGED: &str = include_str!("../../../schemas/golden/v1/user-changed.json");

/// Returns the body of the `change`th change of a user; 0 is the creation. Each change is a minute after the previous
/// one, and its `old` is the previous `new`.
pub fn delivery(user_id: u64, change: u64) -> String {
    let user = |change: u64| json!({"userId": user_id, "name": name(user_id, change), "monthly": change});
    let old = change.checked_sub(1).map(user);
    let (day, hour, minute) = (change / (24 * 60) + 1, change / 60 % 24, change % 60);
    assert!(day <= 28, "the calendar of these deliveries has one month");
    json!({"old": old, "new": user(change), "timestamp": format!("2024-02-{day:02}T{hour:02}:{minute:02}:00+01:00")})
        .to_string()
}

/// Returns the name that [`delivery`] gives a user.
pub fn name(user_id: u64, change: u64) -> String {
    format!("User {user_id}, change {change}")
}
