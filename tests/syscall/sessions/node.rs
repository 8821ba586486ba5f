//! A node with the binary, containers and people: what tests of sessions stand on.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::binary::{Server, saker};
use crate::client::{Client, Request};
use crate::containers::{Runc, have};
use crate::harness::{PATIENCE, field, turn};

/// Another pod of the same name.
pub const OTHER_UID: &str = "0d9f1c55-6f0b-4a7e-9a35-3f1e8b7c6d21";

/// Short enough for a test. A busy machine may take seconds to start what was asked for.
pub const SHORT: &str = "patience: 4s, skew: 200ms, delay: 5s, grace: 500ms";
/// With a list of sessions of its own.
pub const LISTED: &str = "patience: 4s, skew: 200ms, delay: 5s, grace: 500ms, socket: sessions.sock";
/// For what is never explained.
pub const IMPATIENT: &str = "patience: 1500ms, skew: 200ms, delay: 5s, grace: 500ms";

/// Whatever writes to /etc in a container.
pub const WRITTEN: &str = "- rule: written
  desc: d
  priority: NOTICE
  condition: >
    evt.type in (open, openat, openat2, creat) and evt.is_open_write=true and fd.num>=0 and fd.name startswith /etc/
    and container.id != host
  output: wrote %fd.name pid=%proc.pid container=%container.id
";

/// People of the cluster.
pub struct Person {
    pub name: &'static str,
    pub groups: &'static [&'static str],
    pub address: &'static str,
}

pub const DEV: Person = Person {
    name: "dev@example.com",
    groups: &["dev", "system:authenticated"],
    address: "10.1.2.3",
};
pub const OPS: Person = Person {
    name: "ops@example.com",
    groups: &["ops", "system:authenticated"],
    address: "10.1.2.4",
};
pub const AGENT: &str = "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0";

/// As the API server writes times.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A request to enter shop/web-0.
pub struct Asked<'p> {
    pub person: &'p Person,
    pub id: String,
    pub subresource: &'static str,
    pub query: String,
    pub received: String,
    /// When there was a stream to the node.
    pub started: String,
    pub annotations: Value,
}

impl<'p> Asked<'p> {
    pub fn new(person: &'p Person, subresource: &'static str, argv: &[&str], tty: bool) -> Asked<'p> {
        let mut query = String::new();
        for argument in argv {
            query += "command=";
            for byte in argument.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => query.push(char::from(byte)),
                    b' ' => query.push('+'),
                    _ => write!(query, "%{byte:02X}").unwrap(),
                }
            }
            query.push('&');
        }
        query += "container=web&stdin=true&stdout=true";
        query += if tty { "&tty=true" } else { "&stderr=true" };
        let received = now();
        Asked {
            person,
            // Unlike any other of this run.
            id: format!("{subresource}-{received}"),
            subresource,
            query,
            started: received.clone(),
            received,
            annotations: json!({"authorization.k8s.io/decision": "allow"}),
        }
    }

    pub fn event(&self, stage: &str, at: &str) -> Value {
        let Person { name, groups, address } = self.person;
        let path = format!("/api/v1/namespaces/shop/pods/web-0/{}?{}", self.subresource, self.query);
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": self.id, "stage": stage,
            "requestURI": path, "verb": "get", "user": {"username": name, "groups": groups},
            "sourceIPs": [address], "userAgent": AGENT,
            "objectRef": {
                "resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1",
                "subresource": self.subresource,
            },
            "requestReceivedTimestamp": self.received, "stageTimestamp": at,
        });
        if stage != "RequestReceived" {
            event["responseStatus"] = json!({"metadata": {}, "code": 101});
            event["annotations"] = self.annotations.clone();
        }
        event
    }

    /// Its first two stages.
    pub fn opened(&self) -> Vec<Value> {
        vec![
            self.event("RequestReceived", &self.received),
            self.event("ResponseStarted", &self.started),
        ]
    }

    /// Its last one, now.
    pub fn closed(&self) -> Vec<Value> {
        vec![self.event("ResponseComplete", &now())]
    }
}

/// What runs on the node for a request.
pub struct Entered(pub Child);

impl Entered {
    pub fn wait(&mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `runc exec`, on a terminal of its own or without any.
pub fn enter(container: &Runc, argv: &[&str], tty: bool) -> Entered {
    let mut command = if tty {
        let quoted = argv
            .iter()
            .map(|argument| format!(" '{}'", argument.replace('\'', r"'\''")));
        let line = format!("runc exec -t {}{}", container.id, quoted.collect::<String>());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        command
    } else {
        let mut command = Command::new("runc");
        command.args(["exec", &container.id]).args(argv);
        command
    };
    // A terminal whose other end is closed would be hung up.
    let stdin = if tty { Stdio::piped() } else { Stdio::null() };
    let command = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
    Entered(command.spawn().unwrap())
}

/// A container in which shells wait for a word: `read x < /tmp/NAME`.
pub fn container(made: Runc, words: &[&str]) -> Runc {
    for word in words {
        nix::unistd::mkfifo(&made.root().join("tmp").join(word), Mode::S_IRWXU).unwrap();
    }
    made
}

/// Says the word to the one shell that waits for it.
#[track_caller]
pub fn say(container: &Runc, word: &str) {
    let path: PathBuf = container.root().join("tmp").join(word);
    let began = Instant::now();
    loop {
        let mut options = fs::OpenOptions::new();
        // Without it, opening would wait for a shell that may never come.
        let opened = options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
        if let Ok(mut fifo) = opened {
            return writeln!(fifo).unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "nobody waits for {word}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node with its server, and an API server's side of the webhook.
pub struct Node {
    pub server: Server,
    pub client: Client,
    /// All alerts so far.
    pub alerts: RefCell<Vec<Value>>,
    pub directory: tempfile::TempDir,
    pub _turn: MutexGuard<'static, ()>,
}

impl Node {
    /// With these rules beside those of `k8s_exec`; nothing where the machine lacks what it takes.
    pub fn start(settings: &str, rules: &str) -> Option<Node> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/k8s_exec");
        Node::with(settings, rules, &["--no-default-rules", "-r", folder])
    }

    /// The same with other arguments.
    pub fn with(settings: &str, rules: &str, arguments: &[&str]) -> Option<Node> {
        let turn = turn()?;
        if !have(&["runc", "script", "setsid"]) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let config = format!("webhook: {{listen: '127.0.0.1:0'}}\nattribution: {{node: node-1, {settings}}}\n");
        fs::write(place.join("saker.yaml"), config).unwrap();
        fs::write(place.join("local.yaml"), rules).unwrap();
        let own = ["-c", "saker.yaml", "--format", "json"];
        let arguments = [&own, arguments, &["-r", "local.yaml"]].concat();
        let server = Server::of(place, "k8s_audit,syscall", &arguments);
        let began = Instant::now();
        let address = loop {
            let log = fs::read_to_string(place.join("log")).unwrap();
            let found = log
                .split_once("  webhook  https://")
                .and_then(|(_, rest)| rest.split_once('/'));
            if let Some((address, _)) = found.filter(|_| log.contains("try it:")) {
                break address.parse().unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(10));
        };
        let client = Client::new(address, &place.join("certs/dev-ca.crt"), None);
        Some(Node {
            server,
            client,
            alerts: RefCell::default(),
            directory,
            _turn: turn,
        })
    }

    #[track_caller]
    pub fn post(&self, events: &[Value]) {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        let [taken, bad, ..] = self.client.post(&list.to_string()).accepted();
        assert_eq!((taken, bad), (events.len() as u64, 0));
    }

    /// The API server asks whether somebody may run this in shop/web-0, as it does before it starts anything.
    #[track_caller]
    pub fn review(&self, uid: &str, person: &Person, argv: &[&str], tty: bool) {
        let kind = json!({"group": "", "version": "v1", "kind": "PodExecOptions"});
        let resource = json!({"group": "", "version": "v1", "resource": "pods"});
        let mut review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": uid, "kind": kind, "resource": resource, "subResource": "exec",
                "requestKind": kind, "requestResource": resource, "requestSubResource": "exec",
                "name": "web-0", "namespace": "shop", "operation": "CONNECT",
                "userInfo": {"username": person.name, "groups": person.groups},
                "object": {
                    "kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "stdout": true,
                    "container": "web", "command": argv,
                },
                "oldObject": null, "dryRun": false, "options": null,
            },
        });
        // What is false is absent.
        review["request"]["object"][if tty { "tty" } else { "stderr" }] = true.into();
        let body = review.to_string();
        let request = Request::batch(body.as_bytes()).path("/admission/exec?timeout=2s");
        let answer = self.client.send(&request);
        assert_eq!(answer.code, 200, "{}", answer.body);
        let response = answer.json()["response"].take();
        let want = json!({"uid": uid, "allowed": true, "auditAnnotations": {"exec-id": uid}});
        assert_eq!(response, want);
    }

    /// What `saker sessions` is started with to look at this server.
    pub fn sessions(&self, arguments: &[&str]) -> Command {
        let mut command = saker(self.directory.path());
        command
            .args(["sessions", "--socket", "sessions.sock", "--json"])
            .args(arguments);
        command
    }

    /// A session like this, as soon as it is listed.
    #[track_caller]
    pub fn listed(&self, like: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let output = self.sessions(&[]).output().unwrap();
            let list = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let mut sessions = list.lines().map(|line| serde_json::from_str(line).unwrap());
            if let Some(found) = sessions.find(|session| like(session)) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{list}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks the API server, which lets it through, and starts on the node what was asked for; tells nobody yet.
    pub fn ask<'p>(&self, web: &Runc, person: &'p Person, argv: &[&str], tty: bool) -> (Asked<'p>, Entered) {
        let asked = Asked::new(person, "exec", argv, tty);
        let entered = enter(web, argv, tty);
        (asked, entered)
    }

    /// Somebody does something elsewhere: audit events are heard. Nodes are told of that once a second.
    #[track_caller]
    pub fn hear(&self) {
        std::thread::sleep(Duration::from_millis(1_100));
        let mut other = Asked::new(&DEV, "exec", &["ls"], false).event("ResponseStarted", &now());
        other["objectRef"]["name"] = "other-0".into();
        other["requestURI"] = "/api/v1/namespaces/shop/pods/other-0/exec?command=ls&container=web".into();
        self.post(&[other]);
    }

    /// The first alert like this, of those that have come and those that will.
    #[track_caller]
    pub fn alert(&mut self, like: impl Fn(&Value) -> bool) -> Value {
        if let Some(alert) = self.alerts.borrow().iter().find(|alert| like(alert)) {
            return alert.clone();
        }
        let alerts = &self.alerts;
        self.server.alert(|alert| {
            alerts.borrow_mut().push(alert.clone());
            like(alert)
        })
    }

    /// The alert that a file was written.
    #[track_caller]
    pub fn written(&mut self, path: &str) -> Value {
        self.alert(|alert| alert["rule"] == "written" && field(alert, "fd.name") == path)
    }

    /// The alert of a session in whose text this stands.
    #[track_caller]
    pub fn session(&mut self, rule: &str, text: &str) -> Value {
        self.alert(|alert| {
            alert["rule"] == rule && alert["output"].as_str().is_some_and(|output| output.contains(text))
        })
    }

    /// Alerts of this source that say something like this.
    pub fn all(&self, source: &str, text: &str) -> Vec<Value> {
        let alerts = self.alerts.borrow();
        let like = |alert: &&Value| alert["source"] == source && alert["output"].as_str().unwrap().contains(text);
        alerts.iter().filter(like).cloned().collect()
    }
}

/// Sees to it that an alert names the person of a request with this evidence, in its fields and, of a system call, in
/// its text.
#[track_caller]
pub fn assert_names(alert: &Value, asked: &Asked<'_>, evidence: &str) {
    let Person { name, groups, address } = asked.person;
    let is = |field: &str| &alert["output_fields"][field];
    assert_eq!(*is("actor.user"), *name, "{alert:#}");
    assert_eq!(*is("actor.groups"), json!(groups), "{alert:#}");
    assert_eq!(*is("actor.source_ips"), json!([address]), "{alert:#}");
    assert_eq!(*is("actor.user_agent"), AGENT, "{alert:#}");
    assert_eq!(*is("actor.session"), asked.id, "{alert:#}");
    assert_eq!(*is("actor.via"), asked.subresource, "{alert:#}");
    assert_eq!(*is("actor.evidence"), evidence, "{alert:#}");
    if alert["source"] == "syscall" {
        let text = format!(
            " | actor {name} [{}] from {address} with {AGENT} by {}, evidence {evidence}, session {}",
            groups.join(", "),
            asked.subresource,
            asked.id
        );
        assert!(alert["output"].as_str().unwrap().ends_with(&text), "{alert:#}");
    }
}

/// Sees to it that an alert names nobody.
#[track_caller]
pub fn assert_nobody(alert: &Value, state: &str) {
    let fields = alert["output_fields"].as_object().unwrap();
    assert_eq!(fields["actor.state"], state, "{alert:#}");
    for name in ["actor.user", "actor.groups", "actor.source_ips", "actor.session"] {
        assert!(fields.get(name).is_none_or(Value::is_null), "{name}: {alert:#}");
    }
}
