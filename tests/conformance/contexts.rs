//! Where findings are: the JSON of `saker rules check` against the contexts that upstream's binary was recorded to give.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::folder;
use crate::report::text;

/// Contexts whose positions differ, by case and code, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "regex_anyof",
        "LOAD_COMPILE_CONDITION",
        "the item of a list that is meant, and not the whole list",
    ),
    (
        "regex_backref",
        "LOAD_ERR_COMPILE_CONDITION",
        "the escape sequence that is wrong, and not the end of its string",
    ),
];

/// One finding: its code, and kind, name, line, column and offset of each of its places.
type Finding = (String, Vec<(String, String, u64, u64, u64)>);

fn findings(results: &Value) -> Vec<Finding> {
    let issues = results.as_array().into_iter().flatten();
    let issues = issues.flat_map(|r| ["errors", "warnings"].map(|key| &r[key]));
    let issues = issues.flat_map(|list| list.as_array().into_iter().flatten());
    let place = |location: &Value| {
        let position = &location["position"];
        let number = |key: &str| position[key].as_u64().expect("a number");
        let kind = text(location, "item_type").to_owned();
        let named = format!(
            "{} {}",
            text(location, "item_name"),
            if kind == "condition expression" {
                text(position, "name")
            } else {
                ""
            }
        );
        (kind, named, number("line"), number("column"), number("offset"))
    };
    issues
        .map(|issue| {
            let places = issue["context"]["locations"].as_array().expect("locations");
            (text(issue, "code").to_owned(), places.iter().map(place).collect())
        })
        .collect()
}

fn checked(rules: &str) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("rules.yaml");
    std::fs::write(&file, rules).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_saker"));
    command.args(["rules", "check", "--format", "json", "-r"]).arg(&file);
    let output = command.output().expect("saker runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    findings(&answer["falco_load_results"])
}

#[test]
fn findings_are_where_upstream_says() {
    let (dir, _) = folder();
    let files = ["conditions.jsonl", "conditions_syscall_validate.jsonl"];
    let texts = files.map(|file| std::fs::read_to_string(dir.join("upstream_runs").join(file)));
    let [Ok(first), Ok(second)] = texts else {
        println!("contexts SKIPPED: there are no recordings in {}", dir.display());
        return;
    };
    let (mut agree, mut total) = (0, 0);
    let mut differ: BTreeMap<(String, String), String> = BTreeMap::new();
    for line in first.lines().chain(second.lines()) {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let wanted = findings(&case["validate_json"]["falco_load_results"]);
        if wanted.is_empty() {
            continue;
        }
        let ours = checked(text(&case, "rules_yaml"));
        for want in wanted {
            total += 1;
            if ours.contains(&want) {
                agree += 1;
                continue;
            }
            let near: Vec<&Finding> = ours.iter().filter(|f| f.0 == want.0).collect();
            let key = (text(&case, "id").to_owned(), want.0.clone());
            differ.insert(key, format!("got {near:?}\n     want {want:?}"));
        }
    }
    println!("conformance contexts {agree}/{total}");
    let reason = |(case, code): &(String, String)| {
        let row = DIFFERENT.iter().find(|(c, d, _)| c == case && d == code);
        row.map(|(.., why)| *why)
    };
    for key in differ.keys() {
        if let Some(why) = reason(key) {
            println!("  differs {} {}: {why}", key.0, key.1);
        }
    }
    let unexplained: Vec<String> = differ
        .iter()
        .filter(|(key, _)| reason(key).is_none())
        .map(|(key, diff)| format!("{} {}: {diff}", key.0, key.1))
        .collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert_eq!(differ.len(), DIFFERENT.len(), "some of DIFFERENT agree now");
}
