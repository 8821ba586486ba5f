//! Outputs that go away and come back: their alerts wait, in order, and nobody else notices.

use std::io::Read;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{configured, ids, parse_alerts, wait_for, webhook};
use crate::material::{Sink, execs, numbered};

/// Has a port that refuses connections until it listens. Nobody else can take the port meanwhile.
fn refusing() -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

fn listening(socket: tokio::net::TcpSocket) -> std::net::TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(async { socket.listen(64).unwrap().into_std().unwrap() });
    listener.set_nonblocking(false).unwrap();
    listener
}

#[test]
fn an_endpoint_down_and_back() {
    let socket = refusing();
    let url = format!("http://{}/alerts", socket.local_addr().unwrap());
    let outputs = format!(
        "outputs:\n  - {{kind: http, url: \"{url}\", timeout: 5s}}\n  - {{kind: stdout, format: json}}\n  \
         - {{kind: file, path: alerts.jsonl}}\n"
    );
    let mut server = configured(&(webhook("") + &outputs)).stdout_piped().start();
    let mut stdout = server.stdout();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        parse_alerts(&text)
    });
    let mut names = Vec::new();
    let mut post = |from: usize, to: usize| {
        let mut connection = server.client().connect().unwrap();
        for n in from..to {
            let batch = numbered(&format!("n{n}"), 10);
            assert_eq!(connection.post(&execs(&batch)).unwrap().accepted(), [10, 0, 10, 0]);
            names.extend(batch);
        }
    };
    // Refused connections.
    post(0, 10);
    server.wait_for_alerts(100);
    server.wait_for_log("delivery failed, will try again");
    assert_eq!(server.metric("saker_output_queue_depth{output=\"http\"}"), 100.0);
    assert_eq!(
        server.get("/readyz").unwrap().code,
        200,
        "a peer's failure is no reason to take no events"
    );
    let sink = Sink::start(listening(socket), Duration::ZERO);
    wait_for("what waited", || (sink.taken().len() == 100).then_some(()));
    // Answers that promise nothing, which then get better.
    sink.answer(503);
    post(10, 20);
    server.wait_for_alerts(200);
    assert_eq!(sink.taken().len(), 100);
    sink.answer(200);
    post(20, 30);
    wait_for("the rest", || (sink.taken().len() >= 300).then_some(()));
    server.stop();
    assert_eq!(ids(&sink.taken()), names, "http: all, once, in order");
    assert_eq!(ids(&server.alerts()), names, "file");
    assert_eq!(ids(&reading.join().unwrap()), names, "stdout");
}

/// An answer that no repetition would change costs its alert, which is counted and said; the next one is delivered.
#[test]
fn a_refused_alert_does_not_block_the_next() {
    let sink = Sink::start(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Duration::ZERO);
    let outputs = format!("outputs: [{{kind: http, url: \"http://{}/\"}}]\n", sink.address);
    let mut server = configured(&(webhook("") + &outputs)).start();
    sink.answer(400);
    assert_eq!(server.client().post(&execs(&numbered("refused", 2))).code, 200);
    server.wait_for_metric("saker_output_failed_total{output=\"http\"}", 2.0);
    sink.answer(200);
    assert_eq!(server.client().post(&execs(&numbered("taken", 2))).code, 200);
    server.wait_for_metric("saker_output_delivered_total{output=\"http\"}", 2.0);
    server.stop();
    assert_eq!(ids(&sink.taken()), numbered("taken", 2));
}

/// logrotate's way: the file is renamed, and SIGHUP makes the server begin a new one.
#[test]
fn a_rotated_alert_file() {
    let mut server = configured(&(webhook("") + crate::harness::TO_FILE)).start();
    let (path, moved) = (server.dir.join("alerts.jsonl"), server.dir.join("alerts.jsonl.1"));
    assert_eq!(server.client().post(&execs(&numbered("old", 5))).code, 200);
    server.wait_for_alerts(5);
    std::fs::rename(&path, &moved).unwrap();
    server.signal(Signal::SIGHUP);
    wait_for("a new file", || path.exists().then_some(()));
    assert_eq!(server.client().post(&execs(&numbered("new", 5))).code, 200);
    server.stop();
    assert_eq!(ids(&crate::harness::read_alerts(&moved)), numbered("old", 5));
    assert_eq!(ids(&server.alerts()), numbered("new", 5));
}

/// `serve --format json | head -1`: the reader has seen enough, the server has not.
#[test]
fn standard_output_that_nobody_reads_any_more() {
    let mut server = configured(&webhook("")).arg("--format=json").stdout_piped().start();
    let client = server.client();
    assert_eq!(client.post(&execs(&numbered("read", 1))).code, 200);
    let mut stdout = std::io::BufReader::new(server.stdout());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(ids(&parse_alerts(&line)), ["read-0"]);
    drop(stdout);
    for n in 0..3 {
        assert_eq!(client.post(&execs(&numbered(&format!("unread-{n}"), 5))).code, 200);
    }
    server.wait_for_metric("saker_output_failed_total{output=\"stdout\"}", 15.0);
    let log = server.stop();
    assert!(log.contains("standard output"), "{log}");
}
