//! Names of users and groups, from `/etc/passwd` and `/etc/group` of the node or of a container.
//!
//! A container writes these files as it likes: reading is bounded, nothing but a regular file on the container's own
//! root file system is opened, and no link leads out of it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft;
use super::files::{Root, Stamp};
use crate::processes::{Container, Fact, User};

/// Containers whose names are kept; the one not asked for the longest makes room.
const KEPT: usize = 64;
/// Bytes kept of a name or path.
const TEXT: usize = 128;

/// How much of a file is read, and how many of its entries are kept.
#[derive(Clone, Copy)]
struct Bounds {
    bytes: u64,
    entries: usize,
}

const NODE: Bounds = Bounds {
    bytes: 1 << 20,
    entries: 16_384,
};
const CONTAINER: Bounds = Bounds {
    bytes: 128 << 10,
    entries: 1_024,
};

/// The names that hold in one place, by user id and by group id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub users: Vec<(u32, User)>,
    pub groups: Vec<(u32, Box<str>)>,
    /// Entries did not fit, or a file was not read to its end.
    pub cut: bool,
}

impl Names {
    /// The user of an id: the first entry counts, as for getpwuid(3).
    pub fn user(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|(id, _)| *id == uid).map(|(_, user)| user)
    }

    /// The name of a group.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|(id, _)| *id == gid).map(|(_, name)| &**name)
    }

    /// Tells all names, of the container or of the node.
    pub fn facts(&self, container: Option<&str>) -> impl Iterator<Item = Fact> {
        // What is told later replaces what was told before, but the first entry counts.
        let (mut uids, mut gids) = (HashSet::new(), HashSet::new());
        let users = self.users.iter().filter(move |(uid, _)| uids.insert(*uid));
        let groups = self.groups.iter().filter(move |(gid, _)| gids.insert(*gid));
        let users = users.map(move |(uid, user)| Fact::User {
            container: container.map(Box::from),
            uid: *uid,
            user: user.clone(),
        });
        users.chain(groups.map(move |(gid, name)| Fact::Group {
            container: container.map(Box::from),
            gid: *gid,
            name: name.clone(),
        }))
    }

    /// Adds entries of passwd(5).
    pub fn add_users(&mut self, text: &[u8], entries: usize) {
        for fields in lines(text) {
            let [name, _, uid, _, _, home, shell] = fields[..] else {
                continue;
            };
            let Some(uid) = number(uid) else { continue };
            if self.users.len() == entries {
                self.cut = true;
                return;
            }
            let user = User {
                name: bounded(name),
                home: bounded(home),
                shell: bounded(shell),
            };
            self.users.push((uid, user));
        }
    }

    /// Adds entries of group(5).
    pub fn add_groups(&mut self, text: &[u8], entries: usize) {
        for fields in lines(text) {
            let [name, _, gid, ..] = fields[..] else { continue };
            let Some(gid) = number(gid) else { continue };
            if self.groups.len() == entries {
                self.cut = true;
                return;
            }
            self.groups.push((gid, bounded(name)));
        }
    }
}

/// The fields of each line that is an entry; those of NIS (`+…`) are none.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty() && !matches!(line[0], b'#' | b'+' | b'-' | b':'))
        // One more than passwd(5) has, so that a line with more is not taken for an entry.
        .map(|line| line.splitn(8, |byte| *byte == b':').collect())
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn bounded(text: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&text[..text.len().min(TEXT)]);
    draft::start(&text, TEXT).into()
}

/// Reads names and keeps them until the files change.
pub struct Users {
    node: PathBuf,
    /// By container id; the node has the empty one.
    kept: HashMap<Box<str>, Kept>,
    clock: u64,
}

struct Kept {
    stamps: [Option<Stamp>; 2],
    names: Arc<Names>,
    used: u64,
}

impl Users {
    pub fn new(node: &Path) -> Users {
        Users {
            node: node.into(),
            kept: HashMap::new(),
            clock: 0,
        }
    }

    /// Names on the node.
    pub fn node(&mut self) -> Arc<Names> {
        match Root::node(&self.node) {
            Ok(root) => self.read("", &root, NODE).unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }

    /// Names in a container: from its root file system as the node sees it, else as its process `pid` does. Empty for
    /// images without these files.
    pub fn container(&mut self, container: &Container, pid: Option<u32>) -> Arc<Names> {
        let path = container.root.as_deref().map(Path::new);
        let roots = [
            path.and_then(|path| Root::node(&self.node).ok()?.inside(path).ok()),
            pid.and_then(|pid| Root::of_process(pid).ok()),
        ];
        // The first is an empty directory where the mount has not reached us.
        let found = roots
            .iter()
            .flatten()
            .find_map(|root| self.read(&container.id, root, CONTAINER));
        found.unwrap_or_default()
    }

    /// Forgets a container that has ended.
    pub fn forget(&mut self, id: &str) {
        self.kept.remove(id);
    }

    /// `None` if neither file is there.
    fn read(&mut self, id: &str, root: &Root, bounds: Bounds) -> Option<Arc<Names>> {
        let files = ["etc/passwd", "etc/group"].map(|path| root.open(Path::new(path), u64::MAX).ok());
        let stamps = [0, 1].map(|file: usize| files[file].as_ref().map(|(_, stamp)| *stamp));
        if stamps == [None, None] {
            return None;
        }
        self.clock += 1;
        if let Some(kept) = self.kept.get_mut(id)
            && kept.stamps == stamps
        {
            kept.used = self.clock;
            return Some(Arc::clone(&kept.names));
        }
        let mut names = Names::default();
        let [users, groups] =
            files.map(|file| file.map_or_else(Vec::new, |(file, _)| first_lines(file, bounds, &mut names)));
        names.add_users(&users, bounds.entries);
        names.add_groups(&groups, bounds.entries);
        let names = Arc::new(names);
        if self.kept.len() >= KEPT
            && !self.kept.contains_key(id)
            && let Some(oldest) = self
                .kept
                .iter()
                .min_by_key(|(_, kept)| kept.used)
                .map(|(id, _)| id.clone())
        {
            self.kept.remove(&oldest);
        }
        let kept = Kept {
            stamps,
            names: Arc::clone(&names),
            used: self.clock,
        };
        self.kept.insert(id.into(), kept);
        Some(names)
    }
}

/// The whole lines in the first bytes of a file.
fn first_lines(file: File, bounds: Bounds, names: &mut Names) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error is as good as it is after one.
    let _ = file.take(bounds.bytes + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > bounds.bytes {
        names.cut = true;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn at(root: &Path) -> Users {
        Users::new(root)
    }

    fn container(id: &str, root: &str) -> Container {
        Container {
            id: id.into(),
            root: Some(root.into()),
            ..Container::default()
        }
    }

    fn node(passwd: &str) -> tempfile::TempDir {
        let node = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(node.path().join("box/etc")).unwrap();
        std::fs::create_dir_all(node.path().join("etc")).unwrap();
        std::fs::write(node.path().join("etc/passwd"), "root:x:0:0:Node:/root:/bin/bash\n").unwrap();
        std::fs::write(node.path().join("etc/group"), "root:x:0:\n").unwrap();
        std::fs::write(node.path().join("box/etc/passwd"), passwd).unwrap();
        node
    }

    #[test]
    fn entries_are_read_as_the_library_does() {
        let mut names = Names::default();
        let text = b"# c\n\napp:x:1000:1000:A:/app:/bin/sh\nlater:x:1000:1:::\nshort:x:5\nneg:x:-1:1:::\n+nis::::::\n\
            no_newline:x:7:7::/:/sbin/nologin";
        names.add_users(text, 10);
        assert_eq!(names.user(1000).unwrap().name.as_ref(), "app");
        assert_eq!(names.user(7).unwrap().shell.as_ref(), "/sbin/nologin");
        assert_eq!(names.users.len(), 3);
        names.add_groups(b"wheel:x:10:a,b\n\xff\xfe:x:11:\n", 1);
        assert_eq!(names.group(10), Some("wheel"));
        assert!(names.cut && names.group(11).is_none());
    }

    #[test]
    fn files_are_read_again_only_when_they_change() {
        let node = node("app:x:1:1::/:/bin/sh\n");
        let mut users = at(node.path());
        let first = users.container(&container("a", "/box"), None);
        assert_eq!(first.user(1).unwrap().name.as_ref(), "app");
        assert!(Arc::ptr_eq(&first, &users.container(&container("a", "/box"), None)));
        std::fs::write(node.path().join("box/etc/passwd"), "other:x:1:1::/:/bin/sh\n").unwrap();
        let second = users.container(&container("a", "/box"), None);
        assert_eq!(second.user(1).unwrap().name.as_ref(), "other");
        assert_eq!(users.node().user(0).unwrap().shell.as_ref(), "/bin/bash");
        assert_eq!(users.node().group(0), Some("root"));
    }

    #[test]
    fn a_container_shows_nothing_of_the_node() {
        let node = node("");
        let etc = node.path().join("box/etc");
        // A link in place of the file, out of the root by an absolute path and by `..`.
        for target in ["/etc/passwd", "../../etc/passwd"] {
            std::fs::remove_file(etc.join("passwd")).unwrap();
            symlink(target, etc.join("passwd")).unwrap();
            assert_eq!(
                *at(node.path()).container(&container("a", "/box"), None),
                Names::default()
            );
        }
        // A link in place of the directory.
        std::fs::remove_dir_all(&etc).unwrap();
        for target in [node.path().join("etc"), "../etc".into()] {
            symlink(target, &etc).unwrap();
            assert_eq!(
                *at(node.path()).container(&container("a", "/box"), None),
                Names::default()
            );
            std::fs::remove_file(&etc).unwrap();
        }
        // Within the root, a linked directory is as good as another.
        std::fs::create_dir(node.path().join("box/real")).unwrap();
        std::fs::write(node.path().join("box/real/passwd"), "in:x:3:3::/:/bin/sh\n").unwrap();
        symlink("/real", &etc).unwrap();
        let names = at(node.path()).container(&container("a", "/box"), None);
        assert_eq!(names.user(3).unwrap().name.as_ref(), "in");
    }

    #[test]
    fn pipes_do_not_block_and_large_files_are_cut() {
        let node = node(&"u:x:1:1::/:/bin/sh\n".repeat(20_000));
        let names = at(node.path()).container(&container("a", "/box"), None);
        assert_eq!((names.users.len(), names.cut), (CONTAINER.entries, true));
        let passwd = node.path().join("box/etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            *at(node.path()).container(&container("a", "/box"), None),
            Names::default()
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let node = node("app:x:1:1::/:/bin/sh\n");
        let mut users = at(node.path());
        for id in 0..KEPT * 2 {
            users.container(&container(&id.to_string(), "/box"), None);
        }
        assert_eq!(users.kept.len(), KEPT);
        assert!(users.kept.contains_key((KEPT * 2 - 1).to_string().as_str()));
    }
}
