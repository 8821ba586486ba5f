//! What files of the node and the runtime say of containers and users, as facts; asked again while it is not there yet.

use std::path::Path;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::containers::cri::Answer;
use super::containers::users::Users;
use super::containers::{Found, Lookup};
use super::cri::{Cri, Outcome, PATIENCE};
use crate::config::SyscallConfig;
use crate::processes::{Fact, Place, Processes};

#[cfg(test)]
mod tests;

/// Containers that are remembered to have been told of by nobody.
const MISSED: usize = 1_024;
/// Such a container is asked for again at its next event, but not sooner than after this, and ever less often.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// Looks containers up.
pub struct Metadata {
    lookup: Lookup,
    users: Users,
    wait: Duration,
    cri: Option<Cri>,
    /// Questions to the runtime that failed since they were last counted.
    unanswered: u64,
    pending: Vec<Pending>,
    /// Containers that nobody has told of in time, by cgroup.
    missed: HashMap<u64, Missed>,
}

/// A container of which something is still to be written, or to be answered.
struct Pending {
    cgroup: u64,
    pid: u32,
    until: Instant,
    /// Nothing is missing that alerts should wait for.
    complete: bool,
    question: Question,
    /// Alerts wait, because it is new.
    hold: bool,
    again: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    ToAsk,
    Asked,
    Done,
}

#[derive(Clone, Copy)]
struct Missed {
    next: Instant,
    again: Duration,
}

impl Metadata {
    pub fn new(config: &SyscallConfig) -> Metadata {
        let start =
            |socket: &Path| Cri::start(socket).inspect_err(|error| tracing::error!(%error, "no thread for the CRI"));
        Metadata {
            lookup: Lookup::new(&config.root).containerd(&config.containerd_state),
            users: Users::new(&config.root),
            wait: config.wait,
            cri: config.cri.as_deref().and_then(|socket| start(socket).ok()),
            unanswered: 0,
            pending: Vec::new(),
            missed: HashMap::new(),
        }
    }

    /// The users and groups of the node itself.
    pub fn node(&mut self) -> Vec<Fact> {
        self.users.node().facts(None).collect()
    }

    /// What there is on the container of a cgroup that is new, by a process in it.
    pub fn ask(&mut self, processes: &Processes, cgroup: u64, pid: u32) -> Vec<Fact> {
        self.begin(processes, cgroup, pid, true, AGAIN)
    }

    /// The same for a container that nobody told of when it was new, at one of its later events.
    pub fn again(&mut self, processes: &Processes, cgroup: u64, pid: u32) -> Vec<Fact> {
        match self.missed.get(&cgroup) {
            Some(missed) if Instant::now() >= missed.next => {
                let again = (missed.again * 2).min(AGAIN_AT_MOST);
                self.missed.remove(&cgroup);
                self.begin(processes, cgroup, pid, false, again)
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, processes: &Processes, cgroup: u64, pid: u32, hold: bool, again: Duration) -> Vec<Fact> {
        let (facts, complete) = self.find(processes, cgroup, pid, None);
        let mut pending = Pending {
            cgroup,
            pid,
            until: Instant::now() + if hold { self.wait } else { Duration::ZERO },
            complete,
            question: if self.cri.is_some() {
                Question::ToAsk
            } else {
                Question::Done
            },
            hold,
            again,
        };
        self.question(processes, &mut pending);
        self.keep(pending);
        facts
    }

    /// Whether alerts of a cgroup should wait for something that is still to be written.
    pub fn is_pending(&self, cgroup: u64) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|pending| pending.cgroup == cgroup && pending.hold && !pending.complete)
    }

    /// Questions to the runtime that failed since the last call.
    pub fn unanswered(&mut self) -> u64 {
        std::mem::take(&mut self.unanswered)
    }

    /// Asks again for what was not there, and takes what the runtime has answered.
    pub fn retry(&mut self, processes: &Processes) -> Vec<Fact> {
        let answers: HashMap<Box<str>, Outcome> = self.cri.iter().flat_map(Cri::answers).collect();
        self.unanswered += answers.values().filter(|outcome| **outcome == Outcome::Failed).count() as u64;
        let mut facts = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            let id = match processes.place(pending.cgroup) {
                Place::Container { id, .. } => id,
                // Forgotten meanwhile.
                _ => continue,
            };
            let outcome = answers.get(id).filter(|_| pending.question == Question::Asked);
            let answer = match outcome {
                Some(Outcome::Told(answer)) => Some(&**answer),
                _ => None,
            };
            if !pending.complete || answer.is_some() {
                let (found, complete) = self.find(processes, pending.cgroup, pending.pid, answer);
                facts.extend(found);
                pending.complete |= complete;
            }
            match outcome {
                None => {}
                Some(Outcome::Told(_)) => pending.question = Question::Done,
                Some(Outcome::Absent | Outcome::Failed) if pending.complete => pending.question = Question::Done,
                Some(Outcome::Absent | Outcome::Failed) => pending.question = Question::ToAsk,
            }
            if Instant::now() < pending.until {
                self.question(processes, &mut pending);
            } else {
                pending.hold = false;
            }
            self.keep(pending);
        }
        facts
    }

    /// Puts the question to the runtime, if there is one and it has room.
    fn question(&self, processes: &Processes, pending: &mut Pending) {
        if pending.question == Question::ToAsk
            && let Place::Container { id, .. } = processes.place(pending.cgroup)
            && self.cri.as_ref().is_some_and(|cri| cri.ask(id))
        {
            pending.question = Question::Asked;
        }
    }

    /// Goes on waiting, or notes that waiting was of no use.
    fn keep(&mut self, pending: Pending) {
        let now = Instant::now();
        // An answer that comes too late for the first alerts is of use for others.
        let waits = match pending.question {
            Question::Asked => now < pending.until + 2 * PATIENCE,
            Question::ToAsk => now < pending.until,
            Question::Done => now < pending.until && !pending.complete,
        };
        if waits {
            self.pending.push(pending);
        } else if !pending.complete {
            if self.missed.len() >= MISSED {
                self.missed.clear();
            }
            let next = now + pending.again;
            self.missed.insert(
                pending.cgroup,
                Missed {
                    next,
                    again: pending.again,
                },
            );
        }
    }

    fn find(&mut self, processes: &Processes, cgroup: u64, pid: u32, answer: Option<&Answer>) -> (Vec<Fact>, bool) {
        let Place::Container { id, .. } = processes.place(cgroup) else {
            return (Vec::new(), true);
        };
        let path = processes.cgroup_path(cgroup).unwrap_or_default();
        match self
            .lookup
            .find_with(id, Some(pid), &String::from_utf8_lossy(path), answer)
        {
            Found::Known {
                container, complete, ..
            } => {
                let names = self.users.container(&container, Some(pid));
                let mut facts: Vec<Fact> = names.facts(Some(&container.id)).collect();
                // First, because names belong to a container that is known.
                let container = *container;
                facts.insert(0, Fact::Container { cgroup, container });
                (facts, complete)
            }
            Found::NotYet => (Vec::new(), false),
            Found::Unknown => (Vec::new(), true),
        }
    }
}
