//! The examples in a folder where they can be built, and their processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Kept between runs, with what the package managers have fetched.
const WORK: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/ecosystem");

/// How an example in Java is built, and what then runs it.
pub(super) const JAVA: &[&[&str]] = &[&["mvn", "-q", "-B", "compile", "dependency:copy-dependencies"]];
pub(super) const CLASS_PATH: &str = "target/classes:target/dependency/*";

/// Builds an example of `deploy/examples` and returns its folder, or why it cannot be built. The folder is a copy, as
/// far below a copy of `schemas` as the original.
pub(super) fn built(example: &str, build: &[&[&str]]) -> Result<PathBuf, String> {
    static BUILT: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
    // One at a time: package managers have caches of their own, and two tests share an example.
    let mut done = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Path::new(WORK).join("deploy/examples").join(example);
    if done.contains(example) {
        return Ok(dir);
    }
    for folder in ["schemas", &format!("deploy/examples/{example}")] {
        copy(&Path::new(SOURCE).join(folder), &Path::new(WORK).join(folder))
            .map_err(|error| format!("{folder} cannot be copied: {error}"))?;
    }
    for command in build {
        run(&dir, command)?;
    }
    done.insert(example.to_owned());
    Ok(dir)
}

/// Copies a folder, but for what was built in it. A file that is the same keeps its time, by which tools know it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, name) = (entry.path(), entry.file_name());
        if source.is_dir() {
            if name != "target" && name != "node_modules" {
                copy(&source, &to.join(name))?;
            }
        } else if fs::read(&source)? != fs::read(to.join(&name)).unwrap_or_default() {
            fs::copy(&source, to.join(&name))?;
        }
    }
    Ok(())
}

/// Runs a command in a folder and returns what it prints.
///
/// # Errors
/// The end of what it says, if it fails.
pub(super) fn run(dir: &Path, command: &[&str]) -> Result<String, String> {
    let run = command_in(dir, command).stdin(Stdio::null()).output();
    let output = run.map_err(|error| format!("no {}: {error}", command[0]))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{} fails: {}", command.join(" "), end_of(&String::from_utf8_lossy(&said))))
}

fn end_of(text: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}

/// Returns the command with its first word found in the folder, if it is a path.
fn command_in(dir: &Path, command: &[&str]) -> Command {
    let program = if command[0].contains('/') { dir.join(command[0]) } else { command[0].into() };
    let mut run = Command::new(program);
    run.args(&command[1..]).current_dir(dir);
    run
}

/// A process that goes on until this is dropped, or the test run is gone.
pub(super) struct Background {
    shell: Child,
    log: PathBuf,
}

impl Background {
    /// Starts a command in a folder; what it says is written to a file there.
    pub(super) fn start(dir: &Path, log: &str, command: &[&str]) -> Self {
        let log = dir.join(log);
        let said = File::create(&log).expect("the folder can be written");
        // The shell ends the command when its own input ends, and waits for it.
        let script = "\"$@\" </dev/null & child=$!; cat >/dev/null; kill $child; wait $child";
        let shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(command)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(said.try_clone().expect("a file can be opened twice"))
            .stderr(said)
            .spawn()
            .expect("there is a shell");
        Self { shell, log }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Fails only if it was waited for.
        self.shell.wait().ok();
        if std::thread::panicking() {
            eprintln!(
                "the end of {}: {}",
                self.log.display(),
                end_of(&fs::read_to_string(&self.log).unwrap_or_default())
            );
        }
    }
}
