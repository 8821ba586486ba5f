//! `saker rules`: check, list, explain, test and lay out rules, and help editors with them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{fail, print};
use crate::config::{SelectBy, Selection};
use crate::engine::{self, Loaded, Options, RuleFile};
use crate::event::Source;
use crate::rulefiles::{self, RuleFilesError};

mod check;
mod explain;
mod fmt;
pub mod formats;
mod list;
mod lsp;
mod schema;
mod test;

#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Load and compile rules; say everything that is wrong with them
    #[command(after_help = check::HELP)]
    Check(check::CheckArgs),
    /// List rules in the order in which they are evaluated
    #[command(after_help = list::HELP)]
    List(list::ListArgs),
    /// Show what a rule comes to: its condition in full, what it needs, its tests
    #[command(after_help = explain::HELP)]
    Explain(explain::ExplainArgs),
    /// Run rule tests: events that must raise alerts, and events that must not
    #[command(after_help = test::HELP)]
    Test(test::TestArgs),
    /// Lay rule files out: keys in order, indentation, blank lines; values and comments stay
    #[command(after_help = fmt::HELP)]
    Fmt(fmt::FmtArgs),
    /// Print the JSON Schema of rule files or of test files, for editors
    #[command(after_help = schema::HELP)]
    Schema(schema::SchemaArgs),
    /// Serve an editor over standard input and output: diagnostics, completion, hover
    #[command(after_help = lsp::HELP)]
    Lsp(lsp::LspArgs),
}

#[derive(Debug, Args)]
struct Which {
    /// Rule file or directory in the place of the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
}

pub fn run(args: RulesArgs) -> ExitCode {
    match args.command {
        RulesCommand::Check(args) => check::run(&args),
        RulesCommand::List(args) => list::run(&args),
        RulesCommand::Explain(args) => explain::run(&args),
        RulesCommand::Test(args) => test::run(&args),
        RulesCommand::Fmt(args) => fmt::run(&args),
        RulesCommand::Schema(args) => schema::run(&args),
        RulesCommand::Lsp(args) => lsp::run(args),
    }
}

impl Which {
    /// The files named, or the built-in ones.
    fn read(&self) -> Result<Vec<RuleFile>, RuleFilesError> {
        match self.rules.as_slice() {
            [] => Ok(rulefiles::builtin().collect()),
            paths => rulefiles::read(paths),
        }
    }

    /// Loads what is named. `whole` is for showing rules: those of every source, and those that are switched off.
    fn load(&self, whole: bool) -> Result<Loaded, RuleFilesError> {
        let mut options = Options {
            unused_of_all: true,
            ..Options::default()
        };
        if whole {
            options.sources = Source::RULE_SOURCES.to_vec();
            options.select = vec![Selection::Enable(SelectBy::Rule("*".to_owned()))];
        }
        engine::load(self.read()?, &options).map_err(RuleFilesError::Fields)
    }
}

/// The errors of rules that should be shown and cannot be.
fn broken(loaded: &Loaded) -> ExitCode {
    let rendered: String = loaded.errors().map(|d| d.render(&loaded.sources) + "\n").collect();
    fail(&format!("rules have errors\n{}", rendered.trim_end()))
}

/// The file that defines a rule, and the line.
fn place<'a>(loaded: &'a Loaded, rule: &str) -> Option<(&'a str, usize)> {
    let definition = loaded.definitions.rules.iter().find(|r| r.name == rule)?;
    let place = loaded.sources.locate(definition.at.start)?;
    Some((place.file, place.line))
}
