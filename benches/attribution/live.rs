//! From an audit event's arrival to the alert that names the user: real binary, probe, and container.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;

use crate::container::{Container, audit_event, missing};
use crate::harness::Server;
use crate::material::{certificates, list, skipped};
use crate::percentiles;

const EXECS: usize = 200;
/// Execs that are open at once.
const GROUP: usize = 10;
/// Younger ones may get a rival, so that nothing is said of them. Audit events come later than that by themselves.
const SETTLED: Duration = Duration::from_millis(700);

/// Alerts of sessions, without and with the rules that saker brings.
pub fn run() {
    if let Some(what) = missing() {
        return skipped(&what);
    }
    for (name, builtin) in [("one rule", false), ("built-in rules", true)] {
        let (written, timed) = measure(builtin);
        println!(
            "{name}: from the beginning of the POST to the line of the alert: {}",
            percentiles(written)
        );
        println!(
            "{name}: from the beginning of the POST to the alert's own time: {}",
            percentiles(timed)
        );
    }
}

fn measure(builtin: bool) -> (Vec<Duration>, Vec<Duration>) {
    let dir = tempfile::tempdir().expect("a directory");
    certificates(&dir.path().join("certs"));
    let rules = "- {rule: Session, desc: d, condition: actor.state = attributed, output: '%actor.session', priority: INFO, source: k8s_exec}";
    let config = format!(
        "rules: {{builtin: {builtin}, files: [rules.yaml]}}\n\
         outputs: [{{kind: stdout, format: json}}]\n\
         attribution: {{socket: sessions.sock}}\n\
         webhook: {{tls: {{cert: certs/server.crt, key: certs/server.key}}}}\n"
    );
    for (name, text) in [("rules.yaml", rules), ("saker.yaml", &config)] {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    let arguments = ["-c", "saker.yaml", "--sources", "syscall,k8s_audit"];
    let mut server = Server::spawn(dir.path(), &arguments, Stdio::null(), Stdio::piped());
    server.wait_until_ready();
    let (sender, alerts) = mpsc::channel();
    let out = BufReader::new(server.stdout());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let now = Instant::now();
            let alert: Value = serde_json::from_str(&line).expect("an alert");
            // Of several rules that match the first one counts.
            let named = alert["rule"] == "Session" || alert["rule"] == "Command run by a user";
            if named && sender.send((now, alert)).is_err() {
                return;
            }
        }
    });
    let container = Container::start("web-1");
    let mut connection = server.client().connect().expect("a connection");
    let (mut written, mut timed) = (Vec::new(), Vec::new());
    for group in 0..EXECS / GROUP {
        let execs: HashMap<usize, _> = (group * GROUP..(group + 1) * GROUP)
            .map(|n| {
                (
                    n,
                    (Timestamp::now(), container.exec(&["/bin/sleep", &format!("1.{n:03}")])),
                )
            })
            .collect();
        std::thread::sleep(SETTLED);
        for (n, (received, mut runc)) in execs {
            let seconds = format!("1.{n:03}");
            let command = ["/bin/sleep", &seconds];
            let event = audit_event(
                &format!("audit-{n}"),
                "ResponseStarted",
                "ann@example.com",
                "web-1",
                &command,
                received,
            );
            let body = list([event]);
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
            let begun = Instant::now();
            assert_eq!(connection.post(&body).expect("an answer").code, 200);
            let (seen, alert) = alerts.recv_timeout(Duration::from_secs(20)).expect("an alert");
            let fields = &alert["output_fields"];
            assert_eq!(fields["actor.session"], format!("audit-{n}"));
            written.push(seen.duration_since(begun));
            let time = Duration::from_nanos(fields["evt.time"].as_u64().expect("a time"));
            timed.push(time.saturating_sub(since));
            runc.wait().expect("its end");
        }
    }
    (written, timed)
}
