//! Outputs that must take every alert and are full: the webhook answers 429 and loses nothing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Answer, Connection};
use crate::harness::{Server, configured, ids, parse_alerts, read_alerts, wait_for, webhook};
use crate::material::{exec, line, list, numbered, quiet};

/// An event whose alert is large, so that a pipe is soon full.
fn large_event(name: &str) -> Value {
    let mut event = exec(name);
    event["userAgent"] = "x".repeat(4000).into();
    event
}

fn large(names: &[String]) -> String {
    list(names.iter().map(|name| large_event(name)))
}

/// Posts batches of ten until one is refused; returns all names, the refused batch, and the answer to it.
fn fill(connection: &mut Connection) -> (Vec<String>, String, Answer) {
    let mut names = Vec::new();
    for n in 0..1000 {
        let batch = numbered(&format!("n{n}"), 10);
        let body = large(&batch);
        names.extend(batch);
        let answer = connection.post(&body).unwrap();
        if answer.code != 200 {
            return (names, body, answer);
        }
    }
    panic!("nothing was ever full");
}

/// Sends what was refused until it is taken, as the API server does.
fn resend(connection: &mut Connection, body: &str) {
    let answer = wait_for("room in the outputs", || {
        let answer = connection.post(body).unwrap();
        (answer.code != 429).then_some(answer)
    });
    let [events, _, alerts, duplicates] = answer.accepted();
    assert_eq!((events, alerts + duplicates), (10, 10));
}

fn check_refusal(server: &Server, answer: &Answer) {
    assert_eq!(answer.code, 429, "{}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["error"], "outputs are busy; try again later");
    // What raises no alert needs no room.
    assert_eq!(server.client().post(&list([quiet("quiet")])).accepted(), [1, 0, 0, 0]);
    assert_eq!(server.get("/healthz").unwrap().code, 200);
}

#[test]
fn standard_output_that_is_not_read() {
    let outputs = "outputs: [{kind: stdout, format: json, queue: 5}]\n";
    let mut server = configured(&(webhook("") + outputs)).stdout_piped().start();
    let mut connection = server.client().connect().unwrap();
    let (names, refused, answer) = fill(&mut connection);
    check_refusal(&server, &answer);
    let mut stdout = BufReader::new(server.stdout());
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        while stdout.read_line(&mut text).unwrap() > 0 {}
        parse_alerts(&text)
    });
    resend(&mut connection, &refused);
    drop(connection);
    server.stop();
    assert_eq!(ids(&reading.join().unwrap()), names, "each once, in order");
}

/// However many batches are in flight, each is answered well before the API server stops waiting for it (30 s), and
/// those that raise nothing are taken.
#[test]
fn many_batches_meet_a_full_output() {
    let outputs = "outputs: [{kind: stdout, format: json, queue: 5}]\n";
    let mut server = configured(&(webhook("") + outputs)).stdout_piped().start();
    let (_, _, answer) = fill(&mut server.client().connect().unwrap());
    check_refusal(&server, &answer);
    let client = server.client();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..80 {
            let client = &client;
            let body = large(&numbered(&format!("many{n}"), 10));
            scope.spawn(move || assert_eq!(client.post(&body).code, 429));
        }
        for n in 0..80 {
            assert_eq!(client.post(&list([quiet(&n.to_string())])).code, 200);
        }
    });
    // A wait of five seconds for each would be minutes.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    drop(server.stdout());
}

/// What a stop cannot deliver within the grace period ends it, and is told.
#[test]
fn stopped_while_standard_output_is_not_read() {
    let outputs = "outputs: [{kind: stdout, format: json, queue: 5}]\nshutdown: {grace: 1s}\n";
    let mut server = configured(&(webhook("") + outputs)).stdout_piped().start();
    let (_, _, answer) = fill(&mut server.client().connect().unwrap());
    assert_eq!(answer.code, 429);
    let log = server.stop();
    assert!(log.contains("could not be delivered before the end"), "{log}");
    drop(server.stdout());
}

/// A log that is followed waits for the output; every alert comes once it is read.
#[test]
fn a_followed_log_waits() {
    let yaml = "webhook: {enabled: false}\nfiles: [{path: audit.log, start: beginning}]\n\
                outputs: [{kind: stdout, format: json, queue: 5}]\n";
    let names = numbered("n", 400);
    let log: String = names.iter().map(|name| line(large_event(name))).collect();
    let mut server = configured(yaml).file("audit.log", &log).stdout_piped().start();
    server.wait_for_log("a batch was put off");
    let mut stdout = BufReader::new(server.stdout());
    let mut text = String::new();
    for _ in &names {
        stdout.read_line(&mut text).unwrap();
    }
    assert_eq!(ids(&parse_alerts(&text)), names, "each once, in order");
    server.stop();
    let mut rest = String::new();
    stdout.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing twice");
}

#[test]
fn a_program_that_does_not_read() {
    let command = "while [ ! -e go ]; do sleep 0.05; done; exec cat > taken.jsonl";
    let outputs = format!(
        "outputs:\n  - {{kind: program, command: '{command}', keep_alive: true, queue: 5, when_full: wait}}\n  \
         - {{kind: file, path: alerts.jsonl}}\n"
    );
    let mut server = configured(&(webhook("") + &outputs)).start();
    let mut connection = server.client().connect().unwrap();
    let (names, refused, answer) = fill(&mut connection);
    check_refusal(&server, &answer);
    std::fs::write(server.dir.join("go"), "").unwrap();
    resend(&mut connection, &refused);
    drop(connection);
    server.stop();
    assert_eq!(ids(&read_alerts(&server.dir.join("taken.jsonl"))), names, "the program");
    assert_eq!(ids(&server.alerts()), names, "the file");
}

/// The default of outputs that depend on others: their alerts are dropped and counted, the webhook goes on.
#[test]
fn an_output_that_may_lose_alerts() {
    let command = "while [ ! -e go ]; do sleep 0.05; done; exec cat > taken.jsonl";
    let outputs = format!(
        "outputs:\n  - {{kind: program, command: '{command}', keep_alive: true, queue: 5}}\n  \
         - {{kind: file, path: alerts.jsonl}}\n"
    );
    let mut server = configured(&(webhook("") + &outputs)).start();
    let names = numbered("n", 200);
    for batch in names.chunks(10) {
        assert_eq!(server.client().post(&large(batch)).accepted(), [10, 0, 10, 0]);
    }
    let dropped = server.metric("saker_output_dropped_total{output=\"program\"}");
    assert!(dropped > 0.0);
    std::fs::write(server.dir.join("go"), "").unwrap();
    let log = server.stop();
    assert!(log.contains("output=\"program\""), "{log}");
    assert_eq!(ids(&server.alerts()), names);
    assert_eq!(taken(&server.dir).len() as f64 + dropped, 200.0);
}

fn taken(dir: &Path) -> Vec<String> {
    ids(&read_alerts(&dir.join("taken.jsonl")))
}
