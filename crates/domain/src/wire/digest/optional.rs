//! A digest in a union with null.

use apache_avro::serde::bytes_opt;
use serde::de::Deserializer;
#[cfg(test)]
use serde::ser::Serializer;

use super::sixteen;
use crate::Version;

#[cfg(test)]
pub(crate) fn serialize<S: Serializer>(version: &Option<Version>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes_opt::serialize(&version.as_ref().map(|version| *version.as_bytes()), serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    let bytes = bytes_opt::deserialize(deserializer)?;
    bytes.map(|bytes| sixteen(&bytes)).transpose()
}
