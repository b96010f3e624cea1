//! The state that the handlers share.

use std::sync::Arc;

use service::{Readiness, Shutdown};

use super::fields::Shown;
use super::refusal::Refusal;
use super::render::View;
use crate::projection::Projection;
use crate::store::StoreReaders;

/// The state that the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) projection: Projection,
    /// Ends the streams, which would go on for ever.
    pub(super) shutdown: Shutdown,
    /// As the admin port answers it.
    pub(super) readiness: Readiness,
}

impl Api {
    /// Returns the table in use. What is read of it has its names.
    pub(super) fn table(&self) -> Result<Arc<StoreReaders>, Refusal> {
        Ok(self.projection.shared.readers()?)
    }

    /// Returns how what was read of a table is answered now.
    pub(super) fn view(&self, table: &StoreReaders, shown: Shown) -> View {
        let shared = &self.projection.shared;
        View { names: table.names(), now: shared.now(), as_of: shared.as_of(), shown }
    }
}
