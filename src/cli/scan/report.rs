//! Findings for people and for machines. What files and objects are called is the choice of others, so it is printed
//! with care; excerpts have their secrets masked already.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Found, Scan};
use crate::cli::columns;
use crate::cli::fields::credentials::{Row, rows};
use crate::cli::rules::formats::uri;
use crate::credentials::Confidence;
use crate::engine::format::is_steering;

/// A line each, and a summary.
pub fn table(scan: &Scan) -> String {
    let mut rows: Vec<[String; 6]> = Vec::new();
    if !scan.found.is_empty() {
        rows.push(["PLACE", "OBJECT", "KEY", "KIND", "CONFIDENCE", "EXCERPT"].map(str::to_owned));
    }
    rows.extend(scan.found.iter().map(|found| {
        [
            format!("{}:{}", found.file, found.line),
            found.object(),
            found.key.clone(),
            found.finding.kind.to_owned(),
            found.finding.confidence.name().to_owned(),
            found.finding.excerpt.to_string(),
        ]
        .map(|cell| if cell.is_empty() { "-".to_owned() } else { safe(&cell) })
    }));
    columns(&rows) + &summary(scan)
}

fn summary(scan: &Scan) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let allowed = match scan.allowed {
        0 => String::new(),
        n => format!(", {n} allowed"),
    };
    format!(
        "{} in {}{allowed}\n",
        count(scan.found.len(), "finding"),
        count(scan.files, "file")
    )
}

/// Nothing that steers a terminal.
fn safe(text: &str) -> String {
    text.chars()
        .map(|c| match c.is_control() || is_steering(c) {
            true => char::REPLACEMENT_CHARACTER,
            false => c,
        })
        .collect()
}

impl Found {
    /// `NAMESPACE/NAME`, or the name alone.
    fn object(&self) -> String {
        match &self.object {
            None => String::new(),
            Some(object) if object.namespace.is_empty() => object.name.clone(),
            Some(object) => format!("{}/{}", object.namespace, object.name),
        }
    }
}

/// One array of objects; what there is not is null.
pub fn json(scan: &Scan) -> String {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows: Vec<Value> = scan
        .found
        .iter()
        .map(|found| {
            let object = found.object.as_deref();
            let finding = &found.finding;
            json!({
                "file": &*found.file, "line": found.line,
                "object_kind": object.map(|o| &o.kind),
                "namespace": object.and_then(|o| given(&o.namespace)),
                "name": object.and_then(|o| given(&o.name)),
                "key": given(&found.key),
                "kind": finding.kind, "title": finding.title, "confidence": finding.confidence,
                "excerpt": &*finding.excerpt, "layers": finding.layers,
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

/// SARIF 2.1.0 with every kind as a rule.
pub fn sarif(scan: &Scan) -> String {
    let table = rows();
    let rules: Vec<Value> = table.iter().map(rule).collect();
    let mut fingerprints = Fingerprints::default();
    let results: Vec<Value> = scan
        .found
        .iter()
        .map(|found| result(found, &table, &mut fingerprints))
        .collect();
    let notifications: Vec<Value> = scan
        .skipped
        .iter()
        .map(|skipped| {
            let uri = uri(&skipped.path.display().to_string());
            json!({
                "level": if skipped.named { "error" } else { "warning" },
                "message": {"text": skipped.why},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}}}],
            })
        })
        .collect();
    let driver = json!({"name": "saker", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    let invocation = json!({
        "executionSuccessful": scan.is_complete(), "toolExecutionNotifications": notifications,
    });
    let run = json!({
        "tool": {"driver": driver}, "invocations": [invocation], "columnKind": "unicodeCodePoints", "results": results,
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run],
    });
    serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"
}

fn rule(row: &Row) -> Value {
    json!({
        "id": row.name, "shortDescription": {"text": row.titles.join("; ")},
        "fullDescription": {"text": format!("{}, told by {}", row.titles.join("; "), row.told_by.join("; "))},
        "defaultConfiguration": {"level": level(row.confidence)},
    })
}

fn result(found: &Found, table: &[Row], fingerprints: &mut Fingerprints) -> Value {
    let finding = &found.finding;
    let place = match (found.object(), found.key.as_str()) {
        (object, "") => object,
        (object, key) => format!("{object}/{key}"),
    };
    let within = if place.is_empty() {
        String::new()
    } else {
        format!(" in {place}")
    };
    let physical = json!({"artifactLocation": {"uri": uri(&found.file)}, "region": {"startLine": found.line}});
    let mut location = json!({"physicalLocation": physical});
    if !place.is_empty() {
        location["logicalLocations"] = json!([{"fullyQualifiedName": place}]);
    }
    json!({
        "ruleId": finding.kind, "ruleIndex": table.iter().position(|row| row.name == finding.kind),
        "level": level(finding.confidence),
        "message": {"text": format!("{}{within}: {}", finding.title, finding.excerpt)},
        "locations": [location],
        "partialFingerprints": {"sakerPlace/v1": fingerprints.next(found, &place)},
    })
}

/// What a finding is recognised by in the next run: its place and its kind, never its secret, which could be guessed from
/// a hash. Lines move, so they are no part of it.
#[derive(Default)]
struct Fingerprints(HashMap<String, usize>);

impl Fingerprints {
    fn next(&mut self, found: &Found, place: &str) -> String {
        let base = format!("{}|{place}|{}", found.file, found.finding.kind);
        let count = self.0.entry(base.clone()).or_default();
        *count += 1;
        format!("{base}|{count}")
    }
}

const fn level(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::High => "error",
        Confidence::Medium => "warning",
        Confidence::Low => "note",
    }
}
