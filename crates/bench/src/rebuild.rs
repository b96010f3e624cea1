//! `bench rebuild`: a table made from the log, beside reading the log and nothing else.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::topics::{Names, PARTITIONS_DEFAULT};
use domain::wire;
use kafka::scan::{self, Range};

use crate::Outcome;
use crate::arguments::{Candidate, Common};
use crate::broker::Broker;
use crate::process::Service;
use crate::records::{Records, ranges};
use crate::table::{Column, Table, by_round, column};
use crate::usage::{MIB, Watch, memory_of};

/// The time of a broker without an answer after which reading fails.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What a projector that has its table answers for a user.
const ANSWERED: [u16; 2] = [200, 404];

const COLUMNS: [Column; 6] = [
    column("records/s until the first answer", 0),
    column("first answer, s", 2),
    column("ready, s", 2),
    column("CPU s", 2),
    column("most memory, MiB", 0),
    by_round("others %, each round"),
];

/// Measures how long a projector without a table takes until it answers, beside a consumer that only reads
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Records and users of a topic; each is a table of its own
    #[arg(long, value_name = "RECORDS/USERS", value_delimiter = ',', value_parser = size,
          default_value = "1000000/1000000,10000000/1000000")]
    sizes: Vec<(u64, u64)>,
    /// Measures the bare consumer once more, with settings of librdkafka: --consumer fetch.message.max.bytes=4194304.
    /// Repeatable; several settings in one are separated by blanks
    #[arg(long = "consumer", value_name = "KEY=VALUE ..", value_parser = variant)]
    consumers: Vec<Variant>,
}

/// Settings of the bare consumer, with their text.
#[derive(Clone, Debug)]
struct Variant {
    text: String,
    settings: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let broker = Broker::start(&args.common)?;
    let candidates = args.common.candidates()?;
    for (records, users) in args.sizes {
        let names = filled(&broker, records, users).await?;
        let ranges = ranges(&broker, &names).await?;
        // Warm: what follows reads from the memory of the machine, all rows alike.
        read(&broker, &[], &names, &ranges, |_| ()).await?;
        let mut table = Table::new(format!("rebuild of {records} records of {users} users"), &COLUMNS).with_ratio(0, 0);
        for round in 1..=args.common.rounds {
            eprintln!("round {round} of {}", args.common.rounds);
            table.add("bare consumer (the limit)", consumer(&broker, &[], &names, &ranges, |_| ()).await?)?;
            for Variant { text, settings } in &args.consumers {
                let row = consumer(&broker, settings, &names, &ranges, |_| ()).await?;
                table.add(&format!("bare consumer, {text}"), row)?;
            }
            let heads = |value: &[u8]| drop(black_box(wire::decode_head(value)));
            table.add("consumer that decodes heads", consumer(&broker, &[], &names, &ranges, heads).await?)?;
            for candidate in &candidates {
                table.add(&candidate.name, projector(candidate, &broker, &names, records).await?)?;
            }
        }
        table.print();
    }
    Ok(())
}

/// Returns the topics of that size, filled when they are not there: a second run on one cluster finds them.
pub(crate) async fn filled(broker: &Broker, records: u64, users: u64) -> Outcome<Names> {
    let names = broker.make_topics_named(&format!("bench.users.{records}.{users}"), PARTITIONS_DEFAULT).await?;
    let found: u64 = ranges(broker, &names).await?.iter().map(|range| range.end.abs_diff(range.start)).sum();
    match found {
        0 => Records::new(users).fill(broker, &names, 0..records).await?,
        found if found == records => {}
        found => return Err(format!("{} has {found} records: remove the topic", names.users).into()),
    }
    Ok(names)
}

async fn consumer(
    broker: &Broker,
    settings: &[(String, String)],
    names: &Names,
    ranges: &[Range],
    each: impl Fn(&[u8]) + Send + Sync + 'static,
) -> Outcome<Vec<f64>> {
    let records: u64 = ranges.iter().map(|range| range.end.abs_diff(range.start)).sum();
    let watch = Watch::begin(None, broker.pid);
    read(broker, settings, names, ranges, each).await?;
    let usage = watch.end();
    let seconds = usage.elapsed.as_secs_f64();
    Ok(vec![records as f64 / seconds, seconds, f64::NAN, usage.own, f64::NAN, usage.others_percent])
}

/// Reads everything, a thread for each processor, and calls `each` with the values.
async fn read(
    broker: &Broker,
    settings: &[(String, String)],
    names: &Names,
    ranges: &[Range],
    each: impl Fn(&[u8]) + Send + Sync + 'static,
) -> Outcome<()> {
    let (mut options, topic) = (broker.options.clone(), names.users.clone());
    options.properties.extend(settings.iter().cloned());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = scan::share(ranges.to_vec(), threads);
    tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let worker = |share| {
                let (each, options, topic) = (&each, &options, &topic);
                scope.spawn(move || {
                    scan::scan(options, topic, share, SILENCE_MAX, |record| {
                        each(record.value().unwrap_or_default());
                        ControlFlow::Continue(())
                    })
                })
            };
            let workers: Vec<_> = shares.iter().map(|share| worker(share.as_slice())).collect();
            for worker in workers {
                worker.join().map_err(|_| "a reader panicked")??;
            }
            Ok(())
        })
    })
    .await?
}

async fn projector(candidate: &Candidate, broker: &Broker, names: &Names, records: u64) -> Outcome<Vec<f64>> {
    let mut service = Service::projector(candidate, broker, names)?;
    let watch = Watch::begin(Some(service.pid()), broker.pid);
    let first = service.until_answered(service.http, "/users/0", &ANSWERED).await? - service.began;
    let ready = service.ready().await? - service.began;
    let (usage, (_, most)) = (watch.end(), memory_of(service.pid()));
    Ok(vec![
        records as f64 / first.as_secs_f64(),
        first.as_secs_f64(),
        ready.as_secs_f64(),
        usage.service,
        most as f64 / MIB,
        usage.others_percent,
    ])
}

/// Turns `RECORDS/USERS` into its numbers.
fn size(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text}: expected RECORDS/USERS, such as 10000000/1000000");
    let (records, users) = text.split_once('/').ok_or_else(wrong)?;
    match (records.parse(), users.parse()) {
        (Ok(records), Ok(users)) if records >= users && users > 0 => Ok((records, users)),
        _ => Err(wrong()),
    }
}

/// Turns `KEY=VALUE ..` into settings.
fn variant(text: &str) -> Result<Variant, String> {
    let setting = |part: &str| {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part}: expected KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let settings = text.split_whitespace().map(setting).collect::<Result<_, String>>()?;
    Ok(Variant { text: text.to_owned(), settings })
}
