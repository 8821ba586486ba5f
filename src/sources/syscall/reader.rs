//! The thread that reads the ring: records into the process table and through the rules, alerts to the outputs.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::containers::Lookup;
use super::judge::Judge;
use super::plan::Plan;
use super::probe::{Hook, Probe, ProbeError};
use super::procfs;
use super::recording::{self, Start};
use crate::alert::{Alert, Renderer, identity};
use crate::engine::RuleSet;
use crate::event::syscall::{Kind, Part, Record};
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::processes::{Applied, Counts, Fact, Limits, Place, Snapshot};

/// The kernel wakes us for much or for what is urgent; what is neither waits this long.
const TICK: Duration = Duration::from_millis(100);
/// Losses and reloads are looked at this often.
const CHORES: Duration = Duration::from_secs(1);
/// Records of one turn, so that chores are done under load as well.
const TURN: usize = 4096;

/// What a reader reports to.
pub trait Sink: Send {
    /// Takes an alert; blocks while outputs that must take it make room.
    fn alert(&mut self, alert: Alert);
    /// Records were evaluated, and some were no records.
    fn events(&mut self, good: u64, bad: u64);
    /// Records found no room in the ring since the last call, by kind.
    fn lost(&mut self, lost: [u64; 4]);
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
    /// The rules that the probe follows.
    followed: Arc<RuleSet>,
    lookup: Lookup,
    sink: S,
    recorder: Option<Recorder>,
    lost: [u64; 4],
    chores: Instant,
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
        lookup: Lookup,
        limits: Limits,
        sink: S,
    ) -> Result<Reader<S>, ProbeError> {
        let followed = rules.load_full();
        probe.follow(&Plan::new(&followed))?;
        let ring = probe.take_ring().ok_or(ProbeError::Thread)?;
        let mut reader = Reader {
            probe,
            ring,
            judge: Judge::new(limits, Arc::clone(&host), boot_time()),
            renderer: Renderer::new(host),
            rules,
            followed,
            lookup,
            sink,
            recorder: None,
            lost: [0; 4],
            chores: Instant::now(),
        };
        // After attaching: of a process that starts meanwhile the kernel tells.
        for snapshot in procfs::all() {
            reader.learn(snapshot);
        }
        Ok(reader)
    }

    /// What is attached, in one line.
    pub fn describe(&self) -> String {
        let plan = Plan::new(&self.followed);
        let rules: BTreeSet<_> = plan.calls.values().flat_map(|wanted| &wanted.rules).collect();
        let hook = match self.probe.hook {
            Hook::Tracepoints => "a tracepoint each",
            Hook::AllReturns => "the tracepoint of all returns: tracefs is not there",
        };
        let kernel = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned());
        format!(
            "exec, fork, exit and {} system calls ({hook}) for {} rules; kernel {}, ring {} KiB",
            self.probe.attached(&plan),
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
            let mut fds = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO));
            self.turn();
            if self.chores.elapsed() >= CHORES {
                self.chores();
            }
        }
        while self.turn() > 0 {}
        self.chores();
        if let Some(mut recorder) = self.recorder.take()
            && let Err(error) = recorder.flush()
        {
            tracing::error!(%error, "the recording is not complete");
        }
        self.sink
    }

    /// Takes what is in the ring; returns how many records that were.
    fn turn(&mut self) -> usize {
        let rules = self.rules.load();
        if !Arc::ptr_eq(&rules, &self.followed) {
            self.followed = Arc::clone(&rules);
            if let Err(error) = self.probe.follow(&Plan::new(&rules)) {
                tracing::error!(%error, "the probe does not follow the new rules");
            }
        }
        let (mut good, mut bad) = (0, 0);
        let mut wishes = Wishes::default();
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
            let facts = wishes.grant(&record, applied, &self.judge, &self.lookup);
            for fact in &facts {
                self.judge.tell(fact);
            }
            if self.recorder.is_some() {
                wishes.line.clear();
                facts.iter().for_each(|fact| recording::write_fact(fact, &mut wishes.line));
                recording::write_record(&record, &mut wishes.line);
                write_line(&mut self.recorder, &wishes.line);
            }
            let Reader { judge, renderer, sink, .. } = self;
            judge.judge(&rules, record, |rule, time, run| {
                let uuid = identity(record.bytes(), &rule.name);
                sink.alert(renderer.alert(rule, time, uuid, run));
            });
            judge.settle(&record);
        }
        for (cgroup, container) in wishes.places {
            // Without it more is sent than is needed.
            if let Err(error) = self.probe.place(cgroup, container) {
                tracing::debug!(%error, "a cgroup cannot be told to the probe");
            }
        }
        if good + bad > 0 {
            self.sink.events(good, bad);
        }
        (good + bad) as usize
    }

    fn learn(&mut self, snapshot: Snapshot) {
        let (cgroup, pid) = (snapshot.cgroup, snapshot.info.pid);
        let path = snapshot.cgroup_path.clone();
        self.judge.tell(&Fact::Process(Box::new(snapshot)));
        let facts = describe(&self.judge, &self.lookup, cgroup, pid, &path);
        facts.iter().for_each(|fact| self.judge.tell(fact));
        let container = matches!(self.judge.processes.place(cgroup), Place::Container { .. });
        if let Err(error) = self.probe.place(cgroup, container) {
            tracing::debug!(%error, "a cgroup cannot be told to the probe");
        }
    }

    fn chores(&mut self) {
        self.chores = Instant::now();
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
        self.sink.counts(self.judge.processes.counts());
        // Adjusting the clock moves the time of boot; what was said about the past stays.
        let boot = boot_time();
        if boot.abs_diff(self.judge.boot) > Duration::from_millis(10).as_nanos() as u64 {
            self.judge.boot = boot;
        }
    }
}

/// What a turn has to do beside evaluating.
#[derive(Default)]
struct Wishes {
    places: Vec<(u64, bool)>,
    line: Vec<u8>,
}

impl Wishes {
    /// Finds out what the process table asks for.
    fn grant(&mut self, record: &Record<'_>, applied: Applied, judge: &Judge, lookup: &Lookup) -> Vec<Fact> {
        match applied {
            Applied::Unknown(key) => match procfs::one(key.pid) {
                Some(snapshot) => vec![Fact::Process(Box::new(snapshot))],
                None => Vec::new(),
            },
            Applied::NewCgroup { cgroup } => {
                let container = matches!(judge.processes.place(cgroup), Place::Container { .. });
                self.places.push((cgroup, container));
                describe(judge, lookup, cgroup, record.head.pid, record.part(Part::Cgroup))
            }
            _ => Vec::new(),
        }
    }
}

/// What the runtime has written down about a cgroup's container.
fn describe(judge: &Judge, lookup: &Lookup, cgroup: u64, pid: u32, path: &[u8]) -> Vec<Fact> {
    match judge.processes.place(cgroup) {
        Place::Container { id, about: None } => lookup.facts(id, cgroup, pid, path),
        _ => Vec::new(),
    }
}

fn write_line(recorder: &mut Option<Recorder>, line: &[u8]) {
    if let Some(file) = recorder
        && let Err(error) = file.write_all(line)
    {
        tracing::error!(%error, "the recording ends here");
        *recorder = None;
    }
}

/// The alert that tells of losses: whoever floods the ring must not hide in the flood.
fn losses(renderer: &mut Renderer, lost: [u64; 4], now: Timestamp) -> Alert {
    let names = Kind::ALL.map(Kind::name);
    let all: u64 = lost.iter().sum();
    let each: Vec<String> = names.iter().zip(lost).filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    let fields: Vec<(&str, u64)> = names.into_iter().zip(lost).collect();
    let message = format!("{all} events of the kernel found no room and were lost ({})", each.join(", "));
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
