//! Who is behind the processes of a node, as far as is known now: what fields of `actor.*` read.

use std::collections::HashMap;
use std::sync::Arc;

use super::sessions::{Actor, State};
use crate::event::Timestamp;
use crate::processes::Key;

/// What is known of a process that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub state: State,
    /// Absent while nothing explains it.
    pub actor: Option<Arc<Actor>>,
    /// When its first execve was, nanoseconds since the Unix epoch.
    pub since: Timestamp,
    /// From then until it was known, or it was known that it is not.
    pub after: u64,
}

impl Who {
    /// A process of which nothing is known yet.
    pub fn waiting(since: Timestamp) -> Who {
        Who {
            state: State::Waiting,
            actor: None,
            since,
            after: 0,
        }
    }
}

/// By the process that came in, or for a container that was made or attached to, by its cgroup.
#[derive(Debug, Default)]
pub struct Actors {
    roots: HashMap<Key, Who>,
    containers: HashMap<u64, Who>,
}

impl Actors {
    /// Who is behind everything that stems from a process.
    pub fn of_root(&self, root: Key) -> Option<&Who> {
        self.roots.get(&root)
    }

    /// Who has made a container, or sits in front of it.
    pub fn of_container(&self, cgroup: u64) -> Option<&Who> {
        self.containers.get(&cgroup)
    }

    pub fn set_root(&mut self, root: Key, who: Who) {
        self.roots.insert(root, who);
    }

    pub fn set_container(&mut self, cgroup: u64, who: Who) {
        self.containers.insert(cgroup, who);
    }

    /// Nothing stems from it any more.
    pub fn forget_root(&mut self, root: Key) {
        self.roots.remove(&root);
    }

    pub fn forget_container(&mut self, cgroup: u64) {
        self.containers.remove(&cgroup);
    }

    /// Processes and containers of which something is known, or awaited.
    pub fn len(&self) -> usize {
        self.roots.len() + self.containers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
