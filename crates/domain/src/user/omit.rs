//! Fields that are left out of events on purpose.

use super::User;

impl User {
    /// The fields that an event may leave out, in alphabetical order: those that no reader looks users up by, filters
    /// by, or shows as the user's name.
    pub const OMITTABLE: [&str; 10] = [
        "contactPhone",
        "hourly",
        "messageLists",
        "mobilePhone",
        "mobileProjectId",
        "monthly",
        "outboundPhone",
        "redistribution",
        "registerTransport",
        "sampleRate",
    ];

    /// Makes fields null, and removes the members of `extra` with their names in any case: an amount with a fraction is
    /// there, and so is what a sender spells otherwise.
    ///
    /// ```
    /// use domain::{User, UserId};
    ///
    /// let mut user = User::new(UserId::new(180)?);
    /// user.extra.insert("hourly".to_owned(), "12.5".to_owned());
    /// user.omit(&["hourly"]);
    /// assert_eq!(user, User::new(user.user_id));
    /// # Ok::<(), domain::UserIdError>(())
    /// ```
    pub fn omit<N: AsRef<str>>(&mut self, names: &[N]) {
        let nothing = Self::new(self.user_id);
        for name in names {
            self.take_field(name.as_ref(), &nothing);
        }
    }

    /// Takes a field from `other`, with the members of `extra` that have its name in any case.
    pub(crate) fn take_field(&mut self, name: &str, other: &Self) {
        match name {
            "contactPhone" => self.contact_phone.clone_from(&other.contact_phone),
            "email" => self.email.clone_from(&other.email),
            "extension" => self.extension.clone_from(&other.extension),
            "hourly" => self.hourly = other.hourly,
            "isAgent" => self.is_agent = other.is_agent,
            "messageLists" => self.message_lists.clone_from(&other.message_lists),
            "mobilePhone" => self.mobile_phone.clone_from(&other.mobile_phone),
            "mobileProjectId" => self.mobile_project_id = other.mobile_project_id,
            "monthly" => self.monthly = other.monthly,
            "name" => self.name.clone_from(&other.name),
            "outboundPhone" => self.outbound_phone.clone_from(&other.outbound_phone),
            "privGroup" => self.priv_group = other.priv_group,
            "redistribution" => self.redistribution = other.redistribution,
            "registerTransport" => self.register_transport.clone_from(&other.register_transport),
            "sampleRate" => self.sample_rate.clone_from(&other.sample_rate),
            "state" => self.state.clone_from(&other.state),
            "username" => self.username.clone_from(&other.username),
            _ => {}
        }
        self.extra.retain(|member, _| !member.eq_ignore_ascii_case(name));
        let members = other.extra.iter().filter(|(member, _)| member.eq_ignore_ascii_case(name));
        self.extra.extend(members.map(|(member, text)| (member.clone(), text.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, UserId};

    fn full() -> User {
        let mut user = User::new(UserId::new(180).unwrap());
        let text = || Some("text".to_owned());
        (user.contact_phone, user.email, user.extension) = (text(), text(), text());
        (user.mobile_phone, user.name, user.outbound_phone) = (text(), text(), text());
        (user.register_transport, user.sample_rate) = (text(), text());
        (user.state, user.username) = (text(), text());
        (user.hourly, user.monthly, user.mobile_project_id) = (Some(1), Some(2), Some(3));
        (user.priv_group, user.redistribution) = (Some(4), Some(1));
        (user.is_agent, user.message_lists) = (Some(true), Some(vec!["technical".to_owned()]));
        user
    }

    #[test]
    fn every_optional_field_can_be_taken_from_another_user() {
        let (full, empty) = (full(), User::new(UserId::new(180).unwrap()));
        let is_null = |field: &Field<'_, String>| serde_json::to_value(field).unwrap().is_null();
        for (at, (name, field)) in full.fields().into_iter().enumerate().skip(1) {
            assert!(!is_null(&field), "{name}");
            let mut user = empty.clone();
            user.take_field(name, &full);
            assert_eq!(user.fields()[at], (name, field));
            user.omit(&[name]);
            assert_eq!(user, empty, "{name}");
        }
        let mut user = full.clone();
        user.omit(&["userId", "nothing"]);
        assert_eq!(user, full);
        assert!(User::OMITTABLE.is_sorted() && User::OMITTABLE.into_iter().all(User::is_field));
    }

    #[test]
    fn no_other_spelling_of_an_omitted_field_stays() {
        let mut user = full();
        for name in ["hourly", "Hourly", "HOURLY", "rate"] {
            user.extra.insert(name.to_owned(), "12.5".to_owned());
        }
        user.omit(&["hourly"]);
        assert_eq!(user.extra.into_keys().collect::<Vec<_>>(), ["rate"]);
    }
}
