//! The processes by identity.
//!
//! A process that has ended stays as long as a living one descends from it. Only such ancestors are dropped when the
//! table is full, the one that ended first before others; when there is none, living processes, which /proc can tell again
//! when they act: first those that have started nobody.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::{ExecRoot, Key, Process, TICK};

/// Where a process stands: as much of its identity as both the probe and /proc know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Slot {
    pid: u32,
    tick: u64,
}

impl From<Key> for Slot {
    fn from(key: Key) -> Self {
        Slot {
            pid: key.pid,
            tick: key.start / TICK,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub process: Process,
    /// Its image is not known: neither its execve nor that of the process that started it was seen.
    pub partial: bool,
    /// It runs the container runtime that will become an exec root with the next execve.
    pub runtime: bool,
}

impl Entry {
    /// Whether the process is itself the root of an exec.
    pub fn is_root(&self) -> bool {
        let key = |root: &std::sync::Arc<ExecRoot>| root.key.is(self.process.key);
        self.process.exec_root.as_ref().is_some_and(key)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    entries: HashMap<Slot, Entry>,
    /// Living processes by id.
    pids: HashMap<u32, Slot>,
    /// How many entries name this one as their parent, whether it is there or not.
    children: HashMap<Slot, u32>,
    /// Ancestors that have ended, in the order of their ends.
    ended: BTreeSet<(u64, Slot)>,
    /// Who was dropped last: a fork that is told after its child's end brings nobody back.
    gone: [Key; 64],
    next_gone: usize,
    limit: usize,
    pub evicted: u64,
}

impl Table {
    pub fn new(limit: usize) -> Self {
        Table {
            entries: HashMap::new(),
            pids: HashMap::new(),
            children: HashMap::new(),
            ended: BTreeSet::new(),
            gone: [Key::default(); 64],
            next_gone: 0,
            limit: limit.max(1),
            evicted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&Entry> {
        self.entries
            .get(&Slot::from(key))
            .filter(|entry| entry.process.key.is(key))
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries
            .get_mut(&Slot::from(key))
            .filter(|entry| entry.process.key.is(key))
    }

    pub fn by_pid(&self, pid: u32) -> Option<&Entry> {
        self.entries.get(self.pids.get(&pid)?)
    }

    pub fn living(&self) -> impl Iterator<Item = &Entry> {
        self.pids.values().filter_map(|slot| self.entries.get(slot))
    }

    /// Whether a process was here and has been dropped a short while ago, or has been followed by another of its id.
    pub fn is_past(&self, key: Key) -> bool {
        let slot = Slot::from(key);
        let later = self.pids.get(&slot.pid).is_some_and(|living| living.tick > slot.tick);
        later || self.gone.iter().any(|gone| gone.is(key))
    }

    /// Takes in a living process. Another one of its id has ended.
    pub fn insert(&mut self, entry: Entry) {
        let slot = Slot::from(entry.process.key);
        let started = entry.process.key.start;
        self.remove(slot);
        if let Some(before) = self.by_pid(slot.pid).map(|before| before.process.key) {
            self.end(before, started);
            self.settle(before);
        }
        if self.entries.len() >= self.limit {
            self.make_room(Slot::from(entry.process.parent));
        }
        if let Some(parent) = parent_slot(&entry.process) {
            *self.children.entry(parent).or_default() += 1;
        }
        self.pids.insert(slot.pid, slot);
        self.entries.insert(slot, entry);
    }

    /// Changes who started a process.
    pub fn adopt(&mut self, key: Key, parent: Key) {
        let Some(entry) = self.get_mut(key) else { return };
        let before = parent_slot(&entry.process);
        entry.process.parent = parent;
        let after = parent_slot(&entry.process);
        if before == after {
            return;
        }
        if let Some(after) = after {
            *self.children.entry(after).or_default() += 1;
        }
        if let Some(orphaned) = before.and_then(|before| self.forget_child(before)) {
            self.remove(orphaned);
        }
    }

    /// Marks a process as ended; it stays until it is settled.
    pub fn end(&mut self, key: Key, time: u64) {
        let slot = Slot::from(key);
        let Some(entry) = self.get_mut(key) else { return };
        entry.process.exited.get_or_insert(time);
        if self.pids.get(&slot.pid) == Some(&slot) {
            self.pids.remove(&slot.pid);
        }
    }

    /// Drops a process that has ended, unless somebody descends from it.
    pub fn settle(&mut self, key: Key) {
        let slot = Slot::from(key);
        let Some(time) = self.get(key).and_then(|entry| entry.process.exited) else {
            return;
        };
        if self.children.contains_key(&slot) {
            self.ended.insert((time, slot));
        } else {
            self.remove(slot);
        }
    }

    /// Drops an entry, and ancestors of it that nobody needs any more.
    fn remove(&mut self, slot: Slot) {
        let mut next = Some(slot);
        while let Some(slot) = next {
            let Some(Entry { process, .. }) = self.entries.remove(&slot) else {
                return;
            };
            match process.exited {
                Some(time) => {
                    self.ended.remove(&(time, slot));
                    self.gone[self.next_gone] = process.key;
                    self.next_gone = (self.next_gone + 1) % self.gone.len();
                }
                None => {
                    if self.pids.get(&slot.pid) == Some(&slot) {
                        self.pids.remove(&slot.pid);
                    }
                }
            }
            next = parent_slot(&process).and_then(|parent| self.forget_child(parent));
        }
    }

    /// Takes a child off a process; the process when it has ended and that was the last.
    fn forget_child(&mut self, parent: Slot) -> Option<Slot> {
        let count = self.children.get_mut(&parent)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.children.remove(&parent);
        let time = self.entries.get(&parent)?.process.exited?;
        self.ended.contains(&(time, parent)).then_some(parent)
    }

    fn make_room(&mut self, except: Slot) {
        let first = self.ended.iter().find(|(_, slot)| *slot != except).copied();
        if let Some((_, slot)) = first {
            self.evicted += 1;
            self.remove(slot);
            return;
        }
        // What stems from an exec goes late, because /proc does not tell that.
        let mut living: Vec<_> = (self.entries.iter())
            .filter(|(slot, entry)| **slot != except && entry.process.exited.is_none())
            .map(|(slot, entry)| {
                let needed = self.children.contains_key(slot);
                (needed, entry.process.exec_root.is_some(), slot.tick, slot.pid)
            })
            .collect();
        living.sort_unstable();
        // A sixty-fourth at once, because finding them takes a look at all.
        for (.., tick, pid) in living.into_iter().take((self.limit / 64).max(1)) {
            self.evicted += 1;
            self.remove(Slot { pid, tick });
        }
    }
}

/// Who started a process; none for the first ones, and for what claims to have started itself.
fn parent_slot(process: &Process) -> Option<Slot> {
    let parent = Slot::from(process.parent);
    (parent.pid != 0 && parent != Slot::from(process.key)).then_some(parent)
}
