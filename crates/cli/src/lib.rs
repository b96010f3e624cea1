//! The `rollcall` command: one binary for all parts of Rollcall.
//!
//! | file | command |
//! | --- | --- |
//! | `command.rs` | the list of all commands, each with its file |
//! | `dev.rs` | the whole system in one process |
//! | `ingest.rs`, `projector.rs` | the two services |
//! | `topics.rs`, `config.rs`, `token.rs`, `dead_letter.rs`, `verify.rs`, `forget.rs` | the commands of an operator |
//! | `import.rs`, `export.rs` | the users of a list, in and out |
//! | `get.rs`, `status.rs`, `tail.rs` | questions to a projector |
//! | `manual.rs` | completions for shells, and manual pages |
//! | `simulate.rs` | simulates the vendor |
//! | `health.rs` | the health check of a container |
//!
//! | shared file | content |
//! | --- | --- |
//! | `environment.rs`, `sources.rs` | clock and variables; a configuration from file, environment and flags |
//! | `files.rs` | the help on the file of a command |
//! | `cluster.rs`, `listen.rs` | Kafka for the commands of an operator, ports |
//! | `target.rs`, `fetch.rs` | the projector that a command asks, queries to it |
//! | `output.rs`, `progress.rs` | standard output, and progress bars on standard error |
//! | `expect.rs` | the file that `simulate` writes and `verify` compares with |
//! | `ending.rs`, `version.rs` | the end of the process, its version |
//!
//! Only this crate reads the clock, the environment and the arguments, installs signal handlers, and ends the process.
//! It passes the services everything they need. Only this crate uses `anyhow`, because it prints its errors for people.
//!
//! ```
//! // Without arguments the command prints its help and returns the status of wrong usage.
//! assert_eq!(cli::main(), std::process::ExitCode::from(2));
//! ```

#![forbid(unsafe_code)]

mod cluster;
mod command;
mod config;
mod dead_letter;
mod dev;
mod ending;
mod environment;
mod expect;
mod export;
mod fetch;
mod files;
mod forget;
mod get;
mod health;
mod import;
mod ingest;
mod listen;
mod manual;
mod output;
mod progress;
mod projector;
mod simulate;
mod sources;
mod status;
mod tail;
mod target;
mod token;
mod topics;
mod verify;
mod version;

use std::process::ExitCode;

use clap::Parser as _;
use command::Rollcall;

/// Runs the command in the arguments of this process.
///
/// Exit status: 0 success, 1 failure or findings, 2 wrong usage, 128 and the signal's number after a signal, of a
/// service after a second one.
#[must_use]
pub fn main() -> ExitCode {
    ending::without_cleanup();
    ending::without_core_dumps();
    let rollcall = match Rollcall::try_parse() {
        Ok(rollcall) => rollcall,
        Err(usage) => return explain(&usage),
    };
    match run(rollcall) {
        Ok(status) => status,
        Err(error) if output::is_reader_gone(&error) => ExitCode::FAILURE,
        Err(error) => {
            // The whole chain on one line: the failure, then its causes.
            eprintln!("rollcall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(rollcall: Rollcall) -> anyhow::Result<ExitCode> {
    if rollcall.is_service() {
        service::resources::check_threads()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let status = runtime.block_on(rollcall.run());
    // A blocking call of the Kafka client without a caller must not delay the end.
    runtime.shutdown_background();
    status
}

/// Prints clap's output: help and version to standard output, usage errors to standard error.
fn explain(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => eprintln!("rollcall: {error}"),
        Ok(()) => {}
    }
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
