//! Notices when certificates, tokens or rules change.
//!
//! The *directories* of the files are watched, because a Kubernetes secret volume swaps a symlink beside the file and an
//! editor renames a new file over the old one: neither touches the file that was there. Any event only means "look
//! again": what counts is whether the contents are others than before. Where the kernel offers no watch (no inotify
//! instances left, a network file system), a look every now and then finds the change later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Changes come in bursts; a reload waits until they have been quiet for this long.
const QUIET: Duration = Duration::from_millis(200);
/// A directory that is never quiet is looked at this often.
const LONGEST_BURST: Duration = Duration::from_secs(2);
/// Looks without an event: the fallback.
const LOOK: Duration = Duration::from_secs(30);
/// More of a file is not compared.
const COMPARED_BYTES: u64 = 64 << 20;

/// Files and directories that are reloaded together.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    pub paths: Vec<PathBuf>,
}

/// Calls back when a group's contents change, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Something happened in a watched directory.
    Look,
    /// Every group counts as changed.
    TriggerAll,
    Stop,
}

/// The thread that watches could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that watches files: {0}")]
pub struct WatchError(#[from] std::io::Error);

impl Watcher {
    /// Watches `groups`; `changed` is called with a group's name, on the watcher's own thread, one call at a time.
    ///
    /// What the files hold now is what changes are compared with; so make the watcher first and load afterwards, and
    /// no change falls between the two.
    pub fn new(groups: Vec<Group>, changed: impl Fn(&'static str) + Send + 'static) -> Result<Watcher, WatchError> {
        let (orders, received) = channel();
        let notifier = notifier(orders.clone());
        let mut watched = Watched {
            prints: Vec::new(),
            groups,
            notifier,
            directories: BTreeSet::new(),
        };
        watched.watch_directories();
        watched.prints = watched.groups.iter().map(fingerprint).collect();
        let thread = std::thread::Builder::new()
            .name("saker-watch".to_owned())
            .spawn(move || watched.run(&received, &changed))?;
        Ok(Watcher {
            orders,
            thread: Some(thread),
        })
    }

    /// Reloads every group whether or not it changed: what SIGHUP asks for.
    pub fn trigger_all(&self) {
        // The thread outlives this handle, unless a callback panicked; then there is nothing left to tell.
        let _ = self.orders.send(Order::TriggerAll);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}

/// The kernel's notifications, where there are any.
fn notifier(orders: Sender<Order>) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !matters(&event.kind)) {
            return;
        }
        // An error may mean that events were lost, so it is a reason to look as well.
        let _ = orders.send(Order::Look);
    };
    match notify::recommended_watcher(handler) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, every = ?LOOK, "file changes are not announced here; files are compared now and then");
            None
        }
    }
}

/// Reading is not a change; without this our own look would cause the next.
fn matters(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

struct Watched {
    groups: Vec<Group>,
    prints: Vec<u64>,
    notifier: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    fn run(mut self, orders: &Receiver<Order>, changed: &impl Fn(&'static str)) {
        loop {
            let all = match wait(orders) {
                Some(all) => all,
                None => return,
            };
            for (index, group) in self.groups.iter().enumerate() {
                let print = fingerprint(group);
                if all || self.prints[index] != print {
                    self.prints[index] = print;
                    changed(group.name);
                }
            }
            self.watch_directories();
        }
    }

    /// Directories come, go, and move behind symlinks: the set is made anew after each look.
    fn watch_directories(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        let wanted: BTreeSet<PathBuf> = self
            .groups
            .iter()
            .flat_map(|g| &g.paths)
            .flat_map(|p| directories(p))
            .collect();
        for gone in self.directories.difference(&wanted) {
            // The kernel has already forgotten a directory that was removed.
            let _ = notifier.unwatch(gone);
        }
        let mut kept = BTreeSet::new();
        for directory in wanted {
            let watched = self.directories.contains(&directory)
                || match notifier.watch(&directory, RecursiveMode::NonRecursive) {
                    Ok(()) => true,
                    Err(error) => {
                        let directory = directory.display().to_string();
                        tracing::debug!(directory, %error, "directory is not watched; it is compared now and then");
                        false
                    }
                };
            if watched {
                kept.insert(directory);
            }
        }
        self.directories = kept;
    }
}

/// Waits for a reason to look: `Some(true)` when every group counts as changed, `None` at the end.
fn wait(orders: &Receiver<Order>) -> Option<bool> {
    let mut all = match orders.recv_timeout(LOOK) {
        Ok(Order::Look) => false,
        Ok(Order::TriggerAll) => return Some(true),
        Err(RecvTimeoutError::Timeout) => return Some(false),
        Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
    };
    let began = Instant::now();
    while began.elapsed() < LONGEST_BURST {
        match orders.recv_timeout(QUIET) {
            Ok(Order::Look) => {}
            Ok(Order::TriggerAll) => all = true,
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Some(all)
}

/// The directories in which a change of `path` shows: its own, that of what a symlink leads to, and itself if it is one.
fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let parent_of = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    found.push(parent_of(path));
    if let Ok(real) = fs::canonicalize(path) {
        found.push(parent_of(&real));
    }
    if path.is_dir() {
        found.push(path.to_owned());
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        found.extend(
            entries
                .filter_map(|e| fs::canonicalize(e.path()).ok())
                .map(|real| parent_of(&real)),
        );
    }
    found.retain(|directory| directory.is_dir());
    found
}

/// Changes when the contents of a group do.
fn fingerprint(group: &Group) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in &group.paths {
        hash_path(path, &mut hasher);
    }
    hasher.finish()
}

/// A file by its contents; a directory by the names and contents of its visible files.
fn hash_path(path: &Path, hasher: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(path) else {
        hash_file(path, hasher);
        return;
    };
    // Sorted, because the order of a directory may change while its contents do not.
    let files: BTreeMap<_, _> = entries.flatten().map(|e| (e.file_name(), e.path())).collect();
    for (name, file) in files {
        let name = name.as_encoded_bytes();
        if !name.starts_with(b".") && file.is_file() {
            hasher.write_usize(name.len());
            hasher.write(name);
            hash_file(&file, hasher);
        }
    }
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) {
    // Opening a pipe would wait for its writer.
    let regular = fs::metadata(path).is_ok_and(|m| m.is_file());
    let mut contents = Vec::new();
    let read = regular.then(|| fs::File::open(path)?.take(COMPARED_BYTES).read_to_end(&mut contents));
    match read {
        Some(Ok(_)) => {
            hasher.write_u8(1);
            hasher.write_usize(contents.len());
            hasher.write(&contents);
        }
        // A file that cannot be read is a state of its own, so that its return is noticed.
        _ => hasher.write_u8(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Fixture {
        dir: tempfile::TempDir,
        changes: Receiver<&'static str>,
        watcher: Watcher,
    }

    fn watch(prepare: impl Fn(&Path) -> Vec<Group>) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let groups = prepare(dir.path());
        let (sender, changes) = channel();
        let watcher = Watcher::new(groups, move |name| sender.send(name).unwrap()).unwrap();
        Fixture { dir, changes, watcher }
    }

    impl Fixture {
        #[track_caller]
        fn expect(&self, want: &str) {
            // Well below the period of the fallback, so that this tests the notifications.
            let got = self.changes.recv_timeout(Duration::from_secs(15));
            assert_eq!(got, Ok(want));
        }

        /// Nothing but `trigger_all` is left to report: what came before it is caught up with by then.
        #[track_caller]
        fn expect_nothing_before_trigger(&self, groups: &[&str]) {
            std::thread::sleep(3 * QUIET);
            self.watcher.trigger_all();
            for group in groups {
                self.expect(group);
            }
            assert!(self.changes.try_recv().is_err());
        }
    }

    fn group(name: &'static str, path: PathBuf) -> Group {
        Group {
            name,
            paths: vec![path],
        }
    }

    #[test]
    fn a_rewritten_and_a_replaced_file() {
        let f = watch(|dir| {
            fs::write(dir.join("tokens"), "one").unwrap();
            fs::write(dir.join("other"), "one").unwrap();
            vec![group("tokens", dir.join("tokens")), group("other", dir.join("other"))]
        });
        fs::write(f.dir.path().join("tokens"), "two").unwrap();
        f.expect("tokens");
        fs::write(f.dir.path().join("new"), "three").unwrap();
        fs::rename(f.dir.path().join("new"), f.dir.path().join("tokens")).unwrap();
        f.expect("tokens");
        // The same contents again, a file of nobody's, and a mere touch.
        fs::write(f.dir.path().join("tokens"), "three").unwrap();
        fs::write(f.dir.path().join("stranger"), "x").unwrap();
        f.expect_nothing_before_trigger(&["tokens", "other"]);
    }

    #[test]
    fn a_secret_volume_swaps_its_symlink() {
        let f = watch(|dir| {
            for (version, contents) in [("..v1", "one"), ("..v2", "two"), ("..v3", "three")] {
                fs::create_dir(dir.join(version)).unwrap();
                fs::write(dir.join(version).join("tls.crt"), contents).unwrap();
            }
            symlink("..v1", dir.join("..data")).unwrap();
            symlink("..data/tls.crt", dir.join("tls.crt")).unwrap();
            vec![group("tls", dir.join("tls.crt"))]
        });
        for version in ["..v2", "..v3", "..v1"] {
            symlink(version, f.dir.path().join("..data_tmp")).unwrap();
            fs::rename(f.dir.path().join("..data_tmp"), f.dir.path().join("..data")).unwrap();
            f.expect("tls");
        }
    }

    #[test]
    fn files_of_a_directory_come_and_go() {
        let f = watch(|dir| {
            fs::create_dir(dir.join("rules")).unwrap();
            fs::write(dir.join("rules/a.yaml"), "a").unwrap();
            vec![group("rules", dir.join("rules"))]
        });
        let rules = f.dir.path().join("rules");
        fs::write(rules.join("b.yaml"), "b").unwrap();
        f.expect("rules");
        fs::remove_file(rules.join("a.yaml")).unwrap();
        f.expect("rules");
        fs::rename(rules.join("b.yaml"), rules.join("c.yaml")).unwrap();
        f.expect("rules");
        fs::write(rules.join(".c.yaml.swp"), "editor").unwrap();
        f.expect_nothing_before_trigger(&["rules"]);
    }

    #[test]
    fn a_file_that_is_not_there_yet() {
        let f = watch(|dir| vec![group("tokens", dir.join("tokens"))]);
        fs::write(f.dir.path().join("tokens"), "one").unwrap();
        f.expect("tokens");
        fs::remove_file(f.dir.path().join("tokens")).unwrap();
        f.expect("tokens");
    }
}
