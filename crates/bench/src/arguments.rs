//! The options that all commands have, and the binaries under test.

use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

/// The options that all commands have.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// The Kafka cluster. Without it, Kafka runs in a container, on the network of this machine
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "embedded")]
    pub(crate) bootstrap: Option<String>,
    /// The process of that cluster's broker on this machine, so that its share of the processors is told
    #[arg(long, value_name = "PID", requires = "bootstrap")]
    pub(crate) broker_pid: Option<u32>,
    /// An in-memory broker in this process instead, to try the commands: its figures say nothing of Kafka
    #[arg(long)]
    pub(crate) embedded: bool,
    /// How often each row is measured; the rows alternate
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// The binary under test; this executable has the same code
    #[arg(long, value_name = "PATH")]
    rollcall: Option<PathBuf>,
    /// Another binary, measured in turn with the first
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// An option of the services under test: --set webhook.requests_max=4096. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Measures the binary once more, with options of its own: --also keeper.enabled=false. Repeatable; several options
    /// in one are separated by blanks
    #[arg(long = "also", value_name = "KEY=VALUE ..")]
    variants: Vec<String>,
}

/// A binary under test with its settings.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The name of its rows.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// `KEY=VALUE`, each for `--set`.
    pub(crate) settings: Vec<String>,
}

impl Common {
    /// Returns the binaries under test, in the order of their rows.
    ///
    /// # Errors
    /// If this executable does not know its own path.
    pub(crate) fn candidates(&self) -> Outcome<Vec<Candidate>> {
        let program = match &self.rollcall {
            Some(path) => path.clone(),
            None => std::env::current_exe()?,
        };
        let first = Candidate { name: "Rollcall".to_owned(), program, settings: self.settings.clone() };
        let variants = self.variants.iter().map(|variant| {
            let own = variant.split_whitespace().map(str::to_owned);
            let settings = first.settings.iter().cloned().chain(own).collect();
            Candidate { name: format!("Rollcall, {variant}"), settings, ..first.clone() }
        });
        let against = self.against.iter().map(|path| Candidate {
            name: format!("against: {}", path.display()),
            program: path.clone(),
            settings: self.settings.clone(),
        });
        let rest: Vec<Candidate> = variants.chain(against).collect();
        Ok(std::iter::once(first).chain(rest).collect())
    }
}

/// Turns the text of an option in seconds into a duration.
///
/// # Errors
/// If it is not a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
