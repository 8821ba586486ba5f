//! What the probe costs a workload: the loops of `bench/micro.c` in ../shared with nothing attached, with our rules, and
//! with upstream's stable rules, in turns within one run. Needs root, type information of the kernel, a C compiler and
//! ../shared; says so otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use nix::sys::resource::{UsageWho, getrusage};
use saker::alert::Alert;
use saker::app::host;
use saker::config::SyscallConfig;
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Source;
use saker::processes::Counts;
use saker::rulefiles;
use saker::sources::syscall::probe::{Probe, Setup};
use saker::sources::syscall::reader::{Reader, Sink};

const ROUNDS: usize = 7;
/// Loop, its iterations, and what an iteration is.
const LOOPS: [(&str, u64); 4] = [
    ("getpid", 2_000_000),
    ("readzero", 1_000_000),
    ("openclose", 300_000),
    ("forkexec", 300),
];

#[derive(Default)]
struct Totals {
    events: AtomicU64,
    alerts: AtomicU64,
    lost: AtomicU64,
}

struct Tally(Arc<Totals>);

impl Sink for Tally {
    fn alert(&mut self, _: Alert) {
        self.0.alerts.fetch_add(1, Ordering::Relaxed);
    }
    fn events(&mut self, good: u64, _: u64) {
        self.0.events.fetch_add(good, Ordering::Relaxed);
    }
    fn lost(&mut self, lost: [u64; 4]) {
        self.0.lost.fetch_add(lost.iter().sum(), Ordering::Relaxed);
    }
    fn counts(&mut self, _: Counts) {}
}

fn rules(files: Vec<RuleFile>) -> RuleSet {
    let options = Options {
        sources: vec![Source::Syscall],
        ..Options::default()
    };
    let loaded = load(files, &options).expect("no fields of one's own");
    loaded.rules.expect("the rules load")
}

/// CPU seconds of this process so far.
fn own_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// CPU nanoseconds for one iteration.
fn micro(program: &Path, what: &str, times: u64) -> f64 {
    let output = Command::new(program)
        .args([what, &times.to_string()])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, ns) = text.split_once("cpu_ns=").expect("its result");
    ns.trim().parse().expect("a number")
}

struct Set {
    name: &'static str,
    rules: Option<Arc<ArcSwap<RuleSet>>>,
    totals: Arc<Totals>,
    /// The least of all rounds, loop by loop.
    best: [f64; LOOPS.len()],
    /// Our own CPU seconds for a million opens.
    own: f64,
}

impl Set {
    fn new(name: &'static str, rules: Option<RuleSet>) -> Set {
        Set {
            name,
            rules: rules.map(|rules| Arc::new(ArcSwap::from_pointee(rules))),
            totals: Arc::default(),
            best: [f64::INFINITY; LOOPS.len()],
            own: f64::INFINITY,
        }
    }

    fn round(&mut self, program: &Path) {
        let reader = self.rules.as_ref().map(|rules| {
            let probe = Probe::load(Setup::of(&Default::default())).expect("the probe loads");
            let sink = Tally(Arc::clone(&self.totals));
            let reader = Reader::new(
                probe,
                Arc::clone(rules),
                Arc::new(host()),
                &SyscallConfig::default(),
                &saker::config::AttributionConfig::default(),
                sink,
            );
            reader.expect("the probe attaches")
        });
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = reader.map(|reader| std::thread::spawn(move || drop(reader.run(&told))));
        for (best, (what, times)) in self.best.iter_mut().zip(LOOPS) {
            let before = own_seconds();
            *best = best.min(micro(program, what, times));
            if what == "openclose" {
                self.own = self.own.min((own_seconds() - before) * 1e6 / times as f64);
            }
        }
        stop.store(true, Ordering::Relaxed);
        if let Some(thread) = thread {
            thread.join().expect("the reader ends");
        }
    }
}

fn main() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let source = shared.join("bench/micro.c");
    if !nix::unistd::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() || !source.exists() {
        println!("SKIPPED: needs root, /sys/kernel/btf/vmlinux, and {}", source.display());
        return;
    }
    let program: PathBuf = std::env::temp_dir().join(format!("saker-micro-{}", std::process::id()));
    let built = Command::new("cc")
        .arg("-O2")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed");
    let stable = shared.join("upstream_rules/falco_rules.yaml");
    let failed = RuleFile {
        name: "failed.yaml".to_owned(),
        text:
            "- {rule: failed, desc: d, condition: evt.type = openat and evt.failed = true, output: o, priority: INFO}"
                .to_owned(),
    };
    let mut sets = [
        Set::new("nothing", None),
        Set::new("process events only", Some(RuleSet::default())),
        // The floor: a tracepoint on opens whose program drops them by their result.
        Set::new("failed opens only", Some(rules(vec![failed]))),
        Set::new("built-in rules", Some(rules(rulefiles::builtin().collect()))),
        Set::new(
            "upstream's stable rules",
            Some(rules(rulefiles::read(&[stable]).expect("upstream's rules"))),
        ),
    ];
    for _ in 0..ROUNDS {
        sets.iter_mut().for_each(|set| set.round(&program));
    }
    let _ = std::fs::remove_file(&program);
    println!("CPU ns for one iteration, the least of {ROUNDS} rounds in turns, and the ratio to nothing attached");
    let base = sets[0].best;
    for set in &sets {
        print!("{:24}", set.name);
        for ((what, _), (best, base)) in LOOPS.iter().zip(set.best.iter().zip(base)) {
            print!("  {what} {best:8.0} ({:.2})", best / base);
        }
        let total = |n: &AtomicU64| n.load(Ordering::Relaxed);
        println!(
            "  own {:.3} CPU s per million opens, {} events, {} alerts, {} lost",
            set.own,
            total(&set.totals.events),
            total(&set.totals.alerts),
            total(&set.totals.lost)
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    memory.for_each(|line| println!("{line}"));
}
