//! `rollcall config`: shows or checks the configuration of a service.

use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::print;
use crate::sources::Sources;

/// Checks or shows a service's configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists all faults of a configuration; exit status 1 if there are any
    Check(Args),
    /// Prints the configuration from file, environment and flags, with secrets redacted
    Show(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service to configure
    service: ServiceName,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ServiceName {
    Ingest,
    Projector,
}

/// Runs the command.
pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(Args { service, sources }) => {
            match service {
                ServiceName::Ingest => drop(ingest::Config::try_from(sources.load::<ingest::config::Raw>()?)?),
                ServiceName::Projector => drop(projector::Config::try_from(sources.load::<projector::Raw>()?)?),
            }
            print("the configuration is valid\n")?;
        }
        Command::Show(Args { service, sources }) => print(&match service {
            ServiceName::Ingest => shown::<ingest::config::Raw>(sources)?,
            ServiceName::Projector => shown::<projector::Raw>(sources)?,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the configuration as TOML. Secrets serialize as a placeholder.
fn shown<Raw: DeserializeOwned + Serialize>(sources: &Sources) -> anyhow::Result<String> {
    Ok(toml::to_string_pretty(&sources.load::<Raw>()?)?)
}
