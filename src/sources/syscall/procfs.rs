//! Processes as /proc shows them: at start, where the kernel's task iterator does not tell of them, and where records
//! were lost.
//!
//! Nothing here fails: what may not be read, or is gone by the time it is read, is empty, and a process without `stat`
//! and `status` is not there. Starts are in clock ticks; [`crate::processes::Key`] says how they become exact.
//!
//! Texts are parsed in `parse`, from bytes: names of processes and directories are whatever somebody made them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::event::syscall::{EXE_MEMFD, EXE_WRITABLE, Part, ProcessInfo, Record};
use crate::processes::{Snapshot, TICK};

pub mod parse;

use parse::{Mount, Stat, Status};

/// As much as the probe sends of a command line or an environment.
const TEXT: usize = 4_096;

/// A proc file system, and where the cgroup file systems are mounted.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
    mounts: Vec<Mount>,
    environment: bool,
}

/// What is read of one process before its parent is looked at.
#[derive(Clone, Debug)]
struct Own {
    stat: Stat,
    status: Status,
    cgroup: u64,
    cgroup_path: Vec<u8>,
    pidns: u32,
}

impl Procfs {
    /// `/proc` as it is mounted; whether environments are read is for the rules to say.
    pub fn new(environment: bool) -> Self {
        Procfs::at("/proc", environment)
    }

    /// A proc file system mounted elsewhere, such as the host's in a container.
    pub fn at(root: impl Into<PathBuf>, environment: bool) -> Self {
        let mounts = parse::cgroup_mounts(&read(Path::new("/proc/self/mountinfo")));
        Procfs {
            root: root.into(),
            mounts,
            environment,
        }
    }

    /// All processes, those that started first before others: parents before children.
    pub fn all(&self) -> Vec<Snapshot> {
        let Ok(directory) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let pids = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let own: HashMap<u32, Own> = pids.filter_map(|pid| Some((pid, self.own(pid)?))).collect();
        // The first process of each PID namespace.
        let first: HashMap<u32, u64> = (own.values())
            .filter(|own| own.status.vpid() == 1)
            .map(|own| (own.pidns, own.stat.start))
            .collect();
        let mut all: Vec<Snapshot> = (own.iter())
            .map(|(pid, this)| {
                let mut snapshot = self.complete(*pid, this, own.get(&this.stat.ppid));
                snapshot.info.pidns_start = first.get(&this.pidns).copied().unwrap_or(0);
                snapshot
            })
            .collect();
        all.sort_unstable_by_key(|snapshot| (snapshot.info.start, snapshot.info.pid));
        all
    }

    /// One process.
    pub fn one(&self, pid: u32) -> Option<Snapshot> {
        let own = self.own(pid)?;
        let parent = (own.stat.ppid != 0).then(|| self.own(own.stat.ppid)).flatten();
        let mut snapshot = self.complete(pid, &own, parent.as_ref());
        if own.status.vpid() == 1 {
            snapshot.info.pidns_start = own.stat.start;
        }
        // Its id was given to another one meanwhile.
        (self.own(pid)?.stat.start == own.stat.start).then_some(snapshot)
    }

    /// A process that the kernel's task iterator tells of (see [`super::probe::Probe::tasks`]), with the texts that only
    /// /proc has. A mount over its directory hides those, and nothing else.
    pub fn told(&self, task: &Record<'_>) -> Option<Snapshot> {
        let info = task.process()?;
        let same = parse::stat(&read(&self.file(info.pid, "stat"))).is_some_and(|stat| stat.start == info.start / TICK);
        Some(Snapshot {
            info,
            exe: task.part(Part::Base1).into(),
            argv: self.text(same, info.pid, "cmdline"),
            env: self.text(same && self.environment, info.pid, "environ"),
            cwd: task.part(Part::Base2).into(),
            cgroup: task.head.cgroup,
            cgroup_path: task.part(Part::Cgroup).into(),
        })
    }

    fn text(&self, wanted: bool, pid: u32, name: &str) -> Box<[u8]> {
        let mut text = if wanted {
            read(&self.file(pid, name))
        } else {
            Vec::new()
        };
        text.truncate(TEXT);
        text.into()
    }

    fn file(&self, pid: u32, name: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(name)
    }

    fn own(&self, pid: u32) -> Option<Own> {
        let mut stat = parse::stat(&read(&self.file(pid, "stat")))?;
        stat.start = stat.start.saturating_mul(TICK);
        let status = parse::status(&read(&self.file(pid, "status")))?;
        let (cgroup, cgroup_path) = self.cgroup(pid);
        Some(Own {
            stat,
            status,
            cgroup,
            cgroup_path,
            pidns: self.namespace(pid, "ns/pid"),
        })
    }

    /// The cgroup that the probe tells containers apart by: that of the unified hierarchy, or where that is not used
    /// the one of the pids controller.
    fn cgroup(&self, pid: u32) -> (u64, Vec<u8>) {
        let text = read(&self.file(pid, "cgroup"));
        let Some((unified, path)) = parse::cgroup(&text) else {
            return (0, Vec::new());
        };
        // The id of a cgroup is the inode number of its directory.
        (self.mounts.iter().filter(|mount| mount.unified == unified))
            .find_map(|mount| {
                let (directory, from_root) = mount.directory(path)?;
                let id = fs::metadata(Path::new(std::ffi::OsStr::from_bytes(&directory)))
                    .ok()?
                    .ino();
                Some((id, from_root))
            })
            .unwrap_or_else(|| (0, path.to_vec()))
    }

    fn namespace(&self, pid: u32, name: &str) -> u32 {
        let link = fs::read_link(self.file(pid, name)).unwrap_or_default();
        parse::namespace(link.as_os_str().as_bytes()).unwrap_or(0)
    }

    fn complete(&self, pid: u32, own: &Own, parent: Option<&Own>) -> Snapshot {
        let (stat, status) = (&own.stat, &own.status);
        let level = status.level();
        let parent_level = parent.map_or(0, |parent| parent.status.level());
        let mut info = ProcessInfo {
            start: stat.start,
            parent_start: parent.map_or(0, |parent| parent.stat.start),
            parent_cgroup: parent.map_or(0, |parent| parent.cgroup),
            cap_permitted: status.cap_permitted,
            cap_effective: status.cap_effective,
            cap_inheritable: status.cap_inheritable,
            pid,
            tid: pid,
            ppid: stat.ppid,
            ruid: status.uid[0],
            euid: status.uid[1],
            suid: status.uid[2],
            rgid: status.gid[0],
            egid: status.gid[1],
            loginuid: parse::number(&read(&self.file(pid, "loginuid"))).map_or(u32::MAX, |uid| uid as u32),
            tty: stat.tty,
            sid: stat.sid,
            pgid: stat.pgid,
            vpid: status.vpid(),
            vtid: status.vpid(),
            vppid: parent
                .filter(|_| parent_level >= level)
                .and_then(|parent| parent.status.pids.get(level as usize).copied())
                .unwrap_or(0),
            vsid: status.vsid,
            vpgid: status.vpgid,
            level,
            parent_level,
            pidns: own.pidns,
            mntns: self.namespace(pid, "ns/mnt"),
            comm: stat.comm,
            ..ProcessInfo::default()
        };
        let exe = self.executable(pid, &mut info);
        Snapshot {
            info,
            exe: exe.into(),
            argv: self.text(true, pid, "cmdline"),
            env: self.text(self.environment, pid, "environ"),
            cwd: self.link(pid, "cwd").into(),
            cgroup: own.cgroup,
            cgroup_path: own.cgroup_path.clone().into(),
        }
    }

    /// Where a link points to. What has been deleted keeps the name that the probe would tell.
    fn link(&self, pid: u32, name: &str) -> Vec<u8> {
        let file = self.file(pid, name);
        let mut path = fs::read_link(&file).unwrap_or_default().into_os_string().into_vec();
        if path.ends_with(b" (deleted)") && fs::metadata(&file).is_ok_and(|meta| meta.nlink() == 0) {
            path.truncate(path.len() - b" (deleted)".len());
        }
        path
    }

    fn executable(&self, pid: u32, info: &mut ProcessInfo) -> Vec<u8> {
        let mut path = self.link(pid, "exe");
        let Ok(meta) = fs::metadata(self.file(pid, "exe")) else {
            return path;
        };
        info.exe_ino = meta.ino();
        info.exe_dev = ((libc::major(meta.dev()) as u32) << 20) | libc::minor(meta.dev()) as u32;
        info.exe_ctime = nanoseconds(meta.ctime(), meta.ctime_nsec());
        info.exe_mtime = nanoseconds(meta.mtime(), meta.mtime_nsec());
        let mode = meta.mode();
        let writable = info.euid == 0
            || (meta.uid() == info.euid && mode & 0o200 != 0)
            || (meta.gid() == info.egid && mode & 0o020 != 0)
            || mode & 0o002 != 0;
        if writable {
            info.exe_flags |= EXE_WRITABLE;
        }
        if path.starts_with(b"/memfd:") && meta.nlink() == 0 {
            path.remove(0);
            info.exe_flags |= EXE_MEMFD;
        }
        path
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    (seconds.max(0) as u64).saturating_mul(1_000_000_000) + nanoseconds.max(0) as u64
}

#[cfg(test)]
mod tests;
