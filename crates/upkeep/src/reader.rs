//! Reads records on a thread that may block, with the schemas that they name.

use std::ops::ControlFlow;
use std::sync::Arc;

use domain::wire::Ids;
use kafka::scan::{self, Coverage};
use service::registry::{Schemas, Unsettled};

/// The reason why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Scan(#[from] scan::Error),
    #[error(transparent)]
    Schema(#[from] Unsettled),
}

/// What a scan needs to know of schemas, and whether it had to stop because of one.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    schemas: &'s Schemas,
    ids: Arc<Ids>,
    unsettled: Option<Unsettled>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(schemas: &'s Schemas) -> Self {
        Self { schemas, ids: schemas.known(), unsettled: None }
    }

    /// Reads one record, and stops the scan if an id of it cannot be looked up.
    pub(crate) fn take(
        &mut self,
        read: impl FnOnce(&Schemas, &mut Arc<Ids>) -> Result<(), Unsettled>,
    ) -> ControlFlow<()> {
        match read(self.schemas, &mut self.ids) {
            Ok(()) => ControlFlow::Continue(()),
            Err(unsettled) => {
                self.unsettled = Some(unsettled);
                ControlFlow::Break(())
            }
        }
    }

    /// Returns the outcome of the scan.
    pub(crate) fn end(self, scanned: Result<Coverage, scan::Error>) -> Result<(), Error> {
        scanned?;
        self.unsettled.map_or(Ok(()), |unsettled| Err(unsettled.into()))
    }
}
