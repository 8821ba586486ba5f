//! Who is behind a process, live: the binary with both sources, containers of runc, what people and probes do in them, and
//! the audit events of it, posted over HTTPS as an API server posts them.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{MutexGuard, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::binary::{Server, saker};
use crate::client::{Client, Request};
use crate::containerd::UID;
use crate::containers::{Runc, have};
use crate::harness::{PATIENCE, field, turn};

/// Another pod of the same name.
const OTHER_UID: &str = "0d9f1c55-6f0b-4a7e-9a35-3f1e8b7c6d21";

/// Short enough for a test. A busy machine may take seconds to start what was asked for.
const SHORT: &str = "patience: 4s, skew: 200ms, delay: 5s, grace: 500ms";
/// With a list of sessions of its own.
const LISTED: &str = "patience: 4s, skew: 200ms, delay: 5s, grace: 500ms, socket: sessions.sock";
/// For what is never explained.
const IMPATIENT: &str = "patience: 1500ms, skew: 200ms, delay: 5s, grace: 500ms";

/// Whatever writes to /etc in a container.
const WRITTEN: &str = "- rule: written
  desc: d
  priority: NOTICE
  condition: >
    evt.type in (open, openat, openat2, creat) and evt.is_open_write=true and fd.num>=0 and fd.name startswith /etc/
    and container.id != host
  output: wrote %fd.name pid=%proc.pid container=%container.id
";

/// People of the cluster.
struct Person {
    name: &'static str,
    groups: &'static [&'static str],
    address: &'static str,
}

const DEV: Person = Person {
    name: "dev@example.com",
    groups: &["dev", "system:authenticated"],
    address: "10.1.2.3",
};
const OPS: Person = Person {
    name: "ops@example.com",
    groups: &["ops", "system:authenticated"],
    address: "10.1.2.4",
};
const AGENT: &str = "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0";

/// As the API server writes times.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A request to enter shop/web-0.
struct Asked<'p> {
    person: &'p Person,
    id: String,
    subresource: &'static str,
    query: String,
    received: String,
    /// When there was a stream to the node.
    started: String,
    annotations: Value,
}

impl<'p> Asked<'p> {
    fn new(person: &'p Person, subresource: &'static str, argv: &[&str], tty: bool) -> Asked<'p> {
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

    fn event(&self, stage: &str, at: &str) -> Value {
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
    fn opened(&self) -> Vec<Value> {
        vec![
            self.event("RequestReceived", &self.received),
            self.event("ResponseStarted", &self.started),
        ]
    }

    /// Its last one, now.
    fn closed(&self) -> Vec<Value> {
        vec![self.event("ResponseComplete", &now())]
    }
}

/// What runs on the node for a request.
struct Entered(Child);

impl Entered {
    fn wait(&mut self) {
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
fn enter(container: &Runc, argv: &[&str], tty: bool) -> Entered {
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
fn container(made: Runc, words: &[&str]) -> Runc {
    for word in words {
        nix::unistd::mkfifo(&made.root().join("tmp").join(word), Mode::S_IRWXU).unwrap();
    }
    made
}

/// Says the word to the one shell that waits for it.
#[track_caller]
fn say(container: &Runc, word: &str) {
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
struct Node {
    server: Server,
    client: Client,
    /// All alerts so far.
    alerts: RefCell<Vec<Value>>,
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Node {
    /// With these rules beside those of `k8s_exec`; nothing where the machine lacks what it takes.
    fn start(settings: &str, rules: &str) -> Option<Node> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/k8s_exec");
        Node::with(settings, rules, &["--no-default-rules", "-r", folder])
    }

    /// The same with other arguments.
    fn with(settings: &str, rules: &str, arguments: &[&str]) -> Option<Node> {
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
    fn post(&self, events: &[Value]) {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        let [taken, bad, ..] = self.client.post(&list.to_string()).accepted();
        assert_eq!((taken, bad), (events.len() as u64, 0));
    }

    /// The API server asks whether somebody may run this in shop/web-0, as it does before it starts anything.
    #[track_caller]
    fn review(&self, uid: &str, person: &Person, argv: &[&str], tty: bool) {
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
    fn sessions(&self, arguments: &[&str]) -> Command {
        let mut command = saker(self.directory.path());
        command
            .args(["sessions", "--socket", "sessions.sock", "--json"])
            .args(arguments);
        command
    }

    /// A session like this, as soon as it is listed.
    #[track_caller]
    fn listed(&self, like: impl Fn(&Value) -> bool) -> Value {
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
    fn ask<'p>(&self, web: &Runc, person: &'p Person, argv: &[&str], tty: bool) -> (Asked<'p>, Entered) {
        let asked = Asked::new(person, "exec", argv, tty);
        let entered = enter(web, argv, tty);
        (asked, entered)
    }

    /// Somebody does something elsewhere: audit events are heard. Nodes are told of that once a second.
    #[track_caller]
    fn hear(&self) {
        std::thread::sleep(Duration::from_millis(1_100));
        let mut other = Asked::new(&DEV, "exec", &["ls"], false).event("ResponseStarted", &now());
        other["objectRef"]["name"] = "other-0".into();
        other["requestURI"] = "/api/v1/namespaces/shop/pods/other-0/exec?command=ls&container=web".into();
        self.post(&[other]);
    }

    /// The first alert like this, of those that have come and those that will.
    #[track_caller]
    fn alert(&mut self, like: impl Fn(&Value) -> bool) -> Value {
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
    fn written(&mut self, path: &str) -> Value {
        self.alert(|alert| alert["rule"] == "written" && field(alert, "fd.name") == path)
    }

    /// The alert of a session in whose text this stands.
    #[track_caller]
    fn session(&mut self, rule: &str, text: &str) -> Value {
        self.alert(|alert| {
            alert["rule"] == rule && alert["output"].as_str().is_some_and(|output| output.contains(text))
        })
    }

    /// Alerts of this source that say something like this.
    fn all(&self, source: &str, text: &str) -> Vec<Value> {
        let alerts = self.alerts.borrow();
        let like = |alert: &&Value| alert["source"] == source && alert["output"].as_str().unwrap().contains(text);
        alerts.iter().filter(like).cloned().collect()
    }
}

/// Sees to it that an alert names the person of a request with this evidence, in its fields and, of a system call, in
/// its text.
#[track_caller]
fn assert_names(alert: &Value, asked: &Asked<'_>, evidence: &str) {
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
fn assert_nobody(alert: &Value, state: &str) {
    let fields = alert["output_fields"].as_object().unwrap();
    assert_eq!(fields["actor.state"], state, "{alert:#}");
    for name in ["actor.user", "actor.groups", "actor.source_ips", "actor.session"] {
        assert!(fields.get(name).is_none_or(Value::is_null), "{name}: {alert:#}");
    }
}

#[test]
fn a_terminal_is_named_by_an_entry_that_comes_early_or_late() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["late", "early"]);
    web.start();
    let argv = |script| ["sh", "-c", script];
    // Audit batches come late.
    let began = Instant::now();
    let late = argv("echo > /etc/one; read x < /tmp/late; (echo > /etc/two)");
    let (asked, _terminal) = node.ask(&web, &DEV, &late, true);
    let before = node.written("/etc/one");
    assert_nobody(&before, "waiting");
    std::thread::sleep(Duration::from_secs(2).saturating_sub(began.elapsed()));
    node.post(&asked.opened());
    let met = node.session("Terminal opened by a user", "/etc/one");
    assert_eq!(
        (&met["priority"], &met["source"]),
        (&json!("Notice"), &json!("k8s_exec"))
    );
    assert_names(&met, &asked, "unique");
    assert_eq!(field(&met, "actor.state"), "attributed");
    assert_eq!(met["related"], json!([before["uuid"]]), "{met:#}");
    let pid = &before["output_fields"]["proc.pid"];
    assert_eq!(&met["output_fields"]["proc.pid"], pid, "{met:#}");
    let text = format!(
        "dev@example.com opened a terminal in shop/web-0 (container web): `{}`, pid {pid} on ",
        late.join(" ")
    );
    assert!(met["output"].as_str().unwrap().contains(&text), "{text}: {met:#}");
    let delay = met["output_fields"]["actor.delay"].as_u64().unwrap();
    assert!((1_000_000_000..PATIENCE.as_nanos() as u64).contains(&delay), "{met:#}");
    say(&web, "late");
    let after = node.written("/etc/two");
    assert_ne!(&after["output_fields"]["proc.pid"], pid, "a child");
    assert_names(&after, &asked, "unique");
    // As soon as nobody else can claim it.
    let early = argv("echo > /etc/three; read x < /tmp/early; (echo > /etc/four)");
    let asked = Asked::new(&OPS, "exec", &early, true);
    node.post(&asked.opened());
    let _terminal = enter(&web, &early, true);
    let before = node.written("/etc/three");
    assert_nobody(&before, "waiting");
    let met = node.session("Terminal opened by a user", "/etc/three");
    assert_names(&met, &asked, "unique");
    assert_eq!(met["related"], json!([before["uuid"]]), "{met:#}");
    assert!(
        met["output_fields"]["actor.delay"].as_u64().unwrap() < 1_000_000_000,
        "{met:#}"
    );
    say(&web, "early");
    assert_names(&node.written("/etc/four"), &asked, "unique");
}

#[test]
fn a_command_without_a_terminal_is_named_quietly() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let argv = ["sh", "-c", "read x < /tmp/go; echo > /etc/one"];
    let (asked, _entered) = node.ask(&web, &DEV, &argv, false);
    node.post(&asked.opened());
    let met = node.session("Command run by a user", "/etc/one");
    assert_eq!(met["priority"], "Informational", "{met:#}");
    assert_names(&met, &asked, "unique");
    let text = "dev@example.com ran `sh -c read x < /tmp/go; echo > /etc/one` in shop/web-0 (container web), pid ";
    assert!(met["output"].as_str().unwrap().contains(text), "{met:#}");
    assert!(met.get("related").is_none(), "{met:#}");
    say(&web, "go");
    assert_names(&node.written("/etc/one"), &asked, "unique");
    // Twice, as batches that were not answered in time are.
    node.post(&asked.opened());
    node.post(&asked.closed());
    let ended = node.session("Session ended", "/etc/one");
    assert_eq!(
        (field(&ended, "actor.state"), field(&ended, "actor.user")),
        ("closed".into(), DEV.name.into())
    );
    assert_eq!(node.all("k8s_exec", "/etc/one").len(), 2, "{:#?}", node.alerts);
}

#[test]
fn two_users_at_once() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["a", "b", "c"]);
    web.start();
    // What they ask for tells them apart.
    let (first, second) = (
        ["sh", "-c", "read x < /tmp/a; echo > /etc/a"],
        ["sh", "-c", "read x < /tmp/b; echo > /etc/b"],
    );
    let (dev, _a) = node.ask(&web, &DEV, &first, true);
    let (ops, _b) = node.ask(&web, &OPS, &second, true);
    node.post(&[ops.opened(), dev.opened()].concat());
    assert_names(&node.session("Terminal opened by a user", "/etc/a"), &dev, "unique");
    assert_names(&node.session("Terminal opened by a user", "/etc/b"), &ops, "unique");
    say(&web, "b");
    assert_names(&node.written("/etc/b"), &ops, "unique");
    say(&web, "a");
    assert_names(&node.written("/etc/a"), &dev, "unique");
    // Nothing does.
    let same = ["sh", "-c", "echo > /etc/c; read x < /tmp/c; echo > /etc/d; sleep 60"];
    let (dev, _c) = node.ask(&web, &DEV, &same, true);
    let (ops, _d) = node.ask(&web, &OPS, &same, true);
    node.post(&[dev.opened(), ops.opened()].concat());
    let candidates = json!([DEV.name, OPS.name]);
    let one = node.session("Terminal of one of several users", "/etc/c");
    let pid = one["output_fields"]["proc.pid"].clone();
    let other = node.alert(|alert| {
        alert["rule"] == "Terminal of one of several users" && alert["output_fields"]["proc.pid"] != pid
    });
    for met in [&one, &other] {
        assert_nobody(met, "ambiguous");
        assert_eq!(met["output_fields"]["actor.candidates"], candidates, "{met:#}");
        assert_eq!(met["related"].as_array().map(Vec::len), Some(1), "{met:#}");
    }
    assert_ne!(one["related"], other["related"]);
    say(&web, "c");
    let written = node.written("/etc/d");
    assert_nobody(&written, "ambiguous");
    assert_eq!(written["output_fields"]["actor.candidates"], candidates, "{written:#}");
    let text = " | actor one of dev@example.com, ops@example.com by exec, evidence ambiguous";
    assert!(written["output"].as_str().unwrap().ends_with(text), "{written:#}");
}

#[test]
fn what_is_left_behind_is_still_theirs() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["daemon", "end", "shell", "never"]);
    web.start();
    let script = "setsid sh -c 'read x < /tmp/daemon; echo > /etc/daemon; read x < /tmp/end' > /dev/null 2>&1 & :";
    let (asked, mut entered) = node.ask(&web, &DEV, &["sh", "-c", script], false);
    node.post(&asked.opened());
    entered.wait();
    assert_names(&node.session("Command run by a user", "/etc/daemon"), &asked, "unique");
    node.post(&asked.closed());
    let outlived = node.session("Session outlived its request", "/etc/daemon");
    assert_eq!(outlived["priority"], "Warning", "{outlived:#}");
    assert_names(&outlived, &asked, "unique");
    let text = "Left behind by dev@example.com in shop/web-0 (container web): ";
    assert!(outlived["output"].as_str().unwrap().contains(text), "{outlived:#}");
    say(&web, "daemon");
    let written = node.written("/etc/daemon");
    assert_names(&written, &asked, "unique");
    assert_eq!(field(&written, "actor.state"), "outlived");
    say(&web, "end");
    let ended = node.session("Session ended", "/etc/daemon");
    assert_names(&ended, &asked, "unique");
    assert_eq!(ended["related"], json!([written["uuid"]]), "{ended:#}");

    let script = "nohup sh -c 'echo > /etc/left; read x < /tmp/never' & read x < /tmp/shell";
    let (asked, mut terminal) = node.ask(&web, &OPS, &["sh", "-c", script], true);
    node.post(&asked.opened());
    let left = node.written("/etc/left");
    assert_names(
        &node.session("Terminal opened by a user", "/etc/left"),
        &asked,
        "unique",
    );
    say(&web, "shell");
    terminal.wait();
    node.post(&asked.closed());
    let outlived = node.session("Session outlived its request", "/etc/left");
    assert_names(&outlived, &asked, "unique");
    assert_eq!(outlived["related"], json!([left["uuid"]]), "{outlived:#}");
    assert!(
        node.all("k8s_exec", "/etc/left")
            .iter()
            .all(|alert| alert["rule"] != "Session ended")
    );
    let pid = nix::unistd::Pid::from_raw(left["output_fields"]["proc.pid"].as_i64().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_names(&node.session("Session ended", "/etc/left"), &asked, "unique");
}

#[test]
fn a_session_that_ends_in_time_is_not_left_behind() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let (asked, mut terminal) = node.ask(&web, &DEV, &["sh", "-c", "read x < /tmp/go; : /etc/one"], true);
    node.post(&asked.opened());
    node.session("Terminal opened by a user", "/etc/one");
    say(&web, "go");
    terminal.wait();
    node.post(&asked.closed());
    node.session("Session ended", "/etc/one");
    // One that is told of later than that would have been.
    let _unexplained = enter(&web, &["sh", "-c", "sleep 60"], true);
    node.session("Terminal of unknown origin", "sleep 60");
    let rules: Vec<_> = node
        .all("k8s_exec", "/etc/one")
        .iter()
        .map(|alert| alert["rule"].clone())
        .collect();
    assert_eq!(rules, ["Terminal opened by a user", "Session ended"]);
}

#[test]
fn a_terminal_that_nobody_explains() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    // No audit events come at all.
    let mut silent = enter(&web, &["sh", "-c", "read x < /tmp/go; : silent"], true);
    let unknown = node.session("Terminal of unknown origin", "silent");
    assert_eq!(unknown["priority"], "Notice", "{unknown:#}");
    assert_nobody(&unknown, "unknown");
    let text =
        "Terminal in shop/web-0 (container web), and nobody knows whose: no audit events are coming | command=sh -c ";
    assert!(unknown["output"].as_str().unwrap().contains(text), "{unknown:#}");
    say(&web, "go");
    silent.wait();
    // Those of others do. Probes have no terminal, and nobody asks for them.
    node.hear();
    let mut probes = [(); 3].map(|()| enter(&web, &["sh", "-c", "echo > /etc/probe"], false));
    probes.iter_mut().for_each(Entered::wait);
    let _terminal = enter(
        &web,
        &["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"],
        true,
    );
    let written = node.written("/etc/one");
    assert_nobody(&written, "waiting");
    node.hear();
    let alert = node.session("Terminal that no request explains", "/etc/one");
    assert_eq!(alert["priority"], "Critical", "{alert:#}");
    assert_nobody(&alert, "unattributed");
    assert_eq!(alert["related"], json!([written["uuid"]]), "{alert:#}");
    let text = "Terminal in shop/web-0 (container web) that no request explains: `sh -c echo > /etc/one; ";
    assert!(alert["output"].as_str().unwrap().contains(text), "{alert:#}");
    say(&web, "go");
    assert_nobody(&node.written("/etc/two"), "unattributed");
    assert_eq!(node.all("syscall", "/etc/probe").len(), 3);
    assert_eq!(node.all("k8s_exec", "/etc/probe"), Vec::<Value>::new());
    assert_eq!(node.all("k8s_exec", "/etc/one"), [alert]);
}

#[test]
fn a_container_of_the_same_pod_is_another_one() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"];
    let web = container(Runc::new(), &["go"]);
    web.start();
    let (dev, first) = node.ask(&web, &DEV, &argv, true);
    let before = node.written("/etc/one");
    drop((first, web));
    let web = container(Runc::new(), &["go"]);
    web.start();
    // Further apart than the clocks may be.
    std::thread::sleep(Duration::from_millis(400));
    let (ops, _second) = node.ask(&web, &OPS, &argv, true);
    node.post(&[ops.opened(), dev.opened(), dev.closed()].concat());
    let pid = &before["output_fields"]["proc.pid"];
    let met = |node: &mut Node, own: bool| {
        node.alert(|alert| {
            alert["rule"] == "Terminal opened by a user" && (alert["output_fields"]["proc.pid"] == *pid) == own
        })
    };
    let of_first = met(&mut node, true);
    assert_names(&of_first, &dev, &field(&of_first, "actor.evidence"));
    assert_eq!(of_first["related"], json!([before["uuid"]]), "{of_first:#}");
    let of_second = met(&mut node, false);
    assert_names(&of_second, &ops, "ordered");
    say(&web, "go");
    let written = node.written("/etc/two");
    assert_names(&written, &ops, "ordered");
    assert_eq!(field(&written, "container.id"), web.short_id());
}

#[test]
fn a_pod_of_the_same_name_is_another_one() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"];
    node.hear();
    // The old one is not quite gone.
    let pods = [OTHER_UID, UID].map(|uid| container(Runc::of(uid, |_| ()), &["go"]));
    pods.iter().for_each(Runc::start);
    let [old, new] = &pods;
    // kubectl looks before it asks.
    let looked = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": format!("get-{}", now()),
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/pods/web-0", "verb": "get",
        "user": {"username": DEV.name, "groups": DEV.groups}, "sourceIPs": [DEV.address], "userAgent": AGENT,
        "objectRef": {"resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "responseObject": {
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-0", "namespace": "shop", "uid": UID},
            "spec": {}, "status": {},
        },
        "requestReceivedTimestamp": now(), "stageTimestamp": now(),
    });
    let asked = Asked::new(&DEV, "exec", &argv, true);
    let (_one, _other) = (enter(old, &argv, true), enter(new, &argv, true));
    let of = |node: &mut Node, pod: &Runc, path: &str| {
        node.alert(|alert| field(alert, "fd.name") == path && field(alert, "container.id") == pod.short_id())
    };
    for pod in &pods {
        assert_nobody(&of(&mut node, pod, "/etc/one"), "waiting");
    }
    node.post(&[vec![looked], asked.opened()].concat());
    node.hear();
    let met = node.session("Terminal opened by a user", new.short_id());
    assert_names(&met, &asked, "unique");
    let other = node.session("Terminal that no request explains", old.short_id());
    assert_nobody(&other, "unattributed");
    say(new, "go");
    say(old, "go");
    assert_names(&of(&mut node, new, "/etc/two"), &asked, "unique");
    assert_nobody(&of(&mut node, old, "/etc/two"), "unattributed");
}

#[test]
fn a_key_counts_where_it_is_right() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["a", "b", "c", "d"]);
    web.start();
    let key = |uid: &str| format!("SAKER_EXEC_ID={uid}");
    // Of nobody: it is a part of what was asked for.
    let nobodys = key("11111111-0000-4000-8000-000000000000");
    let argv = ["env", &nobodys, "sh", "-c", "read x < /tmp/a; echo > /etc/a"];
    let (asked, _a) = node.ask(&web, &DEV, &argv, true);
    node.post(&asked.opened());
    assert_names(&node.session("Terminal opened by a user", "/etc/a"), &asked, "unique");
    say(&web, "a");
    assert_names(&node.written("/etc/a"), &asked, "unique");
    // The same command of both at once; the API server's patch has put a key into each.
    let keys = [&DEV, &OPS].map(|person| {
        format!(
            "22222222-0000-4000-8000-{}00000000",
            &person.address[5..].replace('.', "00")
        )
    });
    let argv = ["sh", "-c", "echo > /etc/b; read x < /tmp/b; echo > /etc/c"];
    let mut all = Vec::new();
    for (person, uid) in [&DEV, &OPS].into_iter().zip(&keys) {
        let mut asked = Asked::new(person, "exec", &argv, true);
        asked.annotations["exec-id.saker.example/exec-id"] = uid.as_str().into();
        let entered = enter(&web, &[&["env", &key(uid)], &argv[..]].concat(), true);
        all.push((asked, entered));
    }
    node.post(&all.iter().flat_map(|(asked, _)| asked.opened()).collect::<Vec<_>>());
    for (asked, _) in &all {
        let met = node
            .alert(|alert| alert["rule"] == "Terminal opened by a user" && field(alert, "actor.session") == asked.id);
        assert_names(&met, asked, "request-key");
        // The process of that key and no other, once `env` has made way for the shell.
        let pid = met["output_fields"]["proc.pid"].as_u64().unwrap();
        node.alert(|alert| field(alert, "fd.name") == "/etc/b" && alert["output_fields"]["proc.pid"] == pid);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let uid = asked.annotations["exec-id.saker.example/exec-id"].as_str().unwrap();
        assert!(String::from_utf8_lossy(&environment).contains(uid), "{met:#}");
    }
    // Seen in the environment of a process, and used again.
    let again = key(&keys[1]);
    let argv = [&["env", &again], &argv[..]].concat();
    let (asked, thief) = node.ask(&web, &DEV, &argv, true);
    node.post(&asked.opened());
    let met =
        node.alert(|alert| alert["rule"] == "Terminal opened by a user" && field(alert, "actor.session") == asked.id);
    assert_names(&met, &asked, "unique");
    drop(thief);
    // Whoever asks nobody stays nobody.
    let argv = ["env", &again, "sh", "-c", "echo > /etc/d; read x < /tmp/d"];
    let _d = enter(&web, &argv, true);
    assert_nobody(&node.written("/etc/d"), "waiting");
    let mut other = Asked::new(&OPS, "exec", &["ls"], false);
    other.annotations["exec-id.saker.example/exec-id"] = keys[1].as_str().into();
    node.post(&other.opened());
    assert_nobody(
        &node.session("Terminal that no request explains", "/etc/d"),
        "unattributed",
    );
}

#[test]
fn a_condition_can_ask_who_it_is() {
    let rules = "- list: oncall
  items: [ops@example.com]

- rule: Configuration written off call
  desc: d
  condition: write_opened and fd.name startswith /etc and actor.user exists and not actor.user in (oncall)
  output: \"%actor.user wrote %fd.name\"
  priority: WARNING
  source: syscall
";
    let Some(mut node) = Node::with(SHORT, rules, &[]) else {
        return;
    };
    let web = container(Runc::new(), &["ops", "dev"]);
    web.start();
    for (person, word) in [(&OPS, "ops"), (&DEV, "dev")] {
        let script = format!("read x < /tmp/{word}; echo > /etc/of-{word}; : {word}");
        let (asked, mut entered) = node.ask(&web, person, &["sh", "-c", &script], false);
        node.post(&asked.opened());
        node.session("Command run by a user", person.name);
        say(&web, word);
        entered.wait();
    }
    let alert = node.alert(|alert| alert["rule"] == "Configuration written off call");
    let text = "dev@example.com wrote /etc/of-dev";
    assert!(alert["output"].as_str().unwrap().contains(text), "{alert:#}");
    // What is on the node and was asked for by nobody is no reason for it.
    let mut probe = enter(&web, &["sh", "-c", "echo > /etc/of-nobody"], false);
    probe.wait();
    let (asked, mut entered) = node.ask(&web, &DEV, &["sh", "-c", "sleep 1; echo > /etc/of-last"], false);
    node.post(&asked.opened());
    entered.wait();
    node.alert(|alert| field(alert, "fd.name") == "/etc/of-last");
    assert_eq!(node.all("syscall", " wrote ").len(), 2, "{:#?}", node.alerts);
}

#[test]
fn somebody_attaches_to_a_terminal() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let script = "echo > /etc/one; read x < /tmp/go; (echo > /etc/two); read x < /tmp/go";
    let made = Runc::of(UID, |spec| {
        spec["process"]["terminal"] = true.into();
        spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
    });
    let web = container(made, &["go"]);
    let line = format!("runc run --bundle {} {}", web.bundle().display(), web.id);
    let mut command = Command::new("script");
    let command = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped());
    let _terminal = Entered(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let before = node.written("/etc/one");
    assert_eq!(field(&before, "actor.user"), "-", "{before:#}");
    let asked = Asked::new(&DEV, "attach", &[], true);
    node.post(&asked.opened());
    let met = node.session("Terminal opened by a user", "via=attach");
    assert_names(&met, &asked, "unique");
    say(&web, "go");
    assert_names(&node.written("/etc/two"), &asked, "unique");
}

/// A container may have a terminal of its own without anybody in front of it.
#[test]
fn a_container_with_a_terminal_is_no_session() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let own = |spec: &mut Value| {
        spec["process"]["terminal"] = true.into();
        spec["process"]["args"] = json!(["/bin/sh", "-c", "echo > /etc/one; sleep 60"]);
    };
    let web = Runc::of(UID, own);
    let line = format!("runc run --bundle {} {}", web.bundle().display(), web.id);
    let mut command = Command::new("script");
    let command = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped());
    let _container = Entered(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    node.written("/etc/one");
    // Later than the container, and told of later.
    let other = Runc::new();
    other.start();
    let _terminal = enter(&other, &["sh", "-c", "sleep 61"], true);
    node.session("Terminal of unknown origin", "sleep 61");
    node.hear();
    let _unexplained = enter(&other, &["sh", "-c", "sleep 62"], true);
    node.written("/etc/one");
    node.hear();
    node.session("Terminal that no request explains", "sleep 62");
    assert_eq!(node.all("k8s_exec", "/etc/one"), Vec::<Value>::new());
}

/// The API server asks before it starts anything, and writes about it later.
#[test]
fn the_first_alert_names_who_was_reviewed() {
    let Some(mut node) = Node::start(LISTED, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let uid = "46abb456-95f3-4452-9fd9-1e808cd58141";
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; (echo > /etc/two)"];
    node.review(uid, &DEV, &argv, true);
    let (mut asked, _terminal) = node.ask(&web, &DEV, &argv, true);
    let first = node.written("/etc/one");
    let is = |alert: &Value, name: &str| alert["output_fields"][name].clone();
    assert_eq!(node.all("syscall", "").len(), 1, "{:#?}", node.alerts);
    assert_eq!(is(&first, "actor.user"), DEV.name, "{first:#}");
    assert_eq!(is(&first, "actor.groups"), json!(DEV.groups), "{first:#}");
    assert_eq!(is(&first, "actor.session"), uid, "{first:#}");
    assert_eq!(is(&first, "actor.evidence"), "unique", "{first:#}");
    assert_eq!(is(&first, "actor.state"), "attributed", "{first:#}");
    let text = format!(
        " | actor {} [dev, system:authenticated] by exec, evidence unique, session {uid}",
        DEV.name
    );
    assert!(first["output"].as_str().unwrap().ends_with(&text), "{first:#}");
    // A review does not tell.
    let later = ["actor.impersonator", "actor.source_ips", "actor.user_agent"];
    for name in later {
        assert_eq!(is(&first, name), Value::Null, "{name}: {first:#}");
    }
    asked.annotations["exec-id.saker.example/exec-id"] = uid.into();
    let mut events = asked.opened();
    for event in &mut events {
        event["user"] = json!({"username": OPS.name, "groups": OPS.groups});
    }
    events[1]["impersonatedUser"] = json!({"username": DEV.name, "groups": DEV.groups});
    node.post(&events);
    let session = node.listed(|session| session["session"] == asked.id);
    assert_eq!(session["impersonator"], OPS.name, "{session:#}");
    say(&web, "go");
    let second = node.written("/etc/two");
    for (name, want) in [
        ("actor.user", json!(DEV.name)),
        ("actor.impersonator", json!(OPS.name)),
        ("actor.source_ips", json!([DEV.address])),
        ("actor.user_agent", json!(AGENT)),
        ("actor.session", json!(asked.id)),
        ("actor.evidence", json!("unique")),
    ] {
        assert_eq!(is(&second, name), want, "{name}: {second:#}");
    }
}

#[test]
fn sessions_are_listed_to_their_owner() {
    let Some(mut node) = Node::start(LISTED, WRITTEN) else {
        return;
    };
    let socket = fs::metadata(node.directory.path().join("sessions.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    let web = container(Runc::new(), &["dev", "ops"]);
    web.start();
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/dev"];
    let (asked, _dev) = node.ask(&web, &DEV, &argv, true);
    let written = node.written("/etc/one");
    node.post(&asked.opened());
    let is_dev = |session: &Value| session["session"] == asked.id;
    let session = node.listed(|session| is_dev(session) && session["alerts"] != json!([]));
    for (name, want) in [
        ("state", json!("attributed")),
        ("user", json!(DEV.name)),
        ("groups", json!(DEV.groups)),
        ("source_ips", json!([DEV.address])),
        ("user_agent", json!(AGENT)),
        ("via", json!("exec")),
        ("evidence", json!("unique")),
        ("namespace", json!("shop")),
        ("pod", json!("web-0")),
        ("container", json!("web")),
        ("node", json!("node-1")),
        ("terminal", json!(true)),
        ("pid", written["output_fields"]["proc.pid"].clone()),
    ] {
        assert_eq!(session[name], want, "{name}: {session:#}");
    }
    assert_eq!(session["processes"][0]["command"], argv.join(" "), "{session:#}");
    assert_eq!(session["alerts"][0]["uuid"], written["uuid"], "{session:#}");
    // Whoever follows sees what there is, and then what comes.
    let mut following = node.sessions(&["--follow"]);
    let mut following = Entered(following.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(following.0.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let next = || -> Value { serde_json::from_str(&told.recv_timeout(PATIENCE).unwrap()).unwrap() };
    assert!(is_dev(&next()));
    let argv = ["sh", "-c", "echo > /etc/two; read x < /tmp/ops"];
    let (asked, _ops) = node.ask(&web, &OPS, &argv, true);
    node.post(&asked.opened());
    let began = Instant::now();
    while next()["user"] != OPS.name {
        assert!(began.elapsed() < PATIENCE, "{} is not listed", OPS.name);
    }
}
