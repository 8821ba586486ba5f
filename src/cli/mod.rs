//! The command line: one file per subcommand.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Config};

pub mod fields;
mod progress;
mod record;
mod replay;
mod rules;
mod scan;
mod serve;
mod sessions;
pub mod setup;

/// Exit code of wrong usage and wrong configuration (sysexits.h EX_USAGE).
const USAGE: u8 = 64;

/// Kubernetes audit and runtime detection that names the person behind the process.
#[derive(Debug, Parser)]
#[command(name = "saker", version, about, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run: receive events, evaluate rules, send alerts
    Serve(serve::ServeArgs),
    /// Evaluate recorded events; alerts go to standard output
    Replay(replay::ReplayArgs),
    /// Write what the kernel tells into a file, for replay
    Record(record::RecordArgs),
    /// Who came into which container, what ran, what was alerted
    Sessions(sessions::SessionsArgs),
    /// Find credentials in manifests and files
    Scan(scan::ScanArgs),
    /// Check and list rules
    Rules(rules::RulesArgs),
    /// List the fields that rules can use, or the kinds of credentials
    Fields(fields::FieldsArgs),
    /// Make certificates, API-server configuration, and saker.yaml
    Setup(setup::SetupArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  saker completions bash > /etc/bash_completion.d/saker")]
    Completions { shell: clap_complete::Shell },
}

/// Parses the arguments and runs the subcommand they name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is none either.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(usage_code())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Record(args) => record::run(args),
        Command::Sessions(args) => sessions::run(args),
        Command::Scan(args) => scan::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Fields(args) => fields::run(args),
        Command::Setup(args) => setup::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "saker", &mut script);
            print(&script)
        }
    }
}

/// Rows as lines whose cells stand below each other.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// The exit code of wrong usage. Of `saker scan` all errors have the same one, beside that of findings.
fn usage_code() -> u8 {
    match std::env::args_os().nth(1) {
        Some(command) if command == "scan" => scan::ERROR,
        _ => USAGE,
    }
}

/// The configuration of a command that runs and ends: its log says little, and rules that are named take the place of
/// the built-in ones. What is wrong with it has been printed.
fn configured(file: Option<&Path>, rules: &[PathBuf]) -> Result<Config, ExitCode> {
    let mut config = config::load(file, std::env::vars()).map_err(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::from(USAGE)
    })?;
    start_log("warn", false).map_err(|error| {
        let _ = writeln!(io::stderr(), "saker: {error}");
        ExitCode::from(USAGE)
    })?;
    if !rules.is_empty() {
        config.rules.builtin = false;
        config.rules.files = rules.to_vec();
    }
    Ok(config)
}

/// Writes to standard output; a reader that has gone away ends the program quietly.
fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(bytes) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => fail(&format!("cannot write to standard output: {e}")),
        _ => ExitCode::SUCCESS,
    }
}

/// Says why the program ends.
fn fail(message: &str) -> ExitCode {
    // Standard error may be closed; there is nobody to tell then.
    let _ = writeln!(io::stderr(), "saker: {message}");
    ExitCode::FAILURE
}

/// Starts the log on standard error.
fn start_log(level: &str, json: bool) -> Result<(), String> {
    use tracing_subscriber::EnvFilter;
    let wanted = std::env::var("SAKER_LOG").unwrap_or_else(|_| level.to_owned());
    // The NATS client writes a line for each attempt to connect; the bus says once what there is to say.
    let filter =
        EnvFilter::try_new(format!("async_nats=off,{wanted}")).map_err(|e| format!("log level `{wanted}`: {e}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    // A second start, in tests, changes nothing.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
    Ok(())
}
