//! Audit log files, directories and standard input as sources.
//!
//! - [`expand`] and [`open`] turn what the user named into [`Chunks`] (for `saker replay`);
//! - [`run`] feeds one entry of `files:` in saker.yaml to the pipeline, following it as it grows unless told otherwise;
//! - `boundary` and `split` find documents in bytes, `input` opens, `tail` follows, `stream` reads pipes, `deliver`
//!   offers chunks to the pipeline until they are taken.
//!
//! No position is kept across restarts: a start reads from the beginning or from the end, as configured. Events that are
//! read twice raise no second alert while the pipeline remembers them.

mod boundary;
mod deliver;
mod input;
mod split;
mod stream;
mod tail;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use input::{BytesRead, Input, Source, expand, open, total_size};
pub use split::{Chunk, Chunks, Limits};

use crate::config::FileSourceConfig;
use crate::sources::audit::pipeline::Rejected;

use deliver::Delivery;

/// Why an input cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot open `{name}`: {source}: {}", way_out(source))]
    Open { name: String, source: io::Error },
    #[error(
        "cannot read `{name}` to its end: {source}: what came before was evaluated, read the file again once it can be read"
    )]
    Read { name: String, source: io::Error },
    #[error("`{name}` ends in the middle of its compressed data: what came before was evaluated, copy the file again")]
    CutOff { name: String, source: io::Error },
    #[error("`{name}` is UTF-16 text: convert it to UTF-8 first, e.g. with `iconv -f UTF-16 -t UTF-8`")]
    Utf16 { name: String },
    #[error("directory `{name}` holds no audit events: name one with JSON or gzip files in it")]
    NothingInside { name: String },
    #[error("cannot start a thread to read `{name}`: {source}: raise the limit of threads")]
    Thread { name: String, source: io::Error },
}

impl FilesError {
    fn opening(path: &Path, source: io::Error) -> Self {
        FilesError::Open {
            name: shown(path),
            source,
        }
    }

    fn reading(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        if source.kind() == io::ErrorKind::UnexpectedEof {
            FilesError::CutOff { name, source }
        } else {
            FilesError::Read { name, source }
        }
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "run as a user who may read it, or grant access",
        _ => "check the file and its file system",
    }
}

/// A path for messages: whoever names files must not be able to write control characters to a terminal.
fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// Tells a running source to stop; clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a file source did, for metrics. Everything that was not evaluated is in here.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes taken by the pipeline.
    pub bytes: AtomicU64,
    pub chunks: AtomicU64,
    /// Bytes of what is no document, handed over marked as broken.
    pub broken_bytes: AtomicU64,
    /// Chunks in which the pipeline found no audit JSON at all.
    pub unreadable_chunks: AtomicU64,
    /// Documents over the size limit, and their bytes.
    pub oversized_documents: AtomicU64,
    pub oversized_bytes: AtomicU64,
    /// Times that a chunk had to wait for busy outputs.
    pub busy_waits: AtomicU64,
    /// Bytes that were read but not taken before the stop, because outputs were busy to the last.
    pub abandoned_bytes: AtomicU64,
    /// Files that could not be opened or read to their end.
    pub read_errors: AtomicU64,
    /// Followed files that were replaced by another at their path, or removed.
    pub rotations: AtomicU64,
    /// Followed files that began anew under the same inode.
    pub truncations: AtomicU64,
    /// Files in a followed directory that are not read: not JSON, or compressed copies.
    pub ignored_files: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Feeds one configured source to `sink`, which takes each chunk or says why not. Blocks until the input ends, or, when
/// it is followed, until `stop` is set; returns within about 200 ms after that.
///
/// A chunk is offered again until the sink takes it, so nothing is lost while outputs are busy. `start` matters only
/// where the source is followed; otherwise files are read whole. An error of one file of a directory is logged and
/// counted, the others are read, and the first error is returned at the end.
pub fn run(
    config: &FileSourceConfig,
    stop: &StopFlag,
    counters: &Counters,
    sink: impl FnMut(Chunk<'_>) -> Result<(), Rejected>,
) -> Result<(), FilesError> {
    let mut delivery = Delivery::new(sink, stop, counters);
    let path = &config.path;
    if path.as_os_str() == "-" {
        return stream::run(Input::Stdin, &mut delivery);
    }
    let is_stream = std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if is_stream {
        return stream::run(Input::File(path.clone()), &mut delivery);
    }
    if config.follow {
        tail::Tail::new(path, config.start).run(&mut delivery);
        return Ok(());
    }
    let mut first_error = None;
    for input in expand(std::slice::from_ref(path))? {
        if delivery.is_stopped() {
            break;
        }
        if let Err(error) = read_whole(&input, &mut delivery) {
            delivery.failed(&error);
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn read_whole<F>(input: &Input, delivery: &mut Delivery<'_, F>) -> Result<(), FilesError>
where
    F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
{
    let name = input.name();
    let mut chunks = open(input)?;
    while let Some(chunk) = chunks.next()? {
        if delivery.offer(&name, chunk).is_break() {
            return Ok(());
        }
        if delivery.is_stopped() {
            while let Some(chunk) = chunks.next_buffered()? {
                if delivery.offer(&name, chunk).is_break() {
                    break;
                }
            }
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
