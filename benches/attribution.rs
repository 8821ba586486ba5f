//! What attribution costs with many open sessions, as ratios to no sessions or no attribution in the same run:
//! `cargo bench --bench attribution`.
//!
//! With the argument `live` (`cargo bench --bench attribution -- live`, as root): how long it takes from an audit event's
//! arrival to the alert that names the user, with the real binary, probe, and a container of runc.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use saker::bus::{Full, Kind as MessageKind, Message, Publish, Publisher};
use saker::config::{AttributionConfig, DeadLetterConfig};
use saker::correlate::fact::RequestId;
use saker::correlate::{Correlator, Entry, Fact, Person, PodName, ProcessId, Root, Settings, Stage, Target, Via};
use saker::engine::{Options, RuleSet, load};
use saker::event::syscall::{Header, Kind, PARTS, Part, ProcessInfo, encode};
use saker::fields::evt::Host;
use saker::metrics::Metrics;
use saker::outputs::{OutputCounters, Outputs};
use saker::processes::{Container, Fact as Told, Limits, Pod, Snapshot};
use saker::rulefiles;
use saker::sources::audit::files::Chunk;
use saker::sources::audit::pipeline::{AuditPipeline, DeadLetter};
use saker::sources::syscall::judge::Judge;
use zerocopy::IntoBytes;

// Of the tests: what is not needed here is there.
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/server/client.rs"]
mod client;
#[path = "../tests/bus/container.rs"]
mod container;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/server/harness.rs"]
mod harness;
#[path = "attribution/live.rs"]
mod live;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/server/material.rs"]
mod material;

const SECOND: u64 = 1_000_000_000;
/// Any time.
const BOOT: u64 = 1_700_000_000 * SECOND;
const SESSIONS: usize = 10_000;
const PROCESSES: usize = 100_000;
/// Facts and events that are timed.
const TIMES: usize = 2_000;
const ROUNDS: usize = 7;

fn main() {
    if std::env::args().any(|argument| argument == "live") {
        return live::run();
    }
    correlator();
    node();
    pipeline();
}

/// Nanoseconds for each of `times`.
fn each(times: usize, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / times as f64
}

/// Resident memory of this process, in MiB (/proc/self/statm, second field, in pages).
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) as f64 / 256.0
}

fn pod(n: usize) -> PodName {
    PodName {
        namespace: "prod".into(),
        name: format!("web-{n:05}").into(),
    }
}

fn person(n: usize) -> Person {
    Person {
        user: format!("user-{n}@example.com").into(),
        groups: vec!["dev".into(), "system:authenticated".into()],
        impersonator: None,
    }
}

fn argv(n: usize) -> Vec<Box<str>> {
    vec!["sh".into(), "-c".into(), format!("echo {n}").into()]
}

fn root(n: usize, pods: usize, at: u64) -> Fact {
    Fact::Root(Box::new(Root {
        id: ProcessId {
            node: Arc::from("node-1"),
            pid: n as u32,
            start: at,
        },
        pod: pod(n % pods),
        uid: None,
        container: Some("app".into()),
        argv: Some(argv(n)),
        cut: false,
        tty: false,
        at,
        first: false,
        keys: Vec::new(),
    }))
}

fn entry(n: usize, pods: usize, at: u64) -> Fact {
    Fact::Entry(Box::new(Entry {
        id: RequestId(n as u128),
        audit_id: format!("audit-{n}").into(),
        stage: Stage::ResponseStarted,
        received: at - SECOND / 20,
        at: at - SECOND / 25,
        target: Target {
            via: Via::Exec,
            pod: pod(n % pods),
            container: Some("app".into()),
            argv: argv(n),
            tty: false,
        },
        person: person(n),
        source_ips: vec!["192.0.2.7".into()],
        user_agent: Some("kubectl/v1.33.1".into()),
        code: Some(101),
        reviews: Vec::new(),
        uid: None,
    }))
}

/// Costs of the correlator alone, in nanoseconds.
struct Costs {
    root: f64,
    entry: f64,
    tick: f64,
    slowest: f64,
    memory: f64,
}

/// With so many open sessions in so many pods, all of them recent enough to be decided still.
fn costs(sessions: usize, pods: usize, settings: Settings) -> Costs {
    let before = resident();
    let mut correlator = Correlator::new(settings);
    let mut changes = Vec::new();
    let mut now = BOOT;
    correlator.take(Fact::Bus(Some(now)), now, &mut changes);
    let step = 150 * SECOND / SESSIONS as u64;
    for n in 0..sessions {
        now += step;
        correlator.take(root(n, pods, now), now, &mut changes);
        correlator.take(entry(n, pods, now), now + SECOND, &mut changes);
        changes.clear();
    }
    now = BOOT + 152 * SECOND;
    correlator.tick(now, &mut changes);
    let memory = resident() - before;
    let facts = |make: &dyn Fn(usize, usize, u64) -> Fact| -> Vec<Fact> {
        (0..TIMES)
            .map(|n| make(sessions + n * 7, pods, BOOT + 152 * SECOND))
            .collect()
    };
    let (roots, entries) = (facts(&root), facts(&entry));
    let root = each(TIMES, || {
        roots
            .into_iter()
            .for_each(|fact| correlator.take(fact, now, &mut changes));
    });
    let entry = each(TIMES, || {
        let later = now + SECOND;
        entries
            .into_iter()
            .for_each(|fact| correlator.take(fact, later, &mut changes));
    });
    changes.clear();
    // As the reader lets time pass: ten times a second.
    let (mut all, mut slowest) = (0.0, 0.0f64);
    for n in 0..600 {
        let tick = each(1, || correlator.tick(now + n * SECOND / 10, &mut changes));
        all += tick / 600.0;
        slowest = slowest.max(tick);
    }
    black_box(&changes);
    Costs {
        root,
        entry,
        tick: all,
        slowest,
        memory,
    }
}

fn correlator() {
    let wide = Settings {
        pods: 2 * SESSIONS,
        ..Settings::default()
    };
    println!("correlator, {SESSIONS} open sessions; in brackets the ratio to none");
    println!(
        "| sessions | exec root µs | audit entry µs | tick µs | slowest tick ms | memory MiB |\n|---|---|---|---|---|---|"
    );
    let cases = [
        ("none", 0, TIMES, wide),
        ("each in a pod of its own", SESSIONS, SESSIONS, wide),
        ("in 200 pods", SESSIONS, 200, wide),
        (
            "each in a pod of its own, room for 4,096",
            SESSIONS,
            SESSIONS,
            Settings::default(),
        ),
    ];
    let mut base = None;
    for (name, sessions, pods, settings) in cases {
        let costs = costs(sessions, pods, settings);
        let (root, entry) = *base.get_or_insert((costs.root, costs.entry));
        println!(
            "| {name} | {:.2} ({:.1}) | {:.2} ({:.1}) | {:.1} | {:.2} | {:.1} |",
            costs.root / 1e3,
            costs.root / root,
            costs.entry / 1e3,
            costs.entry / entry,
            costs.tick / 1e3,
            costs.slowest / 1e6,
            costs.memory,
        );
    }
}

/// Where processes are: one cgroup of the host, and one of each pod.
const HOST: u64 = 1;
const PODS: usize = 200;

fn cgroup(pod: usize) -> u64 {
    100 + pod as u64
}

/// Start of a process, nanoseconds since boot; never a whole tick, as the kernel tells it.
fn start(pid: u32) -> u64 {
    100 * SECOND + u64::from(pid) * 1_000_000 + 1
}

fn record(kind: Kind, pid: u32, cgroup: u64, time: u64, info: Option<&ProcessInfo>, argv: &[u8], out: &mut Vec<u8>) {
    let head = Header {
        kind: kind as u16,
        pid,
        tid: pid,
        start: start(pid),
        cgroup,
        time,
        ..Header::default()
    };
    let mut parts: [&[u8]; PARTS] = [b""; PARTS];
    if let Some(info) = info {
        parts[Part::Object as usize] = info.as_bytes();
    }
    if kind == Kind::Exec {
        parts[Part::Base1 as usize] = b"/bin/sh";
        parts[Part::Base2 as usize] = b"/";
        parts[Part::Data as usize] = argv;
    }
    encode(head, parts, out);
}

/// A process that `parent` starts, and what it executes in a pod.
fn born(parent: u32, parent_cgroup: u64, pid: u32, pod: usize, argv: &[u8], out: &mut Vec<u8>) {
    let info = ProcessInfo {
        pid,
        start: start(pid),
        ppid: parent,
        parent_start: start(parent),
        parent_cgroup,
        vpid: pid,
        level: 1,
        parent_level: u32::from(parent_cgroup != HOST),
        pidns: 1_000 + pod as u32,
        pidns_start: start(10 + pod as u32),
        ..ProcessInfo::default()
    };
    record(Kind::Fork, parent, parent_cgroup, start(pid), Some(&info), b"", out);
    record(Kind::Exec, pid, cgroup(pod), start(pid) + 1_000, Some(&info), argv, out);
}

fn play(judge: &mut Judge, rules: &RuleSet, mut records: &[u8]) {
    while !records.is_empty() {
        let size = u32::from_ne_bytes([records[0], records[1], records[2], records[3]]) as usize;
        let (bytes, rest) = records.split_at(size);
        records = rest;
        let (record, _) = judge.take(bytes).expect("a record");
        black_box(judge.judge(rules, record, |_, _, _| {}).root);
        judge.settle(&record);
    }
}

/// First process of the exec roots.
const ROOTS: u32 = 1_000;
/// Then come those that stem from none.
const OTHERS: u32 = ROOTS + SESSIONS as u32;

/// A node with containers, processes, and sessions if there are to be any.
fn judge(enabled: bool, sessions: usize, rules: &RuleSet) -> Judge {
    let limits = Limits {
        processes: 2 * PROCESSES,
        containers: 4_096,
    };
    let attribution = AttributionConfig {
        enabled,
        ..AttributionConfig::default()
    };
    let mut judge = Judge::new(limits, Arc::new(host()), BOOT, &attribution);
    judge.attribution.up(Some(BOOT), BOOT);
    let told = |pid: u32, cgroup: u64, path: String, info: ProcessInfo| {
        Told::Process(Snapshot {
            info: ProcessInfo {
                pid,
                start: start(pid),
                ..info
            },
            exe: (*b"/bin/app").into(),
            argv: (*b"app\0").into(),
            cwd: (*b"/").into(),
            cgroup,
            cgroup_path: path.into_bytes().into(),
            ..Snapshot::default()
        })
    };
    judge.tell(&told(2, HOST, "/init.scope".to_owned(), ProcessInfo::default()));
    for n in 0..PODS {
        let id = format!("{n:064x}");
        let first = ProcessInfo {
            vpid: 1,
            level: 1,
            pidns: 1_000 + n as u32,
            pidns_start: start(10 + n as u32),
            parent_cgroup: HOST,
            ..ProcessInfo::default()
        };
        judge.tell(&told(10 + n as u32, cgroup(n), format!("/kubepods/pod{n}/{id}"), first));
        let PodName { namespace, name } = pod(n);
        judge.tell(&Told::Container {
            cgroup: cgroup(n),
            container: Container {
                id: id.into(),
                name: Some("app".into()),
                pod: Some(Pod {
                    name,
                    namespace,
                    ..Pod::default()
                }),
                ..Container::default()
            },
        });
    }
    let mut records = Vec::new();
    for n in 0..SESSIONS {
        let argv = format!("sh\0-c\0echo {n}\0");
        born(2, HOST, ROOTS + n as u32, n % PODS, argv.as_bytes(), &mut records);
    }
    for n in 0..PROCESSES - SESSIONS {
        let pod = n % PODS;
        born(
            10 + pod as u32,
            cgroup(pod),
            OTHERS + n as u32,
            pod,
            b"sh\0-c\0work\0",
            &mut records,
        );
    }
    play(&mut judge, rules, &records);
    for n in 0..sessions {
        let began = BOOT + start(ROOTS + n as u32);
        judge.hear(&message(n, began), BOOT + start(OTHERS));
    }
    judge.attribution.changed();
    judge
}

fn message(n: usize, began: u64) -> Message {
    let stamp = |time: u64| jiff::Timestamp::from_nanosecond(i128::from(time)).expect("a time");
    let PodName { name, .. } = pod(n % PODS);
    let command = format!("echo {n}");
    let user = format!("user-{n}@example.com");
    let received = stamp(began - SECOND / 20);
    let event = container::audit_event(
        &format!("audit-{n}"),
        "ResponseStarted",
        &user,
        &name,
        &["sh", "-c", &command.replace(' ', "%20")],
        received,
    );
    Message {
        kind: MessageKind::Audit,
        cluster: None,
        pod: None,
        id: Box::default(),
        at: began,
        body: event.to_string().into_bytes().into(),
    }
}

/// What happens on a node: processes begin and end, and audit events come.
fn node() {
    let rules = RuleSet::default();
    let before = resident();
    let mut off = judge(false, 0, &rules);
    let middle = resident();
    let mut on = judge(true, SESSIONS, &rules);
    let after = resident();
    let attributed = on
        .attribution
        .trees()
        .iter()
        .filter_map(|tree| on.attribution.who(tree))
        .count();
    let named = (on.attribution.trees().iter())
        .filter_map(|tree| on.attribution.who(tree)?.actor.as_ref()?.person.as_ref())
        .count();
    println!(
        "\nnode, {} processes, {attributed} exec roots, {named} named; memory {:.0} MiB without attribution, {:.0} MiB more with it",
        on.processes.counts().processes,
        middle - before,
        (after - middle) - (middle - before),
    );
    println!("| event | no attribution ns | × |\n|---|---|---|");
    // Who forks, its cgroup being that of a pod, and whoever is forked executes something and ends.
    let lives = |parent: &dyn Fn(u32) -> u32, offset: u32| {
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for n in 0..TIMES as u32 {
            let (pod, pid) = (n as usize % PODS, 500_000 + offset + n);
            born(parent(n), cgroup(pod), pid, pod, b"sh\0-c\0more\0", &mut begin);
            record(Kind::Exit, pid, cgroup(pod), start(pid) + 2_000, None, b"", &mut end);
        }
        (begin, end)
    };
    let plain = lives(&|n| 10 + n % PODS as u32, 0);
    let session = lives(&|n| ROOTS + n, 100_000);
    for (name, (begin, end)) in [("without an exec root", &plain), ("of a session", &session)] {
        // Fork and execve, then exit: of off and on, the least of all rounds.
        let mut best = [[f64::MAX; 2]; 2];
        for _ in 0..ROUNDS {
            for (judge, best) in [&mut off, &mut on].into_iter().zip(&mut best) {
                best[0] = best[0].min(each(2 * TIMES, || play(judge, &rules, begin)));
                best[1] = best[1].min(each(TIMES, || play(judge, &rules, end)));
            }
        }
        for (what, n) in [("fork and execve", 0), ("exit", 1)] {
            println!("| {what} {name} | {:.0} | {:.2} |", best[0][n], best[1][n] / best[0][n]);
        }
    }
    let now = BOOT + start(OTHERS) + SECOND;
    let messages: Vec<Message> = (0..TIMES).map(|n| message(SESSIONS + n, now)).collect();
    let mut empty = judge_without_sessions();
    let mut heard =
        [&mut empty, &mut on].map(|judge| each(TIMES, || messages.iter().for_each(|message| judge.hear(message, now))));
    heard[1] /= heard[0];
    println!(
        "| audit message heard, no sessions | {:.0} | {:.2} |",
        heard[0], heard[1]
    );
    let (mut all, mut slowest) = (0.0, 0.0f64);
    for n in 0..600 {
        let tick = each(1, || on.attribution.pass(now + n * SECOND / 10));
        all += tick / 600.0;
        slowest = slowest.max(tick);
    }
    println!(
        "a tick with all sessions: {:.1} µs, the slowest of 600 {:.2} ms",
        all / 1e3,
        slowest / 1e6
    );
}

fn judge_without_sessions() -> Judge {
    Judge::new(Limits::default(), Arc::new(host()), BOOT, &AttributionConfig::default())
}

fn host() -> Host {
    Host {
        name: "bench".into(),
        zone: jiff::tz::TimeZone::UTC,
    }
}

/// Takes everything, and counts.
#[derive(Debug, Default)]
struct Nowhere(AtomicU64);

impl Publish for Nowhere {
    fn publish(&self, message: Message) -> Result<(), Full> {
        black_box(message);
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What looking for events that lead into pods costs the audit source.
fn pipeline() {
    let Some(corpus) = corpus() else {
        println!("\nSKIPPED: no corpus for the audit source; name a file of audit events in SAKER_BENCH_CORPUS");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let builtin = load(rulefiles::builtin().collect(), &Options::default()).expect("fields");
    let file = serde_json::json!({"kind": "file", "path": "/dev/null"});
    let outputs = [serde_json::from_value(file).expect("an output")];
    println!("\naudit source, ns for each event, and the ratio of a bus that takes messages to none");
    println!("| rules | no bus ns | × |\n|---|---|---|");
    for (name, rules) in [
        ("none", RuleSet::default()),
        ("built-in", builtin.rules.expect("rules")),
    ] {
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let nowhere = Arc::new(Nowhere::default());
        let make = |publisher| {
            let counters = Arc::new(OutputCounters::default());
            AuditPipeline::new(
                Arc::clone(&rules),
                Outputs::start(&outputs, counters).expect("no outputs"),
                Arc::new(Metrics::new()),
                Arc::new(host()),
                DeadLetter::open(&DeadLetterConfig::default()).expect("no file"),
                publisher,
                Arc::default(),
            )
        };
        let all = [
            make(Publisher::default()),
            make(Publisher::new(Arc::clone(&nowhere) as Arc<dyn Publish>)),
        ];
        let events = corpus.iter().filter(|byte| **byte == b'\n').count();
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (pipeline, best) in all.iter().zip(&mut best) {
                let once = each(events, || {
                    for bytes in pieces(&corpus) {
                        let chunk = Chunk {
                            bytes,
                            broken: false,
                            oversized: 0,
                            skipped: 0,
                        };
                        pipeline.chunk(chunk, None).expect("nothing is busy");
                    }
                });
                *best = best.min(once);
            }
        }
        let sent = nowhere.0.load(Ordering::Relaxed) / ROUNDS as u64;
        println!(
            "| {name} | {:.0} | {:.3} | ({sent} of {events} events sent)",
            best[0],
            best[1] / best[0]
        );
    }
}

/// Pieces of whole lines, as a file is read.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = rest.len().min(256 << 10);
        let cut = rest[..end]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(rest.len(), |n| n + 1);
        let (piece, left) = rest.split_at(cut);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

fn corpus() -> Option<Vec<u8>> {
    if let Ok(path) = std::env::var("SAKER_BENCH_CORPUS") {
        return Some(std::fs::read(path).expect("SAKER_BENCH_CORPUS"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bench/gen_corpus.py");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus-20000.jsonl");
    if !path.exists() {
        let made = Command::new("python3").arg(script).arg("20000").arg(&path).status();
        made.ok().filter(|status| status.success())?;
    }
    std::fs::read(path).ok()
}

/// Percentiles for people.
pub fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |part: usize| all[(all.len() * part / 100).min(all.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms", at(50), at(99), at(100))
}
