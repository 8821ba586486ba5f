//! Which process has come into a running container.
//!
//! An exec root is the first process inside a container whose parent lives outside of it, and which is not the
//! container's own first process: what `runc exec` starts, and with it `kubectl exec`, `docker exec` and `crictl exec`;
//! or what `nsenter` starts in the container's PID namespace. All that descends from it carries it from fork on, so a
//! new session, a double fork or a new parent change nothing.
//!
//! The container's own first process is number 1 of its PID namespace. Where it has none of its own (`hostPID`,
//! `shareProcessNamespace`, ephemeral containers with a target) it is the first process seen in its cgroup.

use std::sync::Arc;

use super::{ExecRoot, Image, Key, Processes};
use crate::event::syscall::{EXE_MEMFD, ProcessInfo};

impl Processes {
    /// Notes that a process runs in a container where none was seen before, or has come into it: then its root.
    pub(super) fn enter(&mut self, key: Key, info: &ProcessInfo, cgroup: u64, time: u64) -> Option<Arc<ExecRoot>> {
        let container = self.entered(key, info, cgroup)?;
        let outside = self
            .get(key)
            .and_then(|process| self.parent(process))
            .map(|parent| parent.info.mntns);
        let entry = self.table.get_mut(key)?;
        if entry.is_root() && !entry.runtime {
            return None;
        }
        let process = &mut entry.process;
        // The runtime's own program has entered, and what it was asked to start follows. Should it fork instead, what
        // it forks stems from it.
        let runtime = is_runtime(&process.image, info, outside);
        let root = Arc::new(ExecRoot {
            key: process.key,
            since: time,
            image: process.image.clone(),
            tty: info.tty,
            cgroup: container,
            runtime,
        });
        entry.runtime = runtime;
        process.exec_root = Some(root.clone());
        (!runtime).then_some(root)
    }

    /// A cgroup of the container that a process is in while its parent is not.
    fn entered(&mut self, key: Key, info: &ProcessInfo, cgroup: u64) -> Option<u64> {
        let own = self.table.get(key)?.process.parent;
        let parent = self.table.get(own).map(|entry| &entry.process);
        let below = info.parent_level < info.level;
        if let Some(id) = self.places.id(cgroup) {
            let parent_cgroup = parent.map_or(info.parent_cgroup, |parent| parent.cgroup);
            let outside = match self.places.container_of(parent_cgroup) {
                Some(parent_id) => parent_id != Some(id),
                None => below,
            };
            let first = self.places.first_of(cgroup, key);
            return (outside && info.vpid != 1 && !first).then_some(cgroup);
        }
        // Not in its cgroup, but in its PID namespace.
        if info.level == 0 {
            return None;
        }
        let outside = match parent {
            Some(parent) if parent.info.pidns != 0 => parent.info.pidns != info.pidns,
            _ => below,
        };
        let home = self.places.home_of(info)?;
        outside.then_some(home)
    }
}

/// Whether this is runc between entering a container and executing what it was asked to: it runs a copy of itself, from
/// memory or not, as `runc init`, and calls itself `runc:[2:INIT]`. That happens before it has the container's mounts:
/// what has them already is a program of the container, whatever it is called. `outside` is its parent's mount namespace.
pub(super) fn is_runtime(image: &Image, info: &ProcessInfo, outside: Option<u32>) -> bool {
    if outside.is_some_and(|outside| outside != 0 && info.mntns != 0 && outside != info.mntns) {
        return false;
    }
    let file = image.exe.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let copy = image.exe.starts_with(b"memfd:runc") || info.comm.starts_with(b"runc:[");
    let runc = file.starts_with(b"runc") || info.exe_flags & EXE_MEMFD != 0 && copy;
    runc && image.arguments().nth(1) == Some(b"init")
}
