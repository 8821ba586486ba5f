//! The processes of a node: who runs, who started whom, in which container, and since which exec into it.
//!
//! A pure state: records of the probe and facts from outside the kernel go in, time is an argument, nothing is read
//! from the system here. The same records and facts in the same order give the same state, which is what recordings
//! rest on.
//!
//! - `table`: the processes by identity, and which of those that ended are still somebody's ancestors;
//! - `records`: what fork, execve, exit and some system calls change;
//! - `facts`: what is told from outside the kernel;
//! - `places`: cgroups, containers, their users; [`cgroup`] reads ids of containers out of paths;
//! - `exec_root`: which process has come into a running container;
//! - `sockets`: who connected and who accepted.
//!
//! Records may be lost. A process that acts and is not known, or whose execve was not seen, is asked for with
//! [`Applied::Unknown`]; a process whose id is used again has ended; those whose end was lost otherwise can be told with
//! [`Fact::Gone`].

use std::sync::Arc;

use crate::event::syscall::{ProcessInfo, Record};

pub mod cgroup;
pub mod container;
mod exec_root;
mod facts;
mod places;
mod records;
mod sockets;
mod table;
#[cfg(test)]
mod tests;

pub use container::{Container, Mount, Pod};
pub use facts::{Fact, Snapshot, User};
pub use places::Place;

use places::Places;
use sockets::Sockets;
use table::Table;

/// /proc tells the start of a process in ticks of this many nanoseconds, rounded down (`USER_HZ` is 100 on every
/// architecture that Saker runs on).
pub const TICK: u64 = 10_000_000;

/// Identity of a process: process ids are used again, with another start.
///
/// A start that is a multiple of [`TICK`] comes from /proc and is the same as any within that tick: two processes of one
/// id never start so close together, because ids are given out in turn. The exact start replaces it with the process's
/// first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Key {
    pub pid: u32,
    /// Nanoseconds since boot.
    pub start: u64,
}

/// What an execve has made of a process; children share it until their own execve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Resolved path of the executable, as the process sees it.
    pub exe: Box<[u8]>,
    /// The command line, a NUL after each argument; cut after 4 KiB.
    pub argv: Box<[u8]>,
    /// The environment, a NUL after each variable; cut after 4 KiB, empty where nobody asked for it.
    pub env: Box<[u8]>,
}

impl Image {
    /// The arguments, the program's own name first.
    pub fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.argv.strip_suffix(b"\0").unwrap_or(&self.argv);
        // No argument at all is not one empty argument.
        all.split(|byte| *byte == 0)
            .take(if self.argv.is_empty() { 0 } else { usize::MAX })
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.env
            .split(|byte| *byte == 0)
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
    }
}

impl Key {
    /// Whether both can be the same process.
    pub fn is(self, other: Key) -> bool {
        self.pid == other.pid
            && (self.start == other.start
                || (self.start / TICK == other.start / TICK && (self.is_rough() || other.is_rough())))
    }

    fn is_rough(self) -> bool {
        self.start.is_multiple_of(TICK)
    }
}

/// Where a process stems from, when that is an exec into a running container: the first process of the exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRoot {
    pub key: Key,
    /// When its first execve in the container was, nanoseconds since boot.
    pub since: u64,
    /// What that execve started.
    pub image: Arc<Image>,
    /// Its terminal at that time; 0 for none.
    pub tty: u32,
    /// A cgroup of the container. Who has only entered its namespaces (nsenter) is in another one.
    pub cgroup: u64,
    /// It is the runtime's own program still, which has entered and not yet executed what it was asked to.
    pub runtime: bool,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes, living ones and ancestors that ended.
    pub processes: usize,
    /// Containers; four cgroups are kept for each.
    pub containers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            processes: 65_536,
            containers: 4_096,
        }
    }
}

/// What a record or a fact has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    Nothing,
    /// A process that nobody has told of, or of which too little is known: read it from /proc and tell it.
    Unknown(Key),
    /// The first process of a container, or the first that is seen of it.
    NewContainer {
        cgroup: u64,
    },
    /// The first execve of a process that has come into a container from outside.
    ExecRoot(Arc<ExecRoot>),
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes in the table.
    pub processes: usize,
    /// Of those, ancestors that have ended.
    pub ended: usize,
    pub containers: usize,
    /// Processes that were dropped because the table was full.
    pub evicted: u64,
    /// Cgroups, containers and users that were not taken because there were too many.
    pub refused: u64,
    /// Records of processes that were not known.
    pub unknown: u64,
    /// Processes that were asked for and then told.
    pub repaired: u64,
}

/// The state.
#[derive(Debug)]
pub struct Processes {
    table: Table,
    places: Places,
    sockets: Sockets,
    unknown: u64,
    repaired: u64,
    /// Who was asked for last.
    asked: Option<Key>,
    /// Processes as they were once, while a record of that time is looked at again.
    past: Vec<Process>,
}

impl Processes {
    pub fn new(limits: Limits) -> Self {
        Processes {
            table: Table::new(limits.processes),
            places: Places::new(limits.containers),
            sockets: Sockets::default(),
            unknown: 0,
            repaired: 0,
            asked: None,
            past: Vec::new(),
        }
    }

    /// Who made a record: of a fork the parent. Never another process of that id.
    #[inline]
    pub fn actor(&self, record: &Record<'_>) -> Option<&Process> {
        self.get(actor_key(record))
    }

    pub fn get(&self, key: Key) -> Option<&Process> {
        let past = self.past.iter().find(|process| process.key.is(key));
        past.or_else(|| self.table.get(key).map(|entry| &entry.process))
    }

    /// The living process of an id: for leaders of sessions and groups.
    pub fn by_pid(&self, pid: u32) -> Option<&Process> {
        let past = self
            .past
            .iter()
            .find(|process| process.key.pid == pid && process.exited.is_none());
        past.or_else(|| self.table.by_pid(pid).map(|entry| &entry.process))
    }

    /// Everyone that a record shows as they are now: who made it, ancestors, leaders of session and group.
    pub fn cast(&self, record: &Record<'_>) -> Vec<Process> {
        let Some(actor) = self.actor(record) else {
            return Vec::new();
        };
        let leaders = [actor.info.sid, actor.info.pgid].map(|pid| self.by_pid(pid));
        let all = [actor].into_iter().chain(self.ancestors(actor));
        all.chain(leaders.into_iter().flatten()).cloned().collect()
    }

    /// Shows these processes as they were, in the place of what has become of them, until others are recalled or none.
    pub fn recall(&mut self, past: Vec<Process>) {
        self.past = past;
    }

    /// All living processes, in no order.
    pub fn living(&self) -> impl Iterator<Item = &Process> {
        self.table.living().map(|entry| &entry.process)
    }

    /// Who started a process, whether it lives or not.
    pub fn parent(&self, process: &Process) -> Option<&Process> {
        // A recording may say anything, even that a process is its own parent.
        self.get(process.parent).filter(|parent| !parent.key.is(process.key))
    }

    /// Parent, grandparent and so on, 64 at most.
    pub fn ancestors(&self, process: &Process) -> impl Iterator<Item = &Process> {
        std::iter::successors(self.parent(process), |process| self.parent(process)).take(64)
    }

    /// Whether the process is the server's end of the connection of a socket, by its inode number; nothing when neither
    /// the connect nor the accept was seen.
    pub fn serves(&self, ino: u64) -> Option<bool> {
        self.sockets.serves(ino)
    }

    /// Where a cgroup is.
    pub fn place(&self, cgroup: u64) -> Place<'_> {
        self.places.place(cgroup)
    }

    /// Whether a process is its container's own first one, and is past what the runtime does in it.
    pub fn is_first(&self, process: &Process) -> bool {
        self.places
            .first(process.cgroup)
            .is_some_and(|first| first.is(process.key))
            && !exec_root::is_runtime(
                &process.image,
                &process.info,
                self.parent(process).map(|p| p.info.mntns),
            )
    }

    /// The first process seen in the container of a cgroup.
    pub fn first(&self, cgroup: u64) -> Option<Key> {
        self.places.first(cgroup)
    }

    /// What has been told of the container of a cgroup.
    pub fn container(&self, cgroup: u64) -> Option<&Container> {
        self.places.container(cgroup)
    }

    /// The path of a container's cgroup.
    pub fn cgroup_path(&self, cgroup: u64) -> Option<&[u8]> {
        self.places.path(cgroup)
    }

    /// A user as the container of the cgroup, or the host, calls it.
    pub fn user(&self, cgroup: u64, uid: u32) -> Option<&User> {
        self.places.user(cgroup, uid)
    }

    /// The name of a group, likewise.
    pub fn group(&self, cgroup: u64, gid: u32) -> Option<&str> {
        self.places.group(cgroup, gid)
    }

    pub fn counts(&self) -> Counts {
        Counts {
            processes: self.table.len(),
            ended: self.table.ended(),
            containers: self.places.containers(),
            evicted: self.table.evicted,
            refused: self.places.refused,
            unknown: self.unknown,
            repaired: self.repaired,
        }
    }

    fn ask(&mut self, key: Key) -> Applied {
        self.asked = Some(key);
        Applied::Unknown(key)
    }
}

fn actor_key(record: &Record<'_>) -> Key {
    Key {
        pid: record.head.pid,
        start: record.head.start,
    }
}

/// One process. It stays for a while after its end, as long as living processes descend from it.
#[derive(Clone, Debug)]
pub struct Process {
    pub key: Key,
    /// As of the last execve or fork.
    pub info: ProcessInfo,
    pub image: Arc<Image>,
    /// Working directory as of the last execve or change.
    pub cwd: Arc<[u8]>,
    /// Who started it; still the same when that process has ended.
    pub parent: Key,
    /// Id of its cgroup; see [`Processes::container`].
    pub cgroup: u64,
    /// The exec into a container that it stems from.
    pub exec_root: Option<Arc<ExecRoot>>,
    /// When it ended, nanoseconds since boot.
    pub exited: Option<u64>,
}

impl Process {
    /// The name, 15 bytes at most (`comm`).
    pub fn name(&self) -> &[u8] {
        let comm = &self.info.comm;
        &comm[..comm.iter().position(|b| *b == 0).unwrap_or(comm.len())]
    }
}
