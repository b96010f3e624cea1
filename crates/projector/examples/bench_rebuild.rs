//! Measures a rebuild, each stage alone and the whole, in one run against one topic.
//!
//! ```text
//! cargo run --release -p rollcall-projector --example bench_rebuild -- \
//!     --bootstrap 127.0.0.1:9092 --records 10000000 --users 1000000 [--partitions 6] [--memory-mib 1024] \
//!     [--threads 2] [--property name=value ..]
//! ```
//!
//! The topic (`bench.users.<records>.<users>`) is made and filled when it is not there; a second run finds it. Every
//! record is a user event as the vendor's samples have them, keys in pseudo-random order. `--live N` measures the live
//! path as well: N records appended, then followed by a projection with a store of its own.
//!
//! Beside the time on the clock stands the processor time of this process (the broker's is not in it): on a machine
//! that does other things as well, that is the number to compare. Of a broker in a container whose port is published on
//! the loopback, a good part of the time goes to Docker's proxy: `docker run --network host` measures Kafka and
//! Rollcall.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::topics::Spec;
use domain::{EventId, EventType, UnixMillis, User, UserEvent, UserId, Version, headers, wire};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kafka::ClientOptions;
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::scan::{self, Range};
use kafka::topics;
use projector::rebuild::{Meter, Plan};
use projector::store::StoreMeta;
use projector::{Options, Projection};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ASK: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How many records wait for their acknowledgement while the topic is filled.
const IN_FLIGHT: usize = 20_000;
/// How many values are kept in memory for the stages that are measured without Kafka.
const SAMPLE: usize = 200_000;

struct Arguments {
    bootstrap: String,
    records: u64,
    users: u64,
    partitions: i32,
    memory_mib: usize,
    threads: usize,
    live: u64,
    properties: BTreeMap<String, String>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse()?;
    let topic = format!("bench.users.{}.{}", arguments.records, arguments.users);
    let mut kafka = ClientOptions::new(&arguments.bootstrap);
    let spec = Spec::users(&topic, arguments.partitions, 1).with("min.compaction.lag.ms", "604800000");
    topics::create(&kafka, &[spec], ASK).await?;
    if ranges(&kafka, &topic)?.iter().map(|range| range.end - range.start).sum::<i64>() == 0 {
        kafka.properties.insert("linger.ms".to_owned(), "50".to_owned());
        kafka.properties.insert("batch.num.messages".to_owned(), "10000".to_owned());
        fill(&kafka, &topic, &arguments, 0..arguments.records).await?;
        kafka.properties.clear();
    }
    kafka.properties.extend(arguments.properties.clone());
    let (worker_kafka, worker_topic) = (kafka.clone(), topic.clone());
    let live = arguments.live;
    let arguments = tokio::task::spawn_blocking(move || {
        stages(&worker_kafka, &worker_topic, &arguments).map(|()| arguments).map_err(|error| error.to_string())
    })
    .await??;
    if live > 0 {
        follow_live(&mut kafka, &topic, &arguments).await?;
    }
    Ok(())
}

/// Reads, decodes, folds and loads, each alone, then all of it.
fn stages(kafka: &ClientOptions, topic: &str, arguments: &Arguments) -> Outcome<()> {
    let ranges = ranges(kafka, topic)?;
    let records: u64 = ranges.iter().map(|range| range.end.abs_diff(range.start)).sum();
    let plan = Plan {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        schemas: Default::default(),
        ranges,
        memory_bytes_max: arguments.memory_mib << 20,
        threads: arguments.threads,
    };
    println!("{records} records of {} users, {} threads", arguments.users, plan.threads);

    let (bytes, took) = timed(|| read(&plan, |value| value.len() as u64))?;
    report("read alone", records, took);
    println!("{:30} {} bytes a record", "", bytes / records.max(1));
    let read_alone = took;
    let (_, took) = timed(|| read(&plan, |value| u64::from(wire::decode_head(value).is_ok())))?;
    report("read and decode heads", records, took);

    let sample = sample(&plan)?;
    let (_, took) = timed(|| Ok(sample.iter().filter(|value| black_box(wire::decode_head(value)).is_ok()).count()))?;
    report("decode heads alone, 1 thread", sample.len() as u64, took);
    let (_, took) = timed(|| Ok(sample.iter().filter(|value| black_box(wire::decode_current(value)).is_ok()).count()))?;
    report("decode the state, 1 thread", sample.len() as u64, took);
    let (_, took) = timed(|| Ok(sample.iter().filter(|value| black_box(wire::decode(value)).is_ok()).count()))?;
    report("decode the event, 1 thread", sample.len() as u64, took);
    drop(sample);

    let meter = Meter::new(plan.offsets());
    let (folded, took) = timed(|| Ok(projector::rebuild::fold(&plan, i64::MIN, &meter)?))?;
    report("read, decode and fold", records, took);
    let kept = folded.map(|folded| folded.users()).unwrap_or_default();
    println!("{:30} {kept} users kept, {}", "", memory());

    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().join("bench.db");
    let log = domain::LogId { cluster: "bench".to_owned(), topic: domain::TopicId::from_bytes([0; 16]) };
    let meta = StoreMeta::new(topic, &log, UnixMillis::from_millis(0));
    let meter = Meter::new(plan.offsets());
    let (made, took) = timed(|| Ok(projector::rebuild::make(&plan, &path, &meta, &meter)?))?;
    let made = made.ok_or("stopped")?;
    report_part("  of the whole: fold", records, made.folding);
    report_part("  of the whole: load, users", made.users, made.loading);
    report("the whole, store on disk", records, took);
    println!(
        "{:30} {:.2} of reading alone, {:.2} by the processor; {} passes; {} MiB on disk; {}",
        "",
        read_alone.clock.as_secs_f64() / took.clock.as_secs_f64(),
        read_alone.processor / took.processor,
        made.passes,
        std::fs::metadata(&path)?.len() >> 20,
        memory()
    );
    Ok(())
}

/// Appends records to the topic and lets a projection that has read the rest follow them.
async fn follow_live(kafka: &mut ClientOptions, topic: &str, arguments: &Arguments) -> Outcome<()> {
    let dir = tempfile::tempdir_in(".")?;
    let options = || Options { kafka: kafka.clone(), ..Options::new("", topic, dir.path()) };
    let projection = Projection::open(options())?;
    projection.ready().await?;
    println!("{:30} {}", "at rest after its rebuild", memory());
    projection.close().await?;
    let until = arguments.records + arguments.live;
    fill(kafka, topic, arguments, arguments.records..until).await?;
    let began = Instant::now();
    let projection = Projection::open(options())?;
    projection.ready().await?;
    report_part("followed live", arguments.live, began.elapsed());
    projection.close().await?;
    Ok(())
}

fn ranges(kafka: &ClientOptions, topic: &str) -> Outcome<Vec<Range>> {
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    let asked = std::thread::spawn(move || scan::ranges(&kafka, &topic, ASK)).join();
    Ok(asked.map_err(|_| "asking panicked")??)
}

/// Reads everything with as many threads as a rebuild has, and sums up what `each` makes of the values.
fn read(plan: &Plan, each: impl Fn(&[u8]) -> u64 + Sync) -> Outcome<u64> {
    let sum = AtomicU64::new(0);
    let shares = scan::share(plan.ranges.clone(), plan.threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .iter()
            .map(|share| {
                let (each, sum) = (&each, &sum);
                scope.spawn(move || {
                    let mut own = 0;
                    let scanned = scan::scan(&plan.kafka, &plan.topic, share, SILENCE_MAX, |record| {
                        own += each(record.value().unwrap_or_default());
                        ControlFlow::Continue(())
                    });
                    sum.fetch_add(own, Ordering::Relaxed);
                    scanned
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(sum.load(Ordering::Relaxed))
    })
}

fn sample(plan: &Plan) -> Outcome<Vec<Vec<u8>>> {
    let mut sample = Vec::new();
    scan::scan(&plan.kafka, &plan.topic, &plan.ranges, SILENCE_MAX, |record| {
        sample.extend(record.value().map(<[u8]>::to_vec));
        if sample.len() < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(sample)
}

/// Publishes the records of these numbers, with many of them on their way at once.
async fn fill(kafka: &ClientOptions, topic: &str, arguments: &Arguments, numbers: std::ops::Range<u64>) -> Outcome<()> {
    let limits = Limits { deadline: Duration::from_secs(120), queue_messages: 100_000, queue_kbytes: 256 * 1024 };
    let publisher = Publisher::open(kafka, limits)?;
    let (began, count) = (Instant::now(), numbers.end - numbers.start);
    // Recent, or the cleaner would begin to compact while the topic is filled, and a run would measure something else.
    let now_ms = now_ms()?;
    let mut waiting = FuturesUnordered::new();
    for number in numbers {
        if waiting.len() == IN_FLIGHT {
            waiting.next().await.ok_or("nothing was waiting")???;
        }
        let event = nth_event(number, arguments.users, now_ms);
        let outgoing = Outgoing {
            topic: topic.to_owned(),
            key: event.user_id.to_string().into_bytes(),
            value: Some(wire::encode(&event)),
            headers: headers::for_event(&event, None)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
            timestamp: event.received_at,
            partition: None,
        };
        let publisher = publisher.clone();
        waiting.push(tokio::spawn(async move { publisher.publish(outgoing).await.map_err(|error| error.to_string()) }));
    }
    while let Some(published) = waiting.next().await {
        published??;
    }
    report_part("filled", count, began.elapsed());
    Ok(())
}

/// The n-th record: the users in a scattered order, each time round with the next change of each.
fn nth_event(number: u64, users: u64, began: i64) -> UserEvent {
    const SCATTER: u64 = 2_654_435_761;
    let (round, place) = (number / users, number % users);
    let id = i64::try_from((place * SCATTER) % users).expect("fewer users than that");
    let round = i64::try_from(round).expect("fewer rounds than that");
    let user_id = UserId::new(id).expect("it is small");
    let version = |round: i64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&id.to_be_bytes());
        bytes[8..].copy_from_slice(&round.to_be_bytes());
        Version::from_bytes(bytes)
    };
    let occurred_at = UnixMillis::from_millis(began + round * 1_000);
    let parent = (round > 0).then(|| version(round - 1));
    let timestamp = occurred_at.to_string();
    let kind = if round > 0 { EventType::Changed } else { EventType::Created };
    UserEvent {
        user_id,
        kind,
        occurred_at,
        version: version(round),
        parent,
        event_id: EventId::derive(user_id, kind, &timestamp, version(round), parent),
        received_at: occurred_at,
        timestamp,
        password_changed: false,
        new: user(user_id, round),
        old: (round > 0).then(|| user(user_id, round - 1)),
        extra: Default::default(),
        omitted: Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a program's edge")]
fn now_ms() -> Outcome<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}

fn user(user_id: UserId, round: i64) -> User {
    let id = user_id.get();
    let mut user = User::new(user_id);
    user.contact_phone = Some(String::new());
    user.email = Some(format!("agent{id}@callcenter.example"));
    user.extension = Some((10_000 + id).to_string());
    user.hourly = Some(10 + round);
    user.is_agent = Some(id % 20 != 0);
    user.name = Some(format!("{} {}", ["Rachel", "János", "Mária", "Peter"][usize::try_from(id % 4).unwrap_or(0)], id));
    user.outbound_phone = Some(format!("+3612{id:06}"));
    user.priv_group = Some(id % 50);
    user.redistribution = Some(round % 2);
    user.register_transport = Some("sip-tcp".to_owned());
    user.sample_rate = Some("global".to_owned());
    user.state = Some(if id % 10 == 9 { "inactive" } else { "active" }.to_owned());
    user.username = Some(format!("agent{id}"));
    user
}

/// What something took: on the clock, and of the processors.
#[derive(Clone, Copy)]
struct Took {
    clock: Duration,
    processor: f64,
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Took)> {
    let (began, processor) = (Instant::now(), processor_seconds());
    let done = work()?;
    Ok((done, Took { clock: began.elapsed(), processor: processor_seconds() - processor }))
}

/// User and system time of this process (proc(5): fields 14 and 15, in hundredths of a second on Linux).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { f64::INFINITY }
}

fn report(what: &str, count: u64, took: Took) {
    let (clock, processor) = (took.clock.as_secs_f64(), took.processor);
    println!("{what:30} {clock:8.2} s {:11.0} a second; processor {processor:7.2} s", rate(count, clock));
}

fn report_part(what: &str, count: u64, clock: Duration) {
    println!("{what:30} {:8.2} s {:11.0} a second", clock.as_secs_f64(), rate(count, clock.as_secs_f64()));
}

/// What the process takes and took at most (proc(5)).
fn memory() -> String {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    format!("memory now {}, anonymous {}, at most {}", of("VmRSS:"), of("RssAnon:"), of("VmHWM:"))
}

impl Arguments {
    fn parse() -> Outcome<Self> {
        let mut arguments = Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            records: 10_000_000,
            users: 1_000_000,
            partitions: 6,
            memory_mib: 1024,
            threads: 2,
            live: 0,
            properties: BTreeMap::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--bootstrap" => arguments.bootstrap = value,
                "--records" => arguments.records = value.parse()?,
                "--users" => arguments.users = value.parse()?,
                "--partitions" => arguments.partitions = value.parse()?,
                "--memory-mib" => arguments.memory_mib = value.parse()?,
                "--threads" => arguments.threads = value.parse()?,
                "--live" => arguments.live = value.parse()?,
                "--property" => {
                    let (name, value) = value.split_once('=').ok_or("--property needs name=value")?;
                    arguments.properties.insert(name.to_owned(), value.to_owned());
                }
                other => return Err(format!("unknown: {other}").into()),
            }
        }
        Ok(arguments)
    }
}
