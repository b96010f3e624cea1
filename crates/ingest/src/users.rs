//! The user webhook: its events, and their publication.

mod validate;

mod publish;

pub(crate) use publish::{Whole, keep, publish, put_aside, valid_traceparent};
pub(crate) use validate::{fractional_amounts, validate};
