//! The `rollcall` binary; everything is in the library, so that the tests can run the same command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    cli::main()
}
