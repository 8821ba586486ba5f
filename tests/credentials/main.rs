//! Credentials in ConfigMaps, measured: a labelled corpus as audit events through the real binary and the real rule.
//!
//! `cargo test --release --test credentials -- --nocapture` prints the figures of docs/credentials.md. The corpus lies in
//! `../shared/credentials/dev.jsonl.gz` beside the repository; `SAKER_CREDENTIALS_CORPUS` names another one of that shape
//! (plain or gzip), `SAKER_CREDENTIALS_OUT` a file that receives the predictions, one JSON object a line.

mod corpus;
mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use corpus::Row;
use score::{Prediction, Score};
use serde_json::Value;

const RULE: &str = "ConfigMap holds credentials";

/// The event's identity and the object as it is printed stand in every alert of this run.
const CONFIG: &str = "\
rules:
  append_output:
    - match: {source: k8s_audit}
      extra_fields: [ka.auditid, ka.req.configmap.obj]
";

fn corpus() -> Option<PathBuf> {
    let (path, named) = match std::env::var_os("SAKER_CREDENTIALS_CORPUS") {
        Some(path) => (PathBuf::from(path), true),
        None => {
            let default = "../shared/credentials/dev.jsonl.gz";
            (Path::new(env!("CARGO_MANIFEST_DIR")).join(default), false)
        }
    };
    if !path.exists() && !named {
        println!("credentials SKIPPED: there is no corpus at {}", path.display());
        println!("credentials SKIPPED: name one with SAKER_CREDENTIALS_CORPUS=FILE");
        return None;
    }
    Some(path)
}

/// Alerts of the rule, by Audit-ID.
fn alerts(rows: &[Row]) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().expect("a directory");
    let events = dir.path().join("events.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&events).expect("a file"));
    for row in rows {
        writeln!(file, "{}", row.event()).expect("written");
    }
    file.flush().expect("written");
    let config = dir.path().join("saker.yaml");
    std::fs::write(&config, CONFIG).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_saker"))
        .args(["replay", "--format", "json", "--matching", "all", "-c"])
        .args([&config, &events])
        .output()
        .expect("saker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an alert"))
        .filter(|alert| alert["rule"] == RULE)
        .map(|alert| {
            (
                alert["output_fields"]["ka.auditid"].as_str().expect("an id").to_owned(),
                alert,
            )
        })
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn predictions(alerts: &BTreeMap<String, Value>) -> Vec<Prediction> {
    let mut all = Vec::new();
    for (id, alert) in alerts {
        let fields = &alert["output_fields"];
        let findings = texts(&fields["ka.req.configmap.findings"]);
        for key in texts(&fields["ka.req.configmap.keys"]) {
            all.push(Prediction {
                id: id.clone(),
                kind: texts(&fields["ka.req.configmap.credentials"]).join(","),
                excerpt: findings.join("\n"),
                message: alert["output"].as_str().unwrap_or_default().to_owned(),
                key,
            });
        }
    }
    all
}

#[test]
fn labelled_configmaps() {
    let Some(path) = corpus() else { return };
    let rows = corpus::read(&path);
    let alerts = alerts(&rows);
    let predictions = predictions(&alerts);
    if let Some(out) = std::env::var_os("SAKER_CREDENTIALS_OUT") {
        let lines: Vec<String> = predictions.iter().map(|p| p.json().to_string()).collect();
        std::fs::write(out, lines.join("\n") + "\n").expect("written");
    }
    let score = Score::of(&rows, &predictions);
    println!("{score}");
    let (remain, all) = left_in_objects(&rows, &alerts);
    println!("objects as they are printed: {remain} of {all} labelled secrets are not masked");
    // Another corpus is measured and not judged.
    if std::env::var_os("SAKER_CREDENTIALS_CORPUS").is_none() {
        score.check();
    }
}

/// How many labelled secrets stand in what alerts print of the objects, and how many there are.
fn left_in_objects(rows: &[Row], alerts: &BTreeMap<String, Value>) -> (usize, usize) {
    let (mut left, mut all) = (0, 0);
    for row in rows {
        let Some(alert) = alerts.get(&row.id) else { continue };
        let object = alert["output_fields"]["ka.req.configmap.obj"]
            .as_str()
            .unwrap_or_default();
        let secrets: BTreeSet<&String> = row.labels.iter().flat_map(|label| &label.secrets).collect();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= 6) {
            all += 1;
            let escaped = serde_json::to_string(secret).expect("a string");
            left += usize::from(object.contains(escaped.trim_matches('"')));
        }
    }
    (left, all)
}

/// The rule of the article that made this known, with its typos corrected, and what it prints.
#[test]
fn the_rule_of_three_macros() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = "\
- macro: kevt
  condition: (jevt.value[/stage] in (ResponseComplete))
- macro: configmap
  condition: ka.target.resource = configmaps
- macro: modify
  condition: (ka.verb in (create, update, patch))
- macro: contains_private_credentials
  condition: >
    (ka.req.configmap.obj contains \"aws_access_key_id\" or
    ka.req.configmap.obj contains \"aws_s3_key_id\" or
    ka.req.configmap.obj contains \"password\")
- rule: Configmap contains private credentials
  desc: Detect creating or modifying a configmap containing a private credential
  condition: kevt and configmap and modify and contains_private_credentials
  output: >-
    K8s configmap with private credential (user=%ka.user.name verb=%ka.verb name=%ka.req.configmap.name
    configmap=%ka.req.configmap.obj)
  priority: WARNING
  source: k8s_audit
  tags: [k8s]
";
    std::fs::write(dir.path().join("rules.yaml"), rules).expect("written");
    let secret = ["Zk3vQ8w1", "TqLx7RbN"].concat();
    let event = corpus::event(
        "one",
        "create",
        serde_json::json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "db", "namespace": "dev"},
            "data": {"app.env": format!("password={secret}\n")},
        }),
    );
    std::fs::write(dir.path().join("events.jsonl"), event.to_string()).expect("written");
    let printed = |config: &str| {
        std::fs::write(dir.path().join("saker.yaml"), config).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_saker"))
            .args(["replay", "--format", "json", "-c"])
            .args([dir.path().join("saker.yaml"), dir.path().join("events.jsonl")])
            .output()
            .expect("saker runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let alert: Value = serde_json::from_slice(&output.stdout).expect("one alert");
        assert_eq!(alert["rule"], "Configmap contains private credentials");
        let field = alert["output_fields"]["ka.req.configmap.obj"]
            .as_str()
            .expect("text")
            .to_owned();
        (field, alert["output"].as_str().expect("text").to_owned())
    };
    let masked = printed("rules: {builtin: false, files: [rules.yaml]}\n");
    assert_eq!(masked.0, r#"{"app.env":"password=***\n"}"#);
    assert!(
        masked.1.contains("password=***") && !masked.1.contains(&secret),
        "{}",
        masked.1
    );
    let open = printed("rules: {builtin: false, files: [rules.yaml], mask_credentials: false}\n");
    assert!(open.0.contains(&secret) && open.1.contains(&secret), "{open:?}");
}
