//! `bench latency`: what a webhook waits for its answer, and until its user can be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::topics::PARTITIONS_DEFAULT;
use hdrhistogram::Histogram;

use crate::Outcome;
use crate::arguments::{Candidate, Common, seconds};
use crate::bare::{BareHttp, BareProducer};
use crate::bodies::Bodies;
use crate::broker::Broker;
use crate::ingest::{ANSWER_BYTES, sample, webhooks};
use crate::load::{self, Answers, Pace, quantile_ms};
use crate::process::Service;
use crate::stream::{Dues, SEEN_WAIT_MAX, Stream};
use crate::table::{Column, Table, by_round, column};
use crate::usage::{Usage, Watch};

/// More requests than that are not in flight at any rate that a machine with few processors can have.
const CONNECTIONS: usize = 64;

const COLUMNS: [Column; 7] = [
    column("p50 ms", 2),
    column("p99 ms", 2),
    column("added p50 ms", 2),
    column("added p99 ms", 2),
    column("answers", 0),
    column("service, % of a processor", 0),
    by_round("others %, each round"),
];

/// Measures what a webhook waits at a fixed rate, from the time at which it was due
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Webhooks a second
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    /// How long each row is measured in each round
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    seconds: Duration,
    /// How long each row runs before it is measured
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,
    /// How many users the webhooks are of
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    users: u64,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let (broker, bodies) = (Broker::start(&args.common)?, Arc::new(Bodies::new(args.users)?));
    let candidates = args.common.candidates()?;
    let title = format!("latency at {} a second, from the time due; added to the bare producer's", args.rate);
    let mut table = Table::new(title, &COLUMNS);
    // Uncounted: a broker that has just started is slower, with each kind of request.
    drop(bare_producer(&args, &broker, &bodies).await?);
    if let Some(candidate) = candidates.first() {
        drop(until_seen(&args, candidate, &broker, &bodies).await?);
    }
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        table.add("bare hyper", bare_http(&args, &bodies).await?.row(None))?;
        let limit = bare_producer(&args, &broker, &bodies).await?;
        table.add("bare producer (the limit)", limit.row(None))?;
        for candidate in &candidates {
            let alone = ingest_alone(&args, candidate, &broker, &bodies).await?;
            table.add(&format!("{}: answered", candidate.name), alone.row(Some(&limit)))?;
            let seen = until_seen(&args, candidate, &broker, &bodies).await?;
            table.add(&format!("{}: in the projector", candidate.name), seen.row(Some(&limit)))?;
        }
    }
    table.print();
    Ok(())
}

impl Args {
    fn pace(&self, duration: Duration) -> Pace {
        Pace { rate: self.rate, duration }
    }
}

/// The latencies of a round of a row.
struct Measured {
    latencies: Histogram<u64>,
    usage: Usage,
}

impl Measured {
    fn row(&self, limit: Option<&Self>) -> Vec<f64> {
        let quantile = |quantile| quantile_ms(&self.latencies, quantile);
        let added = |at| limit.map_or(f64::NAN, |limit| quantile(at) - quantile_ms(&limit.latencies, at));
        vec![
            quantile(0.5),
            quantile(0.99),
            added(0.5),
            added(0.99),
            self.latencies.len() as f64,
            100.0 * self.usage.service / self.usage.elapsed.as_secs_f64(),
            self.usage.others_percent,
        ]
    }
}

async fn bare_http(args: &Args, bodies: &Arc<Bodies>) -> Outcome<Measured> {
    let server = BareHttp::start(ANSWER_BYTES).await?;
    let (write, numbers, at) = (webhooks(bodies, None), Arc::default(), server.address);
    load::open(at, CONNECTIONS, args.pace(args.warm_up), false, &numbers, &write).await?;
    let watch = Watch::begin(Some(server.pid()), None);
    let answers = load::open(at, CONNECTIONS, args.pace(args.seconds), false, &numbers, &write).await?;
    all_good(answers, watch.end())
}

async fn bare_producer(args: &Args, broker: &Broker, bodies: &Bodies) -> Outcome<Measured> {
    let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
    let producer = BareProducer::new(broker, sample(bodies, &names)?)?;
    producer.open(CONNECTIONS, args.pace(args.warm_up)).await?;
    let watch = Watch::begin(None, broker.pid);
    let latencies = producer.open(CONNECTIONS, args.pace(args.seconds)).await?;
    Ok(Measured { latencies, usage: watch.end() })
}

async fn ingest_alone(args: &Args, candidate: &Candidate, broker: &Broker, bodies: &Arc<Bodies>) -> Outcome<Measured> {
    let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
    let mut service = Service::ingest(candidate, broker, &names)?;
    service.ready().await?;
    let (write, numbers) = (webhooks(bodies, None), Arc::default());
    load::open(service.http, CONNECTIONS, args.pace(args.warm_up), false, &numbers, &write).await?;
    let watch = Watch::begin(Some(service.pid()), broker.pid);
    let answers = load::open(service.http, CONNECTIONS, args.pace(args.seconds), false, &numbers, &write).await?;
    all_good(answers, watch.end())
}

/// Measures until a subscriber of the projector has the user.
async fn until_seen(args: &Args, candidate: &Candidate, broker: &Broker, bodies: &Arc<Bodies>) -> Outcome<Measured> {
    let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
    let mut ingest = Service::ingest(candidate, broker, &names)?;
    let mut projector = Service::projector(candidate, broker, &names)?;
    ingest.ready().await?;
    projector.ready().await?;
    let mut stream = Stream::open(projector.http, "", "").await?;
    stream.caught_up().await?;
    let numbers = Arc::new(AtomicU64::new(0));
    let warm_up = args.pace(args.warm_up);
    load::open(ingest.http, CONNECTIONS, warm_up, false, &numbers, &webhooks(bodies, None)).await?;
    let (pace, first) = (args.pace(args.seconds), numbers.load(Ordering::Relaxed));
    let dues = Arc::new(Dues::new(first, pace.count()));
    let seen = tokio::spawn(stream.delays(Arc::clone(&dues), pace.count(), pace.duration + SEEN_WAIT_MAX));
    let watch = Watch::begin(Some(projector.pid()), broker.pid);
    let write = webhooks(bodies, Some(dues));
    let answers = load::open(ingest.http, CONNECTIONS, pace, false, &numbers, &write).await?;
    let usage = watch.end();
    all_good(answers, usage)?;
    Ok(Measured { latencies: seen.await??, usage })
}

fn all_good(answers: Answers, usage: Usage) -> Outcome<Measured> {
    let answers = answers.checked()?;
    if !answers.busy.is_empty() {
        return Err(format!("{} answers were 503 at a rate that is no overload", answers.busy.len()).into());
    }
    Ok(Measured { latencies: answers.good, usage })
}
