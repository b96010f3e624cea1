//! The state that the handlers share.

use service::Shutdown;

use crate::projection::Projection;

/// The state that the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) projection: Projection,
    /// Ends the streams, which would go on for ever.
    pub(super) shutdown: Shutdown,
}
