//! Follows growing files through rotation, as the API server and logrotate do it.
//!
//! A followed file is known by its inode, and stays open: after a rename it is read to its end under its new name before
//! its successor is begun. A file that became shorter, or whose bytes before our position changed (truncated and grown
//! again between two looks), is read from its start. The last line is kept until its newline comes.
//!
//! What this cannot see: with `copytruncate` (logrotate), lines written between our last read and the truncation; and a
//! file that was renamed twice between two looks. Both windows are milliseconds where the file system notifies, a second
//! where it does not (NFS). Follow the file, not its directory, where logs are rotated by copying: the copy is a new file.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::deliver::Delivery;
use super::input::regular_files;
use super::{Chunk, FilesError, count};
use crate::config::StartAt;
use crate::sources::audit::pipeline::Rejected;

mod followed;
mod growing;
mod watch;

use followed::Followed;
use watch::Watch;

#[cfg(test)]
mod tests;

/// A renamed or removed file is still read for so long after it last grew: its writer may not have noticed.
const LINGER: Duration = Duration::from_secs(30);

/// Follows a file, or all files of a directory.
pub(super) struct Tail<'a> {
    path: &'a Path,
    /// Where to begin in files that are there at the first look; later ones are read from their start.
    start: StartAt,
    files: Vec<Followed>,
    first_look: bool,
    /// The user was told that there is nothing to read.
    absence_told: bool,
    /// Paths that cannot be opened, each logged once.
    unreadable: HashSet<PathBuf>,
    linger: Duration,
}

/// The identity of a file as long as it is open or named: device and inode.
type FileId = (u64, u64);

impl<'a> Tail<'a> {
    pub fn new(path: &'a Path, start: StartAt) -> Self {
        Tail {
            path,
            start,
            files: Vec::new(),
            first_look: true,
            absence_told: false,
            unreadable: HashSet::new(),
            linger: LINGER,
        }
    }

    /// Follows until the stop.
    pub fn run<F>(mut self, delivery: &mut Delivery<'_, F>)
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let mut watch = Watch::new(self.path);
        while !delivery.is_stopped() {
            // The watch comes first: what is written between the look and the wait then ends the wait.
            watch.renew();
            if self.look(delivery).is_break() {
                return;
            }
            watch.wait(delivery.stop());
        }
    }

    /// Reads all there is to read for now.
    fn look<F>(&mut self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let listed = self.list(delivery);
        let (found, is_directory) = match listed {
            Some(listed) => listed,
            // Nothing is known of what is there, and nothing is given up for that.
            None => return ControlFlow::Continue(()),
        };
        for file in &mut self.files {
            match found.iter().find(|(_, id)| *id == file.id) {
                Some((path, _)) => file.is_at(path),
                None if file.gone => {}
                None => {
                    file.gone = true;
                    file.grown = Instant::now();
                    count(&delivery.counters.rotations, 1);
                    tracing::info!(path = ?file.path, "followed file was rotated or removed, reading it to its end");
                }
            }
        }
        for file in &mut self.files {
            file.read(is_directory, delivery)?;
        }
        for (path, id) in found {
            if self.files.iter().all(|file| file.id != id) {
                self.add(path, is_directory, delivery)?;
            }
        }
        self.first_look = false;
        self.retire(delivery)
    }

    /// The files at the path now, with whether the path is a directory; `None` when that cannot be known.
    fn list<F>(&mut self, delivery: &mut Delivery<'_, F>) -> Option<(Vec<(PathBuf, FileId)>, bool)>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let listed = fs::metadata(self.path).and_then(|found| {
            if found.is_dir() {
                let files = regular_files(self.path)?;
                let with_id = |path: PathBuf| fs::metadata(&path).ok().map(|found| (path, file_id(&found)));
                Ok((files.into_iter().filter_map(with_id).collect(), true))
            } else if found.is_file() {
                Ok((vec![(self.path.to_owned(), file_id(&found))], false))
            } else {
                // Opening a named pipe would block.
                Err(io::Error::other("it is no regular file any more"))
            }
        });
        match listed {
            Ok(listed) => {
                if std::mem::take(&mut self.absence_told) {
                    tracing::info!(path = ?self.path, "the followed path is there now");
                }
                Some(listed)
            }
            Err(source) => {
                let absent = source.kind() == io::ErrorKind::NotFound;
                if !std::mem::replace(&mut self.absence_told, true) {
                    if absent {
                        tracing::warn!(path = ?self.path, "the followed path does not exist, waiting for it");
                    } else {
                        delivery.failed(&FilesError::opening(self.path, source));
                    }
                }
                absent.then(|| (Vec::new(), false))
            }
        }
    }

    fn add<F>(&mut self, path: PathBuf, in_directory: bool, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let start = if self.first_look {
            self.start
        } else {
            StartAt::Beginning
        };
        let mut file = match Followed::open(&path, start) {
            Ok(file) => file,
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return ControlFlow::Continue(()),
            Err(error) => {
                if self.unreadable.len() > 1000 {
                    self.unreadable.clear();
                }
                if self.unreadable.insert(path.clone()) {
                    delivery.failed(&FilesError::opening(&path, error));
                }
                return ControlFlow::Continue(());
            }
        };
        self.unreadable.remove(&path);
        if self.files.iter().any(|known| known.id == file.id) {
            return ControlFlow::Continue(());
        }
        file.decide(in_directory, self.first_look, start, delivery)?;
        tracing::info!(path = ?file.path, offset = file.offset(), "following");
        let flow = file.read(in_directory, delivery);
        self.files.push(file);
        flow
    }

    /// Takes leave of files that are gone and have not grown for a while.
    fn retire<F>(&mut self, delivery: &mut Delivery<'_, F>) -> ControlFlow<()>
    where
        F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
    {
        let mut index = 0;
        while index < self.files.len() {
            let file = &mut self.files[index];
            if file.gone && (file.is_ignored() || file.grown.elapsed() >= self.linger) {
                file.finish(delivery)?;
                self.files.remove(index);
            } else {
                index += 1;
            }
        }
        ControlFlow::Continue(())
    }
}

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}
