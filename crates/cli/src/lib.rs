//! The `rollcall` command: one binary for everything that Rollcall does.
//!
//! | file | command |
//! | --- | --- |
//! | `command.rs` | the list of all commands, and where each is |
//! | `dev.rs` | everything in one process, to look at |
//! | `ingest.rs`, `projector.rs` | the two services |
//! | `topics.rs`, `config.rs`, `dead_letter.rs`, `verify.rs`, `forget.rs` | what an operator needs |
//! | `simulate.rs` | plays the vendor |
//!
//! Shared by them: `environment.rs` (clock and variables), `sources.rs` (file, environment and flags), `output.rs`
//! (standard output), `listen.rs` (ports), `fetch.rs` (questions to a projector), `expect.rs` (the file between
//! `simulate` and `verify`), `ending.rs` (how the process ends).
//!
//! Only this crate reads the clock, the environment and the arguments, installs signal handlers, and ends the process;
//! the services are given what they need. Errors are `anyhow`'s here and nowhere else: this is where people read them.

#![forbid(unsafe_code)]

mod cluster;
mod command;
mod config;
mod dead_letter;
mod dev;
mod ending;
mod environment;
mod expect;
mod fetch;
mod forget;
mod ingest;
mod listen;
mod output;
mod progress;
mod projector;
mod simulate;
mod sources;
mod topics;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use command::Rollcall;

/// Runs the command that the arguments of this process name.
///
/// Exit status: 0 done, 1 failed or found something wrong, 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    ending::without_cleanup();
    let rollcall = match Rollcall::try_parse() {
        Ok(rollcall) => rollcall,
        Err(usage) => return explain(&usage),
    };
    match run(rollcall) {
        Ok(status) => status,
        Err(error) if output::is_reader_gone(&error) => ExitCode::FAILURE,
        Err(error) => {
            // The whole chain on one line: what failed, then why.
            eprintln!("rollcall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(rollcall: Rollcall) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let status = runtime.block_on(rollcall.run());
    // A blocking call of the Kafka client that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    status
}

/// Prints what clap has to say: help and version to standard output, mistakes to standard error.
fn explain(usage: &clap::Error) -> ExitCode {
    if let Err(error) = usage.print() {
        eprintln!("rollcall: {error}");
    }
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
