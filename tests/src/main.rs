//! The `rollcall` command, built here so that the suite finds it.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    cli::main()
}
