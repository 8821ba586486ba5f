//! One followed file: what it holds, how far it was read, and whether it is still the file it was.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::growing::Growing;
use super::{FileId, file_id};
use crate::config::StartAt;
use crate::sources::audit::files::deliver::Delivery;
use crate::sources::audit::files::input::{HEAD, Input, Shape, sniff};
use crate::sources::audit::files::{Chunk, Chunks, FilesError, Limits, count, read_whole, shown};
use crate::sources::audit::pipeline::Rejected;

/// Each file has its own buffer, and a directory may have many files.
const LIMITS: Limits = Limits {
    buffer: 64 << 10,
    document: 256 << 20,
};

pub(super) struct Followed {
    pub path: PathBuf,
    name: String,
    pub id: FileId,
    chunks: Chunks<Growing>,
    reading: Reading,
    /// Size and modification time when last looked at.
    looked: (u64, i64, i64),
    /// When it was last seen to have changed in size.
    pub grown: Instant,
    /// No longer found under the followed path.
    pub gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Too short to tell what it is.
    Undecided,
    Lines,
    /// Kept open so that its inode cannot be given to another file.
    Ignored,
}

impl Followed {
    pub fn open(path: &Path, start: StartAt) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let growing = match start {
            StartAt::Beginning => Growing::at(file, 0)?,
            StartAt::End => Growing::at_last_line(file, metadata.len())?,
        };
        let name = shown(path);
        Ok(Followed {
            path: path.to_owned(),
            id: file_id(&metadata),
            chunks: Chunks::with_limits(growing, name.clone(), LIMITS),
            name,
            reading: Reading::Undecided,
            looked: (0, 0, 0),
            grown: Instant::now(),
            gone: false,
        })
    }

    pub fn is_ignored(&self) -> bool {
        self.reading == Reading::Ignored
    }

    /// The position up to which it was read.
    pub fn offset(&self) -> u64 {
        self.chunks.reader().offset
    }

    /// Notes where the file was found.
    pub fn is_at(&mut self, path: &Path) {
        self.gone = false;
        if self.path != path {
            tracing::debug!(from = ?self.path, to = ?path, "followed file was renamed");
            path.clone_into(&mut self.path);
            self.name = shown(path);
        }
    }

    /// Finds out what the file holds, once it is long enough to tell.
    pub fn decide<F>(
        &mut self,
        in_directory: bool,
        first_look: bool,
        start: StartAt,
        delivery: &mut Delivery<'_, F>,
    ) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let file = &self.chunks.reader().file;
        let (shape, size) = match sniff(file).and_then(|shape| Ok((shape, file.metadata()?.len()))) {
            Ok(found) => found,
            Err(source) => {
                delivery.failed(&FilesError::reading(&self.name, source));
                return ControlFlow::Continue(());
            }
        };
        self.reading = match shape {
            Shape::Json => Reading::Lines,
            Shape::Gzip if first_look && start == StartAt::Beginning => {
                self.reading = Reading::Ignored;
                return self.read_archive(delivery);
            }
            Shape::Gzip => {
                count(&delivery.counters.ignored_files, 1);
                tracing::info!(
                    path = ?self.path,
                    "not following a compressed file: log rotation makes these of files that were read before"
                );
                Reading::Ignored
            }
            // The first line may be longer than what there is of it.
            Shape::Other if in_directory && size >= HEAD => {
                count(&delivery.counters.ignored_files, 1);
                tracing::debug!(path = ?self.path, "not JSON, left out");
                Reading::Ignored
            }
            // A file named by the user is read whatever it holds, so that what is wrong with it is reported.
            Shape::Other if !in_directory && size > 1 => Reading::Lines,
            Shape::Other => {
                tracing::debug!(path = ?self.path, "does not look like JSON, left out unless it comes to");
                Reading::Undecided
            }
            Shape::Empty => Reading::Undecided,
        };
        ControlFlow::Continue(())
    }

    /// Reads a compressed file that was there from the first, once.
    fn read_archive<F>(&self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let result = read_whole(&Input::File(self.path.clone()), delivery);
        if let Err(error) = result {
            delivery.failed(&error);
        }
        if delivery.is_stopped() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Hands over what was written since the last look.
    pub fn read<F>(&mut self, in_directory: bool, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let metadata = match self.chunks.reader().file.metadata() {
            Ok(metadata) => metadata,
            Err(source) => {
                self.reopen(source, delivery);
                return ControlFlow::Continue(());
            }
        };
        let looked = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if looked != self.looked || metadata.len() > self.chunks.reader().offset {
            if metadata.len() != self.looked.0 {
                self.grown = Instant::now();
            }
            if self.reading == Reading::Undecided {
                self.decide(in_directory, false, StartAt::Beginning, delivery)?;
            } else if self.reading == Reading::Ignored && metadata.len() < self.looked.0 {
                // Other contents: they may be of interest.
                match self.anew() {
                    Ok(chunks) => self.chunks = chunks,
                    Err(source) => {
                        self.reopen(source, delivery);
                        return ControlFlow::Continue(());
                    }
                }
                self.decide(in_directory, false, StartAt::Beginning, delivery)?;
            }
            if self.reading == Reading::Lines {
                self.begin_anew_if_rewritten(metadata.len(), delivery)?;
            }
            // Known only now, so that an error above leads to another look.
            self.looked = looked;
        }
        if self.reading != Reading::Lines {
            return ControlFlow::Continue(());
        }
        loop {
            match self.chunks.next_available() {
                Ok(Some(chunk)) => delivery.offer(&self.name, chunk)?,
                Ok(None) => return ControlFlow::Continue(()),
                Err(FilesError::Read { source, .. } | FilesError::CutOff { source, .. }) => {
                    self.reopen(source, delivery);
                    return ControlFlow::Continue(());
                }
                Err(error) => {
                    delivery.failed(&error);
                    count(&delivery.counters.ignored_files, 1);
                    self.reading = Reading::Ignored;
                    return ControlFlow::Continue(());
                }
            }
            if delivery.is_stopped() {
                return self.hand_over_buffered(delivery);
            }
        }
    }

    /// After the stop: what was read is handed over, and nothing more is read.
    fn hand_over_buffered<F>(&mut self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        while let Ok(Some(chunk)) = self.chunks.next_buffered() {
            delivery.offer(&self.name, chunk)?;
        }
        ControlFlow::Break(())
    }

    fn begin_anew_if_rewritten<F>(&mut self, size: u64, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let reader = self.chunks.reader();
        let anew = match reader.is_rewritten(size) {
            Ok(false) => return ControlFlow::Continue(()),
            Ok(true) => self.anew(),
            Err(source) => Err(source),
        };
        match anew {
            Ok(chunks) => {
                count(&delivery.counters.truncations, 1);
                tracing::info!(
                    path = ?self.path,
                    offset = reader.offset,
                    size,
                    "followed file was truncated or rewritten, reading it from its start"
                );
                // What is left of the old contents has no more to come.
                self.finish_buffered(delivery)?;
                self.chunks = chunks;
            }
            Err(source) => self.reopen(source, delivery),
        }
        ControlFlow::Continue(())
    }

    fn anew(&self) -> io::Result<Chunks<Growing>> {
        let growing = Growing::at(self.chunks.reader().file.try_clone()?, 0)?;
        Ok(Chunks::with_limits(growing, self.name.clone(), LIMITS))
    }

    /// Hands over what is left in the buffer although the file has gone on without it.
    fn finish_buffered<F>(&mut self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        self.chunks.reader_mut().closed = true;
        self.finish(delivery)
    }

    /// Reads to the end, where the last line ends too.
    pub fn finish<F>(&mut self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        if self.reading != Reading::Lines {
            return ControlFlow::Continue(());
        }
        loop {
            match self.chunks.next() {
                Ok(Some(chunk)) => delivery.offer(&self.name, chunk)?,
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => {
                    delivery.failed(&error);
                    return ControlFlow::Continue(());
                }
            }
        }
    }

    /// After an error (a stale NFS handle, say) the same file may be read on through a new handle.
    fn reopen<F>(&mut self, source: io::Error, delivery: &mut Delivery<'_, F>)
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        delivery.failed(&FilesError::reading(&self.name, source));
        self.looked = (0, 0, 0);
        if let Ok(file) = File::open(&self.path)
            && file.metadata().is_ok_and(|found| file_id(&found) == self.id)
        {
            self.chunks.reader_mut().file = file;
        }
    }
}
