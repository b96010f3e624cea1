//! The `rollcall` binary; everything is in the library, so that the tests can run the same command.

fn main() -> std::process::ExitCode {
    cli::main()
}
