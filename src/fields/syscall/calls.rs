//! One row for each system call that the probe can read: its number, how its arguments are found, and what rules call
//! them. A new system call is a new row.

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
}

/// [`Read::fd`]: the descriptor is the result.
pub const RESULT: u8 = 7;
/// [`Read::open`]: creat has no flags argument.
pub const CREAT: u8 = 8;
/// [`Read::open`]: openat2 has them in a structure, which the probe puts into arguments 5 (flags) and 6 (mode).
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
};

/// Which program of the probe handles a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Open,
    Paths,
    Fd,
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As `evt.type` has it.
    pub name: &'static str,
    /// Its number on this machine's architecture.
    pub nr: u16,
    pub read: Read,
}

impl Call {
    /// What the kernel's tracepoint `sys_exit_NAME` calls it.
    pub fn kernel_name(&self) -> &'static str {
        match self.name {
            "umount2" => "umount",
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
}

/// The row of a system call, by number.
pub fn by_number(nr: u16) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.nr == nr)
}

const fn row(name: &'static str, nr: libc::c_long, read: Read) -> Call {
    Call {
        name,
        nr: nr as u16,
        read,
    }
}

pub const CALLS: &[Call] = &[
    row(
        "open",
        libc::SYS_open,
        Read {
            path: [1, 0],
            open: 2,
            ..NUMBERS
        },
    ),
    row(
        "openat",
        libc::SYS_openat,
        Read {
            path: [2, 0],
            dirfd: [1, 0],
            open: 3,
            ..NUMBERS
        },
    ),
    row(
        "openat2",
        libc::SYS_openat2,
        Read {
            path: [2, 0],
            dirfd: [1, 0],
            open: OPENAT2,
            ..NUMBERS
        },
    ),
    row(
        "creat",
        libc::SYS_creat,
        Read {
            path: [1, 0],
            open: CREAT,
            ..NUMBERS
        },
    ),
    row(
        "connect",
        libc::SYS_connect,
        Read {
            fd: 1,
            address: 2,
            ..NUMBERS
        },
    ),
    row(
        "renameat2",
        libc::SYS_renameat2,
        Read {
            path: [2, 4],
            dirfd: [1, 3],
            ..NUMBERS
        },
    ),
];
