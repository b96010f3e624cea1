//! A digest as Avro `bytes`: 16 bytes, any other length is an error.

use apache_avro::serde::bytes;
use serde::de::{Deserializer, Error};
use serde::ser::Serializer;

use crate::Version;

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

/// A digest in a union with null.
pub(super) mod optional {
    use apache_avro::serde::bytes_opt;

    use super::{Deserializer, Serializer, Version, sixteen};

    pub(in crate::wire) fn serialize<S: Serializer>(
        version: &Option<Version>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes_opt::serialize(&version.as_ref().map(|version| *version.as_bytes()), serializer)
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Version>, D::Error> {
        let bytes = bytes_opt::deserialize(deserializer)?;
        bytes.map(|bytes| sixteen(&bytes)).transpose()
    }
}
