//! Batches that come again, items that are no events, Audit-IDs that clients choose, and real recordings.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::Request;
use crate::harness::{TO_FILE, configured, ids, wait_for, webhook};
use crate::material::{exec, execs, list, numbered, quiet, recorded_bodies};

#[test]
fn a_resent_batch_raises_no_second_alert() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let names = numbered("a", 20);
    let batch = execs(&names);
    assert_eq!(server.client().post(&batch).accepted(), [20, 0, 20, 0]);
    for _ in 0..4 {
        assert_eq!(server.client().post(&batch).accepted(), [20, 0, 0, 20]);
    }
    // The same events cut into other batches, in another order.
    let mut reversed = names.clone();
    reversed.reverse();
    assert_eq!(server.client().post(&execs(&reversed[..7])).accepted(), [7, 0, 0, 7]);
    assert_eq!(
        server.metric("saker_duplicate_alerts_total{source=\"k8s_audit\"}"),
        87.0
    );
    server.stop();
    assert_eq!(ids(&server.alerts()), names);
}

/// Every connection of a client that lost its answers posts the same batch at once: whoever is not first is told to
/// come back, or sees duplicates; the alerts are raised once.
#[test]
fn the_same_batch_from_many_connections_at_once() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let names = numbered("race", 300);
    let batch = execs(&names);
    let client = server.client();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = client.connect().unwrap();
                loop {
                    let answer = connection.post(&batch).unwrap();
                    if answer.code != 429 {
                        return assert_eq!(answer.accepted()[0], 300);
                    }
                }
            });
        }
    });
    server.stop();
    let mut raised = ids(&server.alerts());
    raised.sort();
    let mut want = names;
    want.sort();
    assert_eq!(raised, want);
}

/// A client chooses its Audit-ID, so an event is known by its content: reusing the id of an event hides nothing.
#[test]
fn the_same_audit_id_with_other_content_alerts() {
    let outputs =
        "outputs: [{kind: file, path: alerts.jsonl}, {kind: file, name: text, path: alerts.txt, format: text}]\n";
    let mut server = configured(&(webhook("") + outputs)).start();
    let mut by_mallory = exec("chosen");
    by_mallory["user"]["username"] = "mallory".into();
    let mut complete = exec("chosen");
    complete["stage"] = "ResponseComplete".into();
    let mut later = exec("chosen");
    later["stageTimestamp"] = "2026-11-22T06:40:00.020001Z".into();
    let long = exec(&"x".repeat(3000));
    let odd = exec("x\"<>\\;drop\u{9}x\u{1b}[31m\u{9b}31m\u{85}\u{7f}\u{202e}\u{2028}é");
    let batch = [exec("chosen"), by_mallory, complete, later, long, odd];
    for (n, event) in batch.iter().enumerate() {
        let answer = server.client().post(&list([event.clone()]));
        assert_eq!(answer.accepted(), [1, 0, 1, 0], "event {n}");
    }
    assert_eq!(server.client().post(&list(batch)).accepted(), [6, 0, 0, 6]);
    server.stop();
    let alerts = server.alerts();
    assert_eq!(alerts.len(), 6);
    let mut uuids: Vec<&str> = alerts.iter().map(|a| a["uuid"].as_str().unwrap()).collect();
    uuids.sort_unstable();
    uuids.dedup();
    assert_eq!(uuids.len(), 6, "each alert has an identity of its own");
    for file in ["alerts.jsonl", "alerts.txt"] {
        let raw = std::fs::read_to_string(server.dir.join(file)).unwrap();
        assert_eq!(raw.lines().count(), 6, "{file}");
        let steers = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{2028}');
        assert!(!raw.contains(steers), "{file}: control characters are escaped");
    }
    let last = &alerts[5]["output_fields"]["ka.auditid"];
    assert_eq!(
        last, "x\"<>\\;drop\u{9}x\u{1b}[31m\u{9b}31m\u{85}\u{7f}\u{202e}\u{2028}é",
        "and mean what they meant"
    );
}

#[test]
fn a_bad_item_does_not_fail_its_batch() {
    let yaml = webhook("  dead_letter: {file: dead.jsonl}\n") + TO_FILE;
    let mut server = configured(&yaml).start();
    let mut no_time = exec("no-time");
    no_time.as_object_mut().unwrap().remove("stageTimestamp");
    let mut bad_time = exec("bad-time");
    bad_time["stageTimestamp"] = "yesterday".into();
    let items = [
        exec("good-1"),
        json!(7),
        no_time.clone(),
        Value::Null,
        bad_time,
        json!({"\u{1b}[2J": "\u{202e}"}),
        exec("good-2"),
    ];
    let batch = list(items);
    for alerts in [[2, 0], [0, 2]] {
        let answer = server
            .client()
            .send(&Request::batch(batch.as_bytes()).path("/k8s-audit/prod"));
        assert_eq!(answer.accepted(), [2, 5, alerts[0], alerts[1]]);
    }
    assert_eq!(
        server.metric("saker_events_total{source=\"k8s_audit\",outcome=\"bad\"}"),
        10.0
    );
    assert_eq!(
        server.metric("saker_events_total{source=\"k8s_audit\",outcome=\"ok\"}"),
        4.0
    );
    assert_eq!(
        server.metric("saker_drops_total{stage=\"dead_letter\",reason=\"no_file\"}"),
        0.0
    );
    let log = server.stop();
    assert!(log.contains("could not be read as an audit event"), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{202e}']), "control characters in the log");
    assert_eq!(ids(&server.alerts()), ["good-1", "good-2"]);

    let dead = std::fs::read_to_string(server.dir.join("dead.jsonl")).unwrap();
    let dead: Vec<Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(dead.len(), 5, "each once, though the batch came twice");
    let why: Vec<&str> = dead.iter().map(|letter| letter["why"].as_str().unwrap()).collect();
    assert_eq!(why[1], "stageTimestamp is missing");
    assert_eq!(why[3], "stageTimestamp is not an RFC 3339 time");
    let kept: Value = serde_json::from_str(dead[1]["item"].as_str().unwrap()).unwrap();
    assert_eq!(kept, no_time, "what was kept is what was sent");
    assert_eq!(dead[1]["cluster"], "prod");
}

/// A dead-letter file is moved away as a log is: SIGHUP begins a new one.
#[test]
fn a_full_dead_letter_file_is_moved_away() {
    let yaml = webhook("  dead_letter: {file: dead.jsonl, max_size: 300}\n") + TO_FILE;
    let mut server = configured(&yaml).start();
    let (path, moved) = (server.dir.join("dead.jsonl"), server.dir.join("dead.jsonl.1"));
    let bad = |n: usize| list([json!({"n": n})]);
    let full = "saker_drops_total{stage=\"dead_letter\",reason=\"full\"}";
    let mut sent = 0;
    while server.metric(full) == 0.0 {
        assert_eq!(server.client().post(&bad(sent)).accepted(), [0, 1, 0, 0]);
        sent += 1;
    }
    assert!(path.metadata().unwrap().len() <= 300);
    std::fs::rename(&path, &moved).unwrap();
    server.signal(Signal::SIGHUP);
    wait_for("a new file", || path.exists().then_some(()));
    // The one that found no room comes again.
    assert_eq!(server.client().post(&bad(sent - 1)).accepted(), [0, 1, 0, 0]);
    server.stop();
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((lines(&moved), lines(&path)), (sent - 1, 1));
}

/// What a real API server posted, the way it posted it: every exec is found once, however often the bodies come.
#[test]
fn recorded_batches() {
    let bodies = recorded_bodies();
    if bodies.is_empty() {
        return;
    }
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let is_exec = |item: &Value| {
        let verb = item["verb"].as_str().unwrap_or_default();
        item["objectRef"]["subresource"] == "exec" && matches!(verb, "get" | "create")
    };
    let (mut events, mut want) = (0, Vec::new());
    let mut connection = server.client().connect().unwrap();
    for (name, body) in &bodies {
        let items: Value = serde_json::from_slice(body).unwrap();
        let items = items["items"].as_array().unwrap();
        let execs: Vec<String> = items
            .iter()
            .filter(|item| is_exec(item))
            .map(|item| item["auditID"].as_str().unwrap().to_owned())
            .collect();
        let answer = connection.send(&Request::batch(body)).unwrap();
        let found = [items.len() as u64, 0, execs.len() as u64, 0];
        assert_eq!(answer.accepted(), found, "{name}");
        events += items.len();
        want.extend(execs);
    }
    assert!(want.len() > 20, "the recordings hold {} execs", want.len());
    for body in bodies.values() {
        assert_eq!(connection.send(&Request::batch(body)).unwrap().accepted()[2], 0);
    }
    drop(connection);
    assert_eq!(
        server.metric("saker_events_total{source=\"k8s_audit\",outcome=\"ok\"}"),
        2.0 * events as f64
    );
    server.stop();
    assert_eq!(ids(&server.alerts()), want);
}

/// As Go's client does by default: one connection, all batches side by side.
#[test]
fn http2() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config((*server.client().tls).clone())
        .https_only()
        .enable_http2()
        .build();
    let url = format!("https://{}/k8s-audit?timeout=30s", server.address());
    let names = numbered("h2", 60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Arc::new(
            HttpClient::builder(TokioExecutor::new())
                .http2_only(true)
                .build(connector),
        );
        let posts: Vec<_> = names
            .iter()
            .map(|name| {
                let client = Arc::clone(&client);
                let body = Full::new(Bytes::from(list([exec(name), quiet(name)])));
                let request = hyper::Request::post(&url).header("content-type", "application/json");
                let request = request.body(body).unwrap();
                tokio::spawn(async move {
                    let response = client.request(request).await.unwrap();
                    assert_eq!(response.version(), hyper::Version::HTTP_2);
                    let code = response.status().as_u16();
                    (code, response.into_body().collect().await.unwrap().to_bytes())
                })
            })
            .collect();
        for post in posts {
            let (code, body) = post.await.unwrap();
            assert_eq!(code, 200, "{body:?}");
        }
    });
    drop(runtime);
    server.stop();
    let mut raised = ids(&server.alerts());
    raised.sort();
    let mut want = names;
    want.sort();
    assert_eq!(raised, want);
}
