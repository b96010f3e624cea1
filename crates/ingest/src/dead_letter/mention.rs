//! Whether a dead letter is about a user.

mod json;

mod text;

use domain::{Letter, UserId, wire};
use upkeep::forget::Mention;

use crate::transport::{BodyPolicy, decipherments, decode_base64, is_incomplete};
use text::{is_base64, stands_anywhere};

/// Returns whether `letter` is about the user, by everything that can be made of its body: the body itself, what each
/// key of `policy` deciphers, and base64. Texts may be UTF-8, UTF-16 or Latin-1, with a byte order mark or without.
///
/// **Yes**, so that the letter is removed with the user:
/// - JSON in which a member named `userId` (in any case, with separators or a prefix: `USER_ID`, `new.userId`) is the
///   identifier, at any depth, also in JSON within a text, and however often the member is given. All spellings of a
///   number count: `180`, `180.0`, `1.8e2`, `"0180"`, `"user 180"`, `[180]`.
/// - A text that is not JSON (cut off, a form, XML) in which the identifier stands as a whole number. `1800`, `2180`,
///   `180.5` and `-180` are other numbers, and the digits of an ISO 8601 date or time are none.
/// - The copy of a record with the user's key, or with an event of the user.
///
/// **No**: JSON in which `userId` is another number, whatever else it holds (a field of another user may have the value
/// 180), and a text in which the identifier does not stand.
///
/// **Cannot tell**: a body that is no text and that no key deciphers, JSON without a readable `userId` in which the
/// identifier stands elsewhere, and a text of which a part was left out because of a
/// password.
pub fn mentions(letter: &Letter, policy: &BodyPolicy, user_id: UserId) -> Mention {
    if let Some(record) = &letter.record {
        let is_users = record.user_id == user_id;
        let is_event = wire::decode_head(&letter.body).is_ok_and(|head| head.user_id == user_id);
        return if is_users || is_event { Mention::Yes } else { Mention::No };
    }
    let mut readings = Vec::new();
    if !is_base64(&letter.body) {
        readings.extend(text::decoded(&letter.body).map(|text| of_text(&text, user_id)));
    }
    let deciphered = decipherments(&letter.body, letter.iv.as_deref(), policy);
    for bytes in deciphered.into_iter().chain([decode_base64(&letter.body).into()]) {
        readings.extend(text::decoded(&bytes).and_then(|text| of_deciphered(&text, user_id)));
    }
    match () {
        () if readings.contains(&Mention::Yes) => Mention::Yes,
        () if readings.contains(&Mention::No) => Mention::No,
        () => Mention::CannotTell,
    }
}

fn of_text(text: &str, user_id: UserId) -> Mention {
    if let Some(found) = json::search(text, user_id) {
        return found.mention();
    }
    match stands_anywhere(text, user_id) {
        true => Mention::Yes,
        false if is_incomplete(text) => Mention::CannotTell,
        false => Mention::No,
    }
}

/// Returns the judgement on a text that a key gives. Any key gives bytes, and short ones may look like a text by
/// chance. So it must begin like JSON, and only JSON excludes a user.
fn of_deciphered(text: &str, user_id: UserId) -> Option<Mention> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    match json::search(text, user_id) {
        Some(found) => Some(found.mention()),
        None => stands_anywhere(text, user_id).then_some(Mention::Yes),
    }
}

#[cfg(test)]
mod tests;
