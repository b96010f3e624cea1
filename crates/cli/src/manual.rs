//! `rollcall completions` and `rollcall man`: the command's words for shells and for `man`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::command::Rollcall;
use crate::output::print_bytes;

/// The name of the binary.
const NAME: &str = "rollcall";

/// Prints the completions of the command for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Writes the manual pages of all commands
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder for the pages, such as /usr/local/share/man/man1; it is made where it is missing
    folder: PathBuf,
}

/// Prints the completions.
pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Rollcall::command(), NAME, &mut script);
    print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let written = std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Rollcall::command(), &args.folder));
    written.with_context(|| format!("{} cannot be written", args.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
