//! Runs test files, and watches what they show of each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::{Events, Expected, Matching, Quiet, Test, TestFile, TestFileError};
use crate::config;
use crate::engine::{Options, RuleSet, load};
use crate::event::{Priority, Source};
use crate::fields::evt::Host;
use crate::replay::Replay;
use crate::rulefiles;

/// What one test came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub file: PathBuf,
    pub test: String,
    /// What was other than it should be; empty for a test that passed.
    pub failures: Vec<String>,
    pub seconds: f64,
}

/// What a rule's tests have shown.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub fires: bool,
    pub quiet: bool,
    /// Conjuncts of the condition, with whether any event was kept from matching by that one alone.
    pub conjuncts: Vec<(String, bool)>,
}

/// All outcomes, and the rules under test.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub outcomes: Vec<Outcome>,
    pub coverage: BTreeMap<String, Coverage>,
}

impl Report {
    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|o| !o.failures.is_empty()).count()
    }

    /// Rules without a firing or without a quiet test, with what is missing.
    pub fn uncovered(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.coverage.iter().filter_map(|(rule, c)| match (c.fires, c.quiet) {
            (true, true) => None,
            (false, true) => Some((rule.as_str(), "a firing test")),
            (true, false) => Some((rule.as_str(), "a quiet test")),
            (false, false) => Some((rule.as_str(), "any test")),
        })
    }

    /// Conjuncts that no test decided: without them the tests would pass all the same.
    pub fn undecided(&self) -> impl Iterator<Item = (&str, &str)> {
        self.coverage.iter().flat_map(|(rule, c)| {
            c.conjuncts
                .iter()
                .filter(|(_, decided)| !decided)
                .map(move |(text, _)| (rule.as_str(), text.as_str()))
        })
    }
}

/// The test files that `paths` name; folders are searched through.
///
/// # Errors
/// Paths that cannot be read, and paths without test files.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TestFileError> {
    fn search(path: &Path, out: &mut Vec<PathBuf>) -> Result<(), TestFileError> {
        let failed = |source| TestFileError::Read {
            path: path.to_owned(),
            source,
        };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            out.push(path.to_owned());
            return Ok(());
        }
        let mut inside: Vec<_> = std::fs::read_dir(path)
            .map_err(failed)?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .collect();
        inside.sort();
        for entry in inside {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() || name.ends_with(".test.yaml") || name.ends_with(".test.yml") {
                search(&entry, out)?;
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    for path in paths {
        search(path, &mut files)?;
    }
    if files.is_empty() {
        let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(TestFileError::None(names.join(", ")));
    }
    Ok(files)
}

/// Runs test files.
///
/// # Errors
/// Files that cannot be read, and rules with errors; failing tests are no error.
pub fn run(files: &[PathBuf]) -> Result<Report, TestFileError> {
    let mut report = Report::default();
    for path in files {
        run_file(path, &mut report)?;
    }
    Ok(report)
}

fn run_file(path: &Path, report: &mut Report) -> Result<(), TestFileError> {
    let file = TestFile::load(path)?;
    let events = Events::open(path, &file)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let paths: Vec<PathBuf> = match file.rules.is_empty() {
        true => vec![folder.join("..")],
        false => file.rules.iter().map(|r| folder.join(r)).collect(),
    };
    let rules = |matching| rules(path, &paths, matching);
    let inspected = rules(config::Matching::All)?;
    for rule in inspected.rules() {
        let coverage = report.coverage.entry(rule.name.to_string()).or_default();
        if coverage.conjuncts.is_empty() {
            coverage.conjuncts = rule.conjuncts.iter().map(|(text, _)| (text.clone(), false)).collect();
        }
    }
    let mut inspector = replay(inspected);
    let mut all = replay(rules(config::Matching::All)?);
    for test in &file.tests {
        let started = std::time::Instant::now();
        let texts = events.of(test)?;
        let mut first;
        let replay = match test.matching {
            Matching::All => &mut all,
            Matching::First => {
                first = replay(rules(config::Matching::First)?);
                &mut first
            }
        };
        let (alerts, mut failures) = evaluate(replay, &texts);
        let near = observe(&mut inspector, &texts, report);
        failures.extend(judge(test, &alerts));
        cover(test, &alerts, &near, report);
        let seconds = started.elapsed().as_secs_f64();
        report.outcomes.push(Outcome {
            file: path.to_owned(),
            test: test.name.clone(),
            failures,
            seconds,
        });
    }
    Ok(())
}

fn rules(path: &Path, paths: &[PathBuf], matching: config::Matching) -> Result<RuleSet, TestFileError> {
    let failed = |rendered: String| TestFileError::Rules {
        path: path.to_owned(),
        rendered,
    };
    let files = rulefiles::read(paths).map_err(|e| failed(e.to_string()))?;
    let options = Options {
        matching,
        sources: Source::RULE_SOURCES.to_vec(),
        explain: true,
        ..Options::default()
    };
    let mut loaded = load(files, &options).map_err(|e| failed(format!("{e:?}")))?;
    loaded
        .rules
        .take()
        .ok_or_else(|| failed(loaded.errors().map(|d| d.render(&loaded.sources)).collect()))
}

fn replay(rules: RuleSet) -> Replay {
    // A host and a zone of its own, so that expected texts are the same everywhere.
    Replay::new(
        rules,
        Host {
            name: "test".into(),
            zone: jiff::tz::TimeZone::UTC,
        },
        None,
        true,
    )
}

fn evaluate(replay: &mut Replay, texts: &[String]) -> (Vec<Value>, Vec<String>) {
    let bad_before = replay.bad;
    replay.out.clear();
    replay.forget();
    texts.iter().for_each(|text| replay.text(text.as_bytes()));
    let failures = match replay.bad - bad_before {
        0 => Vec::new(),
        n => vec![format!("{n} of the events are no audit events")],
    };
    let alerts = replay
        .out
        .split(|&b| b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    (alerts, failures)
}

/// Notes which conjuncts decided, and returns the rules that the index let through.
fn observe(inspector: &mut Replay, texts: &[String], report: &mut Report) -> BTreeSet<String> {
    let mut near = BTreeSet::new();
    inspector.forget();
    for text in texts {
        inspector.inspect(text.as_bytes(), |rule, truths, candidate| {
            if candidate {
                near.insert(rule.name.to_string());
            }
            let mut failing = truths.iter().enumerate().filter(|(_, holds)| !**holds).map(|(i, _)| i);
            if let (Some(only), None) = (failing.next(), failing.next())
                && let Some(coverage) = report.coverage.get_mut(&*rule.name)
                && let Some((_, decided)) = coverage.conjuncts.get_mut(only)
            {
                *decided = true;
            }
        });
    }
    near
}

fn text<'a>(alert: &'a Value, key: &str) -> &'a str {
    alert.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn judge(test: &Test, alerts: &[Value]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut used = vec![false; alerts.len()];
    for expected in &test.alerts {
        let same_rule: Vec<usize> = (0..alerts.len())
            .filter(|&i| text(&alerts[i], "rule") == expected.rule)
            .collect();
        let fits = same_rule
            .iter()
            .copied()
            .find(|&i| !used[i] && mismatch(expected, &alerts[i]).is_none());
        match (fits, same_rule.first()) {
            (Some(i), _) => used[i] = true,
            (None, Some(&i)) => {
                let why =
                    mismatch(expected, &alerts[i]).unwrap_or_else(|| "it came fewer times than expected".to_owned());
                failures.push(format!("`{}` alerted, but {why}", expected.rule));
            }
            (None, None) => {
                let raised: BTreeSet<&str> = alerts.iter().map(|a| text(a, "rule")).collect();
                failures.push(format!(
                    "`{}` did not alert; alerts came from {raised:?}",
                    expected.rule
                ));
            }
        }
    }
    for (alert, _) in alerts.iter().zip(&used).filter(|(_, used)| !**used) {
        let rule = text(alert, "rule");
        let unwanted = match &test.quiet {
            Quiet::All(_) => true,
            Quiet::Rules(rules) => rules.iter().any(|r| r == rule) || test.only,
        };
        if unwanted {
            failures.push(format!("`{rule}` alerted: {}", text(alert, "output")));
        }
    }
    failures
}

fn mismatch(expected: &Expected, alert: &Value) -> Option<String> {
    if let Some(priority) = &expected.priority {
        let want = Priority::parse(priority).map_or_else(|| priority.clone(), |p| p.name().to_owned());
        if text(alert, "priority") != want {
            return Some(format!("its priority is {}, not {want}", text(alert, "priority")));
        }
    }
    expected.fields.iter().find_map(
        |(key, want)| match alert.get("output_fields").and_then(|f| f.get(key)) {
            Some(got) if got == want => None,
            Some(got) => Some(format!("`{key}` is {got}, not {want}")),
            None => Some(format!("it has no output field `{key}`")),
        },
    )
}

fn cover(test: &Test, alerts: &[Value], near: &BTreeSet<String>, report: &mut Report) {
    for expected in &test.alerts {
        if let Some(coverage) = report.coverage.get_mut(&expected.rule) {
            coverage.fires = true;
        }
    }
    let raised: BTreeSet<&str> = alerts.iter().map(|a| text(a, "rule")).collect();
    for (rule, coverage) in &mut report.coverage {
        let asked = match &test.quiet {
            Quiet::Rules(rules) => rules.contains(rule),
            // Silence says something only of rules that had a chance to speak.
            Quiet::All(_) => near.contains(rule),
        };
        coverage.quiet |= asked && !raised.contains(rule.as_str());
    }
}
