//! Who asks: the principal of a request, by a bearer token of a file or by a JWT.
//!
//! ```text
//! token_file ──▶ follow ──▶ TokenTable ─┐
//! jwks_file, jwks_url ──▶ follow ──▶ Keys ──▶ Jwt ─┴▶ Readers: Authorization ──▶ Principal, Standing | Denied
//! ```
//!
//! Files and keys are read beside the requests, never on their way. What cannot be used leaves what was read before in
//! force, and is logged and counted.

mod settings;

mod denied;

mod token;

mod table;

mod follow;

mod crypto;

mod keys;

mod remote_keys;

mod jwt;

mod standing;

mod shares;

mod readers;

pub(crate) use denied::{Denials, Denied};
pub use readers::Error as AuthError;
pub(crate) use readers::{Admitted, Readers};
pub(crate) use settings::Access;
pub use settings::{Auth, Jwt};
pub(crate) use shares::{Place, Shares};
pub(crate) use standing::Standing;
pub use token::{NewToken, NotAName, PrincipalName};
