//! Pairs of a name and a value: `{"name":"password","value":"…"}`.

use super::{BLANK, is_password_name};

/// The most members of an object that names its value: `name`, `type`, `value`.
const MEMBERS_MAX: usize = 3;
/// The member, in any case, of an object that is a user, whose name may be the word.
const IDENTIFIER: &str = "userId";

/// What is known of an object or array: whether it is a pair, and in a kept body where it begins.
#[derive(Debug, Default)]
pub(in crate::transport) struct Seen {
    starts_at: usize,
    members: usize,
    is_user: bool,
    names_password: bool,
}

impl Seen {
    pub(in crate::transport) fn name(&mut self, name: &str) {
        self.members += 1;
        self.is_user |= name.eq_ignore_ascii_case(IDENTIFIER);
    }

    pub(in crate::transport) fn value(&mut self, text: &str) {
        self.names_password |= is_password_name(text);
    }

    pub(in crate::transport) fn is_pair(&self) -> bool {
        self.names_password && !self.is_user && (2..=MEMBERS_MAX).contains(&self.members)
    }
}

/// The objects and arrays that are open at a place in JSON.
#[derive(Debug, Default)]
pub(super) struct Open(Vec<Seen>);

impl Open {
    /// Copies the bytes between two strings to `kept`. A pair that ends there is blanked as a whole.
    pub(super) fn copy(&mut self, between: &[u8], kept: &mut Vec<u8>) {
        for byte in between {
            if matches!(byte, b'{' | b'[') {
                self.0.push(Seen { starts_at: kept.len(), ..Seen::default() });
            }
            kept.push(*byte);
            if matches!(byte, b'}' | b']')
                && let Some(closed) = self.0.pop()
                && closed.is_pair()
            {
                kept.truncate(closed.starts_at);
                kept.extend(BLANK.as_bytes());
            }
        }
    }

    /// Notes a string, which is the name of a member or a value. An array has no members.
    pub(super) fn note(&mut self, text: &[u8], is_name: bool) {
        let (Some(open), Ok(text)) = (self.0.last_mut(), std::str::from_utf8(text)) else { return };
        if is_name { open.name(text) } else { open.value(text) }
    }
}
