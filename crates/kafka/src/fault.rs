//! An error of the client library, made safe to print and sorted into "again later" and "never".

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error that the client library reported. Its text never holds the value of a property, which could be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault(KafkaError);

impl Fault {
    /// Returns the code of the Kafka protocol or of the library, where the failure has one.
    pub(crate) fn code(&self) -> Option<Code> {
        match &self.0 {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        }
    }

    /// Returns whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        self.code().is_none_or(is_transient)
    }
}

impl From<KafkaError> for Fault {
    fn from(error: KafkaError) -> Self {
        Self(error)
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self(KafkaError::Global(code))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.code()) {
            (KafkaError::ClientConfig(_, _, property, _), _) => {
                write!(f, "the client library refuses the property {property}")
            }
            (_, Some(code)) => write!(f, "{code}"),
            (other, None) => write!(f, "{other}"),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl std::error::Error for Fault {}

/// Sorts the codes that a retry cannot cure from all others.
///
/// The list of protocol codes grows with every Kafka release, and most of them pass by themselves (leaders move,
/// coordinators load, quotas end), so the permanent ones are named and the rest is transient.
fn is_transient(code: Code) -> bool {
    !matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidTopic
            | Code::InvalidRequiredAcks
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidArgument
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaConfRes;

    use super::*;

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let fault = Fault::from(KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value \"hunter2\"".to_owned(),
            "sasl.password".to_owned(),
            "hunter2".to_owned(),
        ));
        for text in [fault.to_string(), format!("{fault:?}")] {
            assert!(text.contains("sasl.password"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_a_retry_cures() {
        for code in
            [Code::BrokerTransportFailure, Code::MessageTimedOut, Code::NotEnoughReplicas, Code::NotLeaderForPartition]
        {
            assert!(Fault::from(code).is_transient(), "{code:?}");
        }
        for code in [Code::MessageSizeTooLarge, Code::TopicAuthorizationFailed, Code::UnknownTopicOrPartition] {
            assert!(!Fault::from(code).is_transient(), "{code:?}");
        }
    }
}
