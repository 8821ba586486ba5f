//! Fields of the process and thread that acted, its ancestors, and its user.
//!
//! What the record's header says is newer than what is known of the process: its ids and user come from there.

use super::{push_joined, text, written};
use crate::event::syscall::{EXE_LOWER, EXE_MEMFD, EXE_UPPER, EXE_WRITABLE};
use crate::fields::syscall::calls::CAPABILITIES;
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};
use crate::processes::{ExecRoot, Process};

type Write = fn(&Process, &mut Vec<u8>);

fn name(process: &Process, out: &mut Vec<u8>) {
    out.extend_from_slice(process.name());
}

/// The first argument.
fn exe(process: &Process, out: &mut Vec<u8>) {
    out.extend_from_slice(process.image.arguments().next().unwrap_or_default());
}

fn exepath(process: &Process, out: &mut Vec<u8>) {
    out.extend_from_slice(&process.image.exe);
}

/// The arguments after the first.
fn args(process: &Process, out: &mut Vec<u8>) {
    push_joined(out, process.image.arguments().skip(1), b' ');
}

fn cmdline(process: &Process, out: &mut Vec<u8>) {
    let arguments = process.image.arguments().skip(1);
    push_joined(out, std::iter::once(process.name()).chain(arguments), b' ');
}

fn environment(process: &Process, out: &mut Vec<u8>) {
    let all = process.image.env.strip_suffix(b"\0").unwrap_or(&process.image.env);
    push_joined(out, all.split(|b| *b == 0), b' ');
}

impl<'a> SyscallView<'a> {
    fn parent(&self) -> Option<&'a Process> {
        self.processes.parent(self.actor?)
    }

    /// 0 is the process itself, 1 its parent.
    fn nth(&self, index: usize) -> Option<&'a Process> {
        match index {
            0 => self.actor,
            _ => self.processes.ancestors(self.actor?).nth(index - 1),
        }
    }

    /// The process with that id as the first PID namespace has it, or else the oldest of the line that has `same`.
    fn leader(&self, pid: fn(&Process) -> u32, same: fn(&Process) -> u32) -> Option<&'a Process> {
        let actor = self.actor?;
        let id = same(actor);
        let line = || self.processes.ancestors(actor).take_while(|p| same(p) == id);
        let by_pid = self.processes.by_pid(pid(actor)).filter(|p| same(p) == id);
        by_pid.or_else(|| line().last()).or(Some(actor))
    }
}

fn own(view: &SyscallView<'_>, scratch: &mut Scratch, write: Write) -> Option<Value> {
    of(view.actor, scratch, write)
}

fn of(process: Option<&Process>, scratch: &mut Scratch, write: Write) -> Option<Value> {
    let process = process?;
    Some(Value::Text(scratch.text(|out| write(process, out))))
}

/// One ancestor's value, or without an index those of all of them.
fn ancestors(
    view: &SyscallView<'_>,
    index: Option<&str>,
    scratch: &mut Scratch,
    value: impl Fn(&Process, &mut Scratch) -> Value,
) -> Option<Value> {
    if let Some(index) = index {
        return Some(value(view.nth(index.parse().ok()?)?, scratch));
    }
    let start = scratch.items.len();
    for process in view.processes.ancestors(view.actor?) {
        let item = value(process, scratch);
        scratch.items.push(item);
    }
    Some(scratch.list_from(start))
}

fn texts(view: &SyscallView<'_>, index: Option<&str>, scratch: &mut Scratch, write: Write) -> Option<Value> {
    ancestors(view, index, scratch, |process, scratch| {
        Value::Text(scratch.text(|out| write(process, out)))
    })
}

fn session(view: &SyscallView<'_>, scratch: &mut Scratch, write: Write) -> Option<Value> {
    of(view.leader(|p| p.info.sid, |p| p.info.sid), scratch, write)
}

fn group(view: &SyscallView<'_>, scratch: &mut Scratch, write: Write) -> Option<Value> {
    of(view.leader(|p| p.info.pgid, |p| p.info.pgid), scratch, write)
}

pub const EXE: Get = |v, _, s| own(v, s, exe);
pub const PEXE: Get = |v, _, s| of(v.parent(), s, exe);
pub const AEXE: Get = |v, index, s| texts(v, index, s, exe);
pub const EXEPATH: Get = |v, _, s| own(v, s, exepath);
pub const PEXEPATH: Get = |v, _, s| of(v.parent(), s, exepath);
pub const AEXEPATH: Get = |v, index, s| texts(v, index, s, exepath);
pub const NAME: Get = |v, _, s| own(v, s, name);
pub const PNAME: Get = |v, _, s| of(v.parent(), s, name);
pub const ANAME: Get = |v, index, s| texts(v, index, s, name);
pub const AARGS: Get = |v, index, s| texts(v, index, s, args);
pub const CMDLINE: Get = |v, _, s| own(v, s, cmdline);
pub const PCMDLINE: Get = |v, _, s| of(v.parent(), s, cmdline);
pub const ACMDLINE: Get = |v, index, s| texts(v, index, s, cmdline);
pub const SNAME: Get = |v, _, s| session(v, s, name);
pub const SID_EXE: Get = |v, _, s| session(v, s, exe);
pub const SID_EXEPATH: Get = |v, _, s| session(v, s, exepath);
pub const PGID_NAME: Get = |v, _, s| group(v, s, name);
pub const PGID_EXE: Get = |v, _, s| group(v, s, exe);
pub const PGID_EXEPATH: Get = |v, _, s| group(v, s, exepath);

/// An index counts from the argument after the program's own name.
pub const ARGS: Get = |v, index, s| match index {
    None => own(v, s, args),
    Some(index) => text(s, v.actor?.image.arguments().nth(index.parse::<usize>().ok()? + 1)?),
};
pub const EXELINE: Get = |v, _, s| {
    let arguments = v.actor?.image.arguments();
    written(s, |out| {
        push_joined(out, arguments, b' ');
        Some(())
    })
};
pub const ARGUMENTS: Get = |v, _, _| uint(v.actor?.image.arguments().skip(1).count() as u64);
pub const ARGUMENTS_LENGTH: Get = |v, _, _| uint(v.actor?.image.arguments().skip(1).map(|a| a.len() as u64).sum());

pub const ENV: Get = |v, key, s| match key {
    None => own(v, s, environment),
    Some(key) => text(s, v.actor?.image.variable(key.as_bytes())?),
};
/// With an index an ancestor's whole environment, with a name the nearest ancestor that has that variable.
pub const AENV: Get = |v, key, s| match key.map(|key| (key, key.parse::<usize>())) {
    None => of(v.parent(), s, environment),
    Some((_, Ok(index))) => of(v.nth(index), s, environment),
    Some((key, Err(_))) => {
        let found = v
            .processes
            .ancestors(v.actor?)
            .find_map(|p| p.image.variable(key.as_bytes()))?;
        text(s, found)
    }
};

pub const CWD: Get = |v, _, s| {
    let cwd = &v.actor?.cwd;
    written(s, |out| {
        out.extend_from_slice(cwd);
        if !cwd.ends_with(b"/") {
            out.push(b'/');
        }
        Some(())
    })
};
/// The oldest one of the line, the process included, whose name ends like a shell's.
pub const LOGINSHELL: Get = |v, _, _| {
    let actor = v.actor?;
    let line = std::iter::once(actor).chain(v.processes.ancestors(actor));
    int(line.filter(|p| p.name().ends_with(b"sh")).last()?.key.pid)
};

fn int(number: u32) -> Option<Value> {
    Some(Value::Int(i64::from(number)))
}

fn uint(number: u64) -> Option<Value> {
    Some(Value::Uint(number))
}

fn yes(truth: bool) -> Option<Value> {
    Some(Value::Bool(truth))
}

/// What a standard descriptor was at the last execve, or at the fork.
fn stdio(view: &SyscallView<'_>, number: usize, scratch: &mut Scratch) -> Option<Value> {
    let name: &str = match view.actor?.info.stdio[number] {
        b'f' => "file",
        b'd' => "directory",
        b'p' => "pipe",
        b'4' => "ipv4",
        b'6' => "ipv6",
        b'u' => "unix",
        b'o' => "other",
        _ => return None,
    };
    text(scratch, name.as_bytes())
}

pub const STDIN_TYPE: Get = |v, _, s| stdio(v, 0, s);
pub const STDOUT_TYPE: Get = |v, _, s| stdio(v, 1, s);
pub const STDERR_TYPE: Get = |v, _, s| stdio(v, 2, s);
pub const TTY: Get = |v, _, _| uint(v.actor?.info.tty.into());
pub const PID: Get = |v, _, _| int(v.record.head.pid);
pub const PPID: Get = |v, _, _| int(v.record.head.ppid);
pub const APID: Get = |v, index, s| ancestors(v, index, s, |p, _| Value::Int(p.key.pid.into()));
pub const VPID: Get = |v, _, _| int(v.actor?.info.vpid);
pub const PVPID: Get = |v, _, _| int(v.actor?.info.vppid);
pub const SID: Get = |v, _, _| int(v.actor?.info.vsid);
pub const VPGID: Get = |v, _, _| int(v.actor?.info.vpgid);
pub const PGID: Get = |v, _, _| int(v.actor?.info.pgid);
pub const IS_SID_LEADER: Get = |v, _, _| yes(v.actor?.info.vsid == v.actor?.info.vpid);
pub const IS_VPGID_LEADER: Get = |v, _, _| yes(v.actor?.info.vpgid == v.actor?.info.vpid);
pub const IS_PGID_LEADER: Get = |v, _, _| yes(v.actor?.info.pgid == v.actor?.key.pid);
pub const TID: Get = |v, _, _| int(v.record.head.tid);
pub const IS_MAIN: Get = |v, _, _| yes(v.record.head.tid == v.record.head.pid);
/// Of threads beside the first, only those outside of PID namespaces have a number that is known.
pub const VTID: Get = |v, _, _| {
    let (head, info) = (&v.record.head, &v.actor?.info);
    match () {
        () if head.tid == head.pid => int(info.vpid),
        () if info.level == 0 => int(head.tid),
        () => None,
    }
};

pub const START: Get = |v, _, _| uint(v.run.boot + v.actor?.key.start);
pub const PARENT_START: Get = |v, _, _| uint(v.run.boot + v.parent()?.key.start);
pub const DURATION: Get = |v, _, _| uint(v.record.head.time.saturating_sub(v.actor?.key.start));
pub const PARENT_DURATION: Get = |v, _, _| uint(v.record.head.time.saturating_sub(v.parent()?.key.start));

/// The exec into a running container that the process stems from.
fn root<'a>(view: &SyscallView<'a>) -> Option<&'a ExecRoot> {
    view.actor?.exec_root.as_deref()
}

pub const ROOT_PID: Get = |v, _, _| int(root(v)?.key.pid);
pub const ROOT_EXEPATH: Get = |v, _, s| text(s, &root(v)?.image.exe);
pub const ROOT_CMDLINE: Get = |v, _, s| {
    let arguments = root(v)?.image.arguments();
    written(s, |out| {
        push_joined(out, arguments, b' ');
        Some(())
    })
};
pub const ROOT_TTY: Get = |v, _, _| uint(root(v)?.tty.into());
pub const ROOT_START: Get = |v, _, _| uint(v.run.boot + root(v)?.since);
pub const ROOT_DURATION: Get = |v, _, _| uint(v.record.head.time.saturating_sub(root(v)?.since));
pub const IS_ROOT: Get = |v, _, _| {
    let actor = v.actor?;
    yes(root(v).is_some_and(|root| root.key.is(actor.key)))
};

fn exe_flag(view: &SyscallView<'_>, flag: u32) -> Option<Value> {
    yes(view.actor?.info.exe_flags & flag != 0)
}

pub const EXE_IS_WRITABLE: Get = |v, _, _| exe_flag(v, EXE_WRITABLE);
pub const EXE_IS_UPPER: Get = |v, _, _| exe_flag(v, EXE_UPPER);
pub const EXE_IS_LOWER: Get = |v, _, _| exe_flag(v, EXE_LOWER);
pub const EXE_IS_MEMFD: Get = |v, _, _| exe_flag(v, EXE_MEMFD);
pub const EXE_INO: Get = |v, _, _| Some(Value::Int(v.actor?.info.exe_ino as i64));
pub const EXE_CTIME: Get = |v, _, _| uint(v.actor?.info.exe_ctime);
pub const EXE_MTIME: Get = |v, _, _| uint(v.actor?.info.exe_mtime);
/// Absent when the file changed later.
pub const CTIME_TO_START: Get = |v, _, _| {
    let (process, boot) = (v.actor?, v.run.boot);
    uint((boot + process.key.start).checked_sub(process.info.exe_ctime)?)
};
pub const PIDNS_TO_CTIME: Get = |v, _, _| {
    let info = &v.actor?.info;
    uint(info.exe_ctime.checked_sub(v.run.boot + info.pidns_start)?)
};
pub const PIDNS_START: Get = |v, _, _| uint(v.run.boot + v.actor?.info.pidns_start);

fn capabilities(set: u64, scratch: &mut Scratch) -> Option<Value> {
    let names = CAPABILITIES.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
    written(scratch, |out| {
        push_joined(out, names.map(|(_, name)| name.as_bytes()), b' ');
        Some(())
    })
}

pub const CAP_PERMITTED: Get = |v, _, s| capabilities(v.actor?.info.cap_permitted, s);
pub const CAP_EFFECTIVE: Get = |v, _, s| capabilities(v.actor?.info.cap_effective, s);
pub const CAP_INHERITABLE: Get = |v, _, s| capabilities(v.actor?.info.cap_inheritable, s);

/// What stands for a user or group without an entry.
pub const NOBODY: &[u8] = b"<NA>";

/// The name of a user; the super-user's needs no entry.
pub fn user_name<'a>(view: &SyscallView<'a>, uid: u32) -> &'a [u8] {
    match view.processes.user(view.record.head.cgroup, uid) {
        Some(user) => user.name.as_bytes(),
        None if uid == 0 => b"root",
        None => NOBODY,
    }
}

pub fn group_name<'a>(view: &SyscallView<'a>, gid: u32) -> &'a [u8] {
    match view.processes.group(view.record.head.cgroup, gid) {
        Some(name) => name.as_bytes(),
        None if gid == 0 => b"root",
        None => NOBODY,
    }
}

pub const UID: Get = |v, _, _| uint(v.record.head.uid.into());
pub const GID: Get = |v, _, _| uint(v.record.head.gid.into());
pub const USER_NAME: Get = |v, _, s| text(s, user_name(v, v.record.head.uid));
pub const GROUP_NAME: Get = |v, _, s| text(s, group_name(v, v.record.head.gid));
pub const HOME: Get = |v, _, s| match v.processes.user(v.record.head.cgroup, v.record.head.uid) {
    Some(user) => text(s, user.home.as_bytes()),
    None if v.record.head.uid == 0 => text(s, b"/root"),
    None => text(s, NOBODY),
};
pub const SHELL: Get = |v, _, s| match v.processes.user(v.record.head.cgroup, v.record.head.uid) {
    Some(user) => text(s, user.shell.as_bytes()),
    None => text(s, NOBODY),
};
pub const LOGINUID: Get = |v, _, _| match v.actor?.info.loginuid {
    u32::MAX => Some(Value::Int(-1)),
    uid => int(uid),
};
pub const LOGINNAME: Get = |v, _, s| match v.actor?.info.loginuid {
    u32::MAX => text(s, NOBODY),
    uid => text(s, user_name(v, uid)),
};
