//! What files of the node say of containers and users, as facts; asked again for a while when it is not there yet.

use std::time::{Duration, Instant};

use super::containers::users::Users;
use super::containers::{Found, Lookup};
use crate::config::SyscallConfig;
use crate::processes::{Fact, Place, Processes};

/// Looks containers up.
pub struct Metadata {
    lookup: Lookup,
    users: Users,
    wait: Duration,
    pending: Vec<Pending>,
}

/// A container of which something is still to be written.
struct Pending {
    cgroup: u64,
    pid: u32,
    until: Instant,
}

impl Metadata {
    pub fn new(config: &SyscallConfig) -> Metadata {
        Metadata {
            lookup: Lookup::new(&config.root),
            users: Users::new(&config.root),
            wait: config.wait,
            pending: Vec::new(),
        }
    }

    /// The users and groups of the node itself.
    pub fn node(&mut self) -> Vec<Fact> {
        self.users.node().facts(None).collect()
    }

    /// What there is on the container of a cgroup, by a process in it.
    pub fn ask(&mut self, processes: &Processes, cgroup: u64, pid: u32) -> Vec<Fact> {
        let (facts, complete) = self.find(processes, cgroup, pid);
        if !complete {
            let until = Instant::now() + self.wait;
            self.pending.push(Pending { cgroup, pid, until });
        }
        facts
    }

    /// Whether something on the container of a cgroup is still to be written.
    pub fn is_pending(&self, cgroup: u64) -> bool {
        self.pending.iter().any(|pending| pending.cgroup == cgroup)
    }

    /// Asks again for what was not there.
    pub fn retry(&mut self, processes: &Processes) -> Vec<Fact> {
        let mut facts = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let (found, complete) = self.find(processes, pending.cgroup, pending.pid);
            facts.extend(found);
            if !complete && Instant::now() < pending.until {
                self.pending.push(pending);
            }
        }
        facts
    }

    fn find(&mut self, processes: &Processes, cgroup: u64, pid: u32) -> (Vec<Fact>, bool) {
        let Place::Container { id, .. } = processes.place(cgroup) else {
            return (Vec::new(), true);
        };
        let path = processes.cgroup_path(cgroup).unwrap_or_default();
        match self.lookup.find(id, Some(pid), &String::from_utf8_lossy(path)) {
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
