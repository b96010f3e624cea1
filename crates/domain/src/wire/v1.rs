//! Version 1 of the Avro record: `schemas/user-event.v1.avsc`, field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Current, DecodeError, digest, schema};
use crate::{EventId, EventType, Head, UnixMillis, User, UserEvent, UserId, Version};

/// Appends the datum of an event by the library: what [`super::write`] is compared with.
#[cfg(test)]
pub(super) fn write(event: &UserEvent, bytes: &mut Vec<u8>) {
    let record = EventRecord {
        user_id: event.user_id,
        kind: Cow::Borrowed(event.kind.as_str()),
        occurred_at: event.occurred_at,
        version: event.version,
        parent: event.parent,
        event_id: event.event_id.to_string(),
        received_at: event.received_at,
        timestamp: Cow::Borrowed(&event.timestamp),
        password_changed: event.password_changed,
        new: Cow::Borrowed(&event.new),
        old: event.old.as_ref().map(Cow::Borrowed),
        extra: Cow::Borrowed(&event.extra),
        omitted: Cow::Borrowed(&event.omitted),
    };
    schema::v1()
        .writer
        .write_ser(bytes, &record)
        .expect("the record has the schema's fields, and a Vec takes every byte");
}

pub(super) fn read(datum: &mut &[u8]) -> Result<UserEvent, DecodeError> {
    let record: EventRecord<'static> = schema::v1().reader.read_deser(datum).map_err(avro)?;
    Ok(UserEvent {
        user_id: record.user_id,
        kind: kind(&record.kind)?,
        occurred_at: record.occurred_at,
        version: record.version,
        parent: record.parent,
        event_id: record.event_id.parse().map_err(DecodeError::EventId)?,
        received_at: record.received_at,
        timestamp: record.timestamp.into_owned(),
        password_changed: record.password_changed,
        new: record.new.into_owned(),
        old: record.old.map(Cow::into_owned),
        extra: record.extra.into_owned(),
        omitted: record.omitted.into_owned(),
    })
}

pub(super) fn read_current(datum: &mut &[u8]) -> Result<Current<'static>, DecodeError> {
    let record: CurrentRecord = schema::v1().current_reader.read_deser(datum).map_err(avro)?;
    kind(&record.kind)?;
    Ok(Current {
        occurred_at: record.occurred_at,
        event_id: record.event_id.parse().map_err(DecodeError::EventId)?,
        received_at: record.received_at,
        user: record.new,
    })
}

pub(super) fn read_head(datum: &mut &[u8]) -> Result<Head, DecodeError> {
    let record: HeadRecord = schema::v1().head_reader.read_deser(datum).map_err(avro)?;
    Ok(Head {
        user_id: record.user_id,
        kind: kind(&record.kind)?,
        occurred_at: record.occurred_at,
        version: record.version,
        parent: record.parent,
        event_id: record.event_id.parse::<EventId>().map_err(DecodeError::EventId)?,
        received_at: record.received_at,
    })
}

fn kind(text: &str) -> Result<EventType, DecodeError> {
    EventType::named(text).ok_or_else(|| DecodeError::UnknownType(text.to_owned()))
}

fn avro(error: apache_avro::Error) -> DecodeError {
    DecodeError::Avro(Box::new(error))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename = "UserEvent", rename_all = "camelCase")]
struct EventRecord<'e> {
    user_id: UserId,
    #[serde(rename = "type")]
    kind: Cow<'e, str>,
    occurred_at: UnixMillis,
    #[serde(with = "digest")]
    version: Version,
    #[serde(with = "digest::optional")]
    parent: Option<Version>,
    event_id: String,
    received_at: UnixMillis,
    timestamp: Cow<'e, str>,
    password_changed: bool,
    new: Cow<'e, User>,
    old: Option<Cow<'e, User>>,
    extra: Cow<'e, BTreeMap<String, String>>,
    omitted: Cow<'e, [String]>,
}

/// The first fields of [`EventRecord`].
#[derive(Deserialize)]
#[serde(rename = "UserEvent", rename_all = "camelCase")]
struct HeadRecord {
    user_id: UserId,
    #[serde(rename = "type")]
    kind: String,
    occurred_at: UnixMillis,
    #[serde(with = "digest")]
    version: Version,
    #[serde(with = "digest::optional")]
    parent: Option<Version>,
    event_id: String,
    received_at: UnixMillis,
}

/// The fields of [`EventRecord`] before `old`. All fields of the schema must be present, used or not.
#[derive(Deserialize)]
#[serde(rename = "UserEvent", rename_all = "camelCase")]
#[expect(dead_code, reason = "the reader gives every field of the schema")]
struct CurrentRecord {
    user_id: UserId,
    #[serde(rename = "type")]
    kind: String,
    occurred_at: UnixMillis,
    #[serde(with = "digest")]
    version: Version,
    #[serde(with = "digest::optional")]
    parent: Option<Version>,
    event_id: String,
    received_at: UnixMillis,
    timestamp: String,
    password_changed: bool,
    new: User<Cow<'static, str>>,
}
