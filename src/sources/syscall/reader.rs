//! The thread that reads the ring: records into the process table and through the rules, alerts to the outputs.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::held::Held;
use super::judge::Judge;
use super::metadata::Metadata;
use super::plan::Plan;
use super::probe::{Hook, Probe, ProbeError};
use super::procfs::Procfs;
use super::recording::{self, Start};
use super::sessions::{Board, Notices};
use crate::alert::{Alert, Renderer};
use crate::bus::Inbox;
use crate::config::{AttributionConfig, SyscallConfig};
use crate::engine::RuleSet;
use crate::event::syscall::{Kind, Record};
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::processes::{Applied, Counts, Fact, Place, Snapshot};

/// The kernel wakes us for much or for what is urgent; what is neither waits this long.
const TICK: Duration = Duration::from_millis(100);
/// Sessions that wait for time to pass are looked at this often at most.
const STEP: Duration = Duration::from_millis(50);
/// Processes whose end was lost are looked for this often.
const SWEEP: Duration = Duration::from_secs(60);
/// Losses and reloads are looked at this often.
const CHORES: Duration = Duration::from_secs(1);
/// Cgroups that are remembered to have been told to the probe.
const PLACED: usize = 8_192;
/// Records of one turn, so that chores are done under load as well.
const TURN: usize = 4096;

/// Messages of one turn: the ring must not wait for long.
const MESSAGES: usize = 64;

/// What a reader reports to.
pub trait Sink: Send {
    /// Takes an alert; blocks while outputs that must take it make room.
    fn alert(&mut self, alert: Alert);
    /// Records were evaluated, and some were no records.
    fn events(&mut self, good: u64, bad: u64);
    /// Records found no room in the ring since the last call, by kind.
    fn lost(&mut self, lost: [u64; 4]);
    /// Questions to the container runtime failed.
    fn unanswered(&mut self, _questions: u64) {}
    /// How the correlator does, and changes of sessions so far by [`crate::correlate::State::ALL`].
    fn attribution(&mut self, _counts: crate::correlate::Counts, _told: &[u64]) {}
    /// Whether everything that is sent over the bus comes.
    fn listening(&mut self, _up: bool) {}
    /// How the process table does.
    fn counts(&mut self, counts: Counts);
}

/// Everything the thread owns.
pub struct Reader<S> {
    probe: Probe,
    ring: RingBuf<MapData>,
    judge: Judge,
    renderer: Renderer,
    rules: Arc<ArcSwap<RuleSet>>,
    /// The rules that the probe follows, and what they ask of it.
    followed: Arc<RuleSet>,
    plan: Plan,
    procfs: Procfs,
    metadata: Metadata,
    /// Cgroups that the probe has been told of.
    placed: HashSet<u64>,
    /// Records of containers of which something is still to be written.
    held: Held,
    sink: S,
    /// What audit and admission tell, and since when it does, as was last said.
    inbox: Option<Box<dyn Inbox>>,
    up: Option<Option<Timestamp>>,
    cluster: Option<String>,
    /// It was said that others speak as well.
    warned: bool,
    notices: Notices,
    recorder: Option<Recorder>,
    lost: [u64; 4],
    chores: Instant,
    passed: Instant,
    swept: Instant,
}

/// Where a recording goes.
pub type Recorder = Box<dyn std::io::Write + Send>;

impl<S: Sink> Reader<S> {
    /// Follows the rules, and learns of the processes that run.
    ///
    /// # Errors
    /// When the kernel refuses a hook that a rule needs.
    pub fn new(
        mut probe: Probe,
        rules: Arc<ArcSwap<RuleSet>>,
        host: Arc<Host>,
        setup: &SyscallConfig,
        attribution: &AttributionConfig,
        sink: S,
    ) -> Result<Reader<S>, ProbeError> {
        let followed = rules.load_full();
        let plan = Plan::new(&followed);
        probe.follow(&plan)?;
        let ring = probe.take_ring().ok_or(ProbeError::Thread)?;
        let mut reader = Reader {
            probe,
            ring,
            judge: Judge::new(setup.limits(), Arc::clone(&host), boot_time(), attribution),
            renderer: Renderer::new(host),
            rules,
            followed,
            procfs: Procfs::new(setup.environment || plan.environment),
            plan,
            metadata: Metadata::new(setup),
            placed: HashSet::new(),
            held: Held::default(),
            sink,
            inbox: None,
            up: None,
            cluster: None,
            warned: false,
            notices: Notices::default(),
            recorder: None,
            lost: [0; 4],
            chores: Instant::now(),
            passed: Instant::now(),
            swept: Instant::now(),
        };
        // After attaching: of a process that starts meanwhile the kernel tells.
        for fact in reader.metadata.node() {
            reader.judge.tell(&fact);
        }
        for snapshot in reader.running() {
            reader.learn(snapshot);
        }
        Ok(reader)
    }

    /// Listens to what audit and admission tell; of several clusters, to one.
    pub fn attend(&mut self, inbox: Box<dyn Inbox>, cluster: Option<String>) {
        self.inbox = Some(inbox);
        self.cluster = cluster;
    }

    /// Shows sessions to whoever asks the board.
    pub fn show(&mut self, board: Board) {
        self.notices = Notices::new(board);
    }

    /// What is attached, in one line.
    pub fn describe(&self) -> String {
        let rules: BTreeSet<_> = self.plan.calls.values().flat_map(|wanted| &wanted.rules).collect();
        let hook = match self.probe.hook {
            Hook::Tracepoints => "a tracepoint each",
            Hook::AllReturns => "the tracepoint of all returns: tracefs is not there",
        };
        let kernel = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned());
        format!(
            "exec, fork, exit and {} system calls ({hook}) for {} rules; kernel {}, ring {} KiB",
            self.probe.attached(&self.plan),
            rules.len(),
            kernel.unwrap_or_default(),
            self.probe.ring_bytes >> 10,
        )
    }

    /// Writes a recording beside evaluating: what is known by now, and all that comes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&mut self, mut recorder: Recorder) -> std::io::Result<()> {
        let start = Start {
            saker_recording: recording::VERSION,
            source: Source::Syscall.name().to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            host: self.renderer.host.name.to_string(),
            boot: self.judge.boot,
        };
        let mut out = serde_json::to_vec(&start)?;
        out.push(b'\n');
        for fact in self.judge.processes.facts() {
            recording::write_fact(&fact, &mut out);
        }
        recorder.write_all(&out)?;
        self.recorder = Some(recorder);
        Ok(())
    }

    /// Reads until `stop`, and then what the kernel has written by that time.
    pub fn run(mut self, stop: &AtomicBool) -> S {
        while !stop.load(Ordering::Relaxed) {
            let inbox = self
                .inbox
                .as_ref()
                .map(|inbox| PollFd::new(inbox.wake(), PollFlags::POLLIN));
            let mut fds = Vec::from([PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)]);
            fds.extend(inbox);
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO));
            // What was asked for comes before what was done: a review before its process.
            self.listen();
            self.turn();
            self.catch_up();
            self.pass();
            if self.chores.elapsed() >= CHORES {
                self.chores();
            }
        }
        while self.turn() > 0 {}
        self.release(true);
        self.chores();
        if let Some(mut recorder) = self.recorder.take()
            && let Err(error) = recorder.flush()
        {
            tracing::error!(%error, "the recording is not complete");
        }
        self.sink
    }

    /// Takes what the bus has brought.
    fn listen(&mut self) {
        let Some(inbox) = &mut self.inbox else { return };
        let now = self.judge.boot + uptime();
        let up = inbox.up_since();
        if self.up != Some(up) {
            self.up = Some(up);
            self.judge.attribution.up(up, now);
            self.sink.listening(up.is_some());
            let mut lines = Vec::new();
            recording::write_listening(now, up, &mut lines);
            write_lines(&mut self.recorder, &lines);
        }
        for _ in 0..MESSAGES {
            let Some(message) = self.inbox.as_mut().and_then(|inbox| inbox.take()) else {
                break;
            };
            // A pod of that name may be in another cluster as well. Who has not been told which one is its own takes the
            // first that speaks.
            if let Some(cluster) = &message.cluster {
                let own = self.cluster.get_or_insert_with(|| cluster.to_string());
                if **own != **cluster {
                    if !std::mem::replace(&mut self.warned, true) {
                        tracing::warn!(own, other = %cluster, "requests of another cluster are left out; name yours with `cluster`");
                    }
                    continue;
                }
            }
            if self.recorder.is_some() {
                let mut lines = Vec::new();
                recording::write_heard(now, &message, &mut lines);
                write_lines(&mut self.recorder, &lines);
            }
            self.judge.hear(&message, now);
            self.sessions(now);
        }
    }

    /// Lets time pass, in steps that are worth it.
    fn pass(&mut self) {
        if self.passed.elapsed() < STEP {
            return;
        }
        self.passed = Instant::now();
        let now = self.judge.boot + uptime();
        self.judge.attribution.pass(now);
        if self.judge.attribution.has_changed() {
            let mut lines = Vec::new();
            recording::write_tick(now, &mut lines);
            write_lines(&mut self.recorder, &lines);
        }
        self.sessions(now);
        self.notices.put_up(&self.judge.attribution);
    }

    /// Judges the sessions that have changed.
    fn sessions(&mut self, now: Timestamp) {
        if !self.judge.attribution.has_changed() {
            return;
        }
        let rules = self.rules.load();
        let Reader {
            judge, renderer, sink, ..
        } = self;
        judge.session_alerts(&rules, now, renderer, |alert| sink.alert(alert));
    }

    /// Takes what is in the ring; returns how many records that were.
    fn turn(&mut self) -> usize {
        let rules = self.rules.load();
        if !Arc::ptr_eq(&rules, &self.followed) {
            self.followed = Arc::clone(&rules);
            self.plan = Plan::new(&rules);
            if let Err(error) = self.probe.follow(&self.plan) {
                tracing::error!(%error, "the probe does not follow the new rules");
            }
        }
        let (mut good, mut bad) = (0, 0);
        let mut places = Vec::new();
        while good + bad < TURN as u64 {
            let Some(item) = self.ring.next() else { break };
            let (record, applied) = match self.judge.take(&item) {
                Ok(taken) => taken,
                Err(error) => {
                    bad += 1;
                    tracing::debug!(%error, "a record of the probe cannot be read");
                    continue;
                }
            };
            good += 1;
            let facts = match applied {
                Applied::Unknown(key) => self.procfs.one(key.pid).map(Fact::Process).into_iter().collect(),
                Applied::NewContainer { cgroup } => self.metadata.ask(&self.judge.processes, cgroup, record.head.pid),
                Applied::Nothing | Applied::ExecRoot(_) => {
                    self.metadata
                        .again(&self.judge.processes, record.head.cgroup, record.head.pid)
                }
            };
            for fact in &facts {
                self.judge.tell(fact);
            }
            let cgroup = record.head.cgroup;
            if !self.placed.contains(&cgroup) {
                match self.judge.processes.place(cgroup) {
                    Place::Unknown => {}
                    place => places.push((cgroup, matches!(place, Place::Container { .. }))),
                }
            }
            if self.recorder.is_some() {
                let mut lines = Vec::new();
                facts.iter().for_each(|fact| recording::write_fact(fact, &mut lines));
                recording::write_record(&record, &mut lines);
                write_lines(&mut self.recorder, &lines);
            }
            let Reader {
                judge, renderer, sink, ..
            } = self;
            // Whether or not a rule matches: one that asks for a namespace or an image cannot do so yet.
            if self.metadata.is_pending(cgroup) && self.held.has_room() {
                self.held.keep(&record, &judge.processes);
            } else {
                judge.alerts(&rules, record, renderer, |alert| sink.alert(alert));
            }
            judge.settle(&record);
            if judge.attribution.has_changed() {
                judge.session_alerts(&rules, record.time(judge.boot), renderer, |alert| sink.alert(alert));
            }
        }
        for (cgroup, container) in places {
            self.place(cgroup, container);
        }
        if good + bad > 0 {
            self.sink.events(good, bad);
        }
        (good + bad) as usize
    }

    /// The processes that run, parents before children: from the kernel, or where it does not tell, from /proc.
    fn running(&mut self) -> Vec<Snapshot> {
        let tasks = self.probe.tasks().unwrap_or_else(|error| {
            tracing::debug!(%error, "/proc tells what runs");
            Vec::new()
        });
        let mut rest = &tasks[..];
        let mut all = Vec::new();
        loop {
            match Record::take(&mut rest) {
                Ok(Some(task)) => all.extend(self.procfs.told(&task)),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the kernel's list of tasks cannot be read; /proc tells what runs");
                    all.clear();
                }
            }
        }
        if all.is_empty() {
            return self.procfs.all();
        }
        all.sort_unstable_by_key(|snapshot| (snapshot.info.start, snapshot.info.pid));
        all
    }

    fn learn(&mut self, snapshot: Snapshot) {
        let (cgroup, pid) = (snapshot.cgroup, snapshot.info.pid);
        if let Applied::NewContainer { cgroup } = self.judge.tell(&Fact::Process(snapshot)) {
            for fact in self.metadata.ask(&self.judge.processes, cgroup, pid) {
                self.judge.tell(&fact);
            }
        }
        match self.judge.processes.place(cgroup) {
            Place::Unknown => {}
            place => {
                let container = matches!(place, Place::Container { .. });
                self.place(cgroup, container);
            }
        }
    }

    /// Tells the probe where a cgroup is; until then it sends more than is needed.
    fn place(&mut self, cgroup: u64, container: bool) {
        // As many as the kernel keeps; it forgets those that it has not seen for long.
        if self.placed.len() >= PLACED {
            self.placed.clear();
        }
        if self.placed.insert(cgroup)
            && let Err(error) = self.probe.place(cgroup, container)
        {
            tracing::debug!(%error, "a cgroup cannot be told to the probe");
        }
    }

    /// Containers of which more has been written meanwhile.
    fn catch_up(&mut self) {
        let facts = self.metadata.retry(&self.judge.processes);
        let mut lines = Vec::new();
        for fact in &facts {
            self.judge.tell(fact);
            if self.recorder.is_some() {
                recording::write_fact(fact, &mut lines);
            }
        }
        write_lines(&mut self.recorder, &lines);
        self.release(false);
    }

    /// Judges what waited for its container; of all containers at the end.
    fn release(&mut self, all: bool) {
        let rules = self.rules.load();
        let ready = self.held.release(|cgroup| !all && self.metadata.is_pending(cgroup));
        for kept in ready {
            let Ok(record) = Record::parse(&kept.bytes) else {
                continue;
            };
            self.judge.processes.recall(kept.cast);
            let Reader {
                judge, renderer, sink, ..
            } = self;
            judge.alerts(&rules, record, renderer, |alert| sink.alert(alert.late()));
            if judge.attribution.has_changed() {
                judge.session_alerts(&rules, record.time(judge.boot), renderer, |alert| sink.alert(alert));
            }
        }
        self.judge.processes.recall(Vec::new());
    }

    fn chores(&mut self) {
        self.chores = Instant::now();
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.flush()
        {
            tracing::error!(%error, "the recording ends here");
            self.recorder = None;
        }
        match self.probe.lost() {
            Ok(lost) => {
                let mut new = [0; 4];
                for ((new, now), before) in new.iter_mut().zip(lost).zip(self.lost) {
                    *new = now.saturating_sub(before);
                }
                self.lost = lost;
                if new.iter().any(|n| *n > 0) {
                    self.sink.lost(new);
                    let now = self.judge.boot + uptime();
                    self.sink.alert(losses(&mut self.renderer, new, now));
                }
            }
            Err(error) => tracing::warn!(%error, "losses of the probe are not known"),
        }
        self.sink.unanswered(self.metadata.unanswered());
        self.sink.counts(self.judge.processes.counts());
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            let now = self.judge.boot + uptime();
            self.judge.attribution.sweep(&self.judge.processes, now);
        }
        let attribution = &self.judge.attribution;
        self.sink.attribution(attribution.counts(), &attribution.told());
        // Adjusting the clock moves the time of boot; what was said about the past stays.
        let boot = boot_time();
        if boot.abs_diff(self.judge.boot) > Duration::from_millis(10).as_nanos() as u64 {
            self.judge.set_boot(boot);
        }
    }
}

fn write_lines(recorder: &mut Option<Recorder>, lines: &[u8]) {
    if let Some(file) = recorder
        && let Err(error) = file.write_all(lines)
    {
        tracing::error!(%error, "the recording ends here");
        *recorder = None;
    }
}

/// The alert that tells of losses: whoever floods the ring must not hide in the flood.
fn losses(renderer: &mut Renderer, lost: [u64; 4], now: Timestamp) -> Alert {
    let names = Kind::ALL.map(Kind::name);
    let all: u64 = lost.iter().sum();
    let each: Vec<String> = names
        .iter()
        .zip(lost)
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    let fields: Vec<(&str, u64)> = names.into_iter().zip(lost).collect();
    let message = format!(
        "{all} events of the kernel found no room and were lost ({})",
        each.join(", ")
    );
    renderer.internal("Saker lost events", now, &message, &fields)
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// Nanoseconds since boot.
fn uptime() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// When the machine booted, nanoseconds since the Unix epoch.
fn boot_time() -> Timestamp {
    read(ClockId::CLOCK_REALTIME).saturating_sub(uptime())
}
