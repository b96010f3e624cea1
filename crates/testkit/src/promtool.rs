//! `promtool check metrics`, which knows the rules of Prometheus for names, types and help.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Checks metrics in the text format, if promtool is there (Debian's package `prometheus`). Otherwise a line says that
/// the check was left out.
///
/// # Panics
/// If promtool finds something.
pub fn check(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        eprintln!("left out: there is no promtool");
        return;
    };
    let mut input = promtool.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("promtool reads all");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}
