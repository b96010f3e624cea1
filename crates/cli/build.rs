//! Tells the compiler which commit a release is built from. A debug build is not asked: each commit would link it anew.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script has no other source for its settings")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let commit = match std::env::var("BUILD_COMMIT") {
        Ok(commit) => commit,
        Err(_) if std::env::var("PROFILE").is_ok_and(|profile| profile != "release") => "a debug build".to_owned(),
        Err(_) => {
            // A commit, a checkout and a reset write to this file; in a work tree of its own it is elsewhere.
            if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
                println!("cargo::rerun-if-changed={log}");
            }
            git(&["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"])
                .unwrap_or_else(|| "unknown".to_owned())
        }
    };
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
}

/// Returns the one line that git answers, or `None` without git or a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("git").args(arguments).output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
}
