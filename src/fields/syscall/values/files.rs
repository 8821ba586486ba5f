//! Fields of the descriptor an event works on, and of the paths it names.
//!
//! An event has a descriptor when its call takes or returns one. The path of an opened file is the kernel's: absolute,
//! links followed. Where a call failed or only names a path, the path is made absolute as text.

use nix::libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

use super::container::push_id;
use super::path::{directory, file_name, push_absolute};
use super::{part, push, socket, text, written};
use crate::event::syscall::{FileInfo, Kind, Part};
use crate::fields::syscall::calls::{Family, RESULT};
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};

/// What descriptors refer to: `fd.type` and `fd.typechar`.
type Type = (&'static str, &'static str);

const FILE: Type = ("file", "f");
/// `PID_FS_MAGIC` (include/uapi/linux/magic.h): since Linux 6.9 these descriptors have a file system of their own.
const PIDFS: u32 = 0x5049_4446;

/// Descriptors without a file or socket, by the name that the kernel gives them.
const ANONYMOUS: &[(&str, Type)] = &[
    ("[eventfd]", ("event", "e")),
    ("[signalfd]", ("signalfd", "s")),
    ("[eventpoll]", ("eventpoll", "l")),
    ("inotify", ("inotify", "i")),
    ("[timerfd]", ("timerfd", "t")),
    ("[io_uring]", ("io_uring", "r")),
    ("[userfaultfd]", ("userfaultfd", "q")),
    ("[pidfd]", ("pidfd", "P")),
    ("bpf-", ("bpf", "b")),
    ("memfd:", ("memfd", "m")),
];

fn type_of(file: &FileInfo, name: &[u8]) -> Type {
    match i32::from(file.family) {
        AF_INET => return ("ipv4", "4"),
        AF_INET6 => return ("ipv6", "6"),
        AF_UNIX => return ("unix", "u"),
        AF_NETLINK => return ("netlink", "n"),
        _ => {}
    }
    let named = || {
        let name = name.strip_prefix(b"anon_inode:").unwrap_or(name);
        ANONYMOUS.iter().find(|(prefix, _)| name.starts_with(prefix.as_bytes()))
    };
    match file.mode & S_IFMT {
        _ if file.magic == PIDFS => ("pidfd", "P"),
        _ if !name.starts_with(b"/") && named().is_some() => named().map_or(FILE, |(_, kind)| *kind),
        S_IFDIR => ("directory", "d"),
        S_IFIFO => ("pipe", "p"),
        S_IFREG | S_IFCHR | S_IFBLK | S_IFLNK => FILE,
        _ => ("other", "o"),
    }
}

impl SyscallView<'_> {
    fn family(&self) -> Option<Family> {
        self.call.map(|call| call.family())
    }

    /// The number of the descriptor that the call is about; a call that failed to make one has the error instead.
    pub fn descriptor(&self) -> Option<i64> {
        let call = self.call?;
        match call.family() {
            Family::Open => Some(self.record.head.result),
            Family::Fd if call.read.fd == RESULT => Some(self.record.head.result),
            Family::Fd => Some(i64::from(self.record.head.arg[usize::from(call.read.fd) - 1] as i32)),
            Family::Paths => None,
        }
    }

    /// The type of that descriptor; what could not be opened would have been a file.
    pub fn descriptor_type(&self) -> Option<Type> {
        match self.record.file() {
            Some(file) => Some(type_of(&file, self.record.part(Part::Base1))),
            None => (self.family() == Some(Family::Open)).then_some(FILE),
        }
    }

    /// The name of that descriptor: a path, or the ends of a connection.
    pub fn push_descriptor(&self, out: &mut Vec<u8>) -> Option<()> {
        match self.record.file() {
            Some(file) if file.family != 0 => socket::push_name(self, &file, out),
            Some(_) => {
                out.extend_from_slice(self.record.part(Part::Base1));
                Some(())
            }
            None if self.family() == Some(Family::Open) => self.push_path(1, out),
            None => None,
        }
    }

    /// The first or second path of the call, made absolute.
    pub fn push_path(&self, which: u8, out: &mut Vec<u8>) -> Option<()> {
        let (path, base) = match which {
            1 => (Part::Path1, Part::Base1),
            _ => (Part::Path2, Part::Base2),
        };
        let (path, base) = (self.record.part(path), self.record.part(base));
        // A change of the working directory that succeeded starts where it led to.
        let arrived = || self.record.head.result == 0 && self.call.is_some_and(|call| call.name == "chdir");
        let opened = self.family() == Some(Family::Open) && self.record.file().is_some() || arrived();
        if path.starts_with(b"/") || !opened && !path.is_empty() {
            push_absolute(out, base, path);
        } else if opened && !base.is_empty() {
            // What a relative path started from is gone; where it led is known.
            out.extend_from_slice(base);
        } else {
            return None;
        }
        Some(())
    }

    /// Whether the call names two paths: a source and a target.
    fn has_target(&self) -> Option<bool> {
        let paths = self.call?.read.path;
        (paths[0] != 0).then_some(paths[1] != 0)
    }
}

fn absolute(view: &SyscallView<'_>, scratch: &mut Scratch, which: u8) -> Option<Value> {
    written(scratch, |out| view.push_path(which, out))
}

fn raw(view: &SyscallView<'_>, which: Part) -> Option<Value> {
    part(view, which).map(Value::Text)
}

pub const NUM: Get = |v, _, _| v.descriptor().map(Value::Int);
pub const TYPE: Get = |v, _, s| text(s, v.descriptor_type()?.0.as_bytes());
pub const TYPECHAR: Get = |v, _, s| text(s, v.descriptor_type()?.1.as_bytes());
pub const TYPES: Get = |v, _, s| {
    let item = text(s, v.descriptor_type()?.0.as_bytes())?;
    let start = s.items.len();
    s.items.push(item);
    Some(s.list_from(start))
};
pub const NAME: Get = |v, _, s| written(s, |out| v.push_descriptor(out));
/// A path as it was given.
pub const NAMERAW: Get = |v, _, s| match v.family()? {
    Family::Open => raw(v, Part::Path1).or_else(|| NAME(v, None, s)),
    Family::Fd => NAME(v, None, s),
    Family::Paths => None,
};

/// Writes the name of a file and keeps a part of it.
fn of_path(out: &mut Vec<u8>, view: &SyscallView<'_>, keep: fn(&[u8]) -> &[u8]) -> Option<()> {
    view.descriptor_type().filter(|(_, kind)| matches!(*kind, "f" | "d"))?;
    let start = out.len();
    view.push_descriptor(out)?;
    let kept = keep(&out[start..]);
    let (from, length) = (kept.as_ptr() as usize - out[start..].as_ptr() as usize, kept.len());
    out.copy_within(start + from..start + from + length, start);
    out.truncate(start + length);
    Some(())
}

pub const DIRECTORY: Get = |v, _, s| written(s, |out| of_path(out, v, directory));
pub const FILENAME: Get = |v, _, s| written(s, |out| of_path(out, v, file_name));
pub const UID: Get = |v, _, s| {
    let number = v.descriptor()?;
    written(s, |out| {
        push(out, format_args!("{}{number}", v.record.head.tid));
        Some(())
    })
};
pub const CONTAINER_NAME: Get = |v, _, s| {
    written(s, |out| {
        push_id(v, out)?;
        out.push(b':');
        v.push_descriptor(out)
    })
};
pub const CONTAINER_DIRECTORY: Get = |v, _, s| {
    written(s, |out| {
        push_id(v, out)?;
        out.push(b':');
        of_path(out, v, directory)
    })
};

/// A device number as stat(2) has it.
pub fn device(dev: u32) -> i64 {
    let (major, minor) = (dev >> 20, dev & 0xf_ffff);
    i64::from(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

pub const DEV: Get = |v, _, _| Some(Value::Int(device(v.record.file()?.dev)));
pub const DEV_MAJOR: Get = |v, _, _| Some(Value::Int(i64::from(v.record.file()?.dev >> 20)));
pub const DEV_MINOR: Get = |v, _, _| Some(Value::Int(i64::from(v.record.file()?.dev & 0xf_ffff)));
pub const INO: Get = |v, _, _| Some(Value::Int(v.record.file()?.ino as i64));
pub const IS_UPPER: Get = |v, _, _| Some(Value::Bool(v.record.file()?.layer == 1));
pub const IS_LOWER: Get = |v, _, _| Some(Value::Bool(v.record.file()?.layer == 2));

pub const PATH_NAME: Get = |v, _, s| match v.has_target() {
    Some(false) => absolute(v, s, 1),
    Some(true) => None,
    // Calls that change a file by its descriptor.
    None => match v.call?.name {
        "fchmod" | "fchown" | "ftruncate" | "fchdir" => NAME(v, None, s),
        _ => None,
    },
};
pub const PATH_NAMERAW: Get = |v, _, s| match v.has_target() {
    Some(false) => raw(v, Part::Path1),
    _ => PATH_NAME(v, None, s),
};
pub const PATH_SOURCE: Get = |v, _, s| v.has_target()?.then(|| absolute(v, s, 1))?;
pub const PATH_SOURCERAW: Get = |v, _, _| v.has_target()?.then(|| raw(v, Part::Path1))?;
pub const PATH_TARGET: Get = |v, _, s| v.has_target()?.then(|| absolute(v, s, 2))?;
pub const PATH_TARGETRAW: Get = |v, _, _| v.has_target()?.then(|| raw(v, Part::Path2))?;
/// The target of a call with two paths, unless `.src` asks for the source.
pub const ABSPATH: Get = |v, which, s| match (v.has_target()?, which) {
    (_, Some("src")) | (false, None) => absolute(v, s, 1),
    (true, _) => absolute(v, s, 2),
    (false, _) => None,
};

/// The program that execve was asked for.
pub const EXEC_NAME: Get = |v, _, s| match v.record.kind {
    Kind::Exec => super::process::EXEPATH(v, None, s),
    _ => absolute(v, s, 1),
};
pub const MEMFD_NAME: Get = |v, _, s| text(s, v.record.part(Part::Base1).strip_prefix(b"memfd:")?);
