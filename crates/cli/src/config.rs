//! `rollcall config`: shows or checks the configuration of a service.

mod online;

use std::process::ExitCode;

use domain::topics::Names;
use ingest::config::Webhook;
use serde::Serialize;
use serde_json::{Value, json};
use service::config::{Fault, Faults};

use crate::files;
use crate::output::{print, print_json};
use crate::sources::Sources;
use online::{Found, Needs, Role};

/// Checks or shows a service's configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(CheckArgs),
    Show(ShowArgs),
}

/// Lists all faults of a configuration; exit status 1 if there are any
#[derive(Debug, clap::Args)]
#[command(after_help = files::NAMED)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    args: Args,
    /// Also connects to Kafka and to the schema registry: checks the topics, and the permissions that the service needs
    #[arg(long)]
    online: bool,
    /// Prints a JSON object, of the faults too
    #[arg(long)]
    json: bool,
}

/// Prints the configuration in force, from file, environment, flags and defaults, with secrets redacted
#[derive(Debug, clap::Args)]
#[command(after_help = files::NAMED)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    args: Args,
    /// Prints JSON instead of TOML
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service to configure
    service: ServiceName,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ServiceName {
    Ingest,
    Projector,
}

/// Runs the command.
pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(CheckArgs { args, online, json: true }) => return check_as_json(args, *online).await,
        Command::Check(CheckArgs { args, online, json: false }) => {
            let (needs, ignored, cautions) = checked(args)?;
            for caution in cautions {
                print(&format!("caution: {caution}\n"))?;
            }
            print("the configuration is valid\n")?;
            for variable in ignored {
                print(&format!("note: {variable} is of the other service, and ignored\n"))?;
            }
            if !online {
                return Ok(ExitCode::SUCCESS);
            }
            let Found { kafka_can_be_used, faults } = online::find(&needs).await;
            if kafka_can_be_used {
                print(&format!("Kafka at {} can be used\n", needs.options.bootstrap))?;
            }
            for fault in &faults {
                print(&format!("{fault}\n"))?;
            }
            if !faults.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            print("topics and registry are right\n")?;
        }
        Command::Show(ShowArgs { args: Args { service, sources }, json }) => print(&match service {
            ServiceName::Ingest => written(&ingest_in_force(sources)?, *json)?,
            ServiceName::Projector => written(&projector_in_force(sources)?, *json)?,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one object, whatever is wrong.
async fn check_as_json(args: &Args, online: bool) -> anyhow::Result<ExitCode> {
    let (faults, cautions, ignored, online) = match checked(args) {
        Ok((needs, ignored, cautions)) => {
            let found = if online { Some(online::find(&needs).await.faults) } else { None };
            (Vec::new(), cautions, ignored, found)
        }
        Err(mut faults) => (faults.iter().cloned().collect(), faults.take_cautions(), Vec::new(), None),
    };
    let is_valid = faults.is_empty() && online.as_ref().is_none_or(Vec::is_empty);
    let listed = |faults: &[Fault]| -> Vec<Value> {
        let origin = |fault: &Fault| fault.origin.as_ref().map(ToString::to_string);
        faults
            .iter()
            .map(|fault| json!({ "key": fault.key, "origin": origin(fault), "reason": fault.reason }))
            .collect()
    };
    let outcome = json!({
        "valid": is_valid, "faults": listed(&faults), "cautions": listed(&cautions), "ignored_variables": ignored,
        "online_faults": online,
    });
    print_json(&outcome.to_string())?;
    Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns what a valid configuration needs, the variables that it ignores, and its cautions.
fn checked(Args { service, sources }: &Args) -> Result<(Needs, Vec<String>, Vec<Fault>), Faults> {
    Ok(match service {
        ServiceName::Ingest => {
            let config = sources.ingest(|_| ())?;
            let ingest::Config { kafka, topics, registry, partitions, body_bytes_max, keeper, cautions, .. } = config;
            let role = Role::Ingest { keeps: keeper };
            let needs = Needs { options: kafka, names: topics, registry, partitions, body_bytes_max, role };
            (needs, sources.variables::<ingest::config::Raw, projector::Raw>().1, cautions)
        }
        ServiceName::Projector => {
            let projector::Config { projection, registry, cautions, .. } = sources.projector(|_| ())?;
            let projector::Options { kafka, topic, late_topic, partitions, .. } = projection;
            let defaults = Names::default();
            let role = Role::Projector { late: late_topic.clone() };
            let late = late_topic.unwrap_or_else(|| defaults.late.clone());
            let names = Names { users: topic, late, ..defaults };
            let (partitions, body_bytes_max) = (partitions.unwrap_or(1), Webhook::default().body_bytes_max);
            let needs = Needs { options: kafka, names, registry, partitions, body_bytes_max, role };
            (needs, sources.variables::<projector::Raw, ingest::config::Raw>().1, cautions)
        }
    })
}

/// Returns the configuration as TOML or JSON. Secrets serialize as a placeholder.
fn written(raw: &impl Serialize, json: bool) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string_pretty(raw)? + "\n" } else { toml::to_string_pretty(raw)? })
}

/// Returns the configuration. One with faults is shown as far as it was read.
fn ingest_in_force(sources: &Sources) -> anyhow::Result<ingest::config::Raw> {
    let mut raw = sources.raw::<ingest::config::Raw, projector::Raw>()?;
    if let Ok(config) = crate::ingest::without_requests(sources) {
        raw.http.listen = config.http_listen.to_string();
        raw.admin.listen = config.admin_listen.to_string();
    }
    Ok(raw)
}

fn projector_in_force(sources: &Sources) -> anyhow::Result<projector::Raw> {
    let mut raw = sources.raw::<projector::Raw, ingest::config::Raw>()?;
    if let Ok(config) = sources.projector(|_| ()) {
        raw.http.listen = config.listen.to_string();
        raw.admin.listen = config.admin_listen.to_string();
    }
    Ok(raw)
}
