//! `saker replay`: every form of input, nothing but alerts on standard output, and a reader that goes away.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::harness::{PATIENCE, ids, parse_alerts, saker, wait_for};
use crate::material::{RULES, exec, execs, line, list, numbered, quiet, recorded_bodies};

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yaml"), RULES).unwrap();
    dir
}

const REPLAY: [&str; 5] = ["replay", "-r", "rules.yaml", "--format", "json"];

fn replay(dir: &Path, args: &[&str]) -> Output {
    saker(dir).args(REPLAY).args(args).output().unwrap()
}

/// The audit ids of its alerts; everything on standard output must be an alert.
#[track_caller]
fn raised(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    ids(&parse_alerts(std::str::from_utf8(&output.stdout).unwrap()))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| line(quiet(name)) + &line(exec(name))).collect()
}

#[test]
fn every_form_of_input() {
    let dir = directory();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let names = numbered("n", 3);
    put("lines.jsonl", lines(&names).as_bytes());
    let mut single = exec("single");
    single["kind"] = "Event".into();
    single["apiVersion"] = "audit.k8s.io/v1".into();
    put("event.json", serde_json::to_string_pretty(&single).unwrap().as_bytes());
    let body: Value = serde_json::from_str(&execs(&names)).unwrap();
    put("list.json", serde_json::to_string_pretty(&body).unwrap().as_bytes());
    put("000001.body", execs(&names).as_bytes());
    put("lines.jsonl.gz", &gzip(&lines(&names)));
    put("body.gz", &gzip(&execs(&names)));
    put("empty.json", list([]).as_bytes());
    put("nothing.log", b"");
    for (file, want) in [
        ("lines.jsonl", &names[..]),
        ("event.json", &["single".to_owned()]),
        ("list.json", &names),
        ("000001.body", &names),
        ("lines.jsonl.gz", &names),
        ("body.gz", &names),
        ("empty.json", &[]),
        ("nothing.log", &[]),
    ] {
        assert_eq!(raised(&replay(dir.path(), &[file])), want, "{file}");
    }
    // Several, in order, and a directory in the order of its names.
    let several = [&names[..], &["single".to_owned()], &names].concat();
    assert_eq!(
        raised(&replay(dir.path(), &["lines.jsonl", "event.json", "list.json"])),
        several
    );
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    for (file, batch) in [("b.json", numbered("b", 2)), ("a.jsonl", numbered("a", 2))] {
        put(&format!("logs/{file}"), lines(&batch).as_bytes());
    }
    put("logs/c.log.gz", &gzip(&lines(&numbered("c", 2))));
    let mut of_directory = raised(&replay(dir.path(), &["logs"]));
    of_directory.sort();
    assert_eq!(
        of_directory,
        [numbered("a", 2), numbered("b", 2), numbered("c", 2)].concat()
    );
}

#[test]
fn standard_input() {
    let dir = directory();
    for input in [lines(&numbered("n", 3)).into_bytes(), gzip(&lines(&numbered("n", 3)))] {
        let mut child = saker(dir.path())
            .args(REPLAY)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        assert_eq!(raised(&child.wait_with_output().unwrap()), numbered("n", 3));
    }
}

#[test]
fn text_is_the_default_and_the_summary_is_apart() {
    let dir = directory();
    std::fs::write(dir.path().join("a.jsonl"), lines(&numbered("n", 2)) + "no json\n").unwrap();
    let out = saker(dir.path())
        .args(["replay", "-r", "rules.yaml", "a.jsonl"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(out.stdout).unwrap(), @r"
    06:40:00.020000000: Warning exec by alice (pod=shop agent=kubectl/v1.33.1 id=n-0)
    06:40:00.020000000: Warning exec by alice (pod=shop agent=kubectl/v1.33.1 id=n-1)
    ");
    insta::assert_snapshot!(String::from_utf8(out.stderr).unwrap(), @"4 events, 2 alerts, 1 items that are no audit events");
}

#[test]
fn what_cannot_be_read_is_said() {
    let dir = directory();
    let mut cut = gzip(&lines(&numbered("n", 500)));
    cut.truncate(cut.len() / 2);
    std::fs::write(dir.path().join("cut.gz"), cut).unwrap();
    for (args, code, part) in [
        (&["absent.jsonl"][..], 1, "cannot open `absent.jsonl`"),
        (&["cut.gz"], 1, "ends in the middle of its compressed data"),
        (&[], 64, "FILE"),
    ] {
        let out = replay(dir.path(), args);
        assert_eq!(out.status.code(), Some(code), "{args:?}");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(stderr.contains(part), "{stderr}");
    }
    // What came before the end of the readable part was evaluated, and is not kept back.
    let out = replay(dir.path(), &["cut.gz"]);
    let alerts = parse_alerts(std::str::from_utf8(&out.stdout).unwrap());
    assert!(!alerts.is_empty());
}

/// `saker replay … | head -1`
#[test]
fn a_reader_that_has_seen_enough() {
    let dir = directory();
    std::fs::write(dir.path().join("many.jsonl"), lines(&numbered("n", 5000))).unwrap();
    let mut child = saker(dir.path())
        .args(REPLAY)
        .arg("many.jsonl")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert_eq!(ids(&parse_alerts(&first)), ["n-0"]);
}

/// Ends a child of ours also when its test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn following_a_file() {
    let dir = directory();
    let path = dir.path().join("audit.log");
    std::fs::write(&path, lines(&numbered("before", 2))).unwrap();
    let child = saker(dir.path())
        .args(REPLAY)
        .args(["--follow", "audit.log"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let stdout = BufReader::new(child.0.stdout.take().unwrap());
    let (sender, alerts) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // The test is over when nobody listens.
            let _ = sender.send(line);
        }
    });
    let next = || ids(&parse_alerts(&alerts.recv_timeout(PATIENCE).unwrap())).remove(0);
    assert_eq!([next(), next()], ["before-0", "before-1"]);
    for n in 0..3 {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(line(exec(&format!("grown-{n}"))).as_bytes()).unwrap();
        assert_eq!(next(), format!("grown-{n}"));
    }
    assert!(child.0.try_wait().unwrap().is_none(), "it goes on");
}

/// A pipe into `--follow` ends with its writer; alerts of a live pipe do not wait for more.
#[test]
fn following_standard_input() {
    let dir = directory();
    let mut child = saker(dir.path())
        .args(REPLAY)
        .args(["--follow", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut child = Ended(child);
    for n in 0..3 {
        stdin.write_all(line(exec(&format!("live-{n}"))).as_bytes()).unwrap();
        let mut alert = String::new();
        stdout.read_line(&mut alert).unwrap();
        assert_eq!(ids(&parse_alerts(&alert)), [format!("live-{n}")]);
    }
    drop(stdin);
    let status = wait_for("the end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// What a real API server posted: as many alerts as there are execs in it.
#[test]
fn recorded_bodies_replayed() {
    let bodies = recorded_bodies();
    if bodies.is_empty() {
        return;
    }
    let dir = directory();
    let mut want = Vec::new();
    std::fs::create_dir(dir.path().join("bodies")).unwrap();
    for (name, body) in &bodies {
        std::fs::write(dir.path().join("bodies").join(name), body).unwrap();
        let items: Value = serde_json::from_slice(body).unwrap();
        let is_exec = |item: &&Value| {
            item["objectRef"]["subresource"] == "exec" && (item["verb"] == "get" || item["verb"] == "create")
        };
        let execs = items["items"].as_array().unwrap().iter().filter(is_exec);
        want.extend(execs.map(|item| item["auditID"].as_str().unwrap().to_owned()));
    }
    let mut found = raised(&replay(dir.path(), &["bodies"]));
    found.sort();
    want.sort();
    assert_eq!(found, want);
}
