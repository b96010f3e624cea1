//! A user as JSON: the vendor's field names, then `_meta`.
//!
//! Written straight from the decoded event, since this is the path of every answer; a test holds it equal to
//! `domain::User::to_json`, which is the definition.

use std::borrow::Cow;

use domain::gap::OpenGap;
use domain::wire::{self, Current};
use domain::{Position, TopicPosition, UnixMillis, User};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::fields::Shown;
use crate::store::{LogNames, UserRow};

/// A stored event, of the record at that position, that cannot be read. Only whole events are stored.
#[derive(Debug, thiserror::Error)]
#[error("the event of the record at {0} cannot be read from the store, which is damaged: start with --rebuild")]
pub(super) struct DamagedEvent(pub(super) TopicPosition);

/// The member with what an answer says of the user's state.
const META: &str = "_meta";

/// Returns the stored event of a user, decoded.
///
/// # Errors
/// [`DamagedEvent`] when it cannot be read.
pub(super) fn decoded<'r>(row: &'r UserRow, view: &View) -> Result<Current<'r>, DamagedEvent> {
    wire::decode_current(&row.event).map_err(|_| DamagedEvent(view.names.of(row.position)))
}

/// Appends the JSON of users. None is left out of a list without a word.
///
/// # Errors
/// [`DamagedEvent`] when the stored event of one of them cannot be read.
pub(super) fn join(json: &mut Vec<u8>, users: &[UserRow], between: &[u8], view: &View) -> Result<(), DamagedEvent> {
    for (index, row) in users.iter().enumerate() {
        if index > 0 {
            json.extend(between);
        }
        Rendered::new(&decoded(row, view)?, row, view).write(json);
    }
    Ok(())
}

/// The names of positions in an answer, the time at which it is given, and what it shows of users.
pub(super) struct View {
    pub(super) names: LogNames,
    pub(super) now: UnixMillis,
    /// The time that the table is as of; `None` in a change, which is what it is.
    pub(super) as_of: Option<UnixMillis>,
    pub(super) shown: Shown,
}

/// A state of a user, as it is answered.
pub(super) struct Rendered<'e> {
    pub(super) current: &'e Current<'e>,
    pub(super) position: Position,
    pub(super) gaps: &'e [OpenGap],
    pub(super) unknown_since: Option<UnixMillis>,
    /// Of a change: the names of the fields that have changed.
    pub(super) changed: Option<&'e [String]>,
    pub(super) view: &'e View,
}

impl<'e> Rendered<'e> {
    pub(super) fn new(current: &'e Current<'e>, row: &'e UserRow, view: &'e View) -> Self {
        let UserRow { position, ref gaps, unknown_since, .. } = *row;
        Self { current, position, gaps, unknown_since, changed: None, view }
    }

    /// Returns the JSON of the state.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(1024);
        self.write(&mut json);
        json
    }

    fn write(&self, json: &mut Vec<u8>) {
        serde_json::to_writer(json, self).expect("texts and numbers are JSON");
    }
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let user = &self.current.user;
        let mut map = serializer.serialize_map(None)?;
        members(user, self.view.shown, &mut map)?;
        map.serialize_entry(META, &RenderedMeta(self))?;
        map.end()
    }
}

/// Writes the vendor's fields, then the members of `extra`, of which none hides a field or `_meta`; as far as they are
/// shown.
fn members<M: SerializeMap>(user: &User<Cow<'_, str>>, shown: Shown, map: &mut M) -> Result<(), M::Error> {
    for (name, field) in shown.fields(user) {
        map.serialize_entry(name, &field)?;
    }
    if !shown.has_extra() {
        return Ok(());
    }
    for (name, text) in user.extra.iter().filter(|(name, _)| !User::is_field(name) && *name != META) {
        map.serialize_entry(name, &Raw(text))?;
    }
    Ok(())
}

/// Returns what is written as that text of JSON, as it was sent.
pub(super) fn raw(text: &str) -> impl Serialize {
    Raw(text)
}

struct Raw<'t>(&'t str);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(json) => json.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

/// Members that the answer has names of its own for: the vendor's own `_meta`.
struct Hidden<'t>(&'t str);

impl Serialize for Hidden<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(META, &Raw(self.0))?;
        map.end()
    }
}

struct RenderedMeta<'r>(&'r Rendered<'r>);

impl Serialize for RenderedMeta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rendered { current, position, gaps, unknown_since, changed, view } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("position", &AsText(&view.names.of(*position)))?;
        map.serialize_entry("occurredAt", &AsText(&current.occurred_at))?;
        map.serialize_entry("eventId", &AsText(&current.event_id))?;
        map.serialize_entry("receivedAt", &AsText(&current.received_at))?;
        map.serialize_entry("continuity", &Continuity { gaps, view })?;
        if let Some(changed) = changed {
            map.serialize_entry("changed", &Each(changed.iter().filter(|name| view.shown.shows(name))))?;
        }
        if let Some(as_of) = &view.as_of {
            map.serialize_entry("asOf", &AsText(as_of))?;
        }
        if let Some(since) = unknown_since {
            map.serialize_entry("unknownSince", &AsText(since))?;
        }
        if let Some(text) = current.user.extra.get(META).filter(|_| view.shown.has_extra()) {
            map.serialize_entry("extra", &Hidden(text))?;
        }
        if view.shown.redacted().next().is_some() {
            map.serialize_entry("redacted", &Each(view.shown.redacted()))?;
        }
        map.end()
    }
}

/// Whether deliveries of this user are missing, and what they changed. The state is whole in any case, since each event
/// carries the whole user.
struct Continuity<'g> {
    gaps: &'g [OpenGap],
    view: &'g View,
}

impl Serialize for Continuity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("stateIsWhole", &true)?;
        map.serialize_entry("unbroken", &self.gaps.is_empty())?;
        map.serialize_entry("gaps", &Gaps(self))?;
        map.end()
    }
}

struct Gaps<'g>(&'g Continuity<'g>);

impl Serialize for Gaps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Continuity { gaps, view } = self.0;
        serializer.collect_seq(gaps.iter().map(|gap| RenderedGap { gap, view }))
    }
}

struct RenderedGap<'g> {
    gap: &'g OpenGap,
    view: &'g View,
}

impl Serialize for RenderedGap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { gap, view } = self;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("position", &AsText(&view.names.of(gap.position)))?;
        map.serialize_entry("state", gap.state(view.now).as_str())?;
        map.serialize_entry("awaitedUntil", &AsText(&gap.awaited_until()))?;
        map.serialize_entry("fields", &Each(gap.fields.iter().filter(|name| view.shown.may_name(name))))?;
        map.end()
    }
}

/// A list of texts.
struct Each<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// A value that is written as its text.
struct AsText<'t, T>(&'t T);

impl<T: std::fmt::Display> Serialize for AsText<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use domain::gap::Gap;
    use domain::{Facts, LeaderEpochs, TopicId, UnixMillis, UserEvent, UserId, Version};
    use serde_json::{Value, json};

    use super::*;
    use crate::scopes::Scopes;

    const AT: Position = Position { partition: 0, offset: 17 };
    const RECEIVED: UnixMillis = UnixMillis::from_millis(1_496_739_224_000);
    const NAMED: &str = "AQEBAQEBAQEBAQEBAQEBAQ/0:17@3";

    fn view(now: UnixMillis) -> View {
        let epochs = LeaderEpochs::from_spans([(0, 3, 0, 17)]);
        let shown = Shown::of(Scopes::ALL);
        View { names: LogNames::new(TopicId::from_bytes([1; 16]), epochs), now, as_of: Some(RECEIVED), shown }
    }

    fn rendered(new: User, gaps: &[OpenGap], unknown_since: Option<UnixMillis>, now: UnixMillis) -> Value {
        let facts = Facts {
            old: None,
            new,
            timestamp: "2017-06-06T10:53:43+02:00".to_owned(),
            received_at: RECEIVED,
            password_changed: false,
            extra: Default::default(),
            omitted: Vec::new(),
        };
        let event = wire::encode(&UserEvent::new(facts).unwrap());
        let (current, view) = (&wire::decode_current(&event).unwrap(), &view(now));
        serde_json::from_slice(&Rendered { current, position: AT, gaps, unknown_since, changed: None, view }.to_json())
            .unwrap()
    }

    #[test]
    fn a_user_is_what_the_domain_says_and_meta() {
        let golden = include_bytes!("../../../../schemas/golden/v1/user-changed.avro");
        let mut user = wire::decode(golden).unwrap().new;
        for (name, text) in
            [("skills", r#"["hu",{"b":1}]"#), ("name", "\"Mallory\""), ("_meta", "1"), ("odd", "no JSON")]
        {
            user.extra.insert(name.to_owned(), text.to_owned());
        }
        let mut rendered = rendered(user.clone(), &[], None, RECEIVED);
        let meta = rendered.as_object_mut().unwrap().remove("_meta").unwrap();
        user.extra.remove("_meta");
        assert_eq!(rendered, Value::Object(user.to_json()));
        assert_eq!(meta["position"], NAMED);
        assert_eq!(meta["occurredAt"], "2017-06-06T08:53:43Z");
        assert_eq!(meta["receivedAt"], "2017-06-06T08:53:44Z");
        assert_eq!(meta["asOf"], "2017-06-06T08:53:44Z");
        assert_eq!(meta.get("unknownSince"), None);
        assert_eq!(meta["extra"], json!({"_meta": 1}), "the vendor's own member of that name");
        assert_eq!(meta["continuity"], json!({"stateIsWhole": true, "unbroken": true, "gaps": []}));
    }

    #[test]
    fn a_gap_says_where_and_what_and_whether_the_delivery_can_still_come() {
        let (version, fields) = (Version::from_bytes([0; 16]), vec!["email".to_owned()]);
        let gap = OpenGap { position: AT, received_at: RECEIVED, gap: Gap { held: version, missing: version }, fields };
        for (now, state) in [(RECEIVED, "awaited"), (gap.awaited_until(), "lost")] {
            let rendered = rendered(User::new(UserId::new(180).unwrap()), std::slice::from_ref(&gap), None, now);
            let until = "2017-06-29T03:00:44Z";
            let gaps = json!([{"position": NAMED, "state": state, "awaitedUntil": until, "fields": ["email"]}]);
            let expected = json!({"stateIsWhole": true, "unbroken": false, "gaps": gaps});
            assert_eq!(rendered["_meta"]["continuity"], expected);
        }
    }

    #[test]
    fn a_user_that_may_be_outdated_says_since_when() {
        let rendered = rendered(User::new(UserId::new(180).unwrap()), &[], Some(RECEIVED), RECEIVED);
        assert_eq!(rendered["_meta"]["unknownSince"], "2017-06-06T08:53:44Z");
    }

    #[test]
    fn an_event_that_cannot_be_read_is_refused() {
        let golden = include_bytes!("../../../../schemas/golden/v1/user-changed.avro");
        let event = golden[..150].to_vec();
        let user_id = UserId::new(180).unwrap();
        let row = UserRow { user_id, position: AT, event, gaps: Vec::new(), unknown_since: None };
        let is_named = |DamagedEvent(at): DamagedEvent| at.to_string() == NAMED;
        assert!(decoded(&row, &view(RECEIVED)).is_err_and(is_named));
        assert!(join(&mut Vec::new(), &[row], b",", &view(RECEIVED)).is_err_and(is_named), "not left out");
    }
}
