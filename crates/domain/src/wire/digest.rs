//! A digest as Avro `bytes`: 16 bytes, any other length is an error.

pub(super) mod optional;

use apache_avro::serde::bytes;
use serde::de::{Deserializer, Error};
#[cfg(test)]
use serde::ser::Serializer;

use crate::Version;

#[cfg(test)]
pub(super) fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    bytes::serialize(version.as_bytes(), serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    sixteen(&bytes::deserialize(deserializer)?)
}

fn sixteen<E: Error>(bytes: &[u8]) -> Result<Version, E> {
    let bytes = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &"16 bytes of a digest"))?;
    Ok(Version::from_bytes(bytes))
}
