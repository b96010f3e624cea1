//! JSON with its tokens kept: texts and numbers stay as sent, and no number passes through a double.
//!
//! [`Json::read`] is strict: a duplicate key, a depth over the limit, or an exponent out of range is a [`Fault`] with
//! its place. [`Json::write`] writes the original tokens without whitespace. [`Json::write_canonical`] writes the form
//! that equal values share; [`crate::Version`] is its digest.

mod canonical;

mod number;

mod parser;

mod text;

mod value;

pub(crate) use canonical::compare_names;
pub use number::Number;
pub(crate) use number::write_integer;
pub use parser::{Fault, Reason};
pub use text::Text;
pub(crate) use text::write_text;
pub use value::Json;
pub(crate) use value::separated;
