//! `saker rules list`: rules in evaluation order.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Which, broken, fail, place, print};
use crate::cli::columns;
use crate::engine::diagnostic::printable;
use crate::engine::{Loaded, RuleSet};

pub const HELP: &str = "\
Examples:
  saker rules list
  saker rules list -r falco_rules.yaml -r local/
  saker rules list --format json | jq -r '.[] | select(.priority == \"Critical\") | .name'

Rules that are switched off, or whose source is not k8s_audit, are not listed.";

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: &ListArgs) -> ExitCode {
    let loaded = match args.which.load(false) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    let Some(rules) = &loaded.rules else {
        return broken(&loaded);
    };
    let text = match args.format {
        Format::Text => table(&loaded, rules),
        Format::Json => json(&loaded, rules),
    };
    print(text.as_bytes())
}

fn json(loaded: &Loaded, rules: &RuleSet) -> String {
    let rows: Vec<_> = rules
        .rules()
        .map(|rule| {
            let place = place(loaded, &rule.name);
            json!({
                "priority": rule.priority.name(), "source": rule.source.name(), "name": *rule.name, "tags": rule.tags,
                "desc": rule.desc.trim(), "file": place.map(|(file, _)| file), "line": place.map(|(_, line)| line),
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

fn table(loaded: &Loaded, rules: &RuleSet) -> String {
    let mut rows = vec![["PRIORITY", "SOURCE", "NAME", "TAGS", "FILE"].map(str::to_owned)];
    rows.extend(rules.rules().map(|rule| {
        [
            rule.priority.name().to_owned(),
            rule.source.name().to_owned(),
            printable(&rule.name),
            printable(&rule.tags.join(",")),
            place(loaded, &rule.name).map_or(String::new(), |(file, line)| format!("{}:{line}", printable(file))),
        ]
    }));
    columns(&rows)
}
