//! Fields of the event itself.

use nix::libc::{O_CREAT, O_TMPFILE};

use super::{part, text};
use crate::event::syscall::{Kind, Part};
use crate::fields::Value;
use crate::fields::syscall::calls::Category;
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;

const SECOND: u64 = 1_000_000_000;

impl SyscallView<'_> {
    /// What the call returned; the end of a process returns nothing.
    pub fn result(&self) -> Option<i64> {
        (self.record.kind != Kind::Exit).then_some(self.record.head.result)
    }

    fn category(&self) -> Category {
        match self.record.kind {
            Kind::Call => self.call.map_or(Category::Other, |call| call.category),
            Kind::Exec | Kind::Fork | Kind::Exit => Category::Process,
        }
    }

    fn failed(&self) -> bool {
        self.result().is_some_and(|result| result < 0)
    }

    fn since_last(&self) -> u64 {
        match self.run.before {
            0 => 0,
            before => self.time.saturating_sub(before),
        }
    }
}

fn yes(truth: bool) -> Option<Value> {
    Some(Value::Bool(truth))
}

/// 1, or nothing.
fn once(truth: bool) -> Option<Value> {
    truth.then_some(Value::Uint(1))
}

/// Categories as rules name them. What reads and writes is of the kind that its descriptor is.
fn category(view: &SyscallView<'_>) -> &'static str {
    match view.category() {
        Category::File => "file",
        Category::Net => "net",
        Category::Ipc => "ipc",
        Category::Memory => "memory",
        Category::Process => "process",
        Category::Signal => "signal",
        Category::System => "system",
        Category::User => "user",
        Category::Reads | Category::Writes => match view.descriptor_type() {
            Some((_, "4" | "6")) => "net",
            Some((_, "p" | "u")) => "ipc",
            _ => "file",
        },
        Category::Other => "other",
    }
}

pub const DELTA: Get = |v, _, _| Some(Value::Uint(v.since_last()));
pub const DELTA_S: Get = |v, _, _| Some(Value::Uint(v.since_last() / SECOND));
pub const DELTA_NS: Get = |v, _, _| Some(Value::Uint(v.since_last() % SECOND));
pub const DIR: Get = |_, _, s| text(s, b"<");
/// Kept for old rules.
pub const GONE: Get = |_, _, _| None;
pub const TYPE: Get = |v, _, s| text(s, v.name().as_bytes());
/// Events that no call of a process causes have none.
pub const SYSCALL: Get = |v, _, s| match v.record.kind {
    Kind::Exit => None,
    _ => text(s, v.name().as_bytes()),
};
pub const CATEGORY: Get = |v, _, s| text(s, category(v).as_bytes());
pub const CPU: Get = |v, _, _| Some(Value::Int(v.record.head.cpu.into()));
pub const RAWRES: Get = |v, _, _| v.result().map(Value::Int);
pub const FAILED: Get = |v, _, _| yes(v.failed());
pub const BUFFER: Get = |v, _, _| match v.category() {
    Category::Reads | Category::Writes => part(v, Part::Data).map(Value::Bytes),
    _ => None,
};
pub const BUFLEN: Get = |v, _, _| match v.category() {
    Category::Reads | Category::Writes => u64::try_from(v.result()?).ok().map(Value::Uint),
    _ => None,
};
pub const IS_IO: Get = |v, _, _| yes(matches!(v.category(), Category::Reads | Category::Writes));
pub const IS_READ: Get = |v, _, _| yes(v.category() == Category::Reads);
pub const IS_WRITE: Get = |v, _, _| yes(v.category() == Category::Writes);
pub const IO_DIR: Get = |v, _, s| match v.category() {
    Category::Reads => text(s, b"r"),
    Category::Writes => text(s, b"w"),
    _ => None,
};
/// No call that only waits is read.
pub const NO: Get = |_, _, _| yes(false);
pub const IS_SYSLOG: Get = |v, _, _| {
    let to = v.record.part(Part::Base1);
    yes(v.category() == Category::Writes && matches!(to, b"/dev/log" | b"/run/systemd/journal/dev-log"))
};
pub const COUNT: Get = |_, _, _| once(true);
pub const COUNT_ERROR: Get = |v, _, _| once(v.failed());
pub const COUNT_ERROR_FILE: Get = |v, _, _| once(v.failed() && category(v) == "file");
pub const COUNT_ERROR_NET: Get = |v, _, _| once(v.failed() && category(v) == "net");
pub const COUNT_ERROR_MEMORY: Get = |v, _, _| once(v.failed() && category(v) == "memory");
pub const COUNT_ERROR_OTHER: Get = |v, _, _| once(v.failed() && !matches!(category(v), "file" | "net" | "memory"));

/// Bits 1 for reading and 2 for writing, of the access mode.
fn access(view: &SyscallView<'_>) -> u64 {
    view.opening().map_or(0, |(flags, _)| ((flags & 3) + 1) & 3)
}

pub const IS_OPEN_READ: Get = |v, _, _| yes(access(v) & 1 != 0);
pub const IS_OPEN_WRITE: Get = |v, _, _| yes(access(v) & 2 != 0);
pub const IS_OPEN_EXEC: Get = |v, _, _| {
    yes(v.opening().is_some_and(|(flags, mode)| {
        let creates = flags & O_CREAT as u64 != 0 || flags & O_TMPFILE as u64 == O_TMPFILE as u64;
        creates && mode & 0o111 != 0
    }))
};
