//! The library as it runs in a server: probe and reader, with a sink that keeps what it is given.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use saker::alert::Alert;
use saker::config::{AttributionConfig, SyscallConfig};
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Source;
use saker::fields::evt::Host;
use saker::processes::Counts;
use saker::sources::syscall::judge::Judge;
use saker::sources::syscall::probe::{Probe, Setup};
use saker::sources::syscall::reader::{Reader, Sink};
use saker::sources::syscall::recording::{self, Said};
use serde_json::Value;

/// Longer than anything here takes, so that a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One test at a time: what one does would be events of the others.
static TURN: Mutex<()> = Mutex::new(());

/// The right to run, or nothing, said loudly, where the kernel cannot be asked.
pub fn turn() -> Option<MutexGuard<'static, ()>> {
    let root = nix::unistd::geteuid().is_root();
    let types = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    if !root || !types {
        eprintln!("SKIPPED: tests of the probe take root (here: {root}) and /sys/kernel/btf/vmlinux (here: {types})");
        return None;
    }
    // A test that has failed says so itself.
    Some(TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// What the sink was given.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub alerts: Vec<Value>,
    pub events: u64,
    pub bad: u64,
    pub lost: [u64; 4],
    pub counts: Counts,
    /// Most processes that the table ever had.
    pub most: usize,
}

impl Seen {
    /// The alerts of a rule.
    pub fn of<'s>(&'s self, rule: &'s str) -> impl DoubleEndedIterator<Item = &'s Value> {
        self.alerts.iter().filter(move |alert| alert["rule"] == rule)
    }
}

/// A field of an alert as text; `-` when it is absent.
pub fn field(alert: &Value, name: &str) -> String {
    match &alert["output_fields"][name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Clone, Default)]
struct Keep {
    seen: Arc<Mutex<Seen>>,
    /// While true an alert waits, as with outputs that are full.
    hold: Arc<AtomicBool>,
}

impl Sink for Keep {
    fn alert(&mut self, alert: Alert) {
        while self.hold.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let json = serde_json::from_str(&alert.json).expect("an alert is JSON");
        self.seen.lock().unwrap().alerts.push(json);
    }

    fn events(&mut self, good: u64, bad: u64) {
        let mut seen = self.seen.lock().unwrap();
        seen.events += good;
        seen.bad += bad;
    }

    fn lost(&mut self, lost: [u64; 4]) {
        let mut seen = self.seen.lock().unwrap();
        seen.lost.iter_mut().zip(lost).for_each(|(all, new)| *all += new);
    }

    fn counts(&mut self, counts: Counts) {
        let mut seen = self.seen.lock().unwrap();
        seen.most = seen.most.max(counts.processes);
        seen.counts = counts;
    }
}

/// Rules as text, compiled; nothing may be wrong with them.
pub fn compile(text: &str) -> RuleSet {
    let options = Options {
        sources: vec![Source::Syscall],
        ..Options::default()
    };
    let file = RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.to_owned(),
    };
    let loaded = load(vec![file], &options).expect("no fields of one's own");
    let problems: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(&loaded.sources)).collect();
    loaded.rules.unwrap_or_else(|| panic!("{}", problems.join("\n")))
}

/// A rule with these fields in its output.
pub fn rule(name: &str, condition: &str, fields: &[&str]) -> String {
    let output: Vec<String> = fields.iter().map(|field| format!("%{field}")).collect();
    let output = output.join(" ");
    format!("- {{rule: {name}, desc: d, priority: INFO, condition: '{condition}', output: 'o {output}'}}\n")
}

fn host() -> Arc<Host> {
    Arc::new(Host {
        name: "node-1".into(),
        zone: jiff::tz::TimeZone::UTC,
    })
}

/// Bytes that are written by the reader's thread and read afterwards.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A running source.
pub struct Live {
    rules: Arc<ArcSwap<RuleSet>>,
    keep: Keep,
    lines: Lines,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    pub fn start(rules: &str) -> Live {
        Live::start_with(rules, &SyscallConfig::default())
    }

    pub fn start_with(rules: &str, config: &SyscallConfig) -> Live {
        let rules = Arc::new(ArcSwap::from_pointee(compile(rules)));
        let (keep, lines, stop) = (Keep::default(), Lines::default(), Arc::new(AtomicBool::new(false)));
        let probe = Probe::load(Setup::of(config)).expect("the kernel takes the probe");
        let mut reader = Reader::new(
            probe,
            Arc::clone(&rules),
            host(),
            config,
            &AttributionConfig::default(),
            keep.clone(),
        )
        .expect("a reader");
        reader.record(Box::new(lines.clone())).unwrap();
        let told = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || drop(reader.run(&told))));
        Live {
            rules,
            keep,
            lines,
            stop,
            thread,
        }
    }

    /// Puts other rules in the place of those that run.
    pub fn reload(&self, rules: &str) {
        self.rules.store(Arc::new(compile(rules)));
        // The reader looks at its next turn, a tenth of a second away at most.
        std::thread::sleep(Duration::from_millis(300));
    }

    /// Makes the reader wait at its next alert, or go on.
    pub fn hold(&self, hold: bool) {
        self.keep.hold.store(hold, Ordering::Relaxed);
    }

    /// Waits until what was seen is as it should be.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut ready: impl FnMut(&Seen) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(value) = ready(&self.keep.seen.lock().unwrap()) {
                return value;
            }
            let seen = || self.keep.seen.lock().unwrap().clone();
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {:#?}", seen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops, after everything that has happened by now was seen.
    pub fn finish(mut self) -> (Seen, Recording) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("the reader's thread");
        let seen = std::mem::take(&mut *self.keep.seen.lock().unwrap());
        assert_eq!(seen.bad, 0, "records that cannot be read");
        (seen, Recording(std::mem::take(&mut *self.lines.0.lock().unwrap())))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.hold(false);
        // Of a test that fails: the probe should be gone before the next one starts.
        self.thread.take().map(JoinHandle::join);
    }
}

/// What the reader has recorded.
pub struct Recording(pub Vec<u8>);

impl Recording {
    /// Plays it, and shows the state of processes after each record, before what has ended is let go.
    pub fn play(&self, mut look: impl FnMut(&Judge, &saker::event::syscall::Record<'_>)) -> Judge {
        let mut lines = self.0.split(|byte| *byte == b'\n');
        let start = recording::start(lines.next().unwrap()).unwrap();
        let mut judge = Judge::new(
            SyscallConfig::default().limits(),
            host(),
            start.boot,
            &AttributionConfig::default(),
        );
        let mut bytes = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            match recording::line(line, &mut bytes).unwrap() {
                Said::Record => {}
                Said::Fact(fact) => {
                    judge.tell(&fact);
                    continue;
                }
                _ => continue,
            }
            let (record, _) = judge.take(&bytes).unwrap();
            look(&judge, &record);
            judge.settle(&record);
        }
        judge
    }
}
