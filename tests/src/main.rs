//! The `rollcall` command, built here so that the suite finds it.

fn main() -> std::process::ExitCode {
    cli::main()
}
