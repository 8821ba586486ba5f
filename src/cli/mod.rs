//! The command line: one file per subcommand.

use std::process::ExitCode;

pub mod setup;

/// Parses the arguments and runs the subcommand they name.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
