//! `rollcall projector`: follows the topic and answers queries about users.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::ProgressBar;
use projector::rebuild::{Progress, Stage};
use projector::{Listeners, Phase, Raw};
use service::{Shutdown, resources, telemetry};
use tokio::sync::watch;

use crate::command::filter;
use crate::environment::now;
use crate::files;
use crate::listen::bind;
use crate::progress;
use crate::sources::Sources;

/// Follows the topic of users and answers queries about their current state
#[derive(Debug, clap::Args)]
#[command(after_help = files::PROJECTOR)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Rebuilds the table from the log at this start
    #[arg(long)]
    rebuild: bool,
}

/// Runs the service until the shutdown.
pub(crate) async fn run(args: Args, verbose: bool, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let mut config = args.sources.projector(|raw| raw.store.rebuild |= args.rebuild)?;
    config.projection.clock = now;
    telemetry::init(config.log.format, &filter(&config.log.filter, verbose)).context("logging cannot start")?;
    resources::log_threads();
    args.sources.log_ignored::<Raw, ingest::config::Raw>();
    service::config::log_cautions(&config.cautions);
    let listeners = Listeners {
        http: bind(config.listen, "http.listen").await?,
        admin: bind(config.admin_listen, "admin.listen").await?,
    };
    let (http, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
    tracing::info!(%http, %admin, "projector listens");
    // With JSON logs or a log file, the log lines replace the bar.
    let on_terminal = std::io::stderr().is_terminal() && config.log.format == telemetry::Format::Text;
    projector::run_watched(config, listeners, shutdown, |projection| {
        if on_terminal {
            tokio::spawn(show_rebuild(projection.phase()));
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Draws a bar while the table is rebuilt from the log.
async fn show_rebuild(mut phase: watch::Receiver<Phase>) {
    let mut bar: Option<ProgressBar> = None;
    loop {
        let now = phase.borrow_and_update().clone();
        if let Phase::Rebuilding(progress) = &now {
            advance(bar.get_or_insert_with(progress_bar), progress);
        } else if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
        if phase.changed().await.is_err() {
            return;
        }
    }
}

fn progress_bar() -> ProgressBar {
    progress::bar("{wide_bar} {msg}", Some(0))
}

/// The bar shows the reading. Loading is short, and shown as a message beside a full bar.
fn advance(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.offsets_total);
    bar.set_position(match progress.stage {
        Stage::Reading => progress.offsets_done,
        Stage::Loading => progress.offsets_total,
    });
    bar.set_message(progress.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_at_what_is_read_and_full_afterwards() {
        let reading = Progress { offsets_done: 30, offsets_total: 120, records: 28, ..Progress::default() };
        let bar = progress_bar();
        advance(&bar, &reading);
        assert_eq!((bar.position(), bar.length()), (30, Some(120)));
        assert!(bar.message().starts_with("28 records read, 25 %"), "{}", bar.message());
        advance(&bar, &Progress { stage: Stage::Loading, users: 7, ..reading });
        assert_eq!((bar.position(), bar.message().as_str()), (120, "7 users loaded"));
    }
}
