//! This webhook: its user event, and the way of the event to Kafka.

mod validate;

mod publish;

pub(crate) use publish::{Whole, keep, publish, put_aside, valid_traceparent};
pub(crate) use validate::{fractional_amounts, validate};
