//! The admission endpoints over real TLS: recorded reviews, malformed ones, many at once; whatever comes is allowed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client, Connection, Request};
use crate::harness::{Server, TO_FILE, configured, webhook};
use crate::material::{exec, list, skipped, told};

const UID: &str = "46abb456-95f3-4452-9fd9-1e808cd58141";
const KEY: &str = "SAKER_EXEC_ID";
/// Longer than anything should take even on a machine that builds meanwhile.
const BOUND: Duration = Duration::from_secs(20);

fn server(more: &str) -> Server {
    configured(&(webhook(more) + TO_FILE)).start()
}

/// A review of an exec, as the API server writes it.
fn review(uid: &str) -> String {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": "exec",
            "name": "shop",
            "namespace": "prod",
            "operation": "CONNECT",
            "userInfo": {"username": "bob@example.com", "groups": ["ops", "system:authenticated"]},
            "object": {"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true, "container": "main", "command": ["id"]},
            "oldObject": null,
            "dryRun": false,
            "options": null,
        },
    })
    .to_string()
}

fn to<'a>(path: &'a str, body: &'a [u8]) -> Request<'a> {
    Request::batch(body).path(path)
}

/// The `response` of an answer, which must be an allow.
#[track_caller]
fn allowed(answer: &Answer) -> Value {
    assert_eq!(answer.code, 200, "{}", answer.body);
    let review = answer.json();
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["response"]["allowed"], true, "{}", answer.body);
    review["response"].clone()
}

fn outcome(server: &Server, name: &str) -> f64 {
    server.metric(&format!("saker_admission_reviews_total{{outcome=\"{name}\"}}"))
}

/// Reviews that were understood and believed, whether or not a node listens.
fn taken(server: &Server) -> f64 {
    outcome(server, "published") + outcome(server, "unheard")
}

/// Base64 by another implementation.
fn decode(text: &str) -> Vec<u8> {
    let pem = format!("-----BEGIN X-----\n{text}\n-----END X-----\n");
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    pem.contents
}

/// The command after the patch of a response, for the two operations that patches of commands use.
fn patched(command: &Value, response: &Value) -> Option<Vec<String>> {
    assert_eq!(response["patchType"], "JSONPatch");
    let patch: Vec<Value> = serde_json::from_slice(&decode(response["patch"].as_str()?)).ok()?;
    let mut command: Vec<String> = serde_json::from_value(command.clone()).ok()?;
    for step in &patch {
        let value = &step["value"];
        match (step["op"].as_str()?, step["path"].as_str()?) {
            ("replace", "/command") => command = serde_json::from_value(value.clone()).ok()?,
            ("add", "/command/0") => command.insert(0, value.as_str()?.to_owned()),
            other => panic!("{other:?}"),
        }
    }
    Some(command)
}

/// Whether `env` would run it as it would run by itself.
fn sure(command: &Value) -> bool {
    let word = |n: usize| command[n].as_str().unwrap_or_default();
    !(word(0).is_empty() || word(0).contains('=') || word(0).ends_with("env") && word(1).starts_with(KEY))
}

#[test]
fn recorded_reviews_get_the_recorded_answers() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/admission/admission_reviews.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return skipped("there are no recorded reviews in ../shared/admission");
    };
    let server = server("  admission: {key: true}\n");
    let mut connection = server.client().connect().unwrap();
    let (mut reviews, mut same, mut patches, mut unsure) = (0, 0, 0, 0);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let label = &record["label"];
        let mutating = record["webhook_path"] == "/mutate";
        let path = if mutating {
            "/admission/exec-key"
        } else {
            "/admission/exec"
        };
        let body = record["body"].to_string();
        let answer = connection.send(&to(path, body.as_bytes())).unwrap();
        let response = allowed(&answer);
        let uid = &record["body"]["request"]["uid"];
        assert_eq!(answer.json()["apiVersion"], record["body"]["apiVersion"]);
        assert_eq!(&response["uid"], uid, "{label}");
        assert_eq!(response["auditAnnotations"], json!({"exec-id": uid}), "{label}");
        reviews += 1;
        let recorded = &record["response"]["response"];
        if !mutating {
            assert_eq!(response.get("patch"), None, "{label}");
            // Other modes are failures that were made on purpose.
            if record["server_mode"] == "ok" {
                assert_eq!(&response, recorded, "{label}");
                same += 1;
            }
            continue;
        }
        let command = &record["body"]["request"]["object"]["command"];
        if !sure(command) {
            assert_eq!(response.get("patch"), None, "{label}: {command}");
            unsure += 1;
            continue;
        }
        let after = patched(command, &response).unwrap();
        assert_eq!(
            after[..2],
            ["env".to_owned(), format!("{KEY}={}", uid.as_str().unwrap())]
        );
        assert_eq!(json!(after[2..]), *command, "{label}");
        patches += 1;
        if record["server_mode"] == "ok" || record["server_mode"] == "insert" {
            assert_eq!(patched(command, recorded).unwrap(), after, "{label}");
            same += 1;
        }
    }
    told(&format!(
        "{reviews} recorded reviews allowed, {patches} with a patch, {unsure} commands left alone; {same} answers are those recorded"
    ));
    assert!(
        reviews > 600 && patches > 200 && unsure < 30,
        "{reviews} {patches} {unsure}"
    );
    assert_eq!(taken(&server), f64::from(reviews));
    assert_eq!(outcome(&server, "patched"), f64::from(patches));
}

#[test]
fn malformed_reviews_are_allowed() {
    let server = server("  admission: {key: true}\n");
    let client = server.client();
    let whole = review(UID);
    let large = whole.replace("\"id\"", &format!("\"{}\"", "x".repeat(4 << 20)));
    let deep = format!(
        "{}{}",
        &whole[..whole.len() - 1],
        ",\"x\":".to_owned() + &"[".repeat(100_000)
    );
    let beta = whole.replace("admission.k8s.io/v1", "admission.k8s.io/v2");
    let mut count = 0.0;
    for (body, uid) in [
        (large.as_bytes(), UID),
        (deep.as_bytes(), UID),
        (beta.as_bytes(), UID),
        (&whole.as_bytes()[..200], UID),
        (whole.replace("AdmissionReview", "Review").as_bytes(), UID),
        (whole.replace("\"CONNECT\"", "7").as_bytes(), UID),
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"\xff\xfe\x00", ""),
        (br#"{"request":{"uid":null}}"#, ""),
        (br#"{"request":"\ud800"}"#, ""),
    ] {
        for path in ["/admission/exec", "/admission/exec-key", "/admission/exec/prod"] {
            let response = allowed(&client.send(&to(path, body)));
            assert_eq!(response, json!({"uid": uid, "allowed": true}), "{path}");
            count += 1.0;
        }
    }
    for request in [
        to("/admission/exec", whole.as_bytes()).header("Content-Type", "text/plain"),
        to("/admission/exec", whole.as_bytes()).header("Content-Encoding", "gzip"),
        to("/admission/exec", whole.as_bytes()).method("PUT"),
        to("/admission/exec/b%20d", whole.as_bytes()),
    ] {
        assert_eq!(allowed(&client.send(&request)), json!({"uid": UID, "allowed": true}));
        count += 1.0;
    }
    assert_eq!(outcome(&server, "malformed"), count);
    assert_eq!(taken(&server), 0.0);
    server.wait_for_log("review_malformed");

    // The head, the beginning of the body, and then nothing more.
    let mut slow = client.connect().unwrap();
    let request = to("/admission/exec", whole.as_bytes());
    slow.write(request.head() + &whole[..200]).unwrap();
    let began = Instant::now();
    let response = allowed(&slow.answer().unwrap());
    told(&format!(
        "a review that stopped half-way was allowed after {:?}",
        began.elapsed()
    ));
    assert_eq!(response["uid"], UID);
    assert!(slow.ended());
}

#[test]
fn a_review_counts_only_with_the_credentials_of_audit_posts() {
    let tls = "cert: certs/server.crt, key: certs/server.key, client_ca: certs/ca.crt";
    let server = configured(&format!(
        "webhook:\n  admission: {{key: true}}\n  tls: {{{tls}}}\n{TO_FILE}"
    ))
    .start();
    let body = review(UID);
    let (bare, known) = (server.client(), server.client_with(&server.dir.join("certs")));
    let mut connection = bare.connect().unwrap();
    for _ in 0..3 {
        // The connection is kept, and a large body does not change the answer.
        for body in [
            body.clone(),
            body.replace("\"id\"", &format!("\"{}\"", "x".repeat(1 << 20))),
        ] {
            let answer = connection.send(&to("/admission/exec-key", body.as_bytes())).unwrap();
            assert_eq!(allowed(&answer), json!({"uid": UID, "allowed": true}));
        }
    }
    assert_eq!(outcome(&server, "unauthenticated"), 6.0);
    assert_eq!(taken(&server), 0.0);
    assert_eq!(outcome(&server, "patched"), 0.0);
    server.wait_for_log("review_unauthenticated");
    assert_eq!(
        server.log().matches("review_unauthenticated").count(),
        1,
        "not one line each"
    );

    let response = allowed(&known.send(&to("/admission/exec-key", body.as_bytes())));
    assert_eq!(response["auditAnnotations"]["exec-id"], UID);
    assert!(response["patch"].is_string());
    assert_eq!(taken(&server), 1.0);

    assert_eq!(bare.post(&list([exec("bare")])).code, 401);
    assert_eq!(known.post(&list([exec("known")])).accepted(), [1, 0, 1, 0]);
}

/// The time that half, and all but a hundredth, stayed below; and the longest.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |per_mille: usize| times[(times.len() * per_mille / 1000).min(times.len() - 1)];
    format!(
        "p50 {:?} p99 {:?} max {:?} (n={})",
        at(500),
        at(990),
        at(1000),
        times.len()
    )
}

fn timed(connection: &mut Connection, body: &[u8], uid: &str) -> Duration {
    let began = Instant::now();
    let answer = connection.send(&to("/admission/exec", body)).unwrap();
    let took = began.elapsed();
    assert_eq!(allowed(&answer)["uid"], uid);
    took
}

/// A thread for each connection; all send when every one is there, each after the pause that `pause` gives it.
fn at_once(client: &Client, count: usize, pause: impl Fn(usize) -> Duration) -> Vec<Duration> {
    let barrier = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let (client, barrier, pause) = (client.clone(), Arc::clone(&barrier), pause(n));
            let send = move || {
                let uid = format!("46abb456-95f3-4452-9fd9-{n:012}");
                let body = review(&uid);
                let mut connection = client.connect().unwrap();
                barrier.wait();
                std::thread::sleep(pause);
                timed(&mut connection, body.as_bytes(), &uid)
            };
            std::thread::Builder::new().stack_size(512 << 10).spawn(send).unwrap()
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn a_thousand_at_once_are_allowed() {
    let server = server("");
    let client = server.client();
    let mut connection = client.connect().unwrap();
    let body = review(UID);
    let alone: Vec<_> = (0..500).map(|_| timed(&mut connection, body.as_bytes(), UID)).collect();
    drop(connection);
    told(&format!("admission, one after the other: {}", quantiles(alone)));
    // A thousand connections that send within two seconds, and then within the same instant.
    let spread = at_once(&client, 1000, |n| Duration::from_millis(2 * n as u64));
    told(&format!(
        "admission, 1,000 connections within 2 s: {}",
        quantiles(spread)
    ));
    let burst = at_once(&client, 1000, |_| Duration::ZERO);
    assert!(burst.iter().all(|took| *took < BOUND));
    told(&format!("admission, 1,000 in the same instant: {}", quantiles(burst)));
    let within = server.metric("saker_http_request_seconds_bucket{le=\"0.004\"}");
    told(&format!(
        "answered by the server within 4 ms of the head: {within} of 2500"
    ));
    let counted = taken(&server) + outcome(&server, "overloaded");
    assert_eq!(counted, 2500.0);
    told(&format!(
        "of 2,500 told to nobody for lack of room: {}",
        outcome(&server, "overloaded")
    ));
}

#[test]
fn a_flood_of_reviews_does_not_hold_up_audit_events() {
    let server = server("");
    let client = server.client();
    let audit = |from: usize| {
        let mut connection = client.connect().unwrap();
        (from..from + 50)
            .map(|n| {
                let batch = list([exec(&format!("during-{n}"))]);
                let began = Instant::now();
                assert_eq!(connection.post(&batch).unwrap().accepted(), [1, 0, 1, 0]);
                began.elapsed()
            })
            .collect::<Vec<_>>()
    };
    let quiet = audit(0);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(Mutex::new(0));
    let floods: Vec<_> = (0..8)
        .map(|n| {
            let (client, stop, sent) = (client.clone(), Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || {
                let size = if n % 2 == 0 { 2 << 20 } else { 10 };
                let body = review(UID).replace("\"id\"", &format!("\"{}\"", "x".repeat(size)));
                let mut connection = client.connect().unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let answer = connection.send(&to("/admission/exec", body.as_bytes())).unwrap();
                    assert_eq!(allowed(&answer)["uid"], UID);
                    *sent.lock().unwrap() += 1;
                }
            })
        })
        .collect();
    let flooded = audit(50);
    stop.store(true, Ordering::SeqCst);
    for flood in floods {
        flood.join().unwrap();
    }
    assert!(flooded.iter().all(|took| *took < BOUND));
    assert_eq!(server.wait_for_alerts(100).len(), 100);
    assert_eq!(server.metric("saker_http_requests_total{code=\"429\"}"), 0.0);
    told(&format!("audit events, quiet: {}", quantiles(quiet)));
    let sent = *sent.lock().unwrap();
    told(&format!("audit events, beside {sent} reviews: {}", quantiles(flooded)));
}
