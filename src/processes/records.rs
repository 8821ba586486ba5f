//! What records change.

use std::sync::Arc;

use nix::libc;

use super::table::Entry;
use super::{Applied, ExecRoot, Image, Key, Process, Processes, actor_key};
use crate::event::syscall::{Header, Kind, Part, ProcessInfo, Record};

impl Processes {
    /// Updates the state with a record, before it is evaluated. The process of an exit is still found.
    pub fn apply(&mut self, record: &Record<'_>) -> Applied {
        match record.kind {
            Kind::Call => self.call(record),
            Kind::Exec => self.exec(record),
            Kind::Fork => self.fork(record),
            Kind::Exit => {
                let key = actor_key(record);
                if self.table.get(key).is_none() {
                    self.unknown += 1;
                }
                self.table.end(key, record.head.time);
                Applied::Nothing
            }
        }
    }

    /// To be called after evaluation: drops who has ended, unless somebody descends from it.
    pub fn settle(&mut self, record: &Record<'_>) {
        if record.kind == Kind::Exit {
            self.table.settle(actor_key(record));
        }
    }

    fn call(&mut self, record: &Record<'_>) -> Applied {
        let (head, key) = (&record.head, actor_key(record));
        self.sockets.call(record);
        let Some(entry) = self.table.get_mut(key) else {
            self.unknown += 1;
            return self.ask(key);
        };
        let process = &mut entry.process;
        let moved = process.cgroup != head.cgroup;
        refresh(process, head);
        match libc::c_long::from(head.nr) {
            libc::SYS_chdir | libc::SYS_fchdir if head.result == 0 => change_directory(process, record),
            libc::SYS_capset if head.result == 0 => {
                let info = &mut process.info;
                [info.cap_permitted, info.cap_effective, info.cap_inheritable] =
                    [head.arg[2], head.arg[3], head.arg[4]];
            }
            libc::SYS_setsid if head.result >= 0 => {
                let info = &mut process.info;
                (info.sid, info.pgid, info.vsid, info.vpgid) = (info.pid, info.pid, info.vpid, info.vpid);
                info.tty = 0;
            }
            libc::SYS_setpgid if head.result == 0 => {
                let changed = |pid: u64| [0, u64::from(process.info.vpid)].contains(&pid);
                if changed(head.arg[0]) {
                    self.set_group(key, head.arg[1] as u32);
                }
            }
            _ => {}
        }
        // Who has moved into a cgroup that nobody has told of: /proc has its path.
        let partial = self.table.get(key).is_some_and(|entry| entry.partial);
        if partial || moved && !self.places.is_known(head.cgroup) {
            return self.ask(key);
        }
        Applied::Nothing
    }

    /// The process has joined a group, by the number that its PID namespace has for it.
    fn set_group(&mut self, key: Key, vpgid: u32) {
        let Some(process) = self.get(key) else { return };
        let own = process.info;
        let parent = self.parent(process).map(|parent| parent.info);
        let pgid = match vpgid {
            id if id == 0 || id == own.vpid => own.pid,
            id if own.level == 0 => id,
            // Groups of a session mostly are the shell's own or its sibling's: the latter is not known by this number.
            id => parent
                .filter(|parent| parent.pidns == own.pidns && parent.vpgid == id)
                .map_or(0, |parent| parent.pgid),
        };
        if let Some(entry) = self.table.get_mut(key) {
            entry.process.info.pgid = pgid;
            entry.process.info.vpgid = if vpgid == 0 { own.vpid } else { vpgid };
        }
    }

    fn fork(&mut self, record: &Record<'_>) -> Applied {
        let Some(info) = record.process() else {
            return Applied::Nothing;
        };
        let (head, from) = (&record.head, actor_key(record));
        let child = Key {
            pid: info.pid,
            start: info.start,
        };
        // With CLONE_PARENT the new process is a sibling of who made it, which is what runc does.
        let parent = match info.parent_start {
            0 => from,
            start => Key { pid: info.ppid, start },
        };
        let mut reported = None;
        let maker = self.table.get_mut(from).map(|entry| {
            refresh(&mut entry.process, head);
            if std::mem::take(&mut entry.runtime)
                && let Some(root) = &mut entry.process.exec_root
            {
                *root = Arc::new(ExecRoot {
                    runtime: false,
                    ..(**root).clone()
                });
                reported = Some(root.clone());
            }
            let process = &entry.process;
            let shared = (process.image.clone(), process.cwd.clone(), process.exec_root.clone());
            (shared, entry.partial)
        });
        let found = maker.is_some();
        let ((image, cwd, exec_root), partial) =
            maker.unwrap_or_else(|| ((Arc::default(), Arc::default(), None), true));
        if let Some(entry) = self.table.get_mut(child) {
            // Its own execve was told before this.
            if !entry.is_root() {
                entry.process.exec_root = exec_root;
            }
            self.table.adopt(child, parent);
        } else if !self.table.is_past(child) {
            let process = Process {
                key: child,
                info,
                image,
                cwd,
                parent,
                cgroup: head.cgroup,
                exec_root,
                exited: None,
            };
            self.table.insert(Entry {
                process,
                partial,
                runtime: false,
            });
        }
        if !found {
            self.unknown += 1;
            return self.ask(from);
        }
        reported.map_or(Applied::Nothing, Applied::ExecRoot)
    }

    fn exec(&mut self, record: &Record<'_>) -> Applied {
        let Some(info) = record.process() else {
            return Applied::Nothing;
        };
        let (head, key) = (&record.head, actor_key(record));
        let new = self.learn_cgroup(head.cgroup, record.part(Part::Cgroup), &info);
        let image = Arc::new(Image {
            exe: record.part(Part::Base1).into(),
            argv: record.part(Part::Data).into(),
            env: record.part(Part::Env).into(),
        });
        let directory = record.part(Part::Base2);
        let mut missing = None;
        if let Some(entry) = self.table.get_mut(key) {
            entry.partial = false;
            let process = &mut entry.process;
            process.image = image;
            process.info = info;
            if !directory.is_empty() && *process.cwd != *directory {
                process.cwd = directory.into();
            }
            refresh(process, head);
        } else if self.table.is_past(key) {
            return new;
        } else {
            self.unknown += 1;
            let parent = Key {
                pid: info.ppid,
                start: info.parent_start,
            };
            missing = (parent.pid != 0 && self.table.get(parent).is_none()).then_some(parent);
            let process = Process {
                key,
                info,
                image,
                cwd: directory.into(),
                parent,
                cgroup: head.cgroup,
                exec_root: None,
                exited: None,
            };
            self.table.insert(Entry {
                process,
                partial: false,
                runtime: false,
            });
            self.inherit(key);
        }
        match (self.enter(key, &info, head.cgroup, head.time), new, missing) {
            (Some(root), ..) => Applied::ExecRoot(root),
            (None, Applied::Nothing, Some(parent)) => self.ask(parent),
            (None, new, _) => new,
        }
    }

    /// What a process whose fork was not seen has from its parent.
    pub(super) fn inherit(&mut self, key: Key) {
        let root = self
            .get(key)
            .and_then(|process| self.parent(process)?.exec_root.clone());
        if let (Some(root), Some(entry)) = (root, self.table.get_mut(key))
            && !entry.is_root()
        {
            entry.process.exec_root = Some(root);
        }
    }

    pub(super) fn learn_cgroup(&mut self, cgroup: u64, path: &[u8], info: &ProcessInfo) -> Applied {
        let full = self.places.is_full(cgroup);
        if full {
            let used = self.table.living().map(|entry| entry.process.cgroup).collect();
            self.places.sweep(&used);
        }
        let new = self.places.learn(cgroup, path);
        self.places.learn_namespace(cgroup, info);
        if new {
            Applied::NewContainer { cgroup }
        } else {
            Applied::Nothing
        }
    }
}

/// What every record's header tells of its process.
#[inline]
fn refresh(process: &mut Process, head: &Header) {
    process.key.start = head.start;
    process.info.start = head.start;
    process.info.euid = head.uid;
    process.info.egid = head.gid;
    if head.cgroup != 0 {
        process.cgroup = head.cgroup;
    }
}

/// The probe reads where a relative path starts when the call has returned: that is the new directory already. So does
/// it with the directory of fchdir. An absolute path is all that it sends of others; links in it are not resolved.
fn change_directory(process: &mut Process, record: &Record<'_>) {
    let resolved = record.part(Part::Base1);
    if !resolved.is_empty() {
        if *process.cwd != *resolved {
            process.cwd = resolved.into();
        }
        return;
    }
    let given = record.part(Part::Path1);
    if given.first() != Some(&b'/') {
        return;
    }
    let mut path: Vec<u8> = Vec::with_capacity(given.len());
    for name in given.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    if *process.cwd != *path {
        process.cwd = path.into();
    }
}
