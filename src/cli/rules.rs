//! `saker rules`: check and list rules.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{fail, print};
use crate::config::RulesConfig;
use crate::engine::Loaded;
use crate::event::Source;
use crate::{rulefiles, ruletest};

#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Load and compile rules; say everything that is wrong with them
    #[command(after_help = "Examples:\n  saker rules check\n  saker rules check -r falco_rules.yaml -r local/")]
    Check(Which),
    /// List rules in the order in which they are evaluated
    List(Which),
    /// Run rule tests: events that must raise alerts, and events that must not
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
}

const TEST_HELP: &str = "\
Examples:
  saker rules test rules/
  saker rules test rules/k8s_audit/tests/exec.test.yaml
  saker rules test --format junit rules/ > report.xml

The exit code is 1 when a test fails, and with --strict also when a rule lacks a firing or a quiet test.";

#[derive(Debug, Args)]
struct TestArgs {
    /// Test files (*.test.yaml), or folders that are searched for them
    #[arg(default_value = "rules")]
    paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: TestFormat,
    /// A rule without a firing and a quiet test is a failure
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TestFormat {
    Text,
    Json,
    Junit,
}

#[derive(Debug, Args)]
struct Which {
    /// Rule file or directory in the place of the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
}

pub fn run(args: RulesArgs) -> ExitCode {
    match args.command {
        RulesCommand::Check(which) => check(&which),
        RulesCommand::List(which) => list(&which),
        RulesCommand::Test(args) => test(&args),
    }
}

fn load(which: &Which) -> Result<Loaded, rulefiles::RuleFilesError> {
    let config = RulesConfig {
        builtin: which.rules.is_empty(),
        files: which.rules.clone(),
        ..RulesConfig::default()
    };
    rulefiles::load_linted(&config, &[], vec![Source::K8sAudit])
}

fn check(which: &Which) -> ExitCode {
    let loaded = match load(which) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    let mut out = String::new();
    for diagnostic in &loaded.diagnostics {
        out += &diagnostic.render(&loaded.sources);
        out.push('\n');
    }
    let _ = io::stderr().write_all(out.as_bytes());
    let errors = loaded.errors().count();
    let warnings = loaded.diagnostics.len() - errors;
    let rules = loaded.rules.as_ref().map_or(0, |r| r.rules().count());
    let skipped = match loaded.skipped.len() {
        0 => String::new(),
        n => format!(", {n} rules of other sources left out"),
    };
    let files = loaded.sources.files().len();
    let code =
        print(format!("{files} files: {rules} rules, {errors} errors, {warnings} warnings{skipped}\n").as_bytes());
    if errors > 0 { ExitCode::FAILURE } else { code }
}

fn test(args: &TestArgs) -> ExitCode {
    let report = match ruletest::run::find(&args.paths).and_then(|files| ruletest::run(&files)) {
        Ok(report) => report,
        Err(error) => return fail(&error.to_string()),
    };
    let text = match args.format {
        TestFormat::Text => ruletest::report::text(&report),
        TestFormat::Json => ruletest::report::json(&report),
        TestFormat::Junit => ruletest::report::junit(&report),
    };
    let code = print(text.as_bytes());
    let uncovered = args.strict && report.uncovered().next().is_some();
    if report.failed() > 0 || uncovered {
        ExitCode::FAILURE
    } else {
        code
    }
}

fn list(which: &Which) -> ExitCode {
    let loaded = match load(which) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    let Some(rules) = &loaded.rules else {
        let _ = loaded
            .errors()
            .try_for_each(|d| writeln!(io::stderr(), "{}", d.render(&loaded.sources)));
        return fail("rules have errors");
    };
    let mut out = String::new();
    for rule in rules.rules() {
        out += &format!(
            "{:<13} {:<10} {}\n",
            rule.priority.name(),
            rule.source.name(),
            rule.name
        );
    }
    print(out.as_bytes())
}
