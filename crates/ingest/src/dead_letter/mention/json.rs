//! Searches JSON for the identifier of a user. More lenient than the pipeline: names may be given twice.

use domain::UserId;
use domain::json::{Json, Number};
use upkeep::forget::Mention;

use super::text::{stands_anywhere, stands_between_letters};

/// The name of the identifier, in lower case and without separators.
const IDENTIFIER: &str = "userid";
/// The most levels of JSON in texts within JSON that are searched as JSON. Deeper ones are searched as texts.
const ENCODINGS_MAX: usize = 8;

/// The deepest nesting that is searched as JSON. Deeper bodies are searched as texts.
const DEPTH_MAX: usize = 128;

/// What JSON says about a user.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// A `userId` is the identifier.
    is_user: bool,
    /// A `userId` is another number.
    is_other: bool,
    /// The identifier stands elsewhere.
    stands: bool,
}

/// Returns what `text` says about the user, or `None` when it is not JSON.
pub(super) fn search(text: &str, user_id: UserId) -> Option<Found> {
    search_within(text, Place { user_id, name: Name::Other, encodings: ENCODINGS_MAX })
}

fn search_within(text: &str, place: Place) -> Option<Found> {
    let json = Json::read_all_members(text.as_bytes(), DEPTH_MAX).ok()?;
    let mut found = Found::default();
    found.add_value(&json, place);
    Some(found)
}

impl Found {
    pub(super) fn mention(self) -> Mention {
        match self {
            Self { is_user: true, .. } => Mention::Yes,
            Self { is_other: true, .. } => Mention::No,
            Self { stands: true, .. } => Mention::CannotTell,
            Self { .. } => Mention::No,
        }
    }
}

/// The kind of the innermost name around a value that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// `userId`, in any spelling.
    Identifier,
    /// A name that ends in `userId`, which may be of another user than the event's.
    EndsInIdentifier,
    Other,
}

impl Name {
    /// Returns the kind of a name that concerns the identifier.
    fn of(name: &str) -> Option<Self> {
        match plain(name) {
            plain if plain == IDENTIFIER => Some(Self::Identifier),
            plain if plain.ends_with(IDENTIFIER) => Some(Self::EndsInIdentifier),
            _ => None,
        }
    }
}

/// The place of a value.
#[derive(Clone, Copy, Debug)]
struct Place {
    user_id: UserId,
    name: Name,
    /// The levels of JSON within texts that are left.
    encodings: usize,
}

impl Found {
    fn add_value(&mut self, value: &Json<'_>, place: Place) {
        match value {
            Json::Null | Json::Boolean(_) => {}
            Json::Number(number) => self.add_number(*number, place),
            Json::Text(text) => self.add_text(text.as_str(), place),
            Json::Array(items) => items.iter().for_each(|item| self.add_value(item, place)),
            Json::Object(members) => {
                for (name, value) in members {
                    self.add_text(name.as_str(), Place { name: Name::Other, ..place });
                    let name = Name::of(name.as_str()).unwrap_or(place.name);
                    self.add_value(value, Place { name, ..place });
                }
            }
        }
    }

    fn add_number(&mut self, number: Number<'_>, place: Place) {
        let is_user = number.integer() == Some(place.user_id.get().into());
        match place.name {
            Name::Other => self.stands |= is_user,
            Name::Identifier if !is_user => self.is_other = true,
            Name::Identifier | Name::EndsInIdentifier => self.is_user |= is_user,
        }
    }

    fn add_text(&mut self, text: &str, place: Place) {
        let Place { user_id, name, encodings } = place;
        if encodings > 0
            && text.trim_start().starts_with(['{', '[', '"'])
            && let Some(within) = search_within(text, Place { encodings: encodings - 1, ..place })
        {
            self.is_user |= within.is_user;
            self.is_other |= within.is_other;
            self.stands |= within.stands;
            return;
        }
        let stands = stands_anywhere(text, user_id);
        match name {
            Name::Other if names_identifier(text) => self.is_user |= stands,
            Name::Other => self.stands |= stands,
            Name::Identifier | Name::EndsInIdentifier if stands || stands_between_letters(text, user_id) => {
                self.is_user = true;
            }
            Name::Identifier => self.is_other |= text.parse::<i64>().is_ok(),
            Name::EndsInIdentifier => {}
        }
    }
}

/// Returns whether a text, such as JSON that is cut off, contains the name of the identifier.
fn names_identifier(text: &str) -> bool {
    plain(text).contains(IDENTIFIER)
}

/// Returns the letters and digits of a text in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}
