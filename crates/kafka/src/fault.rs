//! An error of the client library: safe to print, and either transient or permanent.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error reported by librdkafka. Its text never contains the value of a property, which could be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault(KafkaError);

impl Fault {
    /// Returns the error code of the Kafka protocol or of librdkafka, if there is one.
    pub(crate) fn code(&self) -> Option<Code> {
        match &self.0 {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        }
    }

    /// Returns whether the same request may succeed later without any change to options or permissions.
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

/// Returns whether a retry can succeed.
///
/// Each Kafka release adds protocol codes. Most of these errors are temporary (moved leaders, loading coordinators,
/// quotas), so the permanent codes are listed and all others are transient.
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
