//! What is told from outside the kernel. Facts are JSON in recordings, so that a recording replays to the same state.

use std::sync::Arc;

use super::container::Container;
use super::table::Entry;
use super::{Applied, Image, Key, Process, Processes};
use crate::event::bytes;
use crate::event::syscall::ProcessInfo;

/// A fact. What is 0 or empty is left out of recordings, so that every member has a default. Bytes that are no UTF-8 are written as `{"hex": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// A process that runs already.
    Process(Snapshot),
    /// A process that is there no more, whose end no record has told.
    Gone(Key),
    /// What a runtime says of the container of a cgroup.
    Container {
        #[serde(default)]
        cgroup: u64,
        container: Container,
    },
    /// A user of a container, by the container's id, or of the host.
    User {
        #[serde(default)]
        container: Option<Box<str>>,
        /// Recordings leave out what is 0.
        #[serde(default)]
        uid: u32,
        #[serde(default)]
        user: User,
    },
    /// A group likewise.
    Group {
        #[serde(default)]
        container: Option<Box<str>>,
        #[serde(default)]
        gid: u32,
        #[serde(default)]
        name: Box<str>,
    },
}

/// A line of a passwd file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    pub name: Box<str>,
    pub home: Box<str>,
    pub shell: Box<str>,
}

/// A process as the kernel's task iterator or /proc shows it: what the records of its fork and execve would have told.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    /// Starts that /proc tells are in ticks, rounded down: see [`super::Key`].
    pub info: ProcessInfo,
    #[serde(with = "bytes")]
    pub exe: Box<[u8]>,
    #[serde(with = "bytes")]
    pub argv: Box<[u8]>,
    #[serde(with = "bytes")]
    pub env: Box<[u8]>,
    #[serde(with = "bytes")]
    pub cwd: Box<[u8]>,
    /// Id of the cgroup; 0 when it is not known.
    pub cgroup: u64,
    #[serde(with = "bytes")]
    pub cgroup_path: Box<[u8]>,
}

impl Snapshot {
    pub fn key(&self) -> Key {
        Key {
            pid: self.info.pid,
            start: self.info.start,
        }
    }
}

impl Processes {
    /// All that is known, as facts: what a recording begins with. Processes that have ended are left out.
    pub fn facts(&self) -> Vec<Fact> {
        let mut living: Vec<&Process> = self.living().collect();
        living.sort_unstable_by_key(|process| (process.key.start, process.key.pid));
        let snapshot = |process: &Process| Snapshot {
            info: process.info,
            exe: process.image.exe.clone(),
            argv: process.image.argv.clone(),
            env: process.image.env.clone(),
            cwd: (&*process.cwd).into(),
            cgroup: process.cgroup,
            cgroup_path: self.cgroup_path(process.cgroup).unwrap_or(b"/").into(),
        };
        let mut facts: Vec<Fact> = living
            .into_iter()
            .map(|process| Fact::Process(snapshot(process)))
            .collect();
        self.places.facts(&mut facts);
        facts
    }

    /// Takes in a fact.
    pub fn tell(&mut self, fact: &Fact) -> Applied {
        match fact {
            Fact::Process(snapshot) => return self.snapshot(snapshot),
            Fact::Gone(key) => {
                // When is not known; it counts as the first that has ended.
                self.table.end(*key, key.start);
                self.table.settle(*key);
            }
            Fact::Container { cgroup, container } => self.places.tell_container(*cgroup, container),
            Fact::User { container, uid, user } => self.places.tell_user(container.as_deref(), *uid, user),
            Fact::Group { container, gid, name } => self.places.tell_group(container.as_deref(), *gid, name),
        }
        Applied::Nothing
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Applied {
        let key = snapshot.key();
        let (info, cgroup) = (snapshot.info, snapshot.cgroup);
        let new = self.learn_cgroup(cgroup, &snapshot.cgroup_path, &info);
        if self.asked.take_if(|asked| asked.is(key)).is_some() {
            self.repaired += 1;
        }
        let known = self.table.get(key);
        // Records know better, and nobody comes back.
        if known.is_some_and(|entry| !entry.partial) || known.is_none() && self.table.is_past(key) {
            return new;
        }
        let image = Arc::new(Image {
            exe: snapshot.exe.clone(),
            argv: snapshot.argv.clone(),
            env: snapshot.env.clone(),
        });
        let cwd = Arc::from(&*snapshot.cwd);
        let key = if let Some(entry) = self.table.get_mut(key) {
            entry.partial = false;
            entry.process.image = image;
            entry.process.cwd = cwd;
            entry.process.key
        } else {
            let parent = Key {
                pid: info.ppid,
                start: info.parent_start,
            };
            let process = Process {
                key,
                info,
                image,
                cwd,
                parent,
                cgroup,
                exec_root: None,
                exited: None,
            };
            self.table.insert(Entry {
                process,
                partial: false,
                runtime: false,
            });
            key
        };
        self.inherit(key);
        match self.enter(key, &info, cgroup, key.start) {
            Some(root) => Applied::ExecRoot(root),
            None => new,
        }
    }
}
