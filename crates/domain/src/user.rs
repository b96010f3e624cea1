//! A user of the call centre, as the vendor describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{UserId, Version};

/// A user by the fields of the vendor's table ("User Object"), all optional but the identifier; there is no password.
///
/// The serde form is the one of `schemas/user-event.v1.avsc`, in that field order; [`User::to_json`] is the one for readers.
///
/// `S` is what holds a text: borrowed ones are for those who only look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "S: Deserialize<'de> + Ord"))]
pub struct User<S = String> {
    pub user_id: UserId,
    pub contact_phone: Option<S>,
    pub email: Option<S>,
    pub extension: Option<S>,
    /// Hourly salary, in the customer's currency.
    pub hourly: Option<i64>,
    pub is_agent: Option<bool>,
    pub message_lists: Option<Vec<S>>,
    pub mobile_phone: Option<S>,
    pub mobile_project_id: Option<i64>,
    /// Monthly wage, in the customer's currency.
    pub monthly: Option<i64>,
    pub name: Option<S>,
    pub outbound_phone: Option<S>,
    pub priv_group: Option<i64>,
    /// 1 when shared callback distribution is enabled, else 0.
    pub redistribution: Option<i64>,
    pub register_transport: Option<S>,
    pub sample_rate: Option<S>,
    pub state: Option<S>,
    pub username: Option<S>,
    /// Members that the table does not name: name to canonical JSON text.
    pub extra: BTreeMap<S, S>,
}

impl User {
    /// Returns the user of which nothing but the identifier is known.
    pub fn new(user_id: UserId) -> Self {
        Self {
            user_id,
            contact_phone: None,
            email: None,
            extension: None,
            hourly: None,
            is_agent: None,
            message_lists: None,
            mobile_phone: None,
            mobile_project_id: None,
            monthly: None,
            name: None,
            outbound_phone: None,
            priv_group: None,
            redistribution: None,
            register_transport: None,
            sample_rate: None,
            state: None,
            username: None,
            extra: BTreeMap::new(),
        }
    }

    /// Returns the user as a JSON object in the vendor's names: the 18 fields, null where unknown, then the extra members.
    ///
    /// An extra member whose text is no JSON (another writer's mistake) appears as that text.
    pub fn to_json(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut object)) = serde_json::to_value(self) else {
            unreachable!("a struct of scalars with text keys is a JSON object");
        };
        object.remove("extra");
        for (name, text) in &self.extra {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            object.entry(name.as_str()).or_insert(value);
        }
        object
    }

    /// Returns the digest of this state; see [`Version`].
    pub fn version(&self) -> Version {
        let canonical = serde_json_canonicalizer::to_vec(&self.to_json())
            .expect("a JSON value without non-finite numbers has a canonical form");
        Version::of_canonical_json(&canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rachel() -> User {
        let mut user = User::new(UserId::new(180).unwrap());
        user.name = Some("Rachel Smith".into());
        user.extra.insert("skills".into(), r#"["hu",{"b":1,"a":2}]"#.into());
        user
    }

    #[test]
    fn json_has_every_vendor_field_and_the_extra_members() {
        let json = rachel().to_json();
        assert_eq!(json.len(), 18 + 1);
        assert_eq!(json["userId"], 180);
        assert_eq!(json["contactPhone"], Value::Null);
        assert_eq!(json["skills"][1]["a"], 2);
        assert!(!json.contains_key("extra"));
    }

    #[test]
    fn version_follows_every_member() {
        let base = rachel();
        let mut named = base.clone();
        named.name = Some("Rachel Jones".into());
        let mut extended = base.clone();
        extended.extra.insert("team".into(), "1".into());
        assert_eq!(base.version(), base.clone().version());
        assert_ne!(base.version(), named.version());
        assert_ne!(base.version(), extended.version());
    }

    #[test]
    fn version_is_sha_256_over_canonical_json() {
        let user = User::new(UserId::new(180).unwrap());
        let canonical = concat!(
            r#"{"contactPhone":null,"email":null,"extension":null,"hourly":null,"isAgent":null,"messageLists":null,"#,
            r#""mobilePhone":null,"mobileProjectId":null,"monthly":null,"name":null,"outboundPhone":null,"privGroup":null,"#,
            r#""redistribution":null,"registerTransport":null,"sampleRate":null,"state":null,"userId":180,"username":null}"#,
        );
        assert_eq!(user.version(), Version::of_canonical_json(canonical.as_bytes()));
    }

    #[test]
    fn a_known_name_in_extra_never_hides_the_field() {
        let mut user = rachel();
        user.extra.insert("name".into(), "\"Mallory\"".into());
        assert_eq!(user.to_json()["name"], "Rachel Smith");
    }
}
