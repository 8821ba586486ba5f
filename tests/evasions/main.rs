//! Each evasion of upstream's stock audit rules that is known, beside what our rules say of the same event.
//!
//! `cargo test --test evasions -- --nocapture` prints the table. A row of `table.yaml` has:
//!
//! - `events`, written as in rule tests, of recorded events or after them, and `ours`: the built-in rules that must alert,
//!   each once. `quiet` names those that must not; `prints` output fields of the first of `ours`.
//! - `tuning`: rules loaded after the built-in ones, where these ask for the users' own lists.
//! - `says`: exactly what upstream's rule file alerts of these events. Our engine evaluates it, as `tests/conformance`
//!   shows it does as upstream's; `silent` names the rules among upstream's that one would look to.
//! - `answer`: a case of `upstream_runs/k8s_audit_events.jsonl`, exactly what the upstream binary was recorded to say of
//!   it, and output fields as it printed them. Ours must say of that event what they say of the row's, unless it is
//!   `another` one.
//! - `condition`: a case of `upstream_runs/conditions.jsonl`, a rule that the upstream binary was recorded never to match;
//!   the same rule must match here. `known`: in words, where neither recording nor evaluation shows it.
//!
//! Upstream's rules and recordings lie beside the repository, in `../shared`. Without them that half says so.
//!
//! Not here, because no audit rule could tell:
//!
//! - what loses events before any rule sees them: 200 for bodies that are not read, loss on stop and reload, long lines,
//!   large and deep bodies, stalled clients (`tests/server`, and tests in `src/sources/audit` and `src/json`);
//! - what the listener lacks: client certificates, tokens, metrics, readiness (`tests/server`);
//! - messages on bad rules (`tests/diagnostics`);
//! - the tie between an exec and the shell that it starts, which the audit log does not hold.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use saker::config::Matching;
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::rulefiles;
use saker::ruletest::file::{EventSource, Events, Quiet, Test, TestFile};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    evasion: String,
    events: Vec<EventSource>,
    #[serde(default)]
    matching: Match,
    #[serde(default)]
    tuning: String,
    #[serde(default)]
    ours: Vec<String>,
    #[serde(default)]
    quiet: Vec<String>,
    #[serde(default)]
    prints: BTreeMap<String, Value>,
    says: Option<Vec<String>>,
    #[serde(default)]
    silent: Vec<String>,
    answer: Option<Answer>,
    condition: Option<String>,
    known: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Match {
    First,
    #[default]
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    case: String,
    says: Vec<String>,
    #[serde(default)]
    prints: BTreeMap<String, Value>,
    #[serde(default)]
    another: bool,
}

impl Match {
    fn mode(self) -> Matching {
        match self {
            Match::First => Matching::First,
            Match::All => Matching::All,
        }
    }

    fn recorded(self) -> &'static str {
        match self {
            Match::First => "falco_alerts",
            Match::All => "falco_alerts_rule_matching_all",
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rules(files: Vec<RuleFile>, matching: Matching) -> RuleSet {
    let options = Options {
        matching,
        unused_of_all: true,
        ..Options::default()
    };
    let mut loaded = load(files, &options).expect("no fields of one's own");
    let errors: Vec<String> = loaded.errors().map(|d| d.render(&loaded.sources)).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    loaded.rules.take().expect("no errors")
}

fn file(name: &str, text: &str) -> RuleFile {
    RuleFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn replay(files: Vec<RuleFile>, matching: Match) -> Replay {
    let host = Host {
        name: "test".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    Replay::new(rules(files, matching.mode()), host, None, true)
}

/// The built-in rules as they are, in both ways of matching; loading them takes longer than any row.
struct Ours([Replay; 2]);

impl Ours {
    fn new() -> Ours {
        Ours([Match::First, Match::All].map(|m| replay(rulefiles::builtin().collect(), m)))
    }

    fn alerts(&mut self, row: &Row, events: &str) -> Vec<Value> {
        if row.tuning.is_empty() {
            return alerts(&mut self.0[row.matching as usize], events);
        }
        let tuning = file("tuning.yaml", &row.tuning);
        alerts(
            &mut replay(rulefiles::builtin().chain([tuning]).collect(), row.matching),
            events,
        )
    }
}

fn alerts(replay: &mut Replay, events: &str) -> Vec<Value> {
    replay.out.clear();
    replay.text(events.as_bytes());
    let lines = replay.out.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

fn names(alerts: &[Value]) -> Vec<String> {
    let name = |alert: &Value| alert["rule"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = alerts.iter().map(name).collect();
    names.sort();
    names
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

/// What is wrong with our alerts of these events.
fn faults_of_ours(ours: &mut Ours, row: &Row, events: &str, exact: bool) -> Vec<String> {
    let alerts = ours.alerts(row, events);
    let said = names(&alerts);
    let times = |rule: &String| said.iter().filter(|s| *s == rule).count();
    let mut faults = Vec::new();
    for rule in row.ours.iter().filter(|rule| times(rule) != 1) {
        faults.push(format!("ours: `{rule}` {} times; {said:?}", times(rule)));
    }
    for rule in row.quiet.iter().filter(|rule| times(rule) != 0) {
        faults.push(format!("ours: `{rule}` is not quiet"));
    }
    let first = alerts
        .iter()
        .find(|a| row.ours.first().is_some_and(|r| a["rule"] == **r));
    for (field, want) in row.prints.iter().filter(|_| exact) {
        let got = first.map_or(&Value::Null, |a| &a["output_fields"][field.as_str()]);
        if got != want {
            faults.push(format!("ours: {field} is {got}, not {want}"));
        }
    }
    faults
}

/// Upstream's rules and recorded answers.
struct Upstream {
    names: Vec<String>,
    rules: [Replay; 2],
    answers: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Value>,
}

fn upstream() -> Option<Upstream> {
    let shared = root().join("../shared");
    let read = |path: &str| std::fs::read_to_string(shared.join(path)).ok();
    let cases = |path: &str, key: &str| -> Option<BTreeMap<String, Value>> {
        let values = read(path)?;
        let values = values.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
        Some(
            values
                .map(|v| (v[key].as_str().unwrap_or_default().to_owned(), v))
                .collect(),
        )
    };
    let text = read("upstream_rules/k8s_audit_rules.yaml")?;
    let stock = || vec![file("k8s_audit_rules.yaml", &text)];
    let names = rules(stock(), Matching::All);
    Some(Upstream {
        names: names.rules().map(|rule| rule.name.to_string()).collect(),
        rules: [Match::First, Match::All].map(|m| replay(stock(), m)),
        answers: cases("conformance/upstream_runs/k8s_audit_events.jsonl", "name")?,
        conditions: cases("conformance/upstream_runs/conditions.jsonl", "id")?,
    })
}

impl Upstream {
    /// What does not hold of upstream's half of a row.
    fn faults(&mut self, ours: &mut Ours, row: &Row, events: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for rule in row.silent.iter().filter(|rule| !self.names.contains(rule)) {
            faults.push(format!("upstream has no rule `{rule}`"));
        }
        if let Some(says) = &row.says {
            let said = names(&alerts(&mut self.rules[row.matching as usize], events));
            if said != sorted(says) {
                faults.push(format!("upstream: says {said:?}"));
            }
            let silent = row.silent.iter().filter(|rule| said.contains(rule));
            faults.extend(silent.map(|rule| format!("upstream: `{rule}` is not silent")));
        }
        if let Some(answer) = &row.answer {
            let case = &self.answers[&answer.case];
            let said = case[row.matching.recorded()].as_array().cloned().unwrap_or_default();
            if names(&said) != sorted(&answer.says) {
                faults.push(format!("upstream's answer: {:?}", names(&said)));
            }
            for (field, want) in &answer.prints {
                // An absent key would be `null`, too.
                let got = said.first().and_then(|a| a["output_fields"].get(field));
                if got != Some(want) {
                    faults.push(format!("upstream's answer: {field} is {got:?}"));
                }
            }
            if !answer.another {
                faults.extend(faults_of_ours(ours, row, &case["event"].to_string(), false));
            }
        }
        if let Some(id) = &row.condition {
            let case = &self.conditions[id];
            if case["n_alerts"] != 0 {
                faults.push(format!("upstream's answer: {} alerts", case["n_alerts"]));
            }
            let text = case["rules_yaml"].as_str().expect("rules");
            if alerts(&mut replay(vec![file("case.yaml", text)], Match::All), events).len() != 1 {
                faults.push(format!("`{id}` does not match here either"));
            }
        }
        faults
    }
}

/// How a row knows what upstream says.
fn known(row: &Row) -> String {
    let mut ways = Vec::new();
    ways.extend(row.says.as_ref().map(|_| "its rules".to_owned()));
    ways.extend(row.answer.as_ref().map(|a| format!("its answer to {}", a.case)));
    ways.extend(row.condition.as_ref().map(|c| format!("its answer to condition {c}")));
    ways.extend(row.known.clone());
    ways.join("; ")
}

fn line(row: &Row) -> String {
    let said = row.says.as_ref().or(row.answer.as_ref().map(|a| &a.says));
    let list = |names: &[String]| match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    let mut out = row.evasion.clone();
    let silent = match row.silent.as_slice() {
        [] => String::new(),
        rules => format!(" (silent: {})", rules.join(", ")),
    };
    let says = said.map_or("does not see it".to_owned(), |s| list(s));
    write!(out, "\n    upstream  {says}{silent}, by {}", known(row)).expect("a string");
    let ours = match (&row.ours[..], &row.condition) {
        ([], Some(_)) => "the same condition matches".to_owned(),
        (rules, _) => list(rules),
    };
    let quiet = match row.quiet.as_slice() {
        [] => String::new(),
        rules => format!(" (silent: {})", rules.join(", ")),
    };
    write!(out, "\n    ours      {ours}{quiet}").expect("a string");
    out
}

#[test]
fn ours_tell_what_upstream_does_not() {
    let path = root().join("tests/evasions/table.yaml");
    let text = std::fs::read_to_string(&path).expect("readable");
    let rows: Vec<Row> = serde_yaml::from_str(&text).expect("rows");
    let recordings = TestFile {
        rules: Vec::new(),
        recordings: Some(PathBuf::from("../fixtures/recorded.jsonl")),
        tests: Vec::new(),
    };
    let recorded = Events::open(Path::new(&path), &recordings).expect("recordings");
    let (mut ours, mut upstream) = (Ours::new(), upstream());
    if upstream.is_none() {
        println!("upstream's half SKIPPED: its rules and answers are not in ../shared");
    }
    let mut faults = Vec::new();
    for row in rows {
        println!("{}", line(&row));
        let test = Test {
            name: row.evasion.clone(),
            events: row.events.clone(),
            alerts: Vec::new(),
            only: false,
            quiet: Quiet::default(),
            matching: Default::default(),
        };
        let events = recorded.of(&test).expect("events").join("\n");
        let mut found = faults_of_ours(&mut ours, &row, &events, true);
        if let Some(upstream) = &mut upstream {
            found.extend(upstream.faults(&mut ours, &row, &events));
        }
        let tested = !row.ours.is_empty() || !row.quiet.is_empty() || row.condition.is_some();
        assert!(tested, "{}: nothing is asked of ours", row.evasion);
        assert!(
            !known(&row).is_empty(),
            "{}: how is upstream's answer known?",
            row.evasion
        );
        faults.extend(found.iter().map(|f| format!("{}: {f}", row.evasion)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
