//! `bench get`: users asked of a projector, beside an HTTP answer of the same size with nothing behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::{Common, seconds};
use crate::bare::BareHttp;
use crate::broker::Broker;
use crate::connection::{Connection, get};
use crate::load::{self, WriteRequest, quantile_ms};
use crate::process::Service;
use crate::rebuild::filled;
use crate::records::email;
use crate::table::{Column, Table, by_round, column};
use crate::usage::Watch;

const COLUMNS: [Column; 6] = [
    column("answers/s", 0),
    column("p50 ms", 2),
    column("p99 ms", 2),
    column("CPU µs each: service", 1),
    column("load", 1),
    by_round("others %, each round"),
];
/// The user that is asked for again and again.
const ONE: u64 = 7;

/// Measures the users that a projector answers in a second, from a closed loop of connections
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// How many users the table has
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(8..))]
    users: u64,
    /// How long each row is measured in each round
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How long each row runs before it is measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    warm_up: Duration,
    /// How many requests are in flight
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) async fn run(args: Args) -> Outcome<()> {
    let broker = Broker::start(&args.common)?;
    let (names, candidates) = (filled(&broker, args.users, args.users).await?, args.common.candidates()?);
    let title = format!("get: {} users, {} connections", args.users, args.connections);
    let mut table = Table::new(title, &COLUMNS).with_ratio(0, 0);
    let users = args.users;
    let rows: [(&str, WriteRequest); 3] = [
        ("random users", paths(move |number| format!("/users/{}", scattered(number, users)))),
        ("one user", paths(|_| format!("/users/{ONE}"))),
        ("by e-mail", paths(move |number| format!("/users/by-email/{}", email(scattered(number, users))))),
    ];
    for round in 1..=args.common.rounds {
        eprintln!("round {round} of {}", args.common.rounds);
        let mut bare = None;
        for candidate in &candidates {
            let mut service = Service::projector(candidate, &broker, &names)?;
            service.ready().await?;
            if bare.is_none() {
                let server = BareHttp::start(body_bytes(service.http).await?).await?;
                table.add("bare hyper (the limit)", measure(&args, server.address, server.pid(), &rows[1].1).await?)?;
                bare = Some(server);
            }
            for (name, write) in &rows {
                let row = measure(&args, service.http, service.pid(), write).await?;
                table.add(&format!("{}: {name}", candidate.name), row)?;
            }
        }
    }
    table.print();
    Ok(())
}

async fn measure(args: &Args, at: SocketAddr, pid: u32, write: &WriteRequest) -> Outcome<Vec<f64>> {
    let numbers = Arc::default();
    load::closed(at, args.connections, args.warm_up, &numbers, write).await?;
    let watch = Watch::begin(Some(pid), None);
    let answers = load::closed(at, args.connections, args.seconds, &numbers, write).await?.checked()?;
    let (usage, count) = (watch.end(), answers.good.len() as f64);
    if !answers.busy.is_empty() {
        return Err(format!("{} answers were 503", answers.busy.len()).into());
    }
    Ok(vec![
        count / usage.elapsed.as_secs_f64(),
        quantile_ms(&answers.good, 0.5),
        quantile_ms(&answers.good, 0.99),
        usage.service / count * 1e6,
        usage.own / count * 1e6,
        usage.others_percent,
    ])
}

async fn body_bytes(at: SocketAddr) -> Outcome<usize> {
    let mut connection = Connection::open(at).await?;
    match connection.exchange(&get(&format!("/users/{ONE}"))).await? {
        200 => Ok(connection.body().len()),
        status => Err(format!("user {ONE} is answered {status}").into()),
    }
}

/// Returns what writes a GET of the path of each number.
fn paths(path: impl Fn(u64) -> String + Send + Sync + 'static) -> WriteRequest {
    Arc::new(move |number: u64, _: Instant, to: &mut Vec<u8>| to.extend_from_slice(&get(&path(number))))
}

/// Returns a user for a number, as if at random (the finalizer of splitmix64).
fn scattered(number: u64, users: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % users
}
