//! Upstream's rules and ours over the same events, and the reasons for what only upstream finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use saker::config::Matching;
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Priority;
use saker::rulefiles;
use saker::sources::audit::decode;
use serde_json::Value;

const RULES: &str = "upstream_rules/k8s_audit_rules.yaml";
const RECORDINGS: [&str; 4] = [
    "audit/audit_log.jsonl",
    "audit/audit_log_system.jsonl",
    "audit/audit_log_big.jsonl",
    "conformance/upstream_runs/k8s_audit_events.jsonl",
];

/// Tells every user who is not in a list of upstream's, whatever they do; it would hide what else only we find.
const EVERY_USER: &str = "Disallowed K8s User";

const LIST: &[u8] = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["#;

/// What lies in `../shared`.
pub struct Inputs {
    upstream: String,
    /// Of each recording: its events, one text each.
    recordings: Vec<(&'static str, Vec<Vec<u8>>)>,
}

impl Inputs {
    /// Nothing, and a loud word of it, when a file is not there.
    pub fn read() -> Option<Inputs> {
        let read = |name: &str| {
            let path = crate::root().join("../shared").join(name);
            let text = std::fs::read_to_string(&path).ok();
            if text.is_none() {
                eprintln!(
                    "SKIPPED: rules are not compared with upstream's, there is no `{}`",
                    path.display()
                );
            }
            text
        };
        let recording = |name| Some((name, events(&read(name)?)));
        Some(Inputs {
            upstream: read(RULES)?,
            recordings: RECORDINGS.into_iter().map(recording).collect::<Option<_>>()?,
        })
    }

    /// The recordings and their sizes, by which the document says what it was made of.
    pub fn table(&self) -> String {
        let mut out = String::from("| recording in `../shared` | events |\n|---|---:|\n");
        for (name, events) in &self.recordings {
            writeln!(out, "| {name} | {} |", events.len()).expect("a string");
        }
        out
    }
}

/// The events of a recording, each as a list of one: an item of a list need not say that it is an event. A line of
/// upstream's runs holds what was given to it under `event`.
fn events(text: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let given = case.get("event").map_or_else(|| line.to_owned(), Value::to_string);
        let _ = decode::lines(given.as_bytes(), |item| {
            if let Ok(event) = item {
                let list: [&[u8]; 3] = [LIST, event.bytes(), b"]}"];
                out.push(list.concat());
            }
        });
    }
    out
}

/// A line of `reasons.tsv`.
struct Reason {
    upstream: &'static str,
    kind: &'static str,
    condition: &'static str,
    why: &'static str,
}

fn reasons() -> Vec<Reason> {
    let rows = include_str!("reasons.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let reason = |line: &'static str| {
        let [upstream, kind, condition, why] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("reasons.tsv: four columns, not `{line}`");
        };
        assert!(["only", "quieter", "unseen"].contains(&kind), "reasons.tsv: `{kind}`");
        Reason {
            upstream,
            kind,
            condition,
            why,
        }
    };
    rows.map(reason).collect()
}

/// A row's condition as a rule, so that the engine decides to which events the row applies.
fn as_rules(reasons: &[Reason]) -> RuleFile {
    let rules = reasons.iter().enumerate().filter(|(_, r)| r.kind != "unseen").map(|(i, r)| {
        let condition = serde_json::to_string(r.condition).expect("a string");
        format!("- rule: reason {i}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: DEBUG\n  source: k8s_audit\n")
    });
    RuleFile {
        name: "reasons.tsv".to_owned(),
        text: rules.collect(),
    }
}

fn loaded(files: Vec<RuleFile>) -> RuleSet {
    let options = Options {
        matching: Matching::All,
        ..Options::default()
    };
    let mut loaded = load(files, &options).expect("no fields of one's own");
    let errors: Vec<String> = loaded.errors().map(|d| d.render(&loaded.sources)).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    loaded.rules.take().expect("no errors")
}

/// Name and priority of each rule, in order.
fn names(rules: &RuleSet) -> Vec<(String, Priority)> {
    rules.rules().map(|r| (r.name.to_string(), r.priority)).collect()
}

/// Of each event, the names of the rules that alert.
fn found(rules: RuleSet, events: &[&[u8]]) -> Vec<BTreeSet<String>> {
    let mut replay = crate::replay(rules);
    let mut of = |event: &&[u8]| {
        replay.out.clear();
        replay.text(event);
        let lines = replay.out.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_slice::<Value>(line).expect("JSON")["rule"]
                    .as_str()
                    .expect("a name")
                    .to_owned()
            })
            .collect()
    };
    let all = events.iter().map(&mut of).collect();
    assert_eq!((replay.events, replay.bad), (events.len() as u64, 0));
    all
}

/// Which rules alert on which events.
struct Comparison {
    upstream: Vec<(String, Priority)>,
    ours: Vec<(String, Priority)>,
    by_upstream: Vec<BTreeSet<String>>,
    by_us: Vec<BTreeSet<String>>,
    /// The rows of `reasons.tsv` whose conditions hold, as `reason N`.
    why: Vec<BTreeSet<String>>,
    reasons: Vec<Reason>,
}

/// The part of the document that compares.
pub fn document(inputs: &Inputs) -> String {
    let events: Vec<&[u8]> = inputs
        .recordings
        .iter()
        .flat_map(|(_, e)| e)
        .map(Vec::as_slice)
        .collect();
    let upstream = loaded(vec![RuleFile {
        name: RULES.to_owned(),
        text: inputs.upstream.clone(),
    }]);
    let ours = loaded(rulefiles::builtin().collect());
    let reasons = reasons();
    let builtin: BTreeSet<String> = names(&ours).into_iter().map(|(name, _)| name).collect();
    let with_reasons = loaded(rulefiles::builtin().chain([as_rules(&reasons)]).collect());
    let comparison = Comparison {
        upstream: names(&upstream),
        ours: names(&ours),
        by_upstream: found(upstream, &events),
        by_us: found(ours, &events),
        why: found(with_reasons, &events).iter().map(|all| all - &builtin).collect(),
        reasons,
    };
    let (alerted, told) = (
        comparison.by_upstream.iter().filter(|r| !r.is_empty()).count(),
        comparison.by_us.iter().filter(|r| !r.is_empty()).count(),
    );
    format!(
        "{}\nOf {} events, {} upstream rules alert on {alerted}, our {} rules on {told}.\n\n{}\n{}\n{}",
        inputs.table(),
        events.len(),
        comparison.upstream.len(),
        comparison.ours.len(),
        comparison.upstream_table(),
        comparison.reason_table(&events),
        comparison.our_table()
    )
}

impl Comparison {
    /// The events on which a rule of upstream's alerts.
    fn of<'a>(&'a self, upstream: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.by_upstream.len()).filter(move |&i| self.by_upstream[i].contains(upstream))
    }

    /// How ours fall short of a rule of upstream's on an event: not at all, `only`, `quieter`.
    fn short(&self, event: usize, priority: Priority) -> Option<&'static str> {
        let found = self.ours.iter().filter(|(name, _)| self.by_us[event].contains(name));
        match found.map(|(_, p)| *p).min() {
            None => Some("only"),
            Some(best) if priority <= Priority::Notice && best > Priority::Notice => Some("quieter"),
            Some(_) => None,
        }
    }

    fn upstream_table(&self) -> String {
        let mut out = String::from(
            "`ours` counts the events on which a rule of ours alerts as well, `quieter` those among them where upstream's \
             priority is\nNotice or more and ours is only Informational, `only upstream` the rest.\n\n\
             | upstream rule | priority | events | ours | quieter | only upstream | our rules on the same events |\n\
             |---|---|---:|---:|---:|---:|---|\n",
        );
        for (name, priority) in &self.upstream {
            let events: Vec<usize> = self.of(name).collect();
            let count = |kind| {
                events
                    .iter()
                    .filter(|&&i| self.short(i, *priority) == Some(kind))
                    .count()
            };
            let (only, quieter) = (count("only"), count("quieter"));
            let mut with: BTreeMap<&str, usize> = BTreeMap::new();
            for rule in events.iter().flat_map(|&i| &self.by_us[i]) {
                *with.entry(rule).or_default() += 1;
            }
            let mut with: Vec<_> = with.into_iter().collect();
            with.sort_by_key(|(rule, n)| (std::cmp::Reverse(*n), *rule));
            let with: Vec<String> = with.iter().map(|(rule, n)| format!("{rule} {n}")).collect();
            let n = events.len();
            writeln!(
                out,
                "| {name} | {priority} | {n} | {} | {quieter} | {only} | {} |",
                n - only,
                with.join(", ")
            )
            .expect("a string");
        }
        out
    }

    fn reason_table(&self, events: &[&[u8]]) -> String {
        let mut out =
            String::from("### Why ours differs\n\n| upstream rule | what | events | why |\n|---|---|---:|---|\n");
        let mut used = BTreeSet::new();
        let mut unexplained = Vec::new();
        for (name, priority) in &self.upstream {
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            for i in self.of(name) {
                let Some(kind) = self.short(i, *priority) else { continue };
                let row = self.reasons.iter().enumerate().position(|(n, r)| {
                    [name.as_str(), "*"].contains(&r.upstream)
                        && r.kind == kind
                        && self.why[i].contains(&format!("reason {n}"))
                });
                match row {
                    Some(row) => *counts.entry(row).or_default() += 1,
                    None => unexplained.push(format!("{name} ({kind}): {}", String::from_utf8_lossy(events[i]))),
                }
            }
            if self.of(name).next().is_none() {
                let row = self
                    .reasons
                    .iter()
                    .position(|r| r.upstream == name && r.kind == "unseen");
                counts.insert(
                    row.unwrap_or_else(|| panic!("{name}: no event, and no row `unseen`")),
                    0,
                );
            }
            for (row, n) in counts {
                used.insert(row);
                let Reason { kind, why, .. } = &self.reasons[row];
                let what = match *kind {
                    "only" => "only upstream",
                    "unseen" => "no event",
                    kind => kind,
                };
                writeln!(out, "| {name} | {what} | {n} | {why} |").expect("a string");
            }
        }
        assert!(
            unexplained.is_empty(),
            "reasons.tsv has no reason for {} events:\n{}",
            unexplained.len(),
            unexplained.join("\n")
        );
        let stale = self.reasons.iter().enumerate().filter(|(n, _)| !used.contains(n));
        let stale: Vec<String> = stale.map(|(_, r)| format!("{}: {}", r.upstream, r.condition)).collect();
        assert!(stale.is_empty(), "rows of reasons.tsv that explain nothing: {stale:#?}");
        out
    }

    fn our_table(&self) -> String {
        let mut out = format!(
            "### What only ours find\n\n`only ours` counts the events on which no rule of upstream's alerts. The last column \
             leaves `{EVERY_USER}` out of\naccount, which tells every request of a user who is not in its list and nothing of \
             what they did.\n\n| our rule | priority | events | only ours | but for `{EVERY_USER}` |\n|---|---|---:|---:|---:|\n"
        );
        let mut unseen = Vec::new();
        for (name, priority) in &self.ours {
            let events: Vec<usize> = (0..self.by_us.len())
                .filter(|&i| self.by_us[i].contains(name))
                .collect();
            if events.is_empty() {
                unseen.push(name.as_str());
                continue;
            }
            let but = |but: &str| {
                events
                    .iter()
                    .filter(|&&i| self.by_upstream[i].iter().all(|r| r == but))
                    .count()
            };
            writeln!(
                out,
                "| {name} | {priority} | {} | {} | {} |",
                events.len(),
                but(""),
                but(EVERY_USER)
            )
            .expect("a string");
        }
        write!(
            out,
            "\n{} rules have no event in these recordings; the tests beside the rules make them alert: {}.\n",
            unseen.len(),
            unseen.join(", ")
        )
        .expect("a string");
        out
    }
}
