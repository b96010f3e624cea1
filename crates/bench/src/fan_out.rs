//! `bench fan-out`: many subscribers of one projector.

mod crowd;

use std::sync::Arc;
use std::time::Duration;

use domain::topics::{Names, PARTITIONS_DEFAULT};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::{Candidate, Common, seconds};
use crate::broker::Broker;
use crate::load::{Pace, histogram, quantile_ms, record};
use crate::process::Service;
use crate::records::{GROUPS, Records};
use crate::stream::{Dues, SEEN_WAIT_MAX, Stream};
use crate::table::{Column, Table, by_round, column};
use crate::usage::{MIB, Watch, forget_most, memory_of};
use crowd::{Crowd, Wish};

const FAN_OUT_COLUMNS: [Column; 7] = [
    column("events sent/s", 0),
    column("of those due", 2),
    column("p50 ms", 1),
    column("p99 ms", 1),
    column("cut off", 0),
    column("service, % of a processor", 0),
    by_round("others %, each round"),
];
const COMING_COLUMNS: [Column; 6] = [
    column("resumes: half of them within s", 2),
    column("all within s", 2),
    column("snapshot of all users s", 2),
    column("MiB more meanwhile", 0),
    column("MiB more after all have gone", 0),
    by_round("others %, each round"),
];
/// Memory that was used last a moment ago may still be on its way back.
const SETTLING: Duration = Duration::from_secs(5);
/// Places for those who only ask something, beside the subscribers.
const SPARE: usize = 100;

/// Measures the changes that many subscribers of one projector are sent
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// How many subscribers there are; each number is measured with and without a filter
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000,5000")]
    subscribers: Vec<usize>,
    /// Changes a second
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    /// How long each row is measured in each round
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How many users the table has
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    users: u64,
    /// How many subscribers come back at once
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    resumes: usize,
    /// How many changes they have missed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    missed: u64,
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
    let mut sent =
        Table::new(format!("fan-out: {} changes a second of {} users", args.rate, args.users), &FAN_OUT_COLUMNS);
    let title =
        format!("{} subscribers come back after {} changes; one comes for all users", args.resumes, args.missed);
    let mut coming = Table::new(title, &COMING_COLUMNS);
    let mut next = args.users;
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        for candidate in &candidates {
            let mut stage = Stage::start(&args, candidate, &broker, &names, records, next).await?;
            for subscribers in &args.subscribers {
                for wish in [Wish::Group, Wish::All] {
                    let name = format!("{}: {subscribers} {}", candidate.name, wish.name());
                    sent.add(&name, stage.fan_out(*subscribers, wish).await?)?;
                }
            }
            coming.add(&candidate.name, stage.coming().await?)?;
            next = stage.next;
        }
    }
    sent.print();
    coming.print();
    Ok(())
}

/// A projector with its subscribers, and the changes that are written.
struct Stage<'a> {
    args: &'a Args,
    broker: &'a Broker,
    names: &'a Names,
    records: Records,
    next: u64,
    service: Service,
    /// Its memory before anybody came.
    before: u64,
}

impl<'a> Stage<'a> {
    async fn start(
        args: &'a Args,
        candidate: &Candidate,
        broker: &'a Broker,
        names: &'a Names,
        records: Records,
        next: u64,
    ) -> Outcome<Self> {
        let places = args.subscribers.iter().copied().chain([args.resumes]).max().unwrap_or_default() + SPARE;
        let mut candidate = candidate.clone();
        candidate.settings.extend([
            format!("changes.subscribers_max={places}"),
            format!("auth.streams_per_principal_max={places}"),
            // A quarter is not for streams.
            format!("http.connections_max={}", places * 2),
        ]);
        let mut service = Service::projector(&candidate, broker, names)?;
        service.ready().await?;
        let before = memory_of(service.pid()).0;
        Ok(Self { args, broker, names, records, next, service, before })
    }

    /// Returns the id from which nothing is new.
    async fn newest(&self) -> Outcome<String> {
        let mut stream = Stream::open(self.service.http, "?userId=0", "").await?;
        stream.caught_up().await?;
        Ok(stream.last_id)
    }

    async fn fan_out(&mut self, subscribers: usize, wish: Wish) -> Outcome<Vec<f64>> {
        let pace = Pace { rate: self.args.rate, duration: self.args.seconds };
        let dues = Arc::new(Dues::new(self.next, pace.count()));
        let crowd = Crowd::gather(self.service.http, subscribers, wish, &self.newest().await?, &dues).await?;
        let due = crowd.due(&self.records, self.next..self.next + pace.count());
        let watch = Watch::begin(Some(self.service.pid()), self.broker.pid);
        self.records.at_pace(self.broker, self.names, self.next, pace, dues).await?;
        self.next += pace.count();
        crowd.until_served(due).await;
        let usage = watch.end();
        let (delays, cut_off) = crowd.leave().await?;
        self.all_gone().await?;
        let sent = delays.len() as f64;
        Ok(vec![
            sent / usage.elapsed.as_secs_f64(),
            sent / due as f64,
            quantile_ms(&delays, 0.5),
            quantile_ms(&delays, 0.99),
            cut_off as f64,
            100.0 * usage.service / usage.elapsed.as_secs_f64(),
            usage.others_percent,
        ])
    }

    async fn coming(&mut self) -> Outcome<Vec<f64>> {
        let watch = Watch::begin(Some(self.service.pid()), self.broker.pid);
        let (from, missed) = (self.newest().await?, self.args.missed);
        let stream = Stream::open(self.service.http, "", &from).await?;
        let dues = Arc::new(Dues::new(self.next, missed));
        (self.next..self.next + missed).for_each(|number| dues.note(number, Instant::now()));
        let seen = tokio::spawn(stream.delays(dues, missed, SEEN_WAIT_MAX));
        self.records.fill(self.broker, self.names, self.next..self.next + missed).await?;
        self.next += missed;
        seen.await??;
        let resumed = self.resume(&from).await?;
        self.all_gone().await?;
        let (before, _) = memory_of(self.service.pid());
        forget_most(self.service.pid());
        let began = Instant::now();
        Stream::open(self.service.http, "", "").await?.caught_up().await?;
        let took = began.elapsed();
        let (_, most) = memory_of(self.service.pid());
        self.all_gone().await?;
        tokio::time::sleep(SETTLING).await;
        let (after, _) = memory_of(self.service.pid());
        Ok(vec![
            quantile_ms(&resumed, 0.5) / 1000.0,
            quantile_ms(&resumed, 1.0) / 1000.0,
            took.as_secs_f64(),
            most.saturating_sub(before) as f64 / MIB,
            after.saturating_sub(self.before) as f64 / MIB,
            watch.end().others_percent,
        ])
    }

    /// Lets all come back at once, and returns when each had caught up.
    async fn resume(&self, from: &str) -> Outcome<hdrhistogram::Histogram<u64>> {
        let (mut coming, mut took, began) = (JoinSet::new(), histogram()?, Instant::now());
        for nth in 0..self.args.resumes {
            let (server, from, query) = (self.service.http, from.to_owned(), Wish::Group.query(nth));
            coming.spawn(async move {
                Stream::open(server, &query, &from).await?.caught_up().await?;
                Outcome::Ok(began.elapsed())
            });
        }
        while let Some(one) = coming.join_next().await {
            record(&mut took, one??);
        }
        Ok(took)
    }

    /// Waits until the service knows that all are gone. It notices that of a quiet reader when it writes to it, which
    /// may be half a minute later: so there is a change for everybody.
    async fn all_gone(&mut self) -> Outcome<()> {
        self.records.fill(self.broker, self.names, self.next..self.next + GROUPS).await?;
        self.next += GROUPS;
        self.service.until_metric("rollcall_projector_subscribers", |subscribers| subscribers < 1.0).await.map(drop)
    }
}
