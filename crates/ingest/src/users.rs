//! The user webhook: its events, and their publication.

mod validate;

mod publish;

pub use publish::{Destination, IDENTIFY_DEADLINE};

pub(crate) use publish::{keep, refuse, traced};
pub(crate) use validate::{fractional_amounts, miscased, validate, validate_listed};
