//! The `rollcall` binary. The library holds all code, so that tests can run the same command.

#![forbid(unsafe_code)]

/// Allocates faster than the system's from many threads, and gives memory back that is not used any more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
