//! `bench memory`: what each user takes in the memory of the services.

use domain::topics::{Names, PARTITIONS_DEFAULT};
use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::{Candidate, Common};
use crate::broker::Broker;
use crate::process::Service;
use crate::rebuild::filled;
use crate::table::{Column, Table, by_round, column};
use crate::usage::{MIB, Watch, memory_of};

const MILLION: f64 = 1e6;

const COLUMNS: [Column; 6] = [
    column("without users, MiB", 0),
    column("with all, MiB", 0),
    column("at most, MiB", 0),
    column("MiB per million users", 0),
    column("seconds until all are there", 2),
    by_round("others %, each round"),
];

/// Measures the resident memory of both services per user
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// How many users there are
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    users: u64,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let broker = Broker::start(&args.common)?;
    let candidates = args.common.candidates()?;
    let names = filled(&broker, args.users, args.users).await?;
    let mut table = Table::new(format!("memory: {} users", args.users), &COLUMNS);
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        for candidate in &candidates {
            for kind in [Kind::Ingest, Kind::Projector] {
                let row = measure(&args, kind, candidate, &broker, &names).await?;
                table.add(&format!("{}: {}", candidate.name, kind.name()), row)?;
            }
        }
    }
    table.print();
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Ingest,
    Projector,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Projector => "projector",
        }
    }

    fn start(self, candidate: &Candidate, broker: &Broker, names: &Names) -> Outcome<Service> {
        match self {
            Self::Ingest => Service::ingest(candidate, broker, names),
            Self::Projector => Service::projector(candidate, broker, names),
        }
    }

    /// Waits until the service has so many users.
    async fn until_there(self, service: &mut Service, users: u64) -> Outcome<Instant> {
        let ready = service.ready().await?;
        match self {
            // It is ready before it has read the log.
            Self::Ingest => service.until_metric("rollcall_gate_keys", |keys| keys >= users as f64).await,
            Self::Projector => Ok(ready),
        }
    }
}

async fn measure(args: &Args, kind: Kind, candidate: &Candidate, broker: &Broker, names: &Names) -> Outcome<Vec<f64>> {
    let empty = broker.make_topics(PARTITIONS_DEFAULT).await?;
    let mut service = kind.start(candidate, broker, &empty)?;
    kind.until_there(&mut service, 0).await?;
    let (without, _) = memory_of(service.pid());
    drop(service);
    let mut service = kind.start(candidate, broker, names)?;
    let watch = Watch::begin(Some(service.pid()), broker.pid);
    let took = kind.until_there(&mut service, args.users).await? - service.began;
    let (usage, (with, most)) = (watch.end(), memory_of(service.pid()));
    Ok(vec![
        without as f64 / MIB,
        with as f64 / MIB,
        most as f64 / MIB,
        (with as f64 - without as f64) / MIB / args.users as f64 * MILLION,
        took.as_secs_f64(),
        usage.others_percent,
    ])
}
