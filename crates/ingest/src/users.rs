//! This webhook: what it says of a user, and how the event reaches Kafka.

mod validate;

mod publish;

pub(crate) use publish::{Whole, keep, publish, put_aside, valid_traceparent};
pub(crate) use validate::{fractional_amounts, validate};
