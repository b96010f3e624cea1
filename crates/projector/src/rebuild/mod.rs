//! Makes the table from the log.
use std::fmt;
use std::sync::Arc;

use crate::project::blocking;
use crate::projection::{Error, Shared};
use crate::start::Topic;
use crate::store::{Folder, Meta, Writer};

/// How far a rebuild is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    pub records_read: u64,
    pub records_total: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records", self.records_read, self.records_total)
    }
}

pub(crate) async fn run(
    _shared: &Arc<Shared>,
    folder: &Arc<Folder>,
    _topic: &Topic,
    meta: &Meta,
) -> Result<Option<Writer>, Error> {
    let (folder, meta) = (Arc::clone(folder), meta.clone());
    let writer = blocking(move || {
        let path = folder.next()?;
        let writer = Writer::create(&path, &meta)?;
        folder.install(&path)?;
        Ok::<_, crate::store::Error>(writer)
    })
    .await??;
    Ok(Some(writer))
}
