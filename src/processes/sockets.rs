//! Which side of a connection a socket is: who connected, and who accepted.
//!
//! The kernel does not keep that with the socket, so it is learnt from the calls that make a connection, when rules ask
//! for those. A socket is known by the inode number that sockfs gives it; all sockets are of one such file system.

use std::collections::HashMap;

use nix::libc;

use crate::event::syscall::Record;

/// Sockets of one generation. The older of two is forgotten when the younger is full: two times this at most. Most
/// are closed by then, so that nobody counts them.
const GENERATION: usize = 16_384;

/// A connect that has not ended yet; it is the client all the same.
const IN_PROGRESS: i64 = -(libc::EINPROGRESS as i64);

#[derive(Debug, Default)]
pub struct Sockets {
    young: HashMap<u64, bool>,
    old: HashMap<u64, bool>,
}

impl Sockets {
    /// Takes in a system call, of whatever kind.
    pub fn call(&mut self, record: &Record<'_>) {
        let serves = match libc::c_long::from(record.head.nr) {
            libc::SYS_connect if record.head.result >= 0 || record.head.result == IN_PROGRESS => false,
            libc::SYS_accept | libc::SYS_accept4 if record.head.result >= 0 => true,
            _ => return,
        };
        let Some(file) = record.file().filter(|file| file.ino != 0) else {
            return;
        };
        if self.young.len() >= GENERATION && !self.young.contains_key(&file.ino) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(file.ino, serves);
    }

    /// Whether the process is the server's end; nothing when it is not known.
    pub fn serves(&self, ino: u64) -> Option<bool> {
        self.young.get(&ino).or_else(|| self.old.get(&ino)).copied()
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::event::syscall::{FileInfo, Header, PARTS, Part, encode};

    fn tell(sockets: &mut Sockets, nr: libc::c_long, result: i64, ino: u64) {
        let file = FileInfo {
            ino,
            ..FileInfo::default()
        };
        let head = Header {
            nr: nr as u16,
            result,
            ..Header::default()
        };
        let mut parts: [&[u8]; PARTS] = [b""; PARTS];
        parts[Part::Object as usize] = file.as_bytes();
        let mut bytes = Vec::new();
        encode(head, parts, &mut bytes);
        sockets.call(&Record::parse(&bytes).unwrap());
    }

    #[test]
    fn a_side_is_learnt_from_the_call_that_made_it() {
        for (nr, result, serves) in [
            (libc::SYS_connect, 0, Some(false)),
            (libc::SYS_connect, -i64::from(libc::EINPROGRESS), Some(false)),
            (libc::SYS_connect, -i64::from(libc::ECONNREFUSED), None),
            (libc::SYS_accept, 7, Some(true)),
            (libc::SYS_accept4, 7, Some(true)),
            (libc::SYS_accept4, -11, None),
            (libc::SYS_sendto, 3, None),
        ] {
            let mut sockets = Sockets::default();
            tell(&mut sockets, nr, result, 5);
            assert_eq!(sockets.serves(5), serves, "{nr} {result}");
            assert_eq!(sockets.serves(6), None);
        }
    }

    #[test]
    fn memory_is_bounded_and_the_last_are_known() {
        let mut sockets = Sockets::default();
        let all = 5 * GENERATION as u64;
        (1..=all).for_each(|ino| tell(&mut sockets, libc::SYS_accept, 7, ino));
        assert!(sockets.young.len() + sockets.old.len() <= 2 * GENERATION);
        assert_eq!(sockets.serves(all + 1 - GENERATION as u64), Some(true));
    }
}
