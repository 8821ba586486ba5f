//! The processes of a node: who runs, who started whom, in which container, and since which exec into it.
//!
//! A pure state: records of the probe and facts from outside the kernel go in, time is an argument, nothing is read
//! from the system here. The same records and facts in the same order give the same state, which is what recordings
//! rest on.

use std::sync::Arc;

use crate::event::syscall::ProcessInfo;

pub mod container;

pub use container::{Container, Mount, Pod};

/// Identity of a process: process ids are used again, with another start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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
