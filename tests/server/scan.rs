//! `saker scan`: what it prints, in every form, what it says when it cannot, and how it ends.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::harness::saker;

/// Values that nobody uses; put together so that nothing finds them here.
const SECRET: &str = concat!("Wq8", "sdf77", "xZ");
const TOKEN: &str = concat!("gl", "pat-", "Zx8Kq2LmP7vN4wRt", "Yb3c");

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text.replace("$S", SECRET).replace("$T", TOKEN)).unwrap();
}

/// Manifests, files, and what is no business of anybody.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "charts/app.yaml",
        "\
# Source: shop/templates/app.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: shop}
data:
  DB_PASSWORD: $S
  application.properties: |
    gitlab=$T
    db.password=$S
---
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: shop}
stringData: {DB_PASSWORD: $S}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: web
        env:
        - {name: ADMIN_PASSWORD, value: $S}
",
    );
    put(dir.path(), "charts/values.yaml", "db:\n  password: $S\n");
    put(dir.path(), "charts/.git/config", "password=$S\n");
    put(dir.path(), "clean.txt", "nothing to see\n");
    dir
}

/// What it prints and how it ends. No secret is anywhere in it.
#[track_caller]
fn shown(args: &[&str], output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(
        ![SECRET, TOKEN]
            .iter()
            .any(|secret| out.contains(secret) || err.contains(secret))
    );
    let code = output.status.code().unwrap();
    format!("$ saker scan {}\n{out}{err}exit {code}\n\n", args.join(" "))
}

#[track_caller]
fn scan(dir: &Path, args: &[&str]) -> String {
    shown(args, &saker(dir).arg("scan").args(args).output().unwrap())
}

#[track_caller]
fn scan_input(dir: &Path, args: &[&str], input: &str) -> String {
    let mut child = saker(dir)
        .arg("scan")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = input.replace("$S", SECRET);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    shown(args, &child.wait_with_output().unwrap())
}

#[test]
fn findings_as_a_table() {
    let dir = directory();
    let all: String = [
        &["."][..],
        &["clean.txt", "charts/values.yaml", "./charts/values.yaml"],
        &["charts", "--min-confidence", "high"],
        &["clean.txt"],
    ]
    .into_iter()
    .map(|args| scan(dir.path(), args))
    .collect();
    insta::assert_snapshot!("scan_table", all);
}

#[test]
fn findings_for_machines() {
    let dir = directory();
    insta::assert_snapshot!("scan_json", scan(dir.path(), &["charts", "--format", "json"]));
    insta::assert_snapshot!("scan_json_clean", scan(dir.path(), &["clean.txt", "--format", "json"]));
    let args = ["scan", "charts", "absent", "--format", "sarif"];
    let output = saker(dir.path()).args(args).output().unwrap();
    shown(&args[1..], &output);
    let sarif: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let ids: std::collections::BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len());
    assert_eq!(sarif["version"], "2.1.0");
    let password = rules.iter().find(|rule| rule["id"] == "password");
    let parts = serde_json::json!({"results": run["results"], "invocations": run["invocations"], "rule": password});
    insta::assert_snapshot!("scan_sarif", serde_json::to_string_pretty(&parts).unwrap());
}

#[test]
fn standard_input() {
    let dir = directory();
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n\
                {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\", \"namespace\": \"n\"},\n\
                \"data\": {\"x\": \"\",\n\"password\": \"$S\"}}]}\n";
    let all = scan_input(dir.path(), &["-"], list)
        + &scan_input(dir.path(), &["-"], "export PGPASSWORD=$S\n")
        + &scan_input(dir.path(), &["charts/values.yaml", "-"], "nothing\n");
    insta::assert_snapshot!("scan_stdin", all);
}

#[test]
fn the_allow_list() {
    let dir = directory();
    let mut all = String::new();
    for allow in [
        "{namespace: shop, name: app}",
        "{key: '*_PASSWORD'}, {file: charts/values.yaml, kind: password}",
        "{kind: gitlab_token}, {kind: pass*}",
        "{kind: passwort}, {}, {naem: x}",
    ] {
        put(
            dir.path(),
            "saker.yaml",
            &format!("credentials: {{allow: [{allow}]}}\n"),
        );
        all += &format!("{allow}\n{}", scan(dir.path(), &["charts", "-c", "saker.yaml"]));
    }
    insta::assert_snapshot!("scan_allow", all);
}

#[test]
fn what_cannot_be_scanned_is_said() {
    let dir = directory();
    for name in ["large/data", "large/small"] {
        put(dir.path(), name, "password=$S\n");
    }
    let large = std::fs::File::options()
        .write(true)
        .open(dir.path().join("large/data"))
        .unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let all: String = [
        &["absent", "charts/values.yaml"][..],
        &["large"],
        &["large/data"],
        &["clean.txt", "-c", "absent.yaml"],
        &["clean.txt", "--min-confidence", "much"],
        &["clean.txt", "--formt", "json"],
        &[],
    ]
    .into_iter()
    .map(|args| scan(dir.path(), args))
    .collect();
    insta::assert_snapshot!("scan_errors", all);
}

/// Others choose what files and objects are called.
#[test]
fn names_cannot_steer_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "a\u{1b}[2J.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"a\\e[1m\"}\ndata: {\"pass\\nword\": $S, \"my\\u202e_password\": $S}\n",
    );
    let output = saker(dir.path()).args(["scan", "."]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() >= 3, "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn help_reads_well() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("scan_help", scan(dir.path(), &["--help"]));
}
