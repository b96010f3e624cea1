//! A service that keeps a table of its own: how many users are active, known at any moment, told whenever it changes.
//!
//! ```text
//! cargo run --release -- dev                                                    # prints the broker's address
//! cargo run -p rollcall-projector --example own_table -- 127.0.0.1:9092 own-table-data
//! ```
//!
//! The table is read once from the topic and followed from then on; stopped and started again, it goes on where it was.

use std::collections::HashSet;

use domain::{Checkpoint, wire};
use projector::{Item, Options, Projection};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(bootstrap), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: own_table <bootstrap> <folder>".into());
    };
    let table = Projection::open(Options::new(&bootstrap, "vcc.users", folder))?;
    table.ready().await?;

    let mut active = HashSet::new();
    let mut changes = table.subscribe(Checkpoint::default());
    loop {
        match changes.next().await? {
            Item::State(announced) | Item::Change(announced) => {
                let change = &announced.change;
                let user = change.event.as_deref().and_then(|value| wire::decode(value).ok()).map(|event| event.new);
                if user.is_some_and(|user| user.state.as_deref() == Some("active")) {
                    active.insert(change.user_id);
                } else {
                    active.remove(&change.user_id);
                }
            }
            Item::StartedOver => active.clear(),
            Item::CaughtUp => {}
        }
        println!("{} users are active at {}", active.len(), changes.checkpoint());
    }
}
