//! The yardstick: what Rollcall does in a second, beside what the machine could do at most, in one run.
//!
//! ```text
//! cargo run --release -p rollcall-bench -- ingest
//! ```
//!
//! | file | command |
//! | --- | --- |
//! | `ingest.rs` | webhooks acknowledged in a second, and what is left of them under overload |
//! | `latency.rs` | what a webhook waits, and when its user can be read |
//! | `rebuild.rs` | a table made from the log, until its first answer |
//! | `get.rs` | users answered in a second |
//! | `live.rs` | changes on the topic, until a reader has them |
//! | `fan_out.rs` | many subscribers at once, those who come back, and what stays of them in memory |
//! | `memory.rs`, `gate_table.rs` | what a user takes in the memory of the services, and in the table of gate and keeper alone |
//! | `shapes.rs` | the pipeline on the dearest bodies, without Kafka |
//!
//! | shared file | content |
//! | --- | --- |
//! | `arguments.rs` | the options that all commands have, the binaries under test |
//! | `broker.rs` | Kafka: as given, in a container, or in memory |
//! | `process.rs` | Rollcall as a process of its own |
//! | `bare.rs` | the limits: an HTTP answer and a producer with nothing around them |
//! | `bodies.rs`, `records.rs` | webhooks, all different, and records straight onto the topic |
//! | `connection.rs`, `load.rs` | the load: connections, open and closed loop |
//! | `stream.rs` | a reader of `/changes` that notes when each change came |
//! | `usage.rs` | who used the processors meanwhile |
//! | `table.rs` | medians and ratios of rounds |
//!
//! `peers/run HOST:PORT bench.users.1000000.1000000` measures what others take for the topic that `rebuild --bootstrap
//! HOST:PORT` has filled: Kafka Streams, and a consumer that writes to PostgreSQL.
//!
//! Every command runs its rows in turn, round after round, so that a change of the machine's speed meets all of them.
//! Rollcall is this same executable, started again under the name of the command, or the binaries that `--rollcall` and
//! `--against` name. Each row says what others used of the processors meanwhile: where that is more than a few per
//! cent, the round says little.

#![forbid(unsafe_code)]

mod arguments;
mod bare;
mod bodies;
mod broker;
mod connection;
mod fan_out;
mod gate_table;
mod get;
mod ingest;
mod latency;
mod live;
mod load;
mod memory;
mod process;
mod rebuild;
mod records;
mod shapes;
mod stream;
mod table;
mod usage;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

/// The allocator of the command, which this executable is as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a measurement comes to, or why it cannot be made.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures Rollcall beside the limits of this machine
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
enum Command {
    Ingest(ingest::Args),
    Latency(latency::Args),
    Rebuild(rebuild::Args),
    Get(get::Args),
    FanOut(fan_out::Args),
    Live(live::Args),
    Memory(memory::Args),
    GateTable(gate_table::Args),
    Shapes(shapes::Args),
    #[command(hide = true)]
    BareHttp(bare::HttpArgs),
}

fn main() -> ExitCode {
    // Rollcall under test is this executable, started by the name of the command.
    if std::env::args_os().next().is_some_and(|name| name == process::ROLLCALL) {
        return cli::main();
    }
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome<()> {
    service::resources::fit(Default::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let run = runtime.block_on(async {
        match command {
            Command::Ingest(args) => ingest::run(args).await,
            Command::Latency(args) => latency::run(args).await,
            Command::Rebuild(args) => rebuild::run(args).await,
            Command::Get(args) => get::run(args).await,
            Command::FanOut(args) => fan_out::run(args).await,
            Command::Live(args) => live::run(args).await,
            Command::Memory(args) => memory::run(args).await,
            Command::GateTable(args) => gate_table::run(args),
            Command::Shapes(args) => shapes::run(args),
            Command::BareHttp(args) => bare::serve(&args).await,
        }
    });
    runtime.shutdown_background();
    run
}
