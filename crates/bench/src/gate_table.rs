//! `bench gate-table`: what each user takes in the table of gate and keeper, from which ingest's need is computed.

use domain::Position;
use domain::headers::for_event;
use domain::wire;
use kafka::Record;
use upkeep::Table;

use crate::Outcome;
use crate::records::Records;
use crate::usage::memory_of;

/// Each user is created and then changed.
const RECORDS_PER_USER: u64 = 2;

/// Measures the memory of the table of gate and keeper for each user, without Kafka
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many users there are
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
}

/// Runs the command.
///
/// # Errors
/// If the table does not take a record.
pub(crate) fn run(args: Args) -> Outcome<()> {
    let (mut table, records) = (Table::default(), Records::new(args.users));
    let (before, _) = memory_of(std::process::id());
    for number in 0..args.users * RECORDS_PER_USER {
        let event = records.event(number);
        let headers = for_event(&event, None).into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let record = Record {
            position: Position { partition: 0, offset: i64::try_from(number)? },
            leader_epoch: Some(1),
            timestamp: event.received_at,
            key: Some(event.user_id.to_string().into_bytes()),
            value: Some(wire::encode(&event)),
            headers: headers.collect(),
        };
        table.take(&record).map_err(|error| format!("record {number}: {error:?}"))?;
    }
    let taken = memory_of(std::process::id()).0.saturating_sub(before);
    println!("{} users: {taken} bytes, {} each", table.keys(), taken / args.users);
    Ok(())
}
