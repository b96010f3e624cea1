//! `bench live`: changes that come while a projector follows the topic, until a reader has them.

use std::sync::Arc;
use std::time::Duration;

use kafka::scan::Range;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use domain::topics::{Names, PARTITIONS_DEFAULT};
use domain::wire;
use hdrhistogram::Histogram;

use crate::Outcome;
use crate::arguments::{Candidate, Common, seconds};
use crate::broker::Broker;
use crate::load::{Pace, histogram, quantile_ms};
use crate::process::Service;
use crate::records::{Records, ranges};
use crate::stream::{Dues, Heard, SEEN_WAIT_MAX, Stream};
use crate::table::{Column, Table, by_round, column};
use crate::usage::{Usage, Watch};

/// How long the bare consumer waits for a record before it looks at the time.
const POLL: Duration = Duration::from_millis(100);
const KIB: f64 = 1024.0;

const COLUMNS: [Column; 6] = [
    column("seen", 0),
    column("p50 ms", 2),
    column("p99 ms", 2),
    column("service, % of a processor", 0),
    column("KiB written an event", 1),
    by_round("others %, each round"),
];

/// Measures changes that are written straight onto the topic, from the time due until a subscriber has them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Changes a second; each is a row
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "500,1000,5000")]
    rates: Vec<f64>,
    /// How long each row is measured in each round
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    seconds: Duration,
    /// How long each row runs before it is measured
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,
    /// How many users the table has
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    users: u64,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let broker = Broker::start(&args.common)?;
    let (candidates, records) = (args.common.candidates()?, Records::new(args.users));
    let names = broker.make_topics(PARTITIONS_DEFAULT).await?;
    records.fill(&broker, &names, 0..args.users).await?;
    let mut table = Table::new(format!("live: changes of {} users, until a subscriber has them", args.users), &COLUMNS);
    let mut flow = Flow { args: &args, broker: &broker, names: &names, records, next: args.users };
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        for rate in &args.rates {
            table.add(&format!("bare consumer at {rate}/s (the limit)"), flow.consumer(*rate).await?)?;
            for candidate in &candidates {
                table.add(&format!("{} at {rate}/s", candidate.name), flow.projector(candidate, *rate).await?)?;
            }
        }
    }
    table.print();
    Ok(())
}

/// The changes that are written, one row after the other.
struct Flow<'a> {
    args: &'a Args,
    broker: &'a Broker,
    names: &'a Names,
    records: Records,
    next: u64,
}

impl Flow<'_> {
    async fn consumer(&mut self, rate: f64) -> Outcome<Vec<f64>> {
        let pace = Pace { rate, duration: self.args.seconds };
        let ranges = ranges(self.broker, self.names).await?;
        let consumer = assigned(self.broker, self.names, &ranges)?;
        self.warm_up(rate).await?;
        let dues = self.due(pace);
        let reading = tokio::task::spawn_blocking({
            let (dues, count, patience) = (Arc::clone(&dues), pace.count(), pace.duration + SEEN_WAIT_MAX);
            move || read(&consumer, &dues, count, patience)
        });
        let watch = Watch::begin(None, self.broker.pid);
        self.write(pace, dues).await?;
        let delays = reading.await??;
        Ok(row(&delays, watch.end(), false))
    }

    async fn projector(&mut self, candidate: &Candidate, rate: f64) -> Outcome<Vec<f64>> {
        let mut service = Service::projector(candidate, self.broker, self.names)?;
        service.ready().await?;
        let mut stream = Stream::open(service.http, "?userId=0", "").await?;
        stream.caught_up().await?;
        let from = stream.last_id.clone();
        let stream = Stream::open(service.http, "", &from).await?;
        let pace = Pace { rate, duration: self.args.seconds };
        let warm_up = self.warm_up_pace(rate);
        let dues = Arc::new(Dues::new(self.next + warm_up.count(), pace.count()));
        // Reads meanwhile: a reader that does not is cut off.
        let patience = warm_up.duration + pace.duration + SEEN_WAIT_MAX;
        let reading = tokio::spawn(stream.delays(Arc::clone(&dues), pace.count(), patience));
        self.warm_up(rate).await?;
        let watch = Watch::begin(Some(service.pid()), self.broker.pid);
        self.write(pace, dues).await?;
        let delays = reading.await??;
        Ok(row(&delays, watch.end(), true))
    }

    /// Writes changes that are not measured.
    async fn warm_up(&mut self, rate: f64) -> Outcome<()> {
        self.write(self.warm_up_pace(rate), Arc::new(Dues::new(0, 0))).await
    }

    fn warm_up_pace(&self, rate: f64) -> Pace {
        Pace { rate, duration: self.args.warm_up }
    }

    fn due(&self, pace: Pace) -> Arc<Dues> {
        Arc::new(Dues::new(self.next, pace.count()))
    }

    async fn write(&mut self, pace: Pace, dues: Arc<Dues>) -> Outcome<()> {
        self.records.at_pace(self.broker, self.names, self.next, pace, dues).await?;
        self.next += pace.count();
        Ok(())
    }
}

fn row(delays: &Histogram<u64>, usage: Usage, is_service: bool) -> Vec<f64> {
    let used = if is_service { usage.service } else { usage.own };
    vec![
        delays.len() as f64,
        quantile_ms(delays, 0.5),
        quantile_ms(delays, 0.99),
        100.0 * used / usage.elapsed.as_secs_f64(),
        if is_service { usage.written / delays.len() as f64 / KIB } else { f64::NAN },
        usage.others_percent,
    ]
}

/// Returns a consumer that begins at the end of the log.
fn assigned(broker: &Broker, names: &Names, ranges: &[Range]) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &broker.options.bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false");
    for (name, value) in &broker.options.properties {
        config.set(name, value);
    }
    let (consumer, mut list): (BaseConsumer, _) = (config.create()?, TopicPartitionList::new());
    for range in ranges {
        list.add_partition_offset(&names.users, range.partition, Offset::Offset(range.end))?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Reads until so many of the changes that are due have come.
fn read(consumer: &BaseConsumer, dues: &Dues, count: u64, patience: Duration) -> Outcome<Histogram<u64>> {
    let (began, mut delays) = (tokio::time::Instant::now(), histogram()?);
    while delays.len() < count {
        if began.elapsed() > patience {
            return Err(format!("{} of {count} changes were read", delays.len()).into());
        }
        if let Some(message) = consumer.poll(POLL) {
            let current = wire::decode(message?.payload().unwrap_or_default())?;
            let number = current.new.contact_phone.and_then(|number| number.parse().ok());
            number.into_iter().for_each(|number| dues.record(Heard::User(number), &mut delays));
        }
    }
    Ok(delays)
}
