//! `saker rules explain`: what one rule comes to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Which, broken, fail, place, print};
use crate::engine::ast::{Expr, ExprKind, Right};
use crate::engine::diagnostic::{did_you_mean, printable};
use crate::engine::{Loaded, Rule, parser};
use crate::event::Source;
use crate::fields::Catalog;
use crate::ruletest::file::{Quiet, TestFile};
use crate::ruletest::run::find;
use crate::sources::syscall::plan::Plan;

pub const HELP: &str = "\
Examples:
  saker rules explain 'Attach/Exec Pod' -r rules/
  saker rules explain 'Attach/Exec Pod' --tests rules/k8s_audit/tests --format json

Rules that are switched off, and rules of every source, can be explained. Tests are searched in the folders that
-r and --tests name.";

/// Lines of a condition are broken when they grow longer.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name of the rule
    name: String,
    #[command(flatten)]
    which: Which,
    /// Folder or file in which the rule's tests are searched; may be given several times
    #[arg(long, value_name = "DIR")]
    tests: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// All that is known of a rule.
struct Explanation<'a> {
    rule: &'a Rule,
    enabled: bool,
    place: Option<(&'a str, usize)>,
    condition: Vec<String>,
    fields: Vec<String>,
    output_fields: Vec<&'a str>,
    /// The values that the index asks for, by field; `None` stands for absence.
    keys: Vec<(String, Vec<Option<String>>)>,
    /// What the probe sends for the rule; only of the syscall source.
    kernel: Vec<String>,
    /// Test file, name of the test, and whether the rule must alert in it.
    tests: Vec<(String, String, bool)>,
}

pub fn run(args: &ExplainArgs) -> ExitCode {
    let loaded = match args.which.load(true) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    match explain(args, &loaded) {
        Ok(Some(text)) => print(text.as_bytes()),
        Ok(None) => broken(&loaded),
        Err(error) => fail(&error),
    }
}

/// The explanation as text; nothing when the rules have errors.
fn explain(args: &ExplainArgs, loaded: &Loaded) -> Result<Option<String>, String> {
    let Some(rules) = &loaded.rules else {
        return Ok(None);
    };
    let Some(rule) = rules.rules().find(|r| *r.name == *args.name) else {
        let names = || rules.rules().map(|r| &*r.name);
        let same = names().find(|n| n.eq_ignore_ascii_case(&args.name));
        let help = match same {
            Some(name) => format!("did you mean `{name}`?"),
            None => did_you_mean(&args.name, names()).unwrap_or_else(|| "`saker rules list` lists them".to_owned()),
        };
        return Err(printable(&format!("no rule is called `{}`: {help}", args.name)));
    };
    let tests = tests(args, &rule.name)?;
    let program = rules.program(rule.source);
    let catalog = Catalog::of(rule.source);
    let required = program.index.required(&program.slots, &program.nodes, rule.node);
    let expr = parser::parse(&rule.condition).ok();
    let explanation = Explanation {
        rule,
        enabled: loaded
            .definitions
            .rules
            .iter()
            .any(|r| r.name == *rule.name && r.enabled),
        place: place(loaded, &rule.name),
        condition: expr.as_ref().map_or_else(|| vec![rule.condition.clone()], lines),
        fields: expr.as_ref().map(fields).unwrap_or_default(),
        output_fields: rule.output.fields.iter().map(|f| f.key.as_str()).collect(),
        keys: required
            .into_iter()
            .filter_map(|(slot, values)| {
                let slot = program.slots.get(slot as usize)?;
                let name = slot.field().and_then(|extractor| {
                    let all = catalog.fields().iter();
                    let same = |f: &&crate::fields::Field| catalog.resolve(f, None).is_ok_and(|e| e == *extractor);
                    all.filter(same).map(|f| f.name.to_string()).next()
                });
                name.map(|name| (name, values))
            })
            .collect(),
        kernel: match rule.source {
            Source::Syscall => Plan::of(program, std::slice::from_ref(rule)).describe(),
            _ => Vec::new(),
        },
        tests,
    };
    Ok(Some(match args.format {
        Format::Text => text(&explanation),
        Format::Json => json(&explanation),
    }))
}

/// The tests that speak of a rule.
fn tests(args: &ExplainArgs, rule: &str) -> Result<Vec<(String, String, bool)>, String> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for folder in args.which.rules.iter().filter(|p| p.is_dir()) {
        // Rules without any test are common; their folder is no error.
        files.extend(find(std::slice::from_ref(folder)).unwrap_or_default());
    }
    files.extend(match args.tests.as_slice() {
        [] => Vec::new(),
        paths => find(paths).map_err(|e| e.to_string())?,
    });
    let mut out = Vec::new();
    for path in &files {
        let file = TestFile::load(path).map_err(|e| e.to_string())?;
        let name = |path: &Path| path.display().to_string();
        for test in &file.tests {
            let fires = test.alerts.iter().any(|a| a.rule == rule);
            let quiet = matches!(&test.quiet, Quiet::Rules(rules) if rules.iter().any(|r| r == rule));
            if fires || quiet {
                out.push((name(path), test.name.clone(), fires));
            }
        }
    }
    Ok(out)
}

/// The fields that a condition reads, with their arguments.
fn fields(expr: &Expr) -> Vec<String> {
    let mut names = BTreeSet::new();
    expr.checks(&mut |check| {
        names.extend(check.left.fields().into_iter().map(ToString::to_string));
        if let Right::Operand(operand) = &check.right {
            names.extend(operand.fields().into_iter().map(ToString::to_string));
        }
    });
    names.into_iter().collect()
}

/// A condition over lines: each part of the outermost chain on its own, longer parts indented below.
fn lines(expr: &Expr) -> Vec<String> {
    let mut out = Vec::new();
    chain(expr, 0, "", &mut out);
    out
}

fn chain(expr: &Expr, depth: usize, lead: &str, out: &mut Vec<String>) {
    let (children, word) = match &expr.kind {
        ExprKind::And(children) => (children, "and "),
        ExprKind::Or(children) => (children, "or "),
        _ => return part(expr, depth, lead, out),
    };
    for (i, child) in children.iter().enumerate() {
        part(child, depth, if i == 0 { lead } else { word }, out);
    }
}

fn part(expr: &Expr, depth: usize, lead: &str, out: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let whole = format!("{indent}{lead}{expr}");
    if whole.chars().count() <= WIDTH {
        return out.push(whole);
    }
    let (inner, lead) = match &expr.kind {
        ExprKind::Not(inner) => (&**inner, format!("{lead}not ")),
        _ => (expr, lead.to_owned()),
    };
    if let ExprKind::And(_) | ExprKind::Or(_) = &inner.kind {
        out.push(format!("{indent}{lead}("));
        chain(inner, depth + 1, "", out);
        return out.push(format!("{indent})"));
    }
    // A comparison with a long list: its items are wrapped below it.
    let mut line = indent.clone();
    for word in format!("{lead}{inner}").split_inclusive(' ') {
        if line.chars().count() + word.trim_end().chars().count() > WIDTH && !line.trim().is_empty() {
            out.push(line.trim_end().to_owned());
            line = format!("{indent}    ");
        }
        line.push_str(word);
    }
    out.push(line.trim_end().to_owned());
}

fn text(e: &Explanation<'_>) -> String {
    let mut out = printable(&e.rule.name) + "\n";
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            out += &format!("  {name:<12}{}\n", printable(&value));
        }
    };
    row(
        "description",
        e.rule.desc.split_whitespace().collect::<Vec<_>>().join(" "),
    );
    row("priority", e.rule.priority.name().to_owned());
    row("source", e.rule.source.name().to_owned());
    row("tags", e.rule.tags.join(", "));
    row(
        "file",
        e.place.map_or(String::new(), |(file, line)| format!("{file}:{line}")),
    );
    let off = if e.enabled {
        ""
    } else {
        "off, unless the configuration switches it on"
    };
    row("enabled", off.to_owned());
    row("runbook", e.rule.runbook.clone().unwrap_or_default());
    row("fields", e.fields.join(", "));
    row("output", e.rule.output.text.clone());
    out += "\nCondition, with macros and lists in place\n";
    e.condition
        .iter()
        .for_each(|line| out += &format!("  {}\n", printable(line)));
    out += "\nEvents that are looked at (others are passed over by the index)\n";
    for (field, values) in &e.keys {
        let values: Vec<&str> = values.iter().map(|v| v.as_deref().unwrap_or("(absent)")).collect();
        out += &format!("  {field}: {}\n", printable(&values.join(", ")));
    }
    if e.keys.is_empty() {
        out += "  every event of the source: the condition requires no particular value\n";
    }
    if !e.kernel.is_empty() {
        out += "\nDecided in the kernel: system calls that are sent (besides exec, fork and exit)\n";
        e.kernel
            .iter()
            .for_each(|line| out += &format!("  {}\n", printable(line)));
    }
    out += "\nTests\n";
    for (file, test, fires) in &e.tests {
        let what = if *fires { "fires" } else { "quiet" };
        out += &format!("  {what}  {} ({})\n", printable(test), printable(file));
    }
    if e.tests.is_empty() {
        out += "  none found: name their folder with --tests\n";
    }
    out
}

fn json(e: &Explanation<'_>) -> String {
    let keys: serde_json::Map<String, Value> = e.keys.iter().map(|(f, v)| (f.clone(), json!(v))).collect();
    let tests: Vec<Value> = e
        .tests
        .iter()
        .map(|(file, test, fires)| json!({"file": file, "test": test, "fires": fires}))
        .collect();
    let value = json!({
        "name": *e.rule.name, "desc": e.rule.desc.trim(), "priority": e.rule.priority.name(),
        "source": e.rule.source.name(), "tags": e.rule.tags, "enabled": e.enabled, "runbook": e.rule.runbook,
        "file": e.place.map(|(file, _)| file), "line": e.place.map(|(_, line)| line),
        "condition": e.rule.condition, "fields": e.fields, "index_keys": keys,
        "output": e.rule.output.text, "output_fields": e.output_fields, "kernel": e.kernel, "tests": tests,
    });
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\
- list: writes
  items: [create, patch, update, delete]
- macro: pod_write
  condition: ka.verb in (writes) and ka.target.resource = pods
- rule: Pod written by a person
  desc: >
    A person, and not a controller,
    wrote a pod.
  condition: >
    pod_write and not (ka.user.name startswith system: or ka.user.name in (alice, bob)
    or ka.target.namespace in (kube-system, kube-public, kube-node-lease, ingress, monitoring, logging, backup))
  output: \"%ka.user.name wrote %ka.target.name\"
  priority: NOTICE
  source: k8s_audit
  tags: [pods]
  enabled: false
";
    const TESTS: &str = "\
tests:
- name: alice may
  events: []
  quiet: [Pod written by a person]
- name: mallory may not
  events: []
  alerts: [{rule: Pod written by a person}]
";

    fn explained(name: &str, format: Format) -> String {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("rules.yaml"), RULES).expect("written");
        std::fs::write(dir.path().join("pods.test.yaml"), TESTS).expect("written");
        let rules = vec![dir.path().to_owned()];
        let args = ExplainArgs {
            name: name.to_owned(),
            which: Which { rules },
            tests: Vec::new(),
            format,
        };
        let loaded = args.which.load(true).expect("readable");
        let text = explain(&args, &loaded).map_or_else(|e| e, |text| text.expect("no errors"));
        text.replace(&dir.path().display().to_string(), "DIR")
    }

    #[test]
    fn a_rule_is_explained() {
        insta::assert_snapshot!("explain_text", explained("Pod written by a person", Format::Text));
        insta::assert_snapshot!("explain_json", explained("Pod written by a person", Format::Json));
        let wrong = explained("Pod writen by a person", Format::Text);
        assert!(wrong.ends_with("did you mean `Pod written by a person`?"), "{wrong}");
    }
}
