//! The schemas of a registry by their ids, and the values that name them translated to the single-object encoding.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use apache_avro::Schema;
use serde_json::Value;

use super::foreign::Foreign;
use super::framing::{self, Name, schema_id};
use super::schema;
use crate::headers::SECOND;
use crate::roll::second;

/// The schemas that are known by the ids of a registry. A registry never gives an id to another schema, so what is
/// listed stays true.
#[derive(Clone, Debug, Default)]
pub struct Ids(Vec<(u32, Writer)>);

#[derive(Clone, Debug)]
enum Writer {
    /// The newest released version.
    Released,
    Foreign(Arc<Foreign>),
    /// The schema is of something else, or cannot be resolved.
    Stranger,
}

/// The kind of a schema that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A released schema, of this version.
    Released(usize),
    /// A schema of user events that this build does not have: its values are resolved.
    Resolved,
    /// Values of this schema are unknown, for this reason.
    Stranger(String),
}

impl Ids {
    /// No ids.
    pub const NONE: Self = Self(Vec::new());

    /// Lists `id` with the text of its schema.
    pub fn list(&mut self, id: u32, schema: &str) -> Listed {
        let (writer, listed) = classify(schema);
        self.put(id, writer);
        listed
    }

    /// Lists `id` as that of a released version. Returns whether there is such a version.
    pub fn list_released(&mut self, id: u32, version: usize) -> bool {
        let is_released = (1..=schema::SCHEMAS.len()).contains(&version);
        if is_released {
            self.put(id, Writer::Released);
        }
        is_released
    }

    /// Lists `id` as one that the registry does not know.
    pub fn list_missing(&mut self, id: u32) {
        self.put(id, Writer::Stranger);
    }

    fn put(&mut self, id: u32, writer: Writer) {
        match self.0.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.0[at].1 = writer,
            Err(at) => self.0.insert(at, (id, writer)),
        }
    }

    #[inline]
    fn get(&self, id: u32) -> Option<&Writer> {
        self.0.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &self.0[at].1)
    }

    /// Returns whether it is known what `id` stands for.
    pub fn is_listed(&self, id: u32) -> bool {
        self.get(id).is_some()
    }

    /// Returns whether `id` is known to stand for a schema of user events.
    pub fn is_of_events(&self, id: u32) -> bool {
        matches!(self.get(id), Some(Writer::Released | Writer::Foreign(_)))
    }

    /// Returns the id that `value` names, if it is not listed.
    #[inline]
    pub fn unlisted(&self, value: &[u8]) -> Option<u32> {
        schema_id(value).filter(|id| self.get(*id).is_none())
    }

    /// Returns the ids that the values in the header `rollcall-second` name and that are not listed.
    pub fn unlisted_in_second(&self, header: &[u8]) -> Vec<u32> {
        let values = second::decode(header).unwrap_or_default();
        values.into_iter().filter_map(|value| self.unlisted(value)).collect()
    }

    /// Returns `value` in the single-object encoding of the newest release. A value in that encoding, and one that
    /// cannot be translated, is returned as it is: reading it gives the reason.
    #[inline]
    pub fn translate<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        if schema_id(value).is_none() { Cow::Borrowed(value) } else { self.reframe(value) }
    }

    fn reframe<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let Ok((Name::Id(id), datum)) = framing::split(value) else { return Cow::Borrowed(value) };
        let datum = match self.get(id) {
            Some(Writer::Released) => Cow::Borrowed(datum),
            // Broken bytes, too: whether they are broken only a build with that schema can say.
            Some(Writer::Foreign(foreign)) => match foreign.resolve(datum) {
                Some(datum) => Cow::Owned(datum),
                None => return Cow::Borrowed(value),
            },
            Some(Writer::Stranger) | None => return Cow::Borrowed(value),
        };
        let mut bytes = Vec::with_capacity(super::MARKER.len() + size_of::<u64>() + datum.len());
        framing::open_single_object(&mut bytes);
        bytes.extend_from_slice(&datum);
        Cow::Owned(bytes)
    }

    /// Returns the header `rollcall-second` with its values translated.
    pub fn translate_second<'h>(&self, header: &'h [u8]) -> Cow<'h, [u8]> {
        match second::decode(header) {
            Ok(values) if values.iter().any(|value| schema_id(value).is_some()) => {
                let values: Vec<Cow<'_, [u8]>> = values.into_iter().map(|value| self.translate(value)).collect();
                second::encode(values.iter().map(Cow::as_ref)).map_or(Cow::Borrowed(header), Cow::Owned)
            }
            Ok(_) | Err(_) => Cow::Borrowed(header),
        }
    }
}

/// A record whose events may name their schemas by ids.
pub trait Framed {
    /// Returns the ids of schemas that the record names and that are not listed.
    fn unlisted(&self, ids: &Ids) -> impl Iterator<Item = u32>;

    /// Translates the record's events where they name a listed id.
    fn translate(&mut self, ids: &Ids);
}

/// Value and headers of one record, translated as they are asked for: reading the headers of a record can be costly.
#[derive(Debug)]
pub struct Translated<'r, 'i> {
    ids: &'i Ids,
    value: Option<Cow<'r, [u8]>>,
    second: OnceCell<Option<Cow<'r, [u8]>>>,
}

impl<'r, 'i> Translated<'r, 'i> {
    #[inline]
    pub fn new(ids: &'i Ids, value: Option<&'r [u8]>) -> Self {
        Self { ids, value: value.map(|value| ids.translate(value)), second: OnceCell::new() }
    }

    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// Returns a header, given those of the record.
    pub fn header(&self, name: &str, header: impl FnOnce(&str) -> Option<&'r [u8]>) -> Option<&[u8]> {
        if name == SECOND {
            self.second.get_or_init(|| header(name).map(|header| self.ids.translate_second(header))).as_deref()
        } else {
            header(name)
        }
    }
}

fn classify(text: &str) -> (Writer, Listed) {
    let stranger = |why: String| (Writer::Stranger, Listed::Stranger(why));
    let json: Value = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(error) => return stranger(format!("its text is not JSON: {error}")),
    };
    let schema = match Schema::parse(&json) {
        Ok(schema) => schema,
        Err(error) => return stranger(error.to_string()),
    };
    if schema::fingerprint(json) == Some(schema::v1().fingerprint) {
        return (Writer::Released, Listed::Released(1));
    }
    match Foreign::new(schema) {
        Ok(foreign) => (Writer::Foreign(Arc::new(foreign)), Listed::Resolved),
        Err(why) => stranger(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeError, Framing, decode};

    const GOLDEN: &[u8] = include_bytes!("../../../../schemas/golden/v1/user-changed.avro");

    fn registered(id: u32) -> Vec<u8> {
        Framing::Registered(id).encode(&decode(GOLDEN).unwrap())
    }

    #[test]
    fn a_value_with_a_listed_id_is_the_value_in_single_object_encoding() {
        let mut ids = Ids::NONE;
        let value = registered(7);
        assert_eq!(ids.unlisted(&value), Some(7));
        assert!(matches!(decode(&ids.translate(&value)), Err(DecodeError::UnknownId(7))));
        assert_eq!(ids.list(7, schema::SCHEMA_V1), Listed::Released(1));
        assert_eq!(ids.unlisted(&value), None);
        assert_eq!(ids.translate(&value), GOLDEN);
        assert_eq!(ids.translate(GOLDEN), GOLDEN);
        assert!(
            ids.list_released(8, 1) && !ids.list_released(9, 0) && !ids.list_released(9, schema::SCHEMAS.len() + 1)
        );
        assert_eq!(ids.translate(&registered(8)), GOLDEN);
    }

    #[test]
    fn whatever_is_no_user_event_is_a_stranger() {
        let mut ids = Ids::NONE;
        let other_name = schema::SCHEMA_V1.replace("\"UserEvent\"", "\"AgentEvent\"");
        let other_field = schema::SCHEMA_V1.replace("\"occurredAt\"", "\"at\"");
        for (id, text) in (0..).zip(["", "{}", "\"string\"", other_name.as_str(), &other_field]) {
            let listed = ids.list(id, text);
            assert!(matches!(listed, Listed::Stranger(_)), "{id}: {listed:?}");
            assert_eq!(ids.unlisted(&registered(id)), None, "it is not asked for again");
            assert!(matches!(decode(&ids.translate(&registered(id))), Err(DecodeError::UnknownId(_))));
        }
    }

    #[test]
    fn the_values_of_a_second_are_translated_and_what_is_malformed_is_left() {
        let mut ids = Ids::NONE;
        let header = second::encode([&registered(7)[..], GOLDEN].into_iter()).unwrap();
        assert_eq!(ids.unlisted_in_second(&header), [7]);
        ids.list(7, schema::SCHEMA_V1);
        assert!(ids.unlisted_in_second(&header).is_empty());
        let translated = Translated::new(&ids, Some(GOLDEN));
        let second = translated.header(SECOND, |_| Some(&header)).unwrap();
        assert_eq!(second::decode(second).unwrap(), [GOLDEN, GOLDEN]);
        assert_eq!(translated.header("other", |_| Some(&header)), Some(&header[..]));
        assert_eq!(ids.translate_second(&header[..9]), &header[..9]);
    }
}
