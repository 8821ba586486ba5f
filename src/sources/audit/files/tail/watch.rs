//! Wakes the follower when something in a directory changes, or after a second where the file system does not tell.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::sources::audit::files::StopFlag;
use crate::sources::audit::files::deliver::STOP_CHECK;

/// Without a notification the files are looked at after this: network file systems do not notify.
const POLL: Duration = Duration::from_secs(1);
/// A writer that writes line by line wakes us once for many lines.
const GATHER: Duration = Duration::from_millis(10);

/// A watch on the directories that hold the followed files.
pub(super) struct Watch {
    path: PathBuf,
    /// Ends its watches when dropped.
    watcher: Option<RecommendedWatcher>,
    /// What is watched, with inodes: a directory that was made anew needs a new watch.
    watched: Vec<(PathBuf, u64)>,
    wake: Receiver<()>,
    /// Held so that waiting without a watcher is an ordinary time-out.
    waker: SyncSender<()>,
    failure_told: bool,
}

impl Watch {
    pub fn new(path: &Path) -> Self {
        let (waker, wake) = sync_channel(1);
        Watch {
            path: path.to_owned(),
            watcher: None,
            watched: Vec::new(),
            wake,
            waker,
            failure_told: false,
        }
    }

    /// Watches the directories that are there and not watched yet.
    pub fn renew(&mut self) {
        let wanted = self.directories();
        if self.watched == wanted {
            return;
        }
        let waker = self.waker.clone();
        let created = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Opening and reading files are events as well; without this we would wake ourselves for ever.
            if !event.is_ok_and(|event| event.kind.is_access() && !is_write_end(&event)) {
                // A full channel means that the wake-up is on its way.
                let _ = waker.try_send(());
            }
        });
        let watcher = created.and_then(|mut watcher| {
            for (directory, _) in &wanted {
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        if let Err(error) = &watcher
            && !std::mem::replace(&mut self.failure_told, true)
        {
            tracing::warn!(path = ?self.path, %error, "cannot watch a directory, looking every second instead");
        }
        self.watcher = watcher.ok();
        // Also when it failed: the same directories would fail again, and polling goes on.
        self.watched = wanted;
    }

    /// The directory itself, or that of the file; and of the file that a link leads to.
    fn directories(&self) -> Vec<(PathBuf, u64)> {
        let holder = |path: &Path| {
            let directory = if path.is_dir() {
                path
            } else {
                path.parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                    .unwrap_or(Path::new("."))
            };
            let inode = fs::metadata(directory).ok()?.ino();
            Some((directory.to_owned(), inode))
        };
        let mut directories: Vec<_> = holder(&self.path).into_iter().collect();
        if let Some(behind) = fs::canonicalize(&self.path).ok().and_then(|path| holder(&path))
            && directories.iter().all(|(_, inode)| *inode != behind.1)
        {
            directories.push(behind);
        }
        directories
    }

    /// Returns at a change, after a second, or at the stop.
    pub fn wait(&self, stop: &StopFlag) {
        let until = Instant::now() + POLL;
        while !stop.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.wake.recv_timeout(left.min(STOP_CHECK)) {
                Ok(()) => {
                    thread::sleep(GATHER);
                    while self.wake.try_recv().is_ok() {}
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot be while `waker` is held; then polling remains.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(left.min(STOP_CHECK)),
            }
        }
    }
}

fn is_write_end(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}
