//! `rollcall get`: users, as a projector answers.

use std::process::ExitCode;

use domain::UserId;
use http::StatusCode;

use crate::fetch::detail;
use crate::output::{escaped, print_json};
use crate::target::Target;

/// Prints users as a projector answers them, one JSON object a line. Exit status 1 if one is unknown or forgotten
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The users' identifiers
    #[arg(required = true, value_name = "ID")]
    users: Vec<UserId>,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let projector = args.target.projector()?;
    let mut all_found = true;
    for user_id in args.users {
        let (status, body) = projector.bytes(&format!("/users/{user_id}")).await?;
        if status == StatusCode::OK {
            print_json(&String::from_utf8_lossy(&body))?;
        } else {
            all_found = false;
            eprintln!("rollcall: user {user_id}: {}", escaped(&detail(status, &body)));
        }
    }
    Ok(if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
