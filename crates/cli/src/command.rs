//! The commands: one variant each, one file each.

use std::process::ExitCode;

use service::Shutdown;

use crate::{config, dead_letter, dev, forget, ingest, projector, simulate, topics, verify};

/// Maintains the current list of users of a VCC Live call centre: webhooks in, Kafka in the middle, queries out
#[derive(Debug, clap::Parser)]
#[command(name = "rollcall", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Rollcall {
    #[command(subcommand)]
    command: Command,
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
    Forget(forget::Args),
    Verify(verify::Args),
    Simulate(simulate::Args),
}

impl Rollcall {
    /// Runs the command and returns the exit status. An error is a failure that the command has not reported itself.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(args) => dev::run(args, Shutdown::on_signals()?).await,
            Command::Ingest(args) => ingest::run(args, Shutdown::on_signals()?).await,
            Command::Projector(args) => projector::run(args, Shutdown::on_signals()?).await,
            Command::Topics(command) => topics::run(command).await,
            Command::Config(command) => config::run(&command),
            Command::DeadLetter(command) => dead_letter::run(command).await,
            Command::Forget(args) => forget::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Simulate(args) => simulate::run(args, Shutdown::on_signals()?).await,
        }
    }
}
