//! A record of the probe: the bytes of `probe/wire.h`, and what stands where in them.
//!
//! The layout is written down twice, there and here, and nowhere else; a test compares both. Numbers are in the
//! machine's own byte order. Reading a record copies fixed parts and refers to texts where they are.

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::Timestamp;

/// What a record tells of (`enum wire_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Kind {
    /// A system call that returned.
    Call = 0,
    /// An execve or execveat that succeeded.
    Exec = 1,
    /// A new process; told by its parent.
    Fork = 2,
    /// The end of a process's last thread.
    Exit = 3,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Call, Kind::Exec, Kind::Fork, Kind::Exit];

    /// The name in metrics and recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Call => "call",
            Kind::Exec => "exec",
            Kind::Fork => "fork",
            Kind::Exit => "exit",
        }
    }
}

/// A variable part of a record (`enum wire_part`); parts stand in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    /// A path argument as given.
    Path1 = 0,
    /// The second path argument.
    Path2 = 1,
    /// Where a relative first path starts, or the resolved path of the file opened, used or executed.
    Base1 = 2,
    /// Where a relative second path starts, or the working directory after an execve.
    Base2 = 3,
    /// [`FileInfo`] or [`ProcessInfo`].
    Object = 4,
    /// A socket address as given (`struct sockaddr`).
    Address = 5,
    /// Bytes sent or received, a further text argument, or the command line with a NUL after each argument.
    Data = 6,
    /// The environment, with a NUL after each variable.
    Env = 7,
    /// Path of the cgroup.
    Cgroup = 8,
}

/// Number of parts.
pub const PARTS: usize = 9;

/// A part is shorter than what it tells of.
pub const CUT: u16 = 1;

/// The fixed beginning of every record (`struct wire_header`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Bytes of the record, header included.
    pub size: u32,
    /// [`Kind`].
    pub kind: u16,
    /// Number of the system call.
    pub nr: u16,
    /// Nanoseconds since boot.
    pub time: u64,
    /// When the process started, nanoseconds since boot: with `pid` its identity.
    pub start: u64,
    /// Id of the process's cgroup (kernfs node).
    pub cgroup: u64,
    /// What the call returned, an error as its negated number; of a fork the child's process id.
    pub result: i64,
    /// Arguments as passed; of an execve, the thread that called it.
    pub arg: [u64; 6],
    /// Thread group, in the first PID namespace.
    pub pid: u32,
    pub tid: u32,
    /// Thread group of the real parent.
    pub ppid: u32,
    /// Effective user id, in the first user namespace.
    pub uid: u32,
    /// Effective group id, likewise.
    pub gid: u32,
    pub cpu: u16,
    /// [`CUT`].
    pub flags: u16,
    /// Length of each [`Part`].
    pub part: [u16; PARTS],
    pub unused: [u16; 3],
}

/// What a file descriptor refers to (`struct wire_file`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Serialize, Deserialize,
)]
#[serde(default, deny_unknown_fields)]
#[repr(C)]
pub struct FileInfo {
    pub ino: u64,
    /// `f_flags`: flags of open(2).
    pub flags: u64,
    /// As the kernel has it: major << 20 | minor.
    pub dev: u32,
    /// `i_mode`: type and permissions.
    pub mode: u32,
    /// `AF_…`; 0 for what is no socket.
    pub family: u16,
    /// `SOCK_…`
    pub socket_type: u16,
    /// `IPPROTO_…`
    pub protocol: u16,
    /// `sk_state`: 1 established, 10 listening (include/net/tcp_states.h).
    pub state: u8,
    /// Overlayfs: 1 upper, 2 lower layer; 0 on other file systems.
    pub layer: u8,
    pub local_port: u16,
    pub peer_port: u16,
    /// Magic number of the file system (`statfs.f_type`).
    pub magic: u32,
    /// Network byte order; IPv4 takes the first four bytes.
    #[serde(with = "hexadecimal")]
    pub local: [u8; 16],
    #[serde(with = "hexadecimal")]
    pub peer: [u8; 16],
}

/// A process as it is after execve, or at its fork (`struct wire_process`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Serialize, Deserialize,
)]
#[serde(default, deny_unknown_fields)]
#[repr(C)]
pub struct ProcessInfo {
    /// Nanoseconds since boot.
    pub start: u64,
    pub parent_start: u64,
    /// Bits by capability number (include/uapi/linux/capability.h).
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_inheritable: u64,
    /// Id of the parent's cgroup.
    pub parent_cgroup: u64,
    pub exe_ino: u64,
    /// Nanoseconds since the Unix epoch.
    pub exe_ctime: u64,
    pub exe_mtime: u64,
    /// Start of the first process of the PID namespace, nanoseconds since boot.
    pub pidns_start: u64,
    pub pid: u32,
    pub tid: u32,
    pub ppid: u32,
    pub ruid: u32,
    pub euid: u32,
    pub suid: u32,
    pub rgid: u32,
    pub egid: u32,
    /// Audit login uid; `u32::MAX` when unset.
    pub loginuid: u32,
    /// Device number of the controlling terminal as in /proc/PID/stat; 0 for none.
    pub tty: u32,
    /// Session and process group, in the first PID namespace.
    pub sid: u32,
    pub pgid: u32,
    /// The same numbers as the process's own PID namespace has them; 0 for what is outside of it.
    pub vpid: u32,
    pub vppid: u32,
    pub vsid: u32,
    pub vpgid: u32,
    pub vtid: u32,
    /// Depth of the PID namespace; 0 is the first.
    pub level: u32,
    pub parent_level: u32,
    /// Inode numbers of namespaces.
    pub pidns: u32,
    pub mntns: u32,
    pub exe_dev: u32,
    /// `EXE_…`
    pub exe_flags: u32,
    /// Name, padded with NUL.
    #[serde(with = "crate::event::bytes::padded")]
    pub comm: [u8; 16],
    /// What descriptors 0, 1 and 2 refer to, as `fd.typechar` has it; 0 for a closed one.
    #[serde(with = "crate::event::bytes::padded")]
    pub stdio: [u8; 4],
}

/// The executable is in the upper layer of an overlay: it was not part of the image.
pub const EXE_UPPER: u32 = 1;
/// The executable is in a lower layer of an overlay.
pub const EXE_LOWER: u32 = 2;
/// The executable is a memfd.
pub const EXE_MEMFD: u32 = 4;
/// The process may write its executable.
pub const EXE_WRITABLE: u32 = 8;

const _: () = assert!(size_of::<Header>() == 136 && size_of::<FileInfo>() == 72 && size_of::<ProcessInfo>() == 192);

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("{0} bytes are too few for a record")]
    Short(usize),
    #[error("a record says it has {said} bytes and has {has}")]
    Size { said: usize, has: usize },
    #[error("no record has kind {0}")]
    Kind(u16),
    #[error("the parts of a record do not fill it")]
    Parts,
}

/// One record, checked: every range lies inside.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    pub head: Header,
    pub kind: Kind,
}

impl<'a> Record<'a> {
    /// Checks the bytes of one record.
    ///
    /// # Errors
    /// When they are too few, or its lengths do not fit together.
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (head, _) = Header::read_from_prefix(bytes).map_err(|_| RecordError::Short(bytes.len()))?;
        let said = head.size as usize;
        if said != bytes.len() {
            return Err(RecordError::Size { said, has: bytes.len() });
        }
        let kind = *Kind::ALL
            .get(usize::from(head.kind))
            .ok_or(RecordError::Kind(head.kind))?;
        let parts: usize = head.part.iter().map(|len| usize::from(*len)).sum();
        if size_of::<Header>() + parts != said {
            return Err(RecordError::Parts);
        }
        Ok(Record { bytes, head, kind })
    }

    /// Takes the first of several records that follow each other; nothing at the end.
    ///
    /// # Errors
    /// As [`Record::parse`]; what follows is lost then.
    pub fn take(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, RecordError> {
        let all = std::mem::take(bytes);
        if all.is_empty() {
            return Ok(None);
        }
        let (head, _) = Header::read_from_prefix(all).map_err(|_| RecordError::Short(all.len()))?;
        let (first, rest) = all.split_at(all.len().min(head.size as usize));
        *bytes = rest;
        Record::parse(first).map(Some)
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where a part lies in [`Record::bytes`].
    #[inline]
    pub fn range(&self, part: Part) -> std::ops::Range<usize> {
        let before = &self.head.part[..part as usize];
        let start = size_of::<Header>() + before.iter().map(|len| usize::from(*len)).sum::<usize>();
        start..start + usize::from(self.head.part[part as usize])
    }

    /// A part; empty when the record has none.
    #[inline]
    pub fn part(&self, part: Part) -> &'a [u8] {
        &self.bytes[self.range(part)]
    }

    /// What the file descriptor of a call refers to.
    pub fn file(&self) -> Option<FileInfo> {
        (self.kind == Kind::Call)
            .then(|| FileInfo::read_from_bytes(self.part(Part::Object)).ok())
            .flatten()
    }

    /// The process after execve, or the child of a fork.
    pub fn process(&self) -> Option<ProcessInfo> {
        (self.kind != Kind::Call)
            .then(|| ProcessInfo::read_from_bytes(self.part(Part::Object)).ok())
            .flatten()
    }

    /// When it happened, given when the machine booted in nanoseconds since the Unix epoch.
    pub fn time(&self, boot: Timestamp) -> Timestamp {
        boot.wrapping_add(self.head.time)
    }
}

/// Puts a record together: for recordings and tests.
///
/// Parts longer than 65,535 bytes are cut. Sizes in `head` are set here.
pub fn encode(mut head: Header, parts: [&[u8]; PARTS], out: &mut Vec<u8>) {
    let start = out.len();
    for (length, part) in head.part.iter_mut().zip(parts) {
        *length = part.len().min(usize::from(u16::MAX)) as u16;
    }
    let size = size_of::<Header>() + head.part.iter().map(|len| usize::from(*len)).sum::<usize>();
    head.size = size as u32;
    out.reserve(size);
    out.extend_from_slice(head.as_bytes());
    for (length, part) in head.part.iter().zip(parts) {
        out.extend_from_slice(&part[..usize::from(*length)]);
    }
    debug_assert_eq!(out.len() - start, size);
}

/// An address, in JSON its bytes in hexadecimal.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::event::bytes::{from_hex, to_hex};

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        let bytes = from_hex(&text).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.ok_or_else(|| D::Error::custom("16 bytes in hexadecimal are needed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of a structure of `probe/wire.h`: name, offset, size.
    fn members(structure: &str) -> Vec<(String, usize, usize)> {
        let header = include_str!("../../probe/wire.h");
        let constant = |name: &str| match name {
            "PARTS" => PARTS,
            number => number.parse().expect("a number"),
        };
        let begin = format!("struct {structure} {{");
        let (_, body) = header.split_once(&begin).expect("the structure");
        let (body, _) = body.split_once("\n};").expect("its end");
        let mut offset: usize = 0;
        let mut all = Vec::new();
        for line in body.lines().map(str::trim) {
            let Some((declaration, _)) = line.split_once(';').filter(|_| !line.starts_with("/*")) else {
                continue;
            };
            let (kind, name) = declaration.split_once(' ').expect("type and name");
            let size = match kind {
                "__u8" | "char" => 1,
                "__u16" => 2,
                "__u32" => 4,
                "__u64" | "__s64" => 8,
                other => panic!("{other}"),
            };
            let (name, count) = match name.trim().split_once('[') {
                Some((name, count)) => (name, constant(count.trim_end_matches(']'))),
                None => (name.trim(), 1),
            };
            offset = offset.next_multiple_of(size);
            all.push((name.to_owned(), offset, size * count));
            offset += size * count;
        }
        all
    }

    /// Members of a structure here.
    macro_rules! here {
        ($structure:ty: $($name:ident),* $(,)?) => {{
            let value = <$structure>::default();
            vec![$({
                (stringify!($name).to_owned(), std::mem::offset_of!($structure, $name), size_of_val(&value.$name))
            }),*]
        }};
    }

    #[test]
    fn both_sides_have_one_layout() {
        assert_eq!(
            members("wire_header"),
            here!(Header: size, kind, nr, time, start, cgroup, result, arg, pid, tid, ppid, uid, gid, cpu, flags, part, unused)
        );
        assert_eq!(
            members("wire_file"),
            here!(FileInfo: ino, flags, dev, mode, family, socket_type, protocol, state, layer, local_port, peer_port, magic,
                local, peer)
        );
        assert_eq!(
            members("wire_process"),
            here!(ProcessInfo: start, parent_start, cap_permitted, cap_effective, cap_inheritable, parent_cgroup, exe_ino,
                exe_ctime, exe_mtime, pidns_start, pid, tid, ppid, ruid, euid, suid, rgid, egid, loginuid, tty, sid, pgid,
                vpid, vppid, vsid, vpgid, vtid, level, parent_level, pidns, mntns, exe_dev, exe_flags, comm, stdio)
        );
        let sizes = ["want", "name_key", "hint", "settings"].map(|s| members(s).last().map(|(_, at, size)| at + size));
        assert_eq!(sizes, [Some(24), Some(40), Some(24), Some(16)]);
    }

    #[test]
    fn what_was_encoded_is_read_back() {
        let about = FileInfo {
            ino: 7,
            ..FileInfo::default()
        };
        let head = Header {
            nr: 257,
            pid: 4,
            ..Header::default()
        };
        let mut bytes = Vec::new();
        encode(
            head,
            [b"../x", b"", b"/etc", b"", about.as_bytes(), b"", b"", b"", b"/a"],
            &mut bytes,
        );
        let record = Record::parse(&bytes).unwrap();
        assert_eq!((record.kind, record.head.nr, record.head.pid), (Kind::Call, 257, 4));
        assert_eq!(record.part(Part::Path1), b"../x");
        assert_eq!(record.part(Part::Base1), b"/etc");
        assert_eq!(record.part(Part::Cgroup), b"/a");
        assert_eq!(record.part(Part::Env), b"");
        assert_eq!(record.file(), Some(about));
        assert_eq!(record.process(), None);
    }

    #[test]
    fn records_follow_each_other() {
        let mut bytes = Vec::new();
        for pid in [1, 2] {
            let head = Header {
                pid,
                ..Header::default()
            };
            encode(head, [b"/x"; PARTS], &mut bytes);
        }
        let mut rest = &bytes[..];
        let pids = [(); 3].map(|()| Record::take(&mut rest).unwrap().map(|record| record.head.pid));
        assert_eq!(pids, [Some(1), Some(2), None]);
        let mut rest = &bytes[..bytes.len() - 1];
        assert!(Record::take(&mut rest).is_ok_and(|first| first.is_some()));
        assert!(matches!(Record::take(&mut rest), Err(RecordError::Size { .. })));
        assert!(rest.is_empty());
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        let mut bytes = Vec::new();
        encode(Header::default(), [b"/x"; PARTS], &mut bytes);
        assert!(Record::parse(&bytes).is_ok());
        assert_eq!(Record::parse(&bytes[..20]).unwrap_err(), RecordError::Short(20));
        let has = bytes.len() - 1;
        assert_eq!(
            Record::parse(&bytes[..has]).unwrap_err(),
            RecordError::Size { said: has + 1, has }
        );
        let mut kind = bytes.clone();
        kind[4] = 9;
        assert_eq!(Record::parse(&kind).unwrap_err(), RecordError::Kind(9));
        bytes[112] += 1;
        assert_eq!(Record::parse(&bytes).unwrap_err(), RecordError::Parts);
    }
}
