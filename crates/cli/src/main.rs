//! The `rollcall` binary. The library holds all code, so that tests can run the same command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    cli::main()
}
