//! `rollcall token`: tokens for readers of the projector.

use std::process::ExitCode;

use anyhow::Context as _;
use projector::{NewToken, PrincipalName, Scope, Scopes};

use crate::output::print;

/// The random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Makes tokens for readers of the projector
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prints a new token for the reader, and below it the line for `auth.token_file`. The token is kept nowhere
    New(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of the reader in the file and in the trail; letters, digits, dots, underscores, hyphens
    name: PrincipalName,
    /// A scope: users:read, users:contact, users:pay, changes:read or status:read; can be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
}

/// Runs the command.
pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::New(Args { name, scopes }) = command;
    let mut bytes = [0; TOKEN_BYTES];
    openssl::rand::rand_bytes(&mut bytes).context("no token can be generated")?;
    let token = NewToken::from_random(bytes);
    let line = token.line(name, scopes.iter().copied().collect::<Scopes>());
    print(&format!("{}\n{line}\n", token.expose()))?;
    Ok(ExitCode::SUCCESS)
}
