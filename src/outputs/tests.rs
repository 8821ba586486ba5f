//! Outputs as the pipeline sees them: queues, priorities, waiting, dropping, draining.

use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU32;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

use super::testing::{alert, alert_of, refusing, soon, until};
use super::*;
use crate::config::{AlertFormat, FileOutputConfig, HttpConfig, ProgramConfig, SyslogConfig};

fn output(kind: OutputKind) -> OutputConfig {
    OutputConfig {
        name: None,
        priority: Priority::Debug,
        queue: 1_000,
        when_full: None,
        kind,
    }
}

fn file(path: &Path) -> OutputConfig {
    output(OutputKind::File(FileOutputConfig {
        path: path.to_owned(),
        format: AlertFormat::Text,
    }))
}

fn http(url: String) -> OutputConfig {
    output(OutputKind::Http(HttpConfig {
        url,
        headers: Default::default(),
        ca: None,
        client_cert: None,
        client_key: None,
        timeout: Duration::from_secs(10),
        max_tries: 0,
    }))
}

/// An output that takes its first alert and never comes back from delivering it.
fn stuck() -> OutputConfig {
    output(OutputKind::Program(ProgramConfig {
        command: "sleep 1000".to_owned(),
        keep_alive: false,
        format: AlertFormat::Text,
        timeout: Duration::from_secs(1_000),
    }))
}

fn start(configs: &[OutputConfig]) -> (Outputs, Arc<OutputCounters>) {
    let counters = Arc::new(OutputCounters::default());
    (Outputs::start(configs, Arc::clone(&counters)).unwrap(), counters)
}

/// Offers from a thread that may block, as the pipeline does.
async fn offer(outputs: &Outputs, alert: Arc<Alert>, wait: Duration) -> Result<(), Busy> {
    let outputs = outputs.clone();
    let deadline = Instant::now() + wait;
    soon(tokio::task::spawn_blocking(move || outputs.offer(&alert, deadline)))
        .await
        .unwrap()
}

async fn offer_all(outputs: &Outputs, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        offer(outputs, alert(&text), Duration::from_secs(20)).await.unwrap();
    }
}

fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|n| n.to_string()).collect()
}

/// `(delivered, dropped_full, failed, undelivered)` of an output.
fn counts(counters: &OutputCounters, name: &str) -> (u64, u64, u64, u64) {
    let counts = counters.get(name).unwrap();
    (
        counts.delivered.get(),
        counts.dropped_full.get(),
        counts.failed.get(),
        counts.undelivered.get(),
    )
}

fn queued(outputs: &Outputs, name: &str) -> u64 {
    let status = outputs.status();
    status.iter().find(|s| &*s.name == name).unwrap().queued
}

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn drain_delivers_everything_and_then_nothing_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut critical = file(&two);
    critical.priority = Priority::Critical;
    let (outputs, counters) = start(&[file(&one), critical]);
    offer_all(&outputs, numbers(500)).await;
    offer(&outputs, alert_of(Priority::Alert, "fire"), GRACE).await.unwrap();
    assert_eq!(outputs.drain(GRACE).await, 0);
    let want = numbers(500).join("\n") + "\nfire\n";
    assert_eq!(std::fs::read_to_string(&one).unwrap(), want);
    assert_eq!(std::fs::read_to_string(&two).unwrap(), "fire\n");
    assert_eq!(counts(&counters, "file"), (501, 0, 0, 0));
    assert_eq!(counts(&counters, "file#2"), (1, 0, 0, 0));
    assert_eq!(offer(&outputs, alert("late"), GRACE).await, Err(Busy));
    assert_eq!(outputs.drain(GRACE).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_accepted_while_draining_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (mut first, mut second) = (file(&one), file(&two));
    (first.queue, second.queue) = (4, 3);
    let (outputs, _counters) = start(&[first, second]);
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let outputs = outputs.clone();
            std::thread::spawn(move || {
                let mut accepted = 0;
                while outputs.offer(&alert("x"), Instant::now() + GRACE).is_ok() {
                    accepted += 1;
                }
                accepted
            })
        })
        .collect();
    until(|| std::fs::metadata(&one).is_ok_and(|m| m.len() > 1_000)).await;
    assert_eq!(outputs.drain(GRACE).await, 0);
    let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    for path in [one, two] {
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), accepted);
    }
}

#[tokio::test]
async fn a_stuck_output_delays_nobody_and_its_losses_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts");
    let mut stuck = stuck();
    stuck.queue = 10;
    let (outputs, counters) = start(&[stuck, file(&path)]);
    offer_all(&outputs, numbers(300)).await;
    until(|| counts(&counters, "file").0 == 300).await;
    let (delivered, dropped, failed, _) = counts(&counters, "program");
    assert_eq!((delivered, failed), (0, 0));
    assert_eq!(dropped + queued(&outputs, "program"), 300);
    assert!(queued(&outputs, "program") <= 11);
    let undelivered = outputs.drain(Duration::from_millis(100)).await;
    assert_eq!(counts(&counters, "program"), (0, dropped, 0, undelivered));
    assert_eq!(dropped + undelivered, 300);
    assert_eq!(counts(&counters, "file"), (300, 0, 0, 0));
}

#[tokio::test]
async fn waiting_ends_at_the_deadline_and_then_no_output_has_the_alert() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts");
    let mut full = stuck();
    full.when_full = Some(WhenFull::Wait);
    full.queue = 2;
    let mut dropping = stuck();
    dropping.queue = 1;
    // The one with room comes first, so that its room is reserved before the other is found full.
    let (outputs, counters) = start(&[file(&path), full, dropping]);
    let mut accepted = 0u64;
    while offer(&outputs, alert("x"), Duration::from_millis(50)).await.is_ok() {
        accepted += 1;
        assert!(accepted <= 3, "two in the queue, one in hand");
    }
    assert!(accepted >= 2);
    let before = (counts(&counters, "program#2").1, queued(&outputs, "program#2"));
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(offer(&outputs, alert("y"), Duration::from_millis(20)).await, Err(Busy));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
    let after = (counts(&counters, "program#2").1, queued(&outputs, "program#2"));
    assert_eq!(before, after, "not dropped, as it will be offered again");
    until(|| counts(&counters, "file").0 == accepted).await;
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, "x\n".repeat(usize::try_from(accepted).unwrap()));
    assert_eq!(outputs.drain(Duration::ZERO).await, 2 * accepted - after.0);
}

#[tokio::test]
async fn a_waiting_offer_goes_on_when_there_is_room() {
    let gate = tokio::sync::Notify::new();
    let gate = Arc::new(gate);
    let opened = Arc::clone(&gate);
    let router = Router::new().route("/", post(move || async move { opened.notified().await }));
    let mut config = http(serve(router).await);
    config.when_full = Some(WhenFull::Wait);
    config.queue = 1;
    let (outputs, counters) = start(&[config]);
    offer_all(&outputs, numbers(1)).await;
    until(|| queued(&outputs, "http") == 1 && outputs.shared.outputs[0].queue.capacity() == 1).await;
    offer_all(&outputs, numbers(1)).await;
    let waiting = tokio::spawn({
        let outputs = outputs.clone();
        async move { offer(&outputs, alert("third"), GRACE).await }
    });
    for _ in 0..3 {
        gate.notify_one();
        let before = counts(&counters, "http").0;
        until(|| counts(&counters, "http").0 > before).await;
    }
    assert_eq!(soon(waiting).await.unwrap(), Ok(()));
    assert_eq!(counts(&counters, "http"), (3, 0, 0, 0));
}

/// Serves a router on a free port and returns its URL.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// Keeps the posted bodies, after refusing some with 503.
fn collector(refusals: u32) -> (Router, Arc<StdMutex<Vec<String>>>) {
    let bodies = Arc::new(StdMutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let left = Arc::new(AtomicU32::new(refusals));
    let receive = move |body: String| async move {
        let refuse = |n: u32| n.checked_sub(1);
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        kept.lock().unwrap().push(body);
        StatusCode::OK
    };
    (Router::new().route("/", post(receive)), bodies)
}

fn bodies(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| format!(r#"{{"output":"{text}"}}"#)).collect()
}

#[tokio::test]
async fn an_http_server_that_recovers_gets_everything_in_order() {
    let (router, received) = collector(2);
    let (outputs, counters) = start(&[http(serve(router).await)]);
    offer_all(&outputs, numbers(20)).await;
    until(|| counts(&counters, "http").0 == 20).await;
    assert_eq!(*received.lock().unwrap(), bodies(&numbers(20)));
    assert_eq!(counters.get("http").unwrap().retried.get(), 2);
    assert!(outputs.status()[0].healthy);
}

#[tokio::test]
async fn an_http_server_that_is_down_gets_everything_in_order_when_it_is_back() {
    let (socket, address) = refusing();
    let (outputs, counters) = start(&[http(format!("http://{address}/"))]);
    offer_all(&outputs, numbers(50)).await;
    until(|| counters.get("http").unwrap().retried.get() >= 2).await;
    assert_eq!(counts(&counters, "http"), (0, 0, 0, 0));
    assert!(!outputs.status()[0].healthy);
    assert_eq!(queued(&outputs, "http"), 50);

    let (router, received) = collector(0);
    let listener = socket.listen(64).unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    until(|| counts(&counters, "http").0 == 50).await;
    assert_eq!(*received.lock().unwrap(), bodies(&numbers(50)));
    assert!(outputs.status()[0].healthy);
    assert_eq!(queued(&outputs, "http"), 0);
}

#[tokio::test]
async fn tries_are_limited_where_configured() {
    let (router, received) = collector(3);
    let mut config = http(serve(router).await);
    if let OutputKind::Http(http) = &mut config.kind {
        http.max_tries = 2;
    }
    let (outputs, counters) = start(&[config]);
    offer_all(&outputs, numbers(3)).await;
    // The first alert meets two refusals, the second one.
    until(|| queued(&outputs, "http") == 0).await;
    assert_eq!(counts(&counters, "http"), (2, 0, 1, 0));
    assert_eq!(*received.lock().unwrap(), bodies(&numbers(3))[1..]);
}

#[tokio::test]
async fn draining_towards_a_dead_endpoint_counts_what_stays() {
    let (_socket, address) = refusing();
    let syslog = output(OutputKind::Syslog(SyslogConfig {
        address: format!("tcp://{address}"),
        protocol: Default::default(),
        format: AlertFormat::Text,
        facility: "daemon".to_owned(),
    }));
    let (outputs, counters) = start(&[http(format!("http://{address}/")), syslog]);
    offer_all(&outputs, numbers(7)).await;
    let began = Instant::now();
    assert_eq!(outputs.drain(Duration::from_millis(300)).await, 14);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(counts(&counters, "http"), (0, 0, 0, 7));
    assert_eq!(counts(&counters, "syslog"), (0, 0, 0, 7));
}

#[tokio::test]
async fn reopening_follows_a_renamed_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("alerts"), dir.path().join("alerts.1"));
    let (outputs, counters) = start(&[file(&path)]);
    offer_all(&outputs, numbers(1)).await;
    until(|| counts(&counters, "file").0 == 1).await;
    std::fs::rename(&path, &moved).unwrap();
    outputs.reopen();
    until(|| path.exists()).await;
    offer_all(&outputs, numbers(2)).await;
    assert_eq!(outputs.drain(GRACE).await, 0);
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "0\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n");
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let (outputs, counters) = start(&[file(&path)]);
    offer_all(&outputs, numbers(3)).await;
    until(|| counters.get("file").unwrap().retried.get() >= 1).await;
    assert!(!outputs.status()[0].healthy);
    // The administrator makes room and sends SIGHUP.
    std::fs::remove_file(&path).unwrap();
    outputs.reopen();
    assert_eq!(outputs.drain(GRACE).await, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n2\n");
    assert_eq!(counts(&counters, "file"), (3, 0, 0, 0));
}

#[tokio::test]
async fn a_kept_alive_program_that_keeps_dying_gets_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let config = output(OutputKind::Program(ProgramConfig {
        command: format!(
            "read -r a; read -r b; printf '%s\\n%s\\n' \"$a\" \"$b\" >> {}; exit 1",
            path.display()
        ),
        keep_alive: true,
        format: AlertFormat::Text,
        timeout: Duration::from_secs(10),
    }));
    let (outputs, counters) = start(&[config]);
    offer_all(&outputs, numbers(6)).await;
    let want = numbers(6).join("\n") + "\n";
    until(|| std::fs::read_to_string(&path).is_ok_and(|got| got == want)).await;
    assert_eq!(outputs.drain(GRACE).await, 0);
    assert_eq!(counts(&counters, "program"), (6, 0, 0, 0));
}

#[tokio::test]
async fn a_command_that_cannot_run_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (fixed, out) = (dir.path().join("fixed"), dir.path().join("out"));
    let config = output(OutputKind::Program(ProgramConfig {
        command: format!(
            "if [ -e {} ]; then exec cat >> {}; else exec saker-no-such-command; fi",
            fixed.display(),
            out.display()
        ),
        keep_alive: true,
        format: AlertFormat::Text,
        timeout: Duration::from_secs(10),
    }));
    let (outputs, counters) = start(&[config]);
    offer_all(&outputs, numbers(5)).await;
    until(|| counters.get("program").unwrap().retried.get() >= 2).await;
    std::fs::write(&fixed, "").unwrap();
    let want = numbers(5).join("\n") + "\n";
    until(|| std::fs::read_to_string(&out).is_ok_and(|got| got == want)).await;
    assert_eq!(outputs.drain(GRACE).await, 0);
    assert_eq!(counts(&counters, "program"), (5, 0, 0, 0));
}

/// Standard output replaced by the writing end of a pipe.
fn stdout_into(pipe: std::io::PipeWriter) -> (Outputs, Arc<OutputCounters>) {
    let config = output(OutputKind::Stdout(StdoutConfig {
        format: AlertFormat::Json,
    }));
    let counters = Arc::new(OutputCounters::default());
    let ledger = Arc::new(Ledger::new(counters.register(&"stdout".into(), "stdout")));
    let OutputKind::Stdout(stdout) = &config.kind else {
        unreachable!("just made");
    };
    let file = std::os::fd::OwnedFd::from(pipe).into();
    let writer = stdout::StdoutWriter::over(file, stdout, "stdout").unwrap();
    (Outputs::run(vec![(&config, ledger, Writer::Stdout(writer))]), counters)
}

#[tokio::test]
async fn stdout_writes_a_line_per_alert() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (outputs, counters) = stdout_into(writer);
    offer_all(&outputs, numbers(50)).await;
    assert_eq!(outputs.drain(GRACE).await, 0);
    // The thread closes the pipe when its output has ended.
    drop(outputs);
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert_eq!(got, bodies(&numbers(50)).join("\n") + "\n");
    assert_eq!(counts(&counters, "stdout"), (50, 0, 0, 0));
}

#[tokio::test]
async fn stdout_without_a_reader_is_unhealthy_and_delays_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (outputs, counters) = stdout_into(writer);
    let mut lines = BufReader::new(reader);
    offer_all(&outputs, numbers(1)).await;
    until(|| counts(&counters, "stdout").0 == 1).await;
    lines.read_line(&mut String::new()).unwrap();
    assert!(outputs.status()[0].healthy);
    drop(lines);
    offer_all(&outputs, numbers(5_000)).await;
    // A program that another test starts at this moment may hold the pipe open a little longer.
    until(|| queued(&outputs, "stdout") == 0).await;
    let (delivered, dropped, failed, _) = counts(&counters, "stdout");
    assert_eq!((delivered + failed, dropped), (5_001, 0));
    assert!(failed > 0);
    assert!(!outputs.status()[0].healthy);
    assert_eq!(counters.get("stdout").unwrap().retried.get(), 0);
    assert_eq!(outputs.drain(GRACE).await, 0);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stops_neither_draining_nor_the_runtime() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let (outputs, counters) = stdout_into(writer);
    let long = "x".repeat(10_000);
    offer_all(&outputs, (0..20).map(|_| long.clone())).await;
    let undelivered = outputs.drain(Duration::from_millis(100)).await;
    let (delivered, _, _, counted) = counts(&counters, "stdout");
    assert_eq!(delivered + undelivered, 20);
    assert_eq!(undelivered, counted);
    assert!(undelivered > 0);
}

#[tokio::test]
async fn outputs_that_cannot_start_say_why() {
    let mut no_queue = file(Path::new("/nonexistent/dir/alerts"));
    no_queue.queue = 0;
    let syslog = output(OutputKind::Syslog(SyslogConfig {
        address: "unix:///dev/log".to_owned(),
        protocol: Default::default(),
        format: AlertFormat::Text,
        facility: "deamon".to_owned(),
    }));
    let mut named = http("no-url".to_owned());
    named.name = Some("siem".to_owned());
    for (config, want) in [
        (
            no_queue,
            "output `file`: the queue must hold 1 to 10000000 alerts, not 0",
        ),
        (
            file(Path::new("/nonexistent/dir/alerts")),
            "output `file`: cannot open `/nonexistent/dir/alerts` for appending: No such file",
        ),
        (
            syslog,
            "output `syslog`: `deamon` is not a syslog facility: did you mean `daemon`?",
        ),
        (named, "output `siem`: `no-url` is not a URL for alerts"),
    ] {
        let error = Outputs::start(&[config], Arc::default()).err().unwrap().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn names_are_unique() {
    let named = |name: &str| OutputConfig {
        name: Some(name.to_owned()),
        ..output(OutputKind::Stdout(StdoutConfig::default()))
    };
    let unnamed = output(OutputKind::Stdout(StdoutConfig::default()));
    let configs = [
        unnamed.clone(),
        named("siem"),
        unnamed.clone(),
        named("stdout#2"),
        named("siem"),
        unnamed,
    ];
    let names = names(&configs);
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    assert_eq!(
        names,
        ["stdout", "siem", "stdout#2", "stdout#2#2", "siem#2", "stdout#3"]
    );
}
