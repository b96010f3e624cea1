//! The projector that a command asks.

use std::path::PathBuf;

use crate::fetch::ProjectorClient;

/// The default address of a projector.
const PROJECTOR: &str = "http://127.0.0.1:8081";

/// The projector, and who asks it.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The projector, also with a path before its routes
    #[arg(long, value_name = "URL", default_value = PROJECTOR)]
    projector: String,
    /// The file with the token for the projector; its scopes decide what it shows
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities (PEM) for an https address, instead of those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Target {
    /// Returns the client that asks the projector.
    ///
    /// # Errors
    /// If the address or one of the files cannot be used.
    pub(crate) fn projector(&self) -> anyhow::Result<ProjectorClient> {
        ProjectorClient::new(&self.projector, self.ca_file.as_deref())?.with_token_of(self.token_file.as_deref())
    }
}
