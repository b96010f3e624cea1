//! `bench ingest`: webhooks acknowledged in a second.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::topics::{Names, PARTITIONS_DEFAULT};
use kafka::publish::Outgoing;
use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::{Candidate, Common, seconds};
use crate::bare::{BareHttp, BareProducer};
use crate::bodies::Bodies;
use crate::broker::Broker;
use crate::load::{self, Answers, Pace, WriteRequest, quantile_ms};
use crate::process::{SECRET, Service};
use crate::table::{Column, Table, by_round, column};
use crate::usage::{Usage, Watch};

/// What an answer of ingest has.
pub(crate) const ANSWER_BYTES: usize = 160;
/// How many times its best load a service gets under overload.
const OVERLOAD: f64 = 6.0;
/// The bare producer, by which the others are divided, has the second row.
const LIMIT_ROW: usize = 1;

const COLUMNS: [Column; 7] = [
    column("acked/s", 0),
    column("p50 ms", 2),
    column("p99 ms", 2),
    column("CPU s per 100,000: service", 1),
    column("broker", 1),
    column("load", 1),
    by_round("others %, each round"),
];
const OVERLOAD_COLUMNS: [Column; 8] = [
    column("goodput/s", 0),
    column("of its best", 2),
    column("sent/s", 0),
    column("of those due", 2),
    column("503/s", 0),
    column("503 p50 ms", 2),
    column("503 p99 ms", 2),
    by_round("others %, each round"),
];

/// Measures the webhooks that are acknowledged in a second, from a closed loop of connections
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// How long each row is measured in each round
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How long each row runs before it is measured
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,
    /// How many requests are in flight
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// How many users the webhooks are of
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    users: u64,
    /// How many connections send under overload, at six times the best load of the round; 0: no overload. With as many
    /// requests at a time as there are connections nothing is refused, and each connection waits: with fewer
    /// (--also webhook.requests_max=256) the rest is answered 503
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    overload_connections: usize,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let (broker, bodies) = (Broker::start(&args.common)?, Arc::new(Bodies::new(args.users)?));
    let candidates = args.common.candidates()?;
    let title = format!("ingest: {} connections, bodies of {} bytes", args.connections, bodies.length());
    let mut table = Table::new(title, &COLUMNS).with_ratio(0, LIMIT_ROW);
    let mut overload = Table::new("ingest under six times its best load", &OVERLOAD_COLUMNS);
    // Uncounted: a broker that has just started is slower, with each kind of request.
    drop(bare_producer(&args, &broker, &bodies).await?);
    if let Some(candidate) = candidates.first() {
        drop(Run::start(&args, candidate, &broker, &bodies).await?.closed().await?);
    }
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        table.add("bare hyper", bare_http(&args, &bodies).await?)?;
        table.add("bare producer (the limit)", bare_producer(&args, &broker, &bodies).await?)?;
        for candidate in &candidates {
            let run = Run::start(&args, candidate, &broker, &bodies).await?;
            let row = run.closed().await?;
            let best = row[0];
            table.add(&candidate.name, row)?;
            if args.overload_connections > 0 {
                overload.add(&candidate.name, run.overload(best).await?)?;
            }
        }
    }
    table.print();
    if args.overload_connections > 0 {
        overload.print();
    }
    Ok(())
}

async fn bare_http(args: &Args, bodies: &Arc<Bodies>) -> Outcome<Vec<f64>> {
    let server = BareHttp::start(ANSWER_BYTES).await?;
    let (write, numbers) = (webhooks(bodies, None), Arc::default());
    load::closed(server.address, args.connections, args.warm_up, &numbers, &write).await?;
    let watch = Watch::begin(Some(server.pid()), None);
    let answers = load::closed(server.address, args.connections, args.seconds, &numbers, &write).await?;
    Ok(row(&answers.checked()?, watch.end()))
}

async fn bare_producer(args: &Args, broker: &Broker, bodies: &Bodies) -> Outcome<Vec<f64>> {
    let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
    let producer = BareProducer::new(broker, sample(bodies, &names)?)?;
    producer.closed(args.connections, args.warm_up).await?;
    let watch = Watch::begin(None, broker.pid);
    let latencies = producer.closed(args.connections, args.seconds).await?;
    let usage = watch.end();
    let mut row = row(&Answers { good: latencies, ..Answers::new()? }, usage);
    // The producer is in this process: there is no service beside it.
    row.swap(3, 5);
    Ok(row)
}

/// Returns the record that ingest makes of a webhook.
pub(crate) fn sample(bodies: &Bodies, names: &Names) -> Outcome<Outgoing> {
    Ok(Outgoing::event(&bodies.event(0)?, &names.users, None))
}

/// Returns what writes webhooks, and notes when each was due.
pub(crate) fn webhooks(bodies: &Arc<Bodies>, due: Option<Arc<crate::stream::Dues>>) -> WriteRequest {
    let (bodies, path) = (Arc::clone(bodies), format!("/webhooks/users?secret-key={SECRET}"));
    Arc::new(move |number: u64, due_at: Instant, to: &mut Vec<u8>| {
        if let Some(due) = &due {
            due.note(number, due_at);
        }
        bodies.write_request(&path, number, to);
    })
}

/// A service on topics of its own.
struct Run<'a> {
    args: &'a Args,
    broker: &'a Broker,
    service: Service,
    write: WriteRequest,
    numbers: Arc<AtomicU64>,
}

impl<'a> Run<'a> {
    async fn start(args: &'a Args, candidate: &Candidate, broker: &'a Broker, bodies: &Arc<Bodies>) -> Outcome<Self> {
        let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
        let mut service = Service::ingest(candidate, broker, &names)?;
        service.ready().await?;
        let (write, numbers) = (webhooks(bodies, None), Arc::default());
        load::closed(service.http, args.connections, args.warm_up, &numbers, &write).await?;
        Ok(Self { args, broker, service, write, numbers })
    }

    async fn closed(&self) -> Outcome<Vec<f64>> {
        let watch = Watch::begin(Some(self.service.pid()), self.broker.pid);
        let (at, args) = (self.service.http, self.args);
        let answers = load::closed(at, args.connections, args.seconds, &self.numbers, &self.write).await?;
        Ok(row(&answers.checked()?, watch.end()))
    }

    async fn overload(&self, best: f64) -> Outcome<Vec<f64>> {
        let pace = Pace { rate: OVERLOAD * best, duration: self.args.seconds };
        let watch = Watch::begin(Some(self.service.pid()), self.broker.pid);
        let (at, connections) = (self.service.http, self.args.overload_connections);
        let answers = load::open(at, connections, pace, true, &self.numbers, &self.write).await?.checked()?;
        let usage = watch.end();
        let per_second = |count: u64| count as f64 / usage.elapsed.as_secs_f64();
        let goodput = per_second(answers.good.len());
        let sent = answers.good.len() + answers.busy.len();
        Ok(vec![
            goodput,
            goodput / best,
            per_second(sent),
            sent as f64 / pace.count() as f64,
            per_second(answers.busy.len()),
            quantile_ms(&answers.busy, 0.5),
            quantile_ms(&answers.busy, 0.99),
            usage.others_percent,
        ])
    }
}

fn row(answers: &Answers, usage: Usage) -> Vec<f64> {
    let acked = answers.good.len() as f64;
    let per_100_000 = |seconds: f64| seconds / acked * 100_000.0;
    vec![
        acked / usage.elapsed.as_secs_f64(),
        quantile_ms(&answers.good, 0.5),
        quantile_ms(&answers.good, 0.99),
        per_100_000(usage.service),
        per_100_000(usage.broker),
        per_100_000(usage.own),
        usage.others_percent,
    ]
}
