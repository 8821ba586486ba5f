//! System calls: their numbers, how the probe reads their arguments, and what rules call these. The rows are in
//! `table.rs`; a new system call is a new row.

mod names;
mod table;

pub use names::{CAPABILITIES, Names, SIGNALS, name_of, open_bits, push_flags};
pub use table::{CALLS, CLONE, EXEC, EXIT};

use super::table::Get;
use nix::libc;

/// How the probe reads a call (`struct want` in `probe/wire.h`): numbers of arguments from 1, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Arguments that are paths.
    pub path: [u8; 2],
    /// What a relative path starts from: the argument with the directory's descriptor; 0: the working directory.
    pub dirfd: [u8; 2],
    /// The descriptor that the call is about; [`RESULT`]: the one it returns.
    pub fd: u8,
    /// A socket address; the argument after it is its length.
    pub address: u8,
    /// A buffer; the argument after it is its length.
    pub data: u8,
    /// A further text.
    pub text: u8,
    /// Flags of an open: the argument, [`CREAT`] or [`OPENAT2`].
    pub open: u8,
    /// A `struct msghdr`.
    pub message: u8,
    /// The probe puts the permitted, effective and inheritable capabilities into arguments 3 to 5.
    pub rights: bool,
}

/// In `Read::fd`: the descriptor is the result.
pub const RESULT: u8 = 7;
/// In `Read::open`: creat has no flags argument.
pub const CREAT: u8 = 8;
/// In `Read::open`: openat2 has them in a structure, which the probe puts into arguments 3 (resolve), 5
/// (flags) and 6 (mode).
pub const OPENAT2: u8 = 9;

/// A call whose arguments are all numbers.
pub const NUMBERS: Read = Read {
    path: [0; 2],
    dirfd: [0; 2],
    fd: 0,
    address: 0,
    data: 0,
    text: 0,
    open: 0,
    message: 0,
    rights: false,
};

impl Read {
    /// With a path, and the descriptor it is relative to.
    const fn path(mut self, path: u8, dirfd: u8) -> Read {
        let at = if self.path[0] == 0 { 0 } else { 1 };
        self.path[at] = path;
        self.dirfd[at] = dirfd;
        self
    }

    const fn open(self, open: u8) -> Read {
        Read { open, ..self }
    }

    const fn fd(self, fd: u8) -> Read {
        Read { fd, ..self }
    }

    const fn address(self, address: u8) -> Read {
        Read { address, ..self }
    }

    const fn data(self, data: u8) -> Read {
        Read { data, ..self }
    }

    const fn text(self, text: u8) -> Read {
        Read { text, ..self }
    }

    const fn rights(self) -> Read {
        Read { rights: true, ..self }
    }

    const fn message(self, message: u8) -> Read {
        Read { message, ..self }
    }
}

/// Which program of the probe handles a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Open,
    Paths,
    Fd,
}

/// What kind of thing a call does, for `evt.category` and `evt.is_io*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    File,
    Net,
    Ipc,
    Memory,
    Process,
    Signal,
    System,
    User,
    Reads,
    Writes,
    Other,
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As `evt.type` has it.
    pub name: &'static str,
    /// Its number on this machine's architecture.
    pub nr: u16,
    pub category: Category,
    pub read: Read,
    /// What rules know its result and arguments as, in this order.
    pub parameters: &'static [Parameter],
}

/// One parameter of an event.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub from: From,
}

/// Where a parameter is found and how it is shown; arguments count from 1.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// The result, an error by name.
    Result,
    /// The result, which is a descriptor.
    NewFd,
    /// A descriptor.
    Fd(u8),
    /// The descriptor that the first or second path starts from.
    Dir(u8, u8),
    /// The first or second path, made absolute.
    Path(u8),
    /// The same as it was given.
    RawPath(u8),
    /// The further text.
    Text,
    /// Bytes that were moved.
    Data,
    Int(u8),
    /// A process: its number, and its name.
    Pid(u8),
    Uint(u8),
    /// A number in octal.
    Octal(u8),
    /// Permission bits: octal, and by name.
    Mode(u8, &'static Names),
    /// Bits by name.
    Flags(u8, &'static Names),
    /// One of several names.
    Name(u8, &'static Names),
    Uid(u8),
    Gid(u8),
    Address,
    Tuple,
    /// Device of the file that was opened.
    Device,
    Inode,
    /// What a field says.
    Field(Get),
    /// Not read by the probe: the parameter is absent, and keeps its place.
    Unread,
}

impl Call {
    /// What the kernel's tracepoint `sys_exit_NAME` calls it.
    pub fn kernel_name(&self) -> &'static str {
        match self.name {
            "umount2" => "umount",
            "pread" => "pread64",
            "pwrite" => "pwrite64",
            "sendfile" => "sendfile64",
            name => name,
        }
    }

    pub fn family(&self) -> Family {
        match self.read {
            Read { open: 1.., .. } => Family::Open,
            Read { fd: 1.., .. } => Family::Fd,
            _ => Family::Paths,
        }
    }

    /// True for calls whose success is a record of [`Kind::Exec`](crate::event::syscall::Kind::Exec): only failed ones
    /// are wanted as calls.
    pub fn succeeds_as_exec(&self) -> bool {
        matches!(self.name, "execve" | "execveat")
    }
}

const NUMBERS_OF_CALLS: usize = 512;

/// Place in [`CALLS`] plus one, by number.
static BY_NUMBER: [u8; NUMBERS_OF_CALLS] = {
    let mut places = [0; NUMBERS_OF_CALLS];
    let mut i = 0;
    while i < CALLS.len() {
        places[CALLS[i].nr as usize] = i as u8 + 1;
        i += 1;
    }
    places
};

/// The row of a system call, by number.
#[inline]
pub fn by_number(nr: u16) -> Option<&'static Call> {
    let place = *BY_NUMBER.get(usize::from(nr))?;
    CALLS.get(usize::from(place).checked_sub(1)?)
}

const fn call(
    name: &'static str,
    nr: libc::c_long,
    category: Category,
    read: Read,
    parameters: &'static [Parameter],
) -> Call {
    Call {
        name,
        nr: nr as u16,
        category,
        read,
        parameters,
    }
}

const fn p(name: &'static str, from: From) -> Parameter {
    Parameter { name, from }
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_is_an_event_of_its_own() {
        let mut numbers = HashSet::new();
        for call in CALLS {
            assert!(events::is_event(call.name), "{}", call.name);
            assert!(numbers.insert(call.nr), "{}", call.name);
            assert_eq!(by_number(call.nr).map(|c| c.name), Some(call.name));
            let mut names = HashSet::new();
            for parameter in call.parameters {
                assert!(events::parameter(parameter.name).is_some(), "{}", parameter.name);
                assert!(names.insert(parameter.name), "{}.{}", call.name, parameter.name);
            }
        }
        assert_eq!(by_number(511).map(|c| c.name), None);
    }
}
