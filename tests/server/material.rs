//! What the tests feed: rules, events, certificates, recordings, and an HTTP server that takes alerts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::saker;

/// One rule: somebody opens a shell. Its alerts name the event by its audit id.
pub const RULES: &str = "\
- rule: Exec
  desc: somebody runs a command in a container
  condition: ka.verb in (create, get) and ka.target.subresource = exec
  output: exec by %ka.user.name (pod=%ka.target.name agent=%ka.useragent id=%ka.auditid)
  priority: WARNING
  source: k8s_audit
  tags: [first]
";

/// An event that alerts, as an item of a list.
pub fn exec(id: &str) -> Value {
    json!({
        "level": "Metadata",
        "auditID": id,
        "stage": "ResponseStarted",
        "requestURI": "/api/v1/namespaces/prod/pods/shop/exec?command=sh&container=main&stdin=true&tty=true",
        "verb": "create",
        "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.7"],
        "userAgent": "kubectl/v1.33.1",
        "objectRef": {"resource": "pods", "namespace": "prod", "name": "shop", "apiVersion": "v1", "subresource": "exec"},
        "responseStatus": {"metadata": {}, "code": 101},
        "requestReceivedTimestamp": "2026-11-22T06:40:00.000000Z",
        "stageTimestamp": "2026-11-22T06:40:00.020000Z",
    })
}

/// An event that does not alert.
pub fn quiet(id: &str) -> Value {
    let mut event = exec(id);
    event["verb"] = "list".into();
    event["objectRef"] = json!({"resource": "pods", "namespace": "prod", "apiVersion": "v1"});
    event
}

/// Items as the API server sends them.
pub fn list(items: impl IntoIterator<Item = Value>) -> String {
    let items: Vec<Value> = items.into_iter().collect();
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items}).to_string()
}

/// An event as a line of a log: it says what it is.
pub fn line(mut event: Value) -> String {
    event["kind"] = "Event".into();
    event["apiVersion"] = "audit.k8s.io/v1".into();
    format!("{event}\n")
}

/// `prefix-0`, `prefix-1` and so on.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// A batch of alerting events with these ids.
pub fn execs(ids: &[String]) -> String {
    list(ids.iter().map(|id| exec(id)))
}

/// Makes certificates as a user does. The CA and its leaves are made once and copied.
pub fn certificates(to: &Path) {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        setup_certs(dir.path(), "certs");
        dir
    });
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(made.path().join("certs")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// `saker setup certs --dir NAME` in `dir`.
pub fn setup_certs(dir: &Path, name: &str) {
    let made = saker(dir).args(["setup", "certs", "--dir", name]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Says loudly that a test, or a part of it, is not run. Not by `eprintln!`, which the test harness swallows.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Bodies that a real API server posted, by name; empty, and said so, where they are not beside the repository.
pub fn recorded_bodies() -> BTreeMap<String, Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/audit/webhook_bodies");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        skipped("there are no recorded bodies in ../shared/audit/webhook_bodies");
        return BTreeMap::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let bodies = paths.filter(|path| path.extension().is_some_and(|e| e == "body"));
    bodies
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

/// An HTTP server that takes alerts: it answers what it is told to, and remembers what it has acknowledged.
pub struct Sink {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Value>>>,
    code: Arc<AtomicU16>,
}

impl Sink {
    /// Takes each alert after `delay`.
    pub fn start(listener: TcpListener, delay: Duration) -> Sink {
        let sink = Sink {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            code: Arc::new(AtomicU16::new(200)),
        };
        let (taken, code) = (Arc::clone(&sink.taken), Arc::clone(&sink.code));
        // Ends with the test's process: nothing waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (taken, code) = (Arc::clone(&taken), Arc::clone(&code));
                std::thread::spawn(move || take_alerts(stream, &taken, &code, delay));
            }
        });
        sink
    }

    pub fn answer(&self, code: u16) {
        self.code.store(code, Ordering::SeqCst);
    }

    /// What was answered with 200, in order.
    pub fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}

fn take_alerts(stream: TcpStream, taken: &Mutex<Vec<Value>>, code: &AtomicU16, delay: Duration) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().to_ascii_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().ok()?,
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        std::thread::sleep(delay);
        let code = code.load(Ordering::SeqCst);
        if code == 200 {
            taken.lock().unwrap().push(serde_json::from_slice(&body).ok()?);
        }
        let answer = format!("HTTP/1.1 {code} Whatever\r\nContent-Length: 0\r\n\r\n");
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

/// A measurement, for whoever runs the tests.
pub fn told(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
