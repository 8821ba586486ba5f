//! `saker sessions` of a recording, and what it says where there is nothing to show.

use std::path::Path;

use crate::harness::saker;

/// What it prints, where `dir` is, and how it ends.
fn sessions(dir: &Path, args: &[&str]) -> String {
    let output = saker(dir).arg("sessions").args(args).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let code = output.status.code().unwrap();
    format!("$ saker sessions {}\n{out}{err}exit {code}\n\n", args.join(" "))
}

#[test]
fn sessions_of_a_recording() {
    let dir = tempfile::tempdir().unwrap();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sessions.jsonl");
    std::fs::copy(recording, dir.path().join("node.jsonl")).unwrap();
    let rule =
        "- {rule: Reader, desc: d, priority: NOTICE, condition: evt.type = execve and proc.name = cat, output: o}\n";
    std::fs::write(dir.path().join("rules.yaml"), rule).unwrap();
    let shown = |args: &[&str]| sessions(dir.path(), &[&["node.jsonl", "-r", "rules.yaml"], args].concat());
    insta::assert_snapshot!("sessions_text", shown(&[]));
    insta::assert_snapshot!("sessions_all", shown(&["--all"]));
    insta::assert_snapshot!("sessions_json", shown(&["--json"]));
}

#[test]
fn nothing_to_show() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("audit.jsonl", include_str!("../fixtures/recorded.jsonl"));
    put("text", "no recording\n");
    put(
        "quiet.jsonl",
        "{\"saker_recording\":1,\"source\":\"syscall\",\"arch\":\"x86_64\",\"host\":\"node-1\",\"boot\":1}\n",
    );
    let of = [
        &["--socket", "none.sock"][..],
        &["--socket", "text"],
        &["none.jsonl"],
        &["text"],
        &["audit.jsonl"],
        &["quiet.jsonl"],
        &["quiet.jsonl", "--json"],
        &["quiet.jsonl", "--follow"],
    ];
    let all: String = of.into_iter().map(|args| sessions(dir.path(), args)).collect();
    insta::assert_snapshot!("sessions_nothing", all);
}
