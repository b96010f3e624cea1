//! Prints how much memory the table of gate and keeper takes for each user, from which ingest's need is computed:
//! `cargo run --release -p rollcall-upkeep --example table_memory -- 300000`.

use domain::headers::for_event;
use domain::{Position, wire};
use kafka::Record;
use testkit::event::{changed, created};
use upkeep::Table;

fn main() {
    let users: i64 = std::env::args().nth(1).and_then(|users| users.parse().ok()).unwrap_or(300_000);
    let (mut table, before) = (Table::default(), resident());
    for user in 1..=users {
        let events = [created(user, &format!("Name {user}"), 1), changed(user, "Name", "Another name", 2)];
        for (nth, event) in events.iter().enumerate() {
            let headers = for_event(event, None).into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
            let record = Record {
                position: Position { partition: 0, offset: user * 2 + i64::from(nth == 1) },
                leader_epoch: Some(1),
                timestamp: event.received_at,
                key: Some(event.user_id.to_string().into_bytes()),
                value: Some(wire::encode(event)),
                headers: headers.collect(),
            };
            table.take(&record).expect("the record can be read");
        }
    }
    let taken = resident() - before;
    println!("{users} users: {taken} bytes, {} each", taken / users.unsigned_abs());
    assert_eq!(i64::try_from(table.keys()), Ok(users));
}

/// Returns the resident memory of this process in bytes (proc(5), statm).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says it");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}
