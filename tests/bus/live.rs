//! The real binary as webhook replicas and agents with a real nats-server between them, and a real container.
//!
//! Both agents watch the one kernel that there is: each is told of every process, as if the pod were on its node. What is
//! shown is that each gets all that it needs from the stream; that it takes only what is its own is for tests of the
//! correlator.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use saker::bus::Kind;
use saker::bus::nats::inbox;
use saker::config::{BusConfig, BusKind};
use serde_json::Value;

use crate::container::{Container, audit_event, missing};
use crate::harness::{Server, wait_for};
use crate::material::{certificates, list, skipped};
use crate::server::{Server as Nats, binaries};
use crate::{LONG, next};

const POD: &str = "web-1";

const RULES: &str = "\
- rule: Session
  desc: whatever becomes of a session
  condition: actor.state exists
  output: '%actor.state %actor.user %actor.evidence %actor.session %proc.pid %proc.cmdline %ka.auditid %k8s.pod.name'
  priority: INFO
  source: k8s_exec
- rule: Exec
  desc: somebody runs a command in a container
  condition: ka.verb = get and ka.target.subresource = exec
  output: '%ka.auditid'
  priority: INFO
  source: k8s_audit
";

/// What runs, by its directory.
struct Place(tempfile::TempDir);

impl Place {
    fn new(nats: &Nats, more: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        certificates(&dir.path().join("certs"));
        std::fs::write(dir.path().join("rules.yaml"), RULES).unwrap();
        let yaml = format!(
            "rules: {{builtin: false, files: [rules.yaml]}}\n\
             bus: {{kind: nats, servers: [{:?}]}}\n\
             outputs: [{{kind: file, path: alerts.jsonl}}]\n{more}\n",
            nats.address()
        );
        std::fs::write(dir.path().join("saker.yaml"), yaml).unwrap();
        Place(dir)
    }

    fn webhook(nats: &Nats) -> Place {
        Place::new(nats, "webhook: {tls: {cert: certs/server.crt, key: certs/server.key}}")
    }

    fn agent(nats: &Nats, node: &str) -> Place {
        // What outlives its session is told of after skew and grace.
        let attribution = format!("{{node: {node}, skew: 1s, grace: 1s, patience: 8s, socket: sessions.sock}}");
        Place::new(nats, &format!("attribution: {attribution}"))
    }

    fn start(&self, source: &str) -> Server {
        let arguments = ["-c", "saker.yaml", "--sources", source];
        let mut server = Server::spawn(self.path(), &arguments, Stdio::null(), Stdio::null());
        server.wait_until_ready();
        server
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Posts stages of an exec, as an API server does.
fn post(webhook: &Server, stages: &[&str], id: &str, user: &str, command: &[&str], received: Timestamp) {
    let events = stages
        .iter()
        .map(|stage| audit_event(id, stage, user, POD, command, received));
    let answer = webhook.client().post(&list(events));
    assert_eq!(answer.accepted()[0], stages.len() as u64);
}

/// What an agent has told of sessions: the fields of its alerts with this text in this field.
fn told(agent: &Server, field: &str, text: &str) -> Vec<Value> {
    let fields = agent
        .alerts()
        .into_iter()
        .map(|mut alert| alert["output_fields"].take());
    fields.filter(|fields| fields[field] == text).collect()
}

/// Waits until an agent has told that a command is in a state, at least so many times; gives the last.
#[track_caller]
fn wait_for_state(agent: &Server, command: &str, state: &str, times: usize) -> Value {
    wait_for(&format!("{command} to be {state}"), || {
        let mut all = told(agent, "proc.cmdline", command);
        all.retain(|fields| fields["actor.state"] == state);
        (all.len() >= times).then(|| all.pop()).flatten()
    })
}

#[track_caller]
fn attributed(agent: &Server, command: &str, user: &str, id: &str, times: usize) {
    let fields = wait_for_state(agent, command, "attributed", times);
    let found = [
        "actor.user",
        "actor.evidence",
        "actor.session",
        "ka.auditid",
        "k8s.pod.name",
    ]
    .map(|name| &fields[name]);
    assert_eq!(found, [user, "unique", id, id, POD], "{command}");
}

fn connected(webhook: &Server) {
    wait_for("no note on NATS", || {
        let ready = webhook.get("/readyz").unwrap();
        (!ready.body.contains("NATS")).then_some(())
    });
}

/// Further apart than the clocks may be: an agent that starts later does not know for certain with which command an exec
/// began, so that time alone tells them apart then.
const APART: Duration = Duration::from_millis(3_500);

const BEGIN: [&str; 2] = ["RequestReceived", "ResponseStarted"];

// What runs in the container ends with it.
#[allow(clippy::zombie_processes)]
#[test]
fn execs_are_attributed_over_a_bus_that_breaks() {
    if let Some(what) = missing() {
        return skipped(&what);
    }
    for binary in binaries() {
        let mut nats = Nats::run(&binary, "");
        let (first, second) = (Place::webhook(&nats), Place::webhook(&nats));
        let (one, two) = (Place::agent(&nats, "node-1"), Place::agent(&nats, "node-2"));
        let webhook = first.start("k8s_audit");
        let mut agents = [one.start("syscall"), two.start("syscall")];
        let container = Container::start(POD);

        // Stays open until the end.
        let opened = Timestamp::now();
        let _shell = container.exec(&["/bin/sleep", "301"]);
        post(
            &webhook,
            &BEGIN,
            "a-1",
            "ann@example.com",
            &["/bin/sleep", "301"],
            opened,
        );
        std::thread::sleep(APART);
        // Is over before an agent starts again.
        let short_opened = Timestamp::now();
        let mut short = container.exec(&["/bin/sleep", "1"]);
        post(
            &webhook,
            &BEGIN,
            "b-1",
            "bob@example.com",
            &["/bin/sleep", "1"],
            short_opened,
        );
        for agent in &agents {
            attributed(agent, "sleep 301", "ann@example.com", "a-1", 1);
            attributed(agent, "sleep 1", "bob@example.com", "b-1", 1);
        }
        assert!(short.wait().unwrap().success());

        // The server is killed: what is posted meanwhile is evaluated, and arrives when it is back.
        nats.kill();
        let note = wait_for("the note in the readiness", || {
            let ready = webhook.get("/readyz").unwrap();
            assert_eq!(ready.code, 200, "{}", ready.body);
            ready.body.contains("not connected to NATS").then_some(ready.body)
        });
        assert!(note.contains("bus"), "{note}");
        std::thread::sleep(APART);
        let opened = Timestamp::now();
        let _meanwhile = container.exec(&["/bin/sleep", "302"]);
        post(
            &webhook,
            &BEGIN,
            "c-1",
            "cid@example.com",
            &["/bin/sleep", "302"],
            opened,
        );
        wait_for("the webhook's own alert", || {
            (!told(&webhook, "ka.auditid", "c-1").is_empty()).then_some(())
        });
        std::thread::sleep(Duration::from_secs(1));
        assert!(
            agents
                .iter()
                .all(|agent| told(agent, "actor.session", "c-1").is_empty())
        );
        nats.start();
        for agent in &agents {
            attributed(agent, "sleep 302", "cid@example.com", "c-1", 1);
        }
        connected(&webhook);

        // A replica is killed between two stages of a request; the other posts the rest. The process runs on.
        std::thread::sleep(APART);
        let opened = Timestamp::now();
        let _left = container.exec(&["/bin/sleep", "303"]);
        post(
            &webhook,
            &BEGIN,
            "d-1",
            "dan@example.com",
            &["/bin/sleep", "303"],
            opened,
        );
        for agent in &agents {
            attributed(agent, "sleep 303", "dan@example.com", "d-1", 1);
        }
        webhook.signal(Signal::SIGKILL);
        drop(webhook);
        let webhook = second.start("k8s_audit");
        post(
            &webhook,
            &["ResponseComplete"],
            "d-1",
            "dan@example.com",
            &["/bin/sleep", "303"],
            opened,
        );
        for agent in &agents {
            let fields = wait_for_state(agent, "sleep 303", "outlived", 1);
            assert_eq!(fields["actor.user"], "dan@example.com");
            assert_eq!(fields["actor.session"], "d-1");
        }

        // An agent is killed and starts again: the stream tells it whose the open shell is.
        agents[0].signal(Signal::SIGKILL);
        agents[0] = one.start("syscall");
        attributed(&agents[0], "sleep 301", "ann@example.com", "a-1", 2);
        attributed(&agents[0], "sleep 302", "cid@example.com", "c-1", 2);
        // It was not there when the short one ran, which is no reason to say that it has started nothing. Patience is
        // over for all that was posted.
        std::thread::sleep(Duration::from_secs(9));
        for agent in &agents {
            let empty = told(agent, "actor.state", "empty");
            assert!(empty.is_empty(), "{empty:?}");
        }
        // And what comes from now on is as good as ever.
        let opened = Timestamp::now();
        let _last = container.exec(&["/bin/sleep", "304"]);
        post(
            &webhook,
            &BEGIN,
            "e-1",
            "eve@example.com",
            &["/bin/sleep", "304"],
            opened,
        );
        for agent in &agents {
            attributed(agent, "sleep 304", "eve@example.com", "e-1", 1);
        }
    }
}

/// What the API server was told is taken is not in the memory of one replica alone.
#[test]
fn an_answer_waits_for_the_bus() {
    for binary in binaries() {
        let nats = Nats::run(&binary, "");
        let place = Place::webhook(&nats);
        let webhook = place.start("k8s_audit");
        connected(&webhook);
        let post = |id: &str| {
            let opened = Timestamp::now();
            post(&webhook, &BEGIN, id, "ann@example.com", &["/bin/sleep", "1"], opened);
        };
        post("a-1");

        nats.pause(true);
        std::thread::scope(|scope| {
            let answered = scope.spawn(|| post("b-1"));
            std::thread::sleep(Duration::from_millis(400));
            assert!(!answered.is_finished(), "answered before the stream has it");
            nats.pause(false);
        });
        webhook.signal(Signal::SIGKILL);

        let config = BusConfig {
            kind: BusKind::Nats,
            servers: vec![nats.address()],
            ..BusConfig::default()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let mut node = inbox(&config, None, "node-1").unwrap();
        let came = std::iter::from_fn(|| next(&mut node, LONG)).filter(|message| message.kind == Kind::Audit);
        let ids: Vec<Value> = came
            .take(2 * BEGIN.len())
            .map(|message| serde_json::from_slice::<Value>(&message.body).unwrap()["auditID"].take())
            .collect();
        assert_eq!(ids, ["a-1", "a-1", "b-1", "b-1"]);
    }
}

/// A bus that is away holds nobody up: what waits for it is in memory, which readiness says.
#[test]
fn a_bus_that_does_not_answer_holds_an_answer_up_for_a_second() {
    let Some(binary) = binaries().into_iter().next() else {
        return;
    };
    let nats = Nats::run(&binary, "");
    let place = Place::webhook(&nats);
    let webhook = place.start("k8s_audit");
    connected(&webhook);
    nats.pause(true);
    let began = std::time::Instant::now();
    post(
        &webhook,
        &BEGIN,
        "a-1",
        "ann@example.com",
        &["/bin/sleep", "1"],
        Timestamp::now(),
    );
    let took = began.elapsed();
    nats.pause(false);
    assert!((900..4_000).contains(&took.as_millis()), "{took:?}");
}
