//! Audit logs as sources of `serve`: followed through rotation, read from standard input, read whole.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::harness::{TO_FILE, configured, ids, wait_for};
use crate::material::{exec, line, list, numbered, quiet};

const NO_WEBHOOK: &str = "webhook: {enabled: false}\n";

fn append(path: &Path, names: &[String]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    for name in names {
        file.write_all((line(quiet(name)) + &line(exec(name))).as_bytes())
            .unwrap();
    }
}

#[test]
fn a_followed_log_is_read_through_rotation() {
    let yaml = format!("{NO_WEBHOOK}cluster: prod\nfiles: [{{path: audit.log, start: beginning}}]\n{TO_FILE}");
    let mut server = configured(&yaml)
        .prepare(|dir| append(&dir.join("audit.log"), &numbered("before", 10)))
        .start();
    let log = server.dir.join("audit.log");
    let mut names = numbered("before", 10);
    server.wait_for_alerts(names.len());

    // While it grows; the last line comes in two pieces.
    append(&log, &numbered("grown", 10));
    names.extend(numbered("grown", 10));
    let halves = line(exec("halves"));
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(&halves.as_bytes()[..100]).unwrap();
    server.wait_for_alerts(names.len());
    file.write_all(&halves.as_bytes()[100..]).unwrap();
    names.push("halves".to_owned());
    server.wait_for_alerts(names.len());

    // As the API server rotates: renamed, and a new one begun; a last line goes into the old one.
    std::fs::rename(&log, server.dir.join("audit-2026-11-22.log")).unwrap();
    file.write_all(line(exec("last of the old")).as_bytes()).unwrap();
    append(&log, &numbered("new", 10));
    names.push("last of the old".to_owned());
    names.extend(numbered("new", 10));
    server.wait_for_alerts(names.len());

    // As logrotate's copytruncate does it.
    let mut emptied = File::options().write(true).truncate(true).open(&log).unwrap();
    emptied.write_all(line(exec("truncated-0")).as_bytes()).unwrap();
    names.push("truncated-0".to_owned());
    server.wait_for_alerts(names.len());
    append(&log, &numbered("after", 10));
    names.extend(numbered("after", 10));
    server.wait_for_alerts(names.len());

    assert_eq!(
        server.metric("saker_events_total{source=\"k8s_audit\",outcome=\"bad\"}"),
        0.0
    );
    assert!(server.metric("saker_last_event_timestamp_seconds{cluster=\"prod\"}") > 1.7e9);
    server.stop();
    assert_eq!(ids(&server.alerts()), names, "each once, in order");
}

/// By default a log that is there already is read from its end, one that comes later from its beginning.
#[test]
fn only_what_is_new() {
    let yaml = format!("{NO_WEBHOOK}files: [{{path: old.log}}, {{path: logs}}]\n{TO_FILE}");
    let mut server = configured(&yaml)
        .prepare(|dir| {
            append(&dir.join("old.log"), &numbered("missed", 10));
            std::fs::create_dir(dir.join("logs")).unwrap();
        })
        .start();
    server.wait_for_log("following");
    append(&server.dir.join("old.log"), &numbered("new", 5));
    server.wait_for_alerts(5);
    append(&server.dir.join("logs/audit.log"), &numbered("later", 5));
    server.wait_for_alerts(10);
    server.stop();
    let names = [numbered("new", 5), numbered("later", 5)].concat();
    assert_eq!(ids(&server.alerts()), names);
}

/// With standard input as its only source, the server ends when that does.
#[test]
fn standard_input() {
    let yaml = format!("{NO_WEBHOOK}files: [{{path: \"-\"}}]\n{TO_FILE}");
    let mut server = configured(&yaml).stdin_piped().start();
    assert_eq!(server.get("/readyz").unwrap().code, 200);
    let mut stdin = server.stdin();
    stdin.write_all(line(exec("one")).as_bytes()).unwrap();
    server.wait_for_alerts(1);
    stdin.write_all(b"this is no JSON\n").unwrap();
    stdin.write_all(line(exec("two")).as_bytes()).unwrap();
    // A whole list in one line, and a last line without its newline.
    let many = list(numbered("list", 3).iter().map(|name| exec(name))) + "\n";
    stdin.write_all(many.as_bytes()).unwrap();
    stdin.write_all(line(exec("last")).trim_end().as_bytes()).unwrap();
    server.wait_for_metric("saker_events_total{source=\"k8s_audit\",outcome=\"bad\"}", 1.0);
    drop(stdin);
    let log = server.ended_well();
    assert!(log.contains("every source has ended"), "{log}");
    assert_eq!(
        ids(&server.alerts()),
        ["one", "two", "list-0", "list-1", "list-2", "last"]
    );
}

/// A stop does not wait for a standard input that says nothing.
#[test]
fn stopped_while_standard_input_is_open() {
    let yaml = format!("{NO_WEBHOOK}files: [{{path: \"-\"}}]\n{TO_FILE}");
    let mut server = configured(&yaml).stdin_piped().start();
    let mut stdin = server.stdin();
    stdin.write_all(line(exec("one")).as_bytes()).unwrap();
    server.wait_for_alerts(1);
    server.stop();
    assert_eq!(ids(&server.alerts()), ["one"]);
}

/// An end of standard input ends nothing where there is a webhook as well.
#[test]
fn standard_input_beside_the_webhook() {
    let yaml = crate::harness::webhook("") + "files: [{path: \"-\"}]\n" + TO_FILE;
    let mut server = configured(&yaml).stdin_piped().start();
    let mut stdin = server.stdin();
    stdin.write_all(line(exec("by stdin")).as_bytes()).unwrap();
    drop(stdin);
    server.wait_for_alerts(1);
    assert_eq!(
        server.client().post(&list([exec("by webhook")])).accepted(),
        [1, 0, 1, 0]
    );
    server.stop();
    assert_eq!(ids(&server.alerts()), ["by stdin", "by webhook"]);
}

/// SIGTERM while a log is read: what was read is delivered, and the end comes at once.
#[test]
fn stopped_while_following() {
    let yaml = format!("{NO_WEBHOOK}files: [{{path: audit.log, start: beginning}}]\n{TO_FILE}");
    let names = numbered("n", 3000);
    let mut server = configured(&yaml)
        .prepare(|dir| append(&dir.join("audit.log"), &names))
        .start();
    wait_for("the first alerts", || (!server.alerts().is_empty()).then_some(()));
    server.stop();
    let raised = ids(&server.alerts());
    assert_eq!(
        raised,
        names[..raised.len()],
        "a beginning of what there is, without a gap"
    );
}
