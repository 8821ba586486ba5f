//! Files of the node, read with bounds and never outside of the directory they are looked for in.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// No file of a runtime that is read here comes near this size; what is larger is not read at all.
pub const FILE: u64 = 4 << 20;
/// Names taken from one directory.
const ENTRIES: usize = 16_384;

/// A directory that is the root of all paths opened through it: links lead nowhere else, `..` does not leave it. That
/// is how the files of the node are reached from a pod that has them mounted below `/host`, and those of a container,
/// whose links nobody should trust.
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
    resolve: ResolveFlag,
}

impl Root {
    /// The node, as found below `path`.
    pub fn node(path: &Path) -> io::Result<Root> {
        Ok(Root {
            directory: directory(path)?,
            path: path.to_owned(),
            resolve: ResolveFlag::RESOLVE_IN_ROOT,
        })
    }

    /// The root of a container as a process of it sees it. What is mounted inside is left alone: whoever may mount in
    /// the container could have us wait for a file system of his own.
    pub fn of_process(pid: u32) -> io::Result<Root> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        Ok(Root {
            directory: directory(&path)?,
            path,
            resolve: ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_XDEV,
        })
    }

    /// The root of a container as the node sees it, bounded as in [`Root::of_process`].
    pub fn inside(&self, path: &Path) -> io::Result<Root> {
        Ok(Root {
            directory: self.resolve(path, OFlag::O_DIRECTORY)?,
            path: self.path.join(relative(path)),
            resolve: ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_XDEV,
        })
    }

    fn resolve(&self, path: &Path, more: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | more)
            .resolve(self.resolve);
        Ok(openat2(&self.directory, path, how)?)
    }

    /// Opens a regular file that is no larger than `limit`. Devices and pipes are recognised before they are opened,
    /// because opening alone can have an effect.
    pub fn open(&self, path: &Path, limit: u64) -> io::Result<(File, Stamp)> {
        let found = File::from(self.resolve(path, OFlag::O_NOFOLLOW)?);
        let about = found.metadata()?;
        if !about.is_file() || about.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file, or too large",
            ));
        }
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let stamp = Stamp {
            place: (about.dev(), about.ino()),
            size: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
        };
        Ok((file, stamp))
    }

    /// All of a file, where it is a regular one of at most `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        let (file, _) = self.open(path, limit).ok()?;
        contents(file, limit)
    }

    /// Names in a directory; empty where there is none.
    pub fn list(&self, path: &Path) -> Vec<String> {
        let Ok(found) = self.resolve(path, OFlag::O_DIRECTORY) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(format!("/proc/self/fd/{}", found.as_raw_fd())) else {
            return Vec::new();
        };
        entries
            .take(ENTRIES)
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The target of the link `/proc/<pid>/ns/<kind>`, which is the same for two processes in one namespace.
    pub fn namespace(&self, pid: u32, kind: &str) -> Option<PathBuf> {
        let mounted = self.path.join("proc");
        // Where the node's /proc is not among what is mounted, ours is the best there is.
        let proc = if mounted.join("1/ns").exists() {
            mounted
        } else {
            "/proc".into()
        };
        std::fs::read_link(proc.join(format!("{pid}/ns/{kind}"))).ok()
    }
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

/// Reads at most `limit` bytes; a file that has grown beyond that since is not cut but refused.
pub fn contents(file: File, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?)
}

/// `path` without its leading slash, to be joined.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
