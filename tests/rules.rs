//! Our own audit rules: their tests beside them, silence on a cluster that nobody attacks, and what they say of one
//! that many do; `coverage/` sets them beside upstream's.
//!
//! The recordings of whole clusters are too large for the repository. They are looked for beside it, in
//! `../shared/audit`; without them those tests say that they were skipped.

#[path = "coverage/mod.rs"]
mod coverage;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use saker::config::Matching;
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Priority;
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::{rulefiles, ruletest};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the recordings, unless they are not here.
fn recording(name: &str) -> Option<String> {
    let path = root().join("../shared/audit").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("SKIPPED: there is no recording `{}`", path.display());
    }
    text
}

/// The built-in rules, with more files after them.
fn rules(more: &[&str], matching: Matching) -> RuleSet {
    let more = more.iter().map(|name| RuleFile {
        name: (*name).to_owned(),
        text: std::fs::read_to_string(root().join("rules/k8s_audit").join(name)).expect("readable"),
    });
    let options = Options {
        matching,
        unused_of_all: true,
        ..Options::default()
    };
    let mut loaded = load(rulefiles::builtin().chain(more).collect(), &options).expect("no fields of one's own");
    let problems: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(&loaded.sources)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    loaded.rules.take().expect("no errors")
}

fn replay(rules: RuleSet) -> Replay {
    let host = Host {
        name: "test".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    Replay::new(rules, host, None, true)
}

fn alerts(replay: &mut Replay, text: &str) -> Vec<Value> {
    replay.out.clear();
    replay.text(text.as_bytes());
    let lines = replay.out.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Conjuncts that follow from the others of their rule and stand there for the index or for the reader.
const IMPLIED: &[(&str, &str)] = &[
    ("Command run in a pod", "ka.target.resource = pods"),
    ("Command run in a pod", "ka.target.subresource = exec"),
    ("ConfigMap holds credentials", "ka.verb in (create, update, patch)"),
    ("ConfigMap holds credentials", "ka.target.resource = configmaps"),
    ("ConfigMap holds credentials", "not ka.target.subresource exists"),
    // A macro for its users, which is false as it stands.
    ("ConfigMap holds credentials", "not ka.auditid = \"\""),
    ("ConfigMap not inspectable", "ka.verb in (create, update, patch)"),
    ("ConfigMap not inspectable", "ka.target.resource = configmaps"),
    ("ConfigMap not inspectable", "not ka.target.subresource exists"),
    ("Credentials in a pod template", "ka.verb in (create, update, patch)"),
    ("Credentials in a pod template", "ka.pod.credentials exists"),
    ("Credentials in an annotation", "ka.verb in (create, update, patch)"),
    ("Credentials in an annotation", "ka.annotations.credentials exists"),
    ("File copied through a session", "ka.target.resource = pods"),
    (
        "File copied through a session",
        "ka.target.subresource in (exec, attach)",
    ),
    ("Suspicious command run in a pod", "ka.target.resource = pods"),
    (
        "Suspicious command run in a pod",
        "ka.target.subresource in (exec, attach)",
    ),
    ("Terminal opened in a pod", "ka.target.resource = pods"),
];

#[test]
fn tests_beside_the_rules_pass_and_leave_nothing_out() {
    let files = ruletest::run::find(&[root().join("rules/k8s_audit")]).expect("test files");
    let report = ruletest::run(&files).expect("rules load");
    assert_eq!(report.failed(), 0, "{}", ruletest::report::text(&report));
    assert_eq!(report.uncovered().collect::<Vec<_>>(), []);
    assert_eq!(report.undecided().collect::<Vec<_>>(), IMPLIED);
}

#[test]
fn every_rule_says_what_it_is_and_what_to_do() {
    for rule in rules(&[], Matching::First).rules() {
        let name = &rule.name;
        assert!(
            rule.runbook.as_deref().is_some_and(|r| !r.is_empty()),
            "{name}: runbook"
        );
        let has = |prefix: &str| rule.tags.iter().any(|tag| tag.starts_with(prefix));
        for prefix in ["T1", "mitre_", "maturity_"] {
            assert!(has(prefix), "{name}: a tag that begins with {prefix}");
        }
    }
}

#[test]
fn the_tuning_files_load_without_a_warning() {
    for name in ["local.yaml.example", "kubeadm", "k3s", "eks", "gke", "aks"] {
        match name {
            "local.yaml.example" => rules(&[name], Matching::First),
            profile => rules(&[&format!("profiles/{profile}.yaml")], Matching::First),
        };
    }
}

/// Whoever a profile takes for a part of the system can do nearly anything unseen.
#[test]
fn profiles_take_no_administrator_for_the_system() {
    let recorded = std::fs::read_to_string(root().join("tests/fixtures/recorded.jsonl")).expect("readable");
    let granted = recorded
        .lines()
        .find(|line| line.contains("e5519e4b-ce80-4b6b-a36a-42b107ade8c2"));
    let granted = granted.expect("cluster-admin granted");
    let told = |profile: &str, user: &str| {
        let event = granted.replace("\"kubernetes-admin\"", &format!("\"{user}\""));
        let rules = rules(&[&format!("profiles/{profile}.yaml")], Matching::First);
        let raised = alerts(&mut replay(rules), &event);
        raised.iter().any(|a| text(a, "/rule") == "Cluster-admin granted")
    };
    for (profile, administrator) in [
        ("kubeadm", "kubernetes-super-admin"),
        ("k3s", "system:admin"),
        ("eks", "eks:support-engineer"),
        ("eks", "eks:cluster-bootstrap"),
        ("aks", "masterclient"),
    ] {
        assert!(told(profile, administrator), "{profile}: {administrator}");
    }
    assert!(!told("aks", "aksService"));
}

#[test]
fn a_cluster_that_nobody_attacks_is_silent() {
    let Some(recorded) = recording("audit_log_system.jsonl") else {
        return;
    };
    let raised = alerts(&mut replay(rules(&[], Matching::All)), &recorded);
    let loud: Vec<&str> = raised
        .iter()
        .filter(|a| Priority::parse(text(a, "/priority")).is_some_and(|p| p <= Priority::Notice))
        .map(|a| text(a, "/output"))
        .collect();
    assert_eq!(loud, [""; 0]);
}

#[test]
fn the_example_batch_shows_the_range_of_the_rules() {
    let batch = std::fs::read_to_string(root().join("tests/fixtures/example-batch.json")).expect("readable");
    let raised = alerts(&mut replay(rules(&[], Matching::First)), &batch);
    let names: Vec<&str> = raised.iter().map(|a| text(a, "/rule")).collect();
    assert_eq!(
        names,
        [
            "Object created",
            "Object created",
            "ConfigMap holds credentials",
            "Secrets read in bulk",
            "Dangerous capability added",
            "Workload can take over its node",
            "Cluster-admin granted",
            "Superuser impersonated",
            "Secret access refused",
            "Terminal opened in a pod",
            "Command run through the kubelet",
        ]
    );
}

/// Something that a person did while the cluster was recorded.
struct Action {
    from: f64,
    to: f64,
    user: String,
    command: String,
}

fn actions(commands: &str, execs: &str) -> Vec<Action> {
    let user = |v: &Value| match v.as_str().unwrap_or_default() {
        "admin" => "kubernetes-admin".to_owned(),
        "robot" => "system:serviceaccount:dev:robot".to_owned(),
        name if ["alice", "bob", "carol", "dave", "mallory"].contains(&name) => format!("{name}@example.com"),
        other => other.to_owned(),
    };
    let action = |v: &Value, words: &str| {
        let words = v.get(words).and_then(Value::as_array).into_iter().flatten();
        let command = words.filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        let stdin = text(v, "/stdin");
        let from_stdin = match stdin.is_empty() {
            true => String::new(),
            false => format!(" <<< {stdin}"),
        };
        Action {
            from: v.get("t0").and_then(Value::as_f64).unwrap_or_default(),
            to: v.get("t1").and_then(Value::as_f64).unwrap_or_default(),
            user: user(v.get("user").unwrap_or(&Value::Null)),
            command: shortened(&(command + &from_stdin)),
        }
    };
    let values = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let mut all: Vec<Action> = values(commands).iter().map(|v| action(v, "cmd")).collect();
    all.extend(values(execs).iter().map(|v| {
        let scenario = v.get("scenario").expect("a scenario");
        let mut action = action(scenario, "args");
        action.command = format!("[{}] {}", text(scenario, "/label"), action.command);
        action
    }));
    all.sort_by(|a, b| a.from.total_cmp(&b.from));
    all
}

/// One line of at most 150 characters, without what only a terminal could show.
fn shortened(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { ' ' })
        .collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(150).collect()
}

/// Seconds since the epoch at which the API server received an event's request.
fn received(event: &Value) -> f64 {
    let stamp: jiff::Timestamp = text(event, "/requestReceivedTimestamp").parse().expect("a time");
    stamp.as_microsecond() as f64 / 1e6
}

/// The table of `tests/fixtures/actions.tsv`: who did what, and what the rules say of it.
fn table(events: &str, actions: &[Action]) -> String {
    let mut replay = replay(rules(&[], Matching::All));
    let mut said: BTreeMap<usize, BTreeMap<String, usize>> = BTreeMap::new();
    let nothing = actions.len();
    for line in events.lines() {
        let raised = alerts(&mut replay, line);
        if raised.is_empty() {
            continue;
        }
        let event: Value = serde_json::from_str(line).expect("JSON");
        let (at, who) = (received(&event), text(&event, "/user/username"));
        let during = |by_name: bool| {
            actions
                .iter()
                .rposition(|a| a.from <= at && at <= a.to && (!by_name || a.user == who))
        };
        let action = during(true).or_else(|| during(false)).unwrap_or(nothing);
        for alert in &raised {
            let name = format!("{} {}", text(alert, "/priority"), text(alert, "/rule"));
            *said.entry(action).or_default().entry(name).or_default() += 1;
        }
    }
    let mut out = String::from("# user\taction\talerts (matching: all)\n");
    for (i, action) in actions.iter().enumerate() {
        let found = said.get(&i).cloned().unwrap_or_default();
        let found: Vec<String> = found.into_iter().map(times).collect();
        writeln!(out, "{}\t{}\t{}", action.user, action.command, found.join("; ")).expect("a string");
    }
    for (name, n) in said.get(&nothing).cloned().unwrap_or_default() {
        writeln!(out, "-\tbetween the actions\t{}", times((name, n))).expect("a string");
    }
    out
}

fn times((name, n): (String, usize)) -> String {
    match n {
        1 => name,
        n => format!("{name} x{n}"),
    }
}

/// What each recorded action raises. After a change of the rules: `UPDATE_FIXTURES=1 cargo test --test rules`, and read
/// the difference.
#[test]
fn each_recorded_action_raises_what_the_table_says() {
    let (Some(events), Some(commands), Some(execs)) = (
        recording("audit_log.jsonl"),
        recording("commands.jsonl"),
        recording("execs.jsonl"),
    ) else {
        return;
    };
    let got = table(&events, &actions(&commands, &execs));
    let path = root().join("tests/fixtures/actions.tsv");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &got).expect("writable");
    }
    let want = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    for (got, want) in got.lines().zip(want.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(got.lines().count(), want.lines().count());
}
