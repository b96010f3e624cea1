//! The input of a user's version: the canonical members that are digested.

use std::collections::BTreeMap;

use super::{FIELDS, Field, User};
use crate::Version;
use crate::json::{self, Json};

/// The deepest nesting of a member of `extra`. A deeper member is treated as a text.
const EXTRA_DEPTH_MAX: usize = 128;

impl User {
    /// Returns the digest of this state; see [`Version`].
    ///
    /// ```
    /// use domain::{User, UserId};
    ///
    /// let mut user = User::new(UserId::new(180)?);
    /// user.extra.insert("externalId".to_owned(), "9007199254740992".to_owned());
    /// let before = user.version();
    /// user.extra.insert("externalId".to_owned(), "9007199254740993".to_owned());
    /// assert_ne!(user.version(), before);
    /// # Ok::<(), domain::UserIdError>(())
    /// ```
    pub fn version(&self) -> Version {
        let mut json = String::with_capacity(1024);
        let mut open = '{';
        for (name, member) in self.members() {
            json.push(open);
            json::write_text(name, &mut json);
            json.push(':');
            member.write(&mut json);
            open = ',';
        }
        json.push('}');
        Version::of_canonical_json(json.as_bytes())
    }

    /// Returns the members that [`User::version`] digests: name to canonical JSON text.
    pub(crate) fn canonical_members(&self) -> BTreeMap<&str, String> {
        let text = |member: Member<'_>| {
            let mut json = String::new();
            member.write(&mut json);
            json
        };
        self.members().into_iter().map(|(name, member)| (name, text(member))).collect()
    }

    /// Returns the members of the user's object in canonical order. If `extra` has a member with the name of a field,
    /// that member counts only while the field is null.
    fn members(&self) -> Vec<(&str, Member<'_>)> {
        let mut members = Vec::with_capacity(FIELDS + self.extra.len());
        members.extend(self.fields().map(|(name, field)| (name, Member::Field(field))));
        for (name, text) in &self.extra {
            match members[..FIELDS].iter_mut().find(|(field, _)| field == name) {
                Some((_, member)) if member.is_null() => *member = Member::Extra(text),
                Some(_) => {}
                None => members.push((name, Member::Extra(text))),
            }
        }
        members.sort_by(|(a, _), (b, _)| json::compare_names(a, b));
        members
    }
}

/// A member of a user's object, for the digest.
enum Member<'u> {
    Field(Field<'u, String>),
    Extra(&'u str),
}

impl Member<'_> {
    fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Field(Field::Text(None) | Field::Texts(None) | Field::Boolean(None) | Field::Integer(None))
        )
    }

    /// Appends the canonical form.
    fn write(&self, out: &mut String) {
        match self {
            Self::Field(Field::Text(Some(text))) => json::write_text(text, out),
            Self::Field(Field::Integer(Some(integer))) => json::write_integer(*integer, out),
            Self::Field(Field::Boolean(Some(value))) => Json::Boolean(*value).write(out),
            Self::Field(Field::Texts(Some(texts))) => {
                out.push('[');
                json::separated(out, texts, |out, text| json::write_text(text, out));
                out.push(']');
            }
            Self::Field(_) => Json::Null.write(out),
            Self::Extra(text) => match Json::read(text.as_bytes(), EXTRA_DEPTH_MAX) {
                Ok(value) => value.write_canonical(out),
                Err(_) => json::write_text(text, out),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::UserId;
    use crate::user::tests::{rachel, with_extra};

    #[test]
    fn version_follows_every_member() {
        let base = rachel();
        let mut named = base.clone();
        named.name = Some("Rachel Jones".into());
        assert_eq!(base.version(), base.clone().version());
        assert_ne!(base.version(), named.version());
        assert_ne!(base.version(), with_extra("team", "1").version());
        assert_eq!(with_extra("team", "[1,{}]").version(), with_extra("team", " [1.0, { }]").version());
        assert_eq!(with_extra("team", "no JSON").version(), with_extra("team", "\"no JSON\"").version());
    }

    #[test]
    fn version_is_sha_256_over_canonical_json() {
        let user = User::new(UserId::new(180).unwrap());
        let canonical = concat!(
            r#"{"contactPhone":null,"email":null,"extension":null,"hourly":null,"isAgent":null,"messageLists":null,"#,
            r#""mobilePhone":null,"mobileProjectId":null,"monthly":null,"name":null,"outboundPhone":null,"#,
            r#""privGroup":null,"redistribution":null,"registerTransport":null,"sampleRate":null,"state":null,"#,
            r#""userId":180,"username":null}"#,
        );
        assert_eq!(user.version(), Version::of_canonical_json(canonical.as_bytes()));
    }

    #[test]
    fn an_amount_in_extra_is_seen_by_the_version_and_not_shown() {
        let user = with_extra("hourly", "12.5");
        assert_eq!(user.to_json()["hourly"], Value::Null);
        assert_ne!(user.version(), rachel().version());
        assert_ne!(user.version(), with_extra("hourly", "12.25").version());
        assert_eq!(user.version(), with_extra("hourly", "12.50").version());
        assert_eq!(user.canonical_members()["hourly"], "125e-1");
    }
}
