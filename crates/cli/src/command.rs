//! The commands: one variant each, one file each.

use std::process::ExitCode;

use anyhow::Context as _;
use service::Shutdown;
use service::telemetry::{self, Format};

use crate::ending::{at_once, at_signals};
use crate::manual::{CompletionsArgs, ManArgs};
use crate::{
    config, dead_letter, dev, export, forget, get, health, import, ingest, manual, projector, simulate, status, tail,
    token, topics, verify, version,
};

/// Maintains the current list of users of a VCC Live call centre: webhooks in, Kafka in the middle, queries out
#[derive(Debug, clap::Parser)]
#[command(name = "rollcall", version, long_version = version::long())]
#[command(propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Rollcall {
    #[command(subcommand)]
    command: Command,
    /// Also prints the lines of the Kafka client library: more about a connection that fails
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Dev(dev::Args),
    Ingest(ingest::Args),
    Projector(projector::Args),
    #[command(subcommand)]
    Topics(topics::Command),
    #[command(subcommand)]
    Config(config::Command),
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    Import(import::Args),
    Export(export::Args),
    Forget(forget::Args),
    Verify(verify::Args),
    Get(get::Args),
    Tail(tail::Args),
    Status(status::Args),
    Simulate(simulate::Args),
    Health(health::Args),
    #[command(subcommand)]
    Token(token::Command),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Returns the filter of log lines, with the lines of the client library if they are asked for.
pub(crate) fn filter(configured: &str, verbose: bool) -> String {
    if verbose { format!("{configured},librdkafka=debug") } else { configured.to_owned() }
}

impl Command {
    /// Returns whether the command runs until a signal. It starts logging itself, as its configuration says.
    fn is_service(&self) -> bool {
        matches!(self, Self::Dev(_) | Self::Ingest(_) | Self::Projector(_))
    }

    /// Returns whether the command finishes its work after a signal. Any other ends at once.
    fn drains(&self) -> bool {
        self.is_service() || matches!(self, Self::Simulate(_))
    }
}

impl Rollcall {
    /// Returns whether the command runs until a signal.
    pub(crate) fn is_service(&self) -> bool {
        self.command.is_service()
    }

    /// Runs the command and returns the exit status. An error is a failure that the command has not reported itself.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let verbose = self.verbose;
        if verbose && !self.is_service() {
            telemetry::init(Format::Text, &filter("warn", verbose)).context("logging cannot start")?;
        }
        if !self.command.drains() {
            at_signals()?;
        }
        match self.command {
            Command::Dev(args) => dev::run(args, verbose, Shutdown::on_signals(at_once)?).await,
            Command::Ingest(args) => ingest::run(args, verbose, Shutdown::on_signals(at_once)?).await,
            Command::Projector(args) => projector::run(args, verbose, Shutdown::on_signals(at_once)?).await,
            Command::Topics(command) => topics::run(command).await,
            Command::Config(command) => config::run(&command).await,
            Command::DeadLetter(command) => dead_letter::run(command).await,
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Forget(args) => forget::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Get(args) => get::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Simulate(args) => simulate::run(args, Shutdown::on_signals(at_once)?).await,
            Command::Health(args) => health::run(args).await,
            Command::Token(command) => token::run(&command),
            Command::Completions(args) => manual::completions(&args),
            Command::Man(args) => manual::man(&args),
        }
    }
}
