//! A file read from a position of our own, which notices when what was read is no longer what the file holds.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::sources::audit::files::split::last_line_start;

/// Bytes before the position that are compared to notice a file that was rewritten. Long enough to hold the time stamps
/// at the end of an audit event.
const FINGERPRINT: usize = 1024;
/// How far back the start of the last line is looked for when a file is followed from its end.
const LAST_LINE: u64 = 1 << 20;

/// A file read from a position of our own.
pub(super) struct Growing {
    pub file: File,
    pub offset: u64,
    /// The last bytes before `offset`.
    fingerprint: Vec<u8>,
    /// Reads nothing more.
    pub closed: bool,
}

impl Growing {
    pub fn at(file: File, offset: u64) -> io::Result<Self> {
        let length = offset.min(FINGERPRINT as u64);
        let mut fingerprint = vec![0; length as usize];
        file.read_exact_at(&mut fingerprint, offset - length)?;
        Ok(Growing {
            file,
            offset,
            fingerprint,
            closed: false,
        })
    }

    /// At the end, but not inside a line that is being written.
    pub fn at_last_line(file: File, size: u64) -> io::Result<Self> {
        let from = size.saturating_sub(LAST_LINE);
        let mut end = vec![0; (size - from) as usize];
        let offset = match file.read_exact_at(&mut end, from) {
            Ok(()) => match last_line_start(&end) {
                Some(start) => from + start as u64,
                None if from == 0 => 0,
                None => size,
            },
            // Truncated since its size was asked for.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        Growing::at(file, offset)
    }

    /// Whether the bytes before the position are no longer those that were read.
    pub fn is_rewritten(&self, size: u64) -> io::Result<bool> {
        if size < self.offset {
            return Ok(true);
        }
        let mut now = [0; FINGERPRINT];
        let now = &mut now[..self.fingerprint.len()];
        match self.file.read_exact_at(now, self.offset - now.len() as u64) {
            Ok(()) => Ok(now != self.fingerprint),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Read for Growing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(0);
        }
        let count = self.file.read_at(buf, self.offset)?;
        self.offset += count as u64;
        let fresh = &buf[..count];
        let fresh = &fresh[count.saturating_sub(FINGERPRINT)..];
        let excess = (self.fingerprint.len() + fresh.len()).saturating_sub(FINGERPRINT);
        self.fingerprint.drain(..excess);
        self.fingerprint.extend_from_slice(fresh);
        Ok(count)
    }
}
