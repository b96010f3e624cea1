//! An error of the client library: safe to print, and either transient or permanent.

use std::error::Error;
use std::fmt;

use domain::TokenError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::Trouble;

/// An error reported by librdkafka, or the lack of a token. Its text never contains the value of a property, which
/// could be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault(Cause);

#[derive(Clone, PartialEq, Eq)]
enum Cause {
    Library(KafkaError),
    NoToken(String),
    Connection(Trouble),
}

impl Fault {
    /// Returns the error code of the Kafka protocol or of librdkafka, if there is one.
    pub(crate) fn code(&self) -> Option<Code> {
        match &self.0 {
            Cause::Library(KafkaError::AdminOp(code)) => Some(*code),
            Cause::Library(other) => other.rdkafka_error_code(),
            Cause::NoToken(_) | Cause::Connection(_) => None,
        }
    }

    /// Returns the reason why no broker can be used, if that is known.
    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.0 {
            Cause::Connection(trouble) => Some(trouble),
            Cause::Library(_) | Cause::NoToken(_) => None,
        }
    }

    /// Returns the lack of a token, with the reason and its sources.
    pub(crate) fn no_token(error: &TokenError) -> Self {
        let (mut text, mut source) = (error.to_string(), error.source());
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Self(Cause::NoToken(text))
    }

    /// Returns whether there is no such topic.
    pub fn is_topic_missing(&self) -> bool {
        let missing = [Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::UnknownPartition];
        self.code().is_some_and(|code| missing.contains(&code))
    }

    /// Returns whether the client lacks a permission on its group.
    pub fn is_group_refused(&self) -> bool {
        self.code() == Some(Code::GroupAuthorizationFailed)
    }

    /// Returns whether the same request may succeed later without any change to options or permissions.
    pub fn is_transient(&self) -> bool {
        self.trouble().map_or_else(|| self.code().is_none_or(is_transient), Trouble::is_transient)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self(Cause::Connection(trouble))
    }
}

impl From<KafkaError> for Fault {
    fn from(error: KafkaError) -> Self {
        Self(Cause::Library(error))
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self(Cause::Library(KafkaError::Global(code)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.code()) {
            (Cause::Library(KafkaError::ClientConfig(_, _, property, _)), _) => {
                write!(f, "the client library refuses the property {property}")
            }
            (_, Some(code)) => match advice(code) {
                Some(advice) => f.write_str(advice),
                None => write!(f, "{code}"),
            },
            (Cause::Connection(trouble), None) => write!(f, "{trouble}"),
            (Cause::Library(other), None) => write!(f, "{other}"),
            (Cause::NoToken(reason), None) => write!(f, "no token for Kafka: {reason}"),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl Error for Fault {}

/// Returns the reason and the remedy of an error of the cluster that an operator can mend.
fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::TopicAuthorizationFailed => {
            Some("topic authorization failed; grant this user Describe, DescribeConfigs, Read and Write on the topic")
        }
        Code::GroupAuthorizationFailed => {
            Some("group authorization failed; grant this user Describe and Read on the consumer group")
        }
        Code::ClusterAuthorizationFailed => {
            Some("cluster authorization failed; grant this user the operation on the cluster")
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            Some("the topic does not exist, or has no such partition; create it with `rollcall topics create`")
        }
        Code::InvalidTimestamp => Some(
            "the clock of this machine is one that Kafka refuses: it differs from the broker's by more than \
             `message.timestamp.before.max.ms` or `message.timestamp.after.max.ms` of the topic; set both clocks",
        ),
        Code::OperationTimedOut => Some("no answer came in time"),
        Code::UnsupportedFeature => Some(
            "the broker does not offer this. The one in memory of `rollcall dev` has the topics that it was started \
             with, and creates no others: use a Kafka cluster, as with `rollcall dev --bootstrap`",
        ),
        _ => None,
    }
}

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
