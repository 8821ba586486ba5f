//! Cuts a stream of JSON into chunks of whole documents, which the pipeline decodes.
//!
//! Audit logs are JSON lines, and for these the work is one search for each newline: a line that begins with `{` and ends
//! with `}` is taken as a document by its looks, whatever is inside. Only where the looks say otherwise (a document over
//! several lines, documents side by side without newlines) is a document's end found by [`Boundary`].
//!
//! What is no document is handed over too, marked as broken, so that it is counted and reported and nothing around it
//! suffers. After such a place reading goes on at the next line that begins with `{` or `[` in its first column:
//! neither JSON lines nor indented documents have anything but the start of a document there, and strings cannot contain
//! a raw newline, so nothing that a client put into an event can pass for an event.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memrchr};

use super::FilesError;
use super::boundary::{Boundary, Seen};

#[cfg(test)]
mod tests;

/// What is read at once: stays in the processor's second-level cache until it is decoded.
const BUFFER: usize = 512 << 10;
/// A document larger than this is skipped and counted.
const MAX_DOCUMENT: usize = 256 << 20;
/// A line of this length may be many documents without newlines, so their ends are looked for.
const SCAN_FROM: usize = 16 << 20;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One or more whole top-level documents, separated by white space, or one broken stretch of lines.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Empty only in the last chunk of an input, when oversized documents are all there is to report.
    pub bytes: &'a [u8],
    /// A stretch of lines that begins with something that is no document. It is for the dead-letter file: a part of it
    /// may well parse (a nested object of an indented document that is damaged), but that would be no event.
    pub broken: bool,
    /// Oversized documents that were skipped before this chunk.
    pub oversized: u64,
    /// Their bytes.
    pub skipped: u64,
}

/// Sizes that bound what [`Chunks`] holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read at once.
    pub buffer: usize,
    /// Bytes of the largest document taken.
    pub document: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            buffer: BUFFER,
            document: MAX_DOCUMENT,
        }
    }
}

/// Reads chunks of whole documents.
pub struct Chunks<R> {
    reader: R,
    /// Of the input, for errors.
    name: String,
    limits: Limits,
    /// Someone is waiting for each document (a pipe), so one without a newline is not held back until the next one.
    live: bool,
    buf: Vec<u8>,
    /// The first byte not yet handed out for good.
    start: usize,
    /// The end of the chunk that the consumer has; from here the next one is found.
    handed: usize,
    /// The end of what was read.
    end: usize,
    /// The unfinished line has no newline before this.
    searched: usize,
    /// The document being scanned at `handed`.
    scan: Option<Scan>,
    /// What was found last is broken.
    found_broken: bool,
    /// The next document's line looks whole and is not.
    distrust: bool,
    /// Documents are side by side without newlines.
    dense: bool,
    broken: Option<Broken>,
    skip: Option<Skip>,
    /// The byte order mark, if any, is behind us.
    begun: bool,
    ended: bool,
    failure: Option<io::Error>,
    oversized: u64,
    skipped: u64,
}

struct Scan {
    boundary: Boundary,
    upto: usize,
}

/// What of a broken stretch of lines is at `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The line that is broken; its newline was not read yet.
    Line,
    /// A later line, which may begin a document again.
    Later,
}

/// How far the bytes of an oversized document go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// To the end of its only line.
    Line,
    /// To the next line that begins a document.
    Document,
}

/// How much a call may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The end of the input is the end of its last document.
    End,
    /// The input may grow: its unfinished end is kept.
    Available,
    /// Nothing more is read.
    Buffered,
}

enum Filled {
    Some,
    Nothing,
    /// The buffer has reached the limit and holds no end of a document.
    Full,
}

impl<R: Read> Chunks<R> {
    /// `name` is how errors call the input.
    pub fn new(reader: R, name: impl Into<String>) -> Self {
        Chunks::with_limits(reader, name, Limits::default())
    }

    pub fn with_limits(reader: R, name: impl Into<String>, limits: Limits) -> Self {
        let document = limits.document.max(BOM.len() + 1);
        Chunks {
            reader,
            name: name.into(),
            limits: Limits {
                buffer: limits.buffer.clamp(BOM.len() + 1, document),
                document,
            },
            live: false,
            buf: Vec::new(),
            start: 0,
            handed: 0,
            end: 0,
            searched: 0,
            scan: None,
            found_broken: false,
            distrust: false,
            dense: false,
            broken: None,
            skip: None,
            begun: false,
            ended: false,
            failure: None,
            oversized: 0,
            skipped: 0,
        }
    }

    /// Hands out documents as soon as they are complete, without their newline; for pipes.
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    pub fn reader(&self) -> &R {
        &self.reader
    }

    pub fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next chunk, or `None` at the end of the input. What was read before an error is handed out before the error.
    #[expect(
        clippy::should_implement_trait,
        reason = "a chunk borrows the buffer, which no Iterator can say"
    )]
    pub fn next(&mut self) -> Result<Option<Chunk<'_>>, FilesError> {
        self.pull(Until::End)
    }

    /// The next chunk of an input that may grow, or `None` when there is no whole document for now.
    pub fn next_available(&mut self) -> Result<Option<Chunk<'_>>, FilesError> {
        self.pull(Until::Available)
    }

    /// The next chunk of what was read already.
    pub fn next_buffered(&mut self) -> Result<Option<Chunk<'_>>, FilesError> {
        self.pull(Until::Buffered)
    }

    fn pull(&mut self, until: Until) -> Result<Option<Chunk<'_>>, FilesError> {
        self.start = self.handed;
        let range = loop {
            if self.begin()? {
                self.found_broken = false;
                if let Some(end) = self.find() {
                    let range = self.start..end;
                    if self.is_blank(&range) {
                        self.start = end;
                        continue;
                    }
                    break range;
                }
                if self.ended {
                    if self.skipped > 0 {
                        break self.start..self.start;
                    }
                    self.handed = self.start;
                    return match self.failure.take() {
                        Some(source) => Err(FilesError::reading(&self.name, source)),
                        None => Ok(None),
                    };
                }
            }
            if until == Until::Buffered {
                self.handed = self.start;
                return Ok(None);
            }
            match self.fill() {
                Ok(Filled::Some) => {}
                Ok(Filled::Full) => self.begin_skip(),
                Ok(Filled::Nothing) if until == Until::End => self.ended = true,
                Ok(Filled::Nothing) => {
                    self.handed = self.start;
                    return Ok(None);
                }
                // `WouldBlock` is a reader's way to say that it was told to stop: the input has not ended.
                Err(source) if until == Until::End && source.kind() != io::ErrorKind::WouldBlock => {
                    self.failure = Some(source);
                    self.ended = true;
                }
                Err(source) => {
                    self.handed = self.start;
                    return Err(FilesError::reading(&self.name, source));
                }
            }
        };
        self.handed = range.end;
        Ok(Some(Chunk {
            bytes: &self.buf[range],
            broken: self.found_broken,
            oversized: std::mem::take(&mut self.oversized),
            skipped: std::mem::take(&mut self.skipped),
        }))
    }

    /// Steps over a byte order mark; false while too little was read to know.
    fn begin(&mut self) -> Result<bool, FilesError> {
        if self.begun {
            return Ok(true);
        }
        let head = &self.buf[self.start..self.end];
        if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
            return Err(FilesError::Utf16 {
                name: self.name.clone(),
            });
        }
        if !self.ended && (BOM.starts_with(head) && head.len() < BOM.len() || matches!(head, [0xFE | 0xFF])) {
            return Ok(false);
        }
        if head.starts_with(BOM) {
            self.start += BOM.len();
        }
        self.begun = true;
        Ok(true)
    }

    /// Where the chunk that begins at `start` ends; `None` when more must be read. Moves `start` over white space and
    /// over what is skipped.
    fn find(&mut self) -> Option<usize> {
        if self.skip.is_some() && !self.skip_on() {
            return None;
        }
        match self.broken {
            None => {}
            Some(Broken::Line) => return self.broken_end(),
            Some(Broken::Later) => {
                self.start += blank(&self.buf[self.start..self.end], |byte| matches!(byte, b'\n' | b'\r'));
                match self.buf[self.start..self.end].first() {
                    None => return None,
                    Some(&byte) if opens(byte) => self.broken = None,
                    Some(_) => return self.broken_end(),
                }
            }
        }
        // Everything before `at` is whole.
        let mut at = self.start;
        // The last document that was taken by its looks, if nothing was scanned since.
        let mut trusted = None;
        loop {
            let whole = at > self.start;
            // A crash of the machine, or truncation under a writer that does not append, leaves zeros before a line.
            let between = |byte| is_space(byte) || !whole && byte == 0;
            let document = at + blank(&self.buf[at..self.end], between);
            if !whole {
                self.start = document;
                at = document;
            }
            if document == self.end {
                return whole.then_some(self.end);
            }
            if !opens(self.buf[document]) {
                if let Some(line) = trusted {
                    // `{"items":[{…}` with `,{…}` in the next line: what looked whole goes on here.
                    self.distrust = true;
                    if line > self.start {
                        return Some(line);
                    }
                    at = line;
                    trusted = None;
                    continue;
                }
                return if whole { Some(at) } else { self.broken_end() };
            }
            if self.scan.is_none() && !std::mem::take(&mut self.distrust) {
                let from = document.max(self.searched);
                match memchr(b'\n', &self.buf[from..self.end]) {
                    Some(found) => {
                        let newline = from + found;
                        self.dense = false;
                        if is_whole_line(&self.buf[document..newline]) {
                            at = newline + 1;
                            trusted = Some(document);
                            continue;
                        }
                    }
                    None if self.ended => {
                        if is_whole_line(&self.buf[document..self.end]) {
                            return Some(self.end);
                        }
                    }
                    None => {
                        self.searched = self.end;
                        let rest = &self.buf[document..self.end];
                        let complete = self.live && is_whole_line(rest);
                        if !complete && !self.dense && rest.len() < SCAN_FROM {
                            return whole.then_some(at);
                        }
                    }
                }
            }
            let mut scan = self.scan.take().unwrap_or_else(|| Scan {
                boundary: Boundary::new(),
                upto: document,
            });
            match scan.boundary.advance(&self.buf[scan.upto..self.end]) {
                Seen::End(length) => {
                    at = scan.upto + length;
                    self.dense |= self.searched == self.end;
                    trusted = None;
                }
                Seen::More if !self.ended => {
                    scan.upto = self.end;
                    self.scan = Some(scan);
                    return whole.then_some(at);
                }
                Seen::More | Seen::Broken => return if whole { Some(at) } else { self.broken_end() },
            }
        }
    }

    /// Where the broken stretch at `start` ends: before the next line that begins a document, or, as far as is known,
    /// at the last newline.
    fn broken_end(&mut self) -> Option<usize> {
        self.found_broken = true;
        self.scan = None;
        self.distrust = false;
        let mut at = self.start.max(self.searched);
        let mut line_end = None;
        while let Some(found) = memchr(b'\n', &self.buf[at..self.end]) {
            at += found + 1;
            line_end = Some(at);
            if at < self.end && opens(self.buf[at]) {
                self.broken = None;
                return line_end;
            }
        }
        self.searched = self.end;
        let end = line_end.or((self.ended && self.start < self.end).then_some(self.end));
        self.broken = Some(if end.is_some() { Broken::Later } else { Broken::Line });
        end
    }

    fn begin_skip(&mut self) {
        let lines = memchr(b'\n', &self.buf[self.start..self.end]).is_some();
        self.skip = Some(if lines { Skip::Document } else { Skip::Line });
        self.broken = self.broken.map(|_| Broken::Later);
        self.oversized += 1;
        self.scan = None;
        self.distrust = false;
        self.dense = false;
    }

    /// Drops what belongs to an oversized document; true when its end is found.
    fn skip_on(&mut self) -> bool {
        let mut at = self.start;
        let mut done = false;
        while let Some(found) = memchr(b'\n', &self.buf[at..self.end]) {
            at += found + 1;
            done = self.skip == Some(Skip::Line) || at < self.end && opens(self.buf[at]);
            if done {
                break;
            }
        }
        let upto = if done {
            at
        } else if !self.ended && self.end > self.start && self.buf[self.end - 1] == b'\n' {
            // Whether a document begins after this newline is not known yet.
            self.end - 1
        } else {
            self.end
        };
        self.skipped += (upto - self.start) as u64;
        self.start = upto;
        if done || self.ended {
            self.skip = None;
        }
        done
    }

    /// Reads more behind the unfinished document, which moves to the front of the buffer.
    fn fill(&mut self) -> io::Result<Filled> {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched = self.searched.saturating_sub(self.start);
            if let Some(scan) = &mut self.scan {
                scan.upto -= self.start;
            }
            self.start = 0;
            self.handed = 0;
        }
        let base = self.limits.buffer;
        if self.buf.len() > 32 * base && self.end < base {
            self.buf.truncate(base);
            self.buf.shrink_to_fit();
        }
        if self.end == self.buf.len() {
            if self.end == self.limits.document {
                return Ok(Filled::Full);
            }
            self.buf
                .resize((self.buf.len() * 2).clamp(base, self.limits.document), 0);
        }
        // A buffer that has grown for one large document is used like a small one again afterwards.
        let to = self.buf.len().min(base.max(self.end * 2));
        loop {
            match self.reader.read(&mut self.buf[self.end..to]) {
                Ok(0) => return Ok(Filled::Nothing),
                Ok(count) => {
                    self.end += count;
                    return Ok(Filled::Some);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Chunks begin with their first document, so this looks at one byte but for white space in a broken stretch.
    fn is_blank(&self, range: &Range<usize>) -> bool {
        self.buf[range.clone()].iter().all(|&byte| is_space(byte))
    }
}

fn opens(byte: u8) -> bool {
    matches!(byte, b'{' | b'[')
}

/// White space as JSON has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Length of the white space at the start.
fn blank(bytes: &[u8], is_blank: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len())
}

/// Whether a line that begins with a bracket ends with the matching one.
fn is_whole_line(line: &[u8]) -> bool {
    matches!(
        (line.first(), line.trim_ascii_end().last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))
    )
}

/// The offset after the last newline.
pub(super) fn last_line_start(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', bytes).map(|newline| newline + 1)
}

/// Whether a file that begins so may hold JSON documents, perhaps after the end of a line that was cut off.
pub(super) fn looks_like_json(head: &[u8]) -> bool {
    let text = head.strip_prefix(BOM).unwrap_or(head);
    text.trim_ascii_start().first().is_some_and(|&byte| opens(byte)) || memchr::memmem::find(text, b"\n{\"").is_some()
}
