//! Audit events and rules whose alerts the upstream binary was recorded to give.

use std::collections::BTreeSet;
use std::sync::Arc;

use saker::alert::{Renderer, identity};
use saker::config::Matching;
use saker::engine::{Evaluator, Loaded, Options, RuleFile, RuleSet, load};
use saker::event::{Source, audit::Tapes};
use saker::fields::evt::Host;
use saker::fields::ka::AuditView;
use saker::sources::audit::decode;
use serde_json::Value;

use crate::loader::{results_match, valid};
use crate::report::{Outcome, Report, text, texts};

/// Cases in which Saker differs on purpose, why, and what tells its answer from a mistake. Each is explained in
/// docs/compatibility.md.
struct Deviation {
    case: &'static str,
    reason: &'static str,
    /// What our alerts hold, in every matching mode: names of rules, or `key=value` of output fields.
    ours: &'static [&'static str],
    /// How many alerts we give, first and all matching.
    alerts: [usize; 2],
}

const DEVIATIONS: &[Deviation] = &include!("deviations.in");

pub fn run(report: &mut Report) {
    let name = |v: &Value| text(v, "name").to_owned();
    let rules_dir = |report: &Report, path: &str| report.read(&format!("k8saudit_cases/{path}")).expect("a file");
    // Files are read before the cases run, because the report is busy then.
    let cases: Vec<Value> = report
        .read("k8saudit_cases/cases.jsonl")
        .map(|t| t.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect())
        .unwrap_or_default();
    let paths: BTreeSet<String> = cases
        .iter()
        .flat_map(|c| texts(&c["rules"]).into_iter().chain([text(c, "events").to_owned()]))
        .collect();
    let files: std::collections::BTreeMap<String, String> = paths
        .into_iter()
        .map(|path| (path.clone(), rules_dir(report, &path)))
        .collect();
    report.file("k8saudit_cases/cases.jsonl", name, |case| {
        let texts = || texts(&case["rules"]).into_iter().map(|path| files[&path].clone());
        let events = &files[text(case, "events")];
        both(
            case,
            [&case["upstream"]["first"], &case["upstream"]["all"]],
            |matching| {
                let loaded = load_k8s(texts().collect(), matching);
                let rules = loaded.rules.as_ref().ok_or_else(|| first_error(&loaded))?;
                Ok(alerts(rules, events.as_bytes(), &mut 0))
            },
        )
    });
    let stock = std::fs::read_to_string(stock_rules()).ok();
    let sets: Option<Vec<RuleSet>> = stock.map(|text| {
        let set = |m| load_k8s(vec![text.clone()], m).rules.expect("upstream's rules load");
        vec![set(Matching::First), set(Matching::All)]
    });
    match sets {
        None => println!("conformance upstream_runs/k8s_audit_events.jsonl SKIPPED: upstream's rules are not there"),
        Some(sets) => report.file("upstream_runs/k8s_audit_events.jsonl", name, |case| {
            let line = case["raw_line"]
                .as_str()
                .map_or_else(|| case["event"].to_string(), str::to_owned);
            both(
                case,
                [&case["falco_alerts"], &case["falco_alerts_rule_matching_all"]],
                |matching| {
                    let set = &sets[usize::from(matching == Matching::All)];
                    Ok(alerts(set, line.as_bytes(), &mut 0))
                },
            )
        }),
    }
    let base: Vec<String> = report
        .read("upstream_runs/conditions_base_events.jsonl")
        .map(|t| {
            t.lines()
                .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["event"].to_string())
                .collect()
        })
        .unwrap_or_default();
    let id = |v: &Value| text(v, "id").to_owned();
    report.file("upstream_runs/conditions.jsonl", id, |case| conditions(case, &base));
}

/// Upstream's rules lie beside the default folder.
fn stock_rules() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/upstream_rules/k8s_audit_rules.yaml")
}

fn first_error(loaded: &Loaded) -> String {
    loaded.errors().next().map(|d| d.message.clone()).unwrap_or_default()
}

fn load_k8s(texts: Vec<String>, matching: Matching) -> Loaded {
    let options = Options {
        matching,
        ..Options::default()
    };
    let files = texts.into_iter().map(|text| RuleFile {
        name: "rules.yaml".to_owned(),
        text,
    });
    load(files.collect(), &options).expect("no fields of the user's own")
}

/// The alerts of audit lines, without what differs from host to host.
fn alerts(rules: &RuleSet, lines: &[u8], number: &mut u64) -> Vec<Value> {
    let host = Arc::new(Host {
        name: "vm".into(),
        zone: jiff::tz::TimeZone::UTC,
    });
    let mut renderer = Renderer::new(host.clone());
    let mut evaluator = Evaluator::default();
    let mut tapes = Tapes::default();
    let mut out = Vec::new();
    let _ = decode::lines(lines, |item| {
        let Ok(mut event) = item else { return };
        *number += 1;
        event.number = *number;
        tapes.begin();
        let mut view = AuditView {
            event: &event,
            tapes: &mut tapes,
            first: event.time,
            host: &host,
        };
        evaluator.evaluate(rules, Source::K8sAudit, &mut view, |rule, run| {
            let mut json = Vec::new();
            renderer.json(rule, event.time, identity(event.bytes(), &rule.name), run, &mut json);
            out.push(stripped(serde_json::from_slice(&json).expect("an alert is JSON")));
        });
    });
    out
}

fn stripped(mut alert: Value) -> Value {
    if let Some(object) = alert.as_object_mut() {
        object.remove("hostname");
        object.remove("uuid");
    }
    alert
}

fn wanted(alerts: &Value) -> Vec<Value> {
    alerts.as_array().into_iter().flatten().cloned().map(stripped).collect()
}

/// Compares the alerts of both matching modes.
fn both(case: &Value, want: [&Value; 2], run: impl Fn(Matching) -> Result<Vec<Value>, String>) -> Outcome {
    let mut got = Vec::new();
    for matching in [Matching::First, Matching::All] {
        match run(matching) {
            Ok(alerts) => got.push(alerts),
            Err(e) => return Outcome::Fail(format!("does not load: {e}")),
        }
    }
    let name = case["name"].as_str().or(case["id"].as_str()).unwrap_or_default();
    compare(name, &got, &want.map(wanted))
}

fn compare(name: &str, got: &[Vec<Value>], want: &[Vec<Value>]) -> Outcome {
    let Some(mode) = (0..got.len()).find(|&i| got[i] != want[i]) else {
        return Outcome::Pass;
    };
    let (got_mode, want_mode) = (&got[mode], &want[mode]);
    if let Some(deviation) = DEVIATIONS.iter().find(|d| d.case == name) {
        let answers = got.iter().zip(deviation.alerts).all(|(g, n)| g.len() == n)
            && deviation.ours.iter().all(|mark| got.iter().all(|g| has(g, mark)));
        if answers {
            return Outcome::Deviation(deviation.reason);
        }
    }
    let odd = got_mode.iter().find(|g| !want_mode.contains(g));
    let missing = want_mode.iter().find(|w| !got_mode.contains(w));
    let show = |v: Option<&Value>| v.map_or("-".to_owned(), Value::to_string);
    let counts = got.iter().map(|g| g.len().to_string()).collect::<Vec<_>>().join("/");
    Outcome::Fail(format!(
        "mode {mode}: {} alerts, {} wanted ({counts})\n     got  {}\n     want {}",
        got_mode.len(),
        want_mode.len(),
        show(odd),
        show(missing)
    ))
}

/// True when an alert is of that rule, or has that `key=value` among its output fields.
fn has(alerts: &[Value], mark: &str) -> bool {
    alerts.iter().any(|alert| match mark.split_once('=') {
        Some((key, want)) => {
            let value = &alert["output_fields"][key];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned) == want
        }
        None => alert["rule"] == mark,
    })
}

fn conditions(case: &Value, base: &[String]) -> Outcome {
    let loaded = load_k8s(vec![text(case, "rules_yaml").to_owned()], Matching::First);
    let parts = [
        valid(&loaded, case["load_ok"] == true),
        results_match(&loaded, &case["validate_json"]["falco_load_results"]),
    ];
    let outcome = Outcome::all(parts);
    if !matches!(outcome, Outcome::Pass) {
        return outcome;
    }
    let Some(rules) = &loaded.rules else {
        return Outcome::Pass;
    };
    let mut number = 0;
    let got: Vec<Value> = base
        .iter()
        .flat_map(|line| alerts(rules, line.as_bytes(), &mut number))
        .collect();
    let name = text(case, "id");
    compare(name, &[got], &[wanted(&case["falco_alerts"])])
}
