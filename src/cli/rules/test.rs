//! `saker rules test`: runs test files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{fail, print};
use crate::ruletest;

pub const HELP: &str = "\
Examples:
  saker rules test rules/
  saker rules test rules/k8s_audit/tests/exec.test.yaml
  saker rules test --format junit rules/ > report.xml

The exit code is 1 when a test fails, and with --strict also when a rule lacks a firing or a quiet test.";

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Test files (*.test.yaml), or folders that are searched for them
    #[arg(default_value = "rules")]
    paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// A rule without a firing and a quiet test is a failure
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

pub fn run(args: &TestArgs) -> ExitCode {
    let report = match ruletest::run::find(&args.paths).and_then(|files| ruletest::run(&files)) {
        Ok(report) => report,
        Err(error) => return fail(&error.to_string()),
    };
    let text = match args.format {
        Format::Text => ruletest::report::text(&report),
        Format::Json => ruletest::report::json(&report),
        Format::Junit => ruletest::report::junit(&report),
    };
    let code = print(text.as_bytes());
    let uncovered = args.strict && report.uncovered().next().is_some();
    if report.failed() > 0 || uncovered {
        ExitCode::FAILURE
    } else {
        code
    }
}
