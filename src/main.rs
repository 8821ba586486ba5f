//! The `saker` binary: parse arguments, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    saker::cli::main()
}
