//! The reasons why bytes are not a user event.

/// The reason why bytes are not a user event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("value is shorter than the 10 bytes that open a single-object encoding")]
    Short,
    #[error("value opens neither with the marker C3 01 of a single-object encoding nor with 00 and a schema id")]
    NoMarker,
    #[error("value has the fingerprint {0}, which no released schema has")]
    UnknownSchema(String),
    #[error("value names schema id {0}, which is not known to be of a user event")]
    UnknownId(u32),
    #[error("value has the event type {0:?}, which no release defines")]
    UnknownType(String),
    #[error("value does not match the schema of its fingerprint")]
    Avro(#[source] Box<apache_avro::Error>),
    #[error("eventId is not a UUID")]
    EventId(#[source] uuid::Error),
    #[error("{0} bytes follow the end of the event")]
    Trailing(usize),
}

impl DecodeError {
    /// Returns whether another build may know the bytes: their framing, schema or event type is not known here.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::NoMarker | Self::UnknownSchema(_) | Self::UnknownId(_) | Self::UnknownType(_) => true,
            Self::Short | Self::Avro(_) | Self::EventId(_) | Self::Trailing(_) => false,
        }
    }
}
