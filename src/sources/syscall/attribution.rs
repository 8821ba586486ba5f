//! Who is behind the processes of this node: what the correlator is told of them, and what comes of it.
//!
//! Roots of execs, first processes of containers, and the ends of both go to the correlator as the rules see their
//! records; audit events and reviews come from the bus. What it says is kept for the fields of later events
//! ([`Actors`]) and waits here as sessions that have changed, to be judged by the rules of source `k8s_exec`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::bus::{Kind as MessageKind, Message};
use crate::config::AttributionConfig;
use crate::correlate::fact::RequestId;
use crate::correlate::{Actors, Change, Correlator, Counts, Fact, PodName, ProcessId, Root, State, Who, read};
use crate::event::syscall::{Header, Kind, PARTS, Part, Record, encode};
use crate::event::{Priority, Timestamp};
use crate::processes::{Container, Key, Process, Processes};

/// Bytes of a command line that the probe sends: one that long may be longer.
const CUT: usize = 4_096;
/// Processes, and alerts, that are kept of a session.
const EACH: usize = 256;
/// Sessions whose roots have ended and that are still told of.
const ENDED: usize = 1_024;
/// Audit events that are kept for rules of `k8s_exec`, and their bytes.
const KEPT: (usize, usize) = (4_096, 16 << 20);

/// An alert of a process that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub uuid: [u8; 16],
    pub rule: Arc<str>,
    pub priority: Priority,
    pub time: Timestamp,
}

/// A program that ran in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub key: Key,
    pub parent: Key,
    /// Nanoseconds since the Unix epoch.
    pub at: Timestamp,
    pub ended: Option<Timestamp>,
    /// The arguments, a blank between them; cut after some length.
    pub command: Box<str>,
}

/// A process that came in, and all that stems from it.
#[derive(Debug)]
pub struct Tree {
    pub key: Key,
    pub pod: PodName,
    pub container: Option<Box<str>>,
    pub tty: bool,
    /// Its container's own first process.
    pub first: bool,
    cgroup: u64,
    /// Time of its first execve.
    pub at: Timestamp,
    pub ended: Option<Timestamp>,
    /// The record of its first execve, and everyone that it shows.
    record: Box<[u8]>,
    cast: Vec<Process>,
    living: HashSet<Key>,
    pub ran: VecDeque<Ran>,
    pub raised: Vec<Raised>,
    /// Programs and alerts that were too many.
    pub left_out: u64,
}

/// A session that has changed, for rules.
#[derive(Debug)]
pub struct Session {
    pub who: Who,
    pub pod: PodName,
    /// The process, if there is one.
    pub key: Option<Key>,
    /// The audit event that opened it, where that is known.
    pub entry: Option<Arc<[u8]>>,
}

/// The state of a node.
#[derive(Debug)]
pub struct Attribution {
    enabled: bool,
    node: Arc<str>,
    keys: Vec<String>,
    boot: Timestamp,
    correlator: Correlator,
    actors: Actors,
    trees: HashMap<Key, Tree>,
    /// Roots that have ended, the oldest first.
    ended: VecDeque<Key>,
    entries: HashMap<RequestId, Arc<[u8]>>,
    order: VecDeque<RequestId>,
    bytes: usize,
    /// Sessions that have changed and were not judged yet.
    changed: Vec<Session>,
    /// Counts what sessions show.
    version: u64,
    /// Changes so far, by [`State::ALL`].
    told: [u64; State::ALL.len()],
}

impl Attribution {
    /// `host` is the name of the machine.
    pub fn new(config: &AttributionConfig, host: &str, boot: Timestamp) -> Attribution {
        Attribution {
            enabled: config.enabled,
            node: config.node.as_deref().unwrap_or(host).into(),
            keys: config.keys.clone(),
            boot,
            correlator: Correlator::new(config.settings()),
            actors: Actors::default(),
            trees: HashMap::new(),
            ended: VecDeque::new(),
            entries: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            changed: Vec::new(),
            version: 0,
            told: [0; State::ALL.len()],
        }
    }

    /// Changes so far, by [`State::ALL`].
    pub fn told(&self) -> [u64; State::ALL.len()] {
        self.told
    }

    /// Another number whenever sessions show something else.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Who is behind a process that came in.
    pub fn who(&self, tree: &Tree) -> Option<&Who> {
        match tree.first {
            true => self.actors.of_container(tree.cgroup),
            false => self.actors.of_root(tree.key),
        }
    }

    pub fn actors(&self) -> &Actors {
        &self.actors
    }

    pub fn counts(&self) -> Counts {
        self.correlator.counts()
    }

    /// All that came in and is remembered, in the order of their beginning.
    pub fn trees(&self) -> Vec<&Tree> {
        let mut all: Vec<&Tree> = self.trees.values().collect();
        all.sort_unstable_by_key(|tree| (tree.at, tree.key));
        all
    }

    /// Takes what the bus has brought.
    pub fn hear(&mut self, message: &Message, now: Timestamp) {
        let fact = match message.kind {
            MessageKind::Heard => Some(Fact::Heard(message.at)),
            MessageKind::Review => read::review(&message.body, message.at).map(|review| Fact::Review(Box::new(review))),
            MessageKind::Audit => read::audit(&message.body),
        };
        let Some(fact) = fact else { return };
        if let Fact::Entry(entry) = &fact {
            self.keep(entry.id, &message.body);
        }
        self.take(fact, now);
    }

    /// Since when all that was sent has come; nothing while it does not.
    pub fn up(&mut self, since: Option<Timestamp>, now: Timestamp) {
        self.take(Fact::Bus(since), now);
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Timestamp) {
        let mut changes = Vec::new();
        self.correlator.tick(now, &mut changes);
        self.follow(changes);
    }

    fn take(&mut self, fact: Fact, now: Timestamp) {
        let mut changes = Vec::new();
        self.correlator.take(fact, now, &mut changes);
        self.follow(changes);
    }

    /// What the correlator says is known to fields at once: the record that brought it is judged after this.
    fn follow(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.version += 1;
            let session = self.session(change);
            self.changed.push(session);
        }
    }

    /// The last stage that tells who it was is what rules see.
    fn keep(&mut self, id: RequestId, body: &[u8]) {
        let body: Arc<[u8]> = body.into();
        self.bytes += body.len();
        match self.entries.insert(id, body) {
            Some(before) => self.bytes -= before.len(),
            None => self.order.push_back(id),
        }
        while self.order.len() > KEPT.0 || self.bytes > KEPT.1 {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(body) = self.entries.remove(&oldest) {
                self.bytes -= body.len();
            }
        }
    }

    /// What a record tells of who came in; the processes have been told of it already.
    pub fn saw(&mut self, processes: &Processes, record: &Record<'_>) {
        if record.kind == Kind::Call || !self.enabled {
            return;
        }
        let Some(process) = processes.actor(record) else {
            return;
        };
        let now = record.time(self.boot);
        match record.kind {
            Kind::Exec => {
                let Some(root) = self.root_of(processes, process) else {
                    return;
                };
                if !self.trees.contains_key(&root) {
                    self.came_in(processes, process, Some(record), now);
                }
                self.ran(root, process, now);
            }
            Kind::Fork => {
                let root = process.exec_root.as_ref().map(|root| root.key);
                if let (Some(tree), Some(child)) = (root.and_then(|root| self.trees.get_mut(&root)), record.process()) {
                    let (pid, start) = (child.pid, child.start);
                    tree.living.insert(Key { pid, start });
                }
            }
            Kind::Exit => self.left(process, now),
            Kind::Call => {}
        }
    }

    /// A process that ran before anybody watched.
    pub fn found(&mut self, processes: &Processes, key: Key) {
        let Some(process) = processes.get(key).filter(|_| self.enabled) else {
            return;
        };
        let Some(root) = self.root_of(processes, process) else {
            return;
        };
        let at = self.boot + process.key.start;
        if root.is(process.key) && !self.trees.contains_key(&root) {
            self.came_in(processes, process, None, at);
        }
        self.ran(root, process, at);
    }

    /// The root that a process stems from: of an exec, or its container's own first process if it is that.
    fn root_of(&self, processes: &Processes, process: &Process) -> Option<Key> {
        match &process.exec_root {
            Some(root) => (!root.runtime).then_some(root.key),
            None => processes.is_first(process).then_some(process.key),
        }
    }

    fn came_in(&mut self, processes: &Processes, process: &Process, record: Option<&Record<'_>>, at: Timestamp) {
        let (cgroup, key, first) = match &process.exec_root {
            Some(root) => (root.cgroup, root.key, false),
            None => (process.cgroup, process.key, true),
        };
        let Some(container) = processes.container(cgroup) else {
            return;
        };
        let Some(pod) = container.pod.as_ref().filter(|_| !is_sandbox(container)) else {
            return;
        };
        let name = PodName {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        };
        let image = process.exec_root.as_ref().map_or(&process.image, |root| &root.image);
        let at = process.exec_root.as_ref().map_or(at, |root| self.boot + root.since);
        let tty = process.exec_root.as_ref().map_or(process.info.tty, |root| root.tty) != 0;
        let text = |bytes: &[u8]| Box::from(&*String::from_utf8_lossy(bytes));
        // What the container itself has in its environment is nobody's key. Of who ran before anybody watched it is not
        // known what the first execve was: what stands there now may be of his own making.
        let first_process = processes.first(cgroup).and_then(|key| processes.get(key));
        let keys = self.keys.iter().filter(|_| record.is_some()).filter_map(|name| {
            let value = image.variable(name.as_bytes())?;
            let own = first_process.and_then(|first| first.image.variable(name.as_bytes()));
            (own != Some(value)).then(|| (name.as_str().into(), text(value)))
        });
        let fact = Root {
            id: self.id(key),
            pod: name.clone(),
            uid: (!pod.uid.is_empty()).then(|| pod.uid.clone()),
            container: container.name.clone(),
            argv: (record.is_some() && !image.argv.is_empty()).then(|| image.arguments().map(text).collect()),
            cut: image.argv.len() >= CUT,
            tty,
            at,
            first,
            keys: keys.collect(),
        };
        let mut stood_in = Vec::new();
        let record = record.copied().or_else(|| {
            stand_in(process, at.saturating_sub(self.boot), &mut stood_in);
            Record::parse(&stood_in).ok()
        });
        let tree = Tree {
            key,
            pod: name,
            container: container.name.clone(),
            tty,
            first,
            cgroup,
            at,
            ended: None,
            record: record.map(|record| record.bytes().into()).unwrap_or_default(),
            cast: record.map(|record| processes.cast(&record)).unwrap_or_default(),
            living: HashSet::from([process.key]),
            ran: VecDeque::new(),
            raised: Vec::new(),
            left_out: 0,
        };
        self.trees.insert(key, tree);
        if !first {
            self.actors.set_root(key, Who::waiting(at));
        }
        self.take(Fact::Root(Box::new(fact)), at);
    }

    fn id(&self, key: Key) -> ProcessId {
        ProcessId {
            node: Arc::clone(&self.node),
            pid: key.pid,
            start: key.start,
        }
    }

    fn ran(&mut self, root: Key, process: &Process, at: Timestamp) {
        let Some(tree) = self.trees.get_mut(&root) else { return };
        self.version += 1;
        tree.living.insert(process.key);
        if tree.first && tree.key != process.key {
            return;
        }
        let mut command = Vec::new();
        for argument in process.image.arguments() {
            if !command.is_empty() {
                command.push(b' ');
            }
            command.extend_from_slice(&argument[..argument.len().min(256)]);
        }
        command.truncate(512);
        if tree.ran.len() >= EACH {
            tree.ran.pop_front();
            tree.left_out += 1;
        }
        tree.ran.push_back(Ran {
            key: process.key,
            parent: process.parent,
            at,
            ended: None,
            command: String::from_utf8_lossy(&command).into(),
        });
    }

    /// A process has ended.
    fn left(&mut self, process: &Process, now: Timestamp) {
        let root = process.exec_root.as_ref().map_or(process.key, |root| root.key);
        let Some(tree) = self.trees.get_mut(&root) else { return };
        self.version += 1;
        for ran in tree
            .ran
            .iter_mut()
            .filter(|ran| ran.key == process.key && ran.ended.is_none())
        {
            ran.ended = Some(now);
        }
        tree.living.remove(&process.key);
        self.end_if_empty(root, now);
    }

    /// Processes whose end was lost are no longer waited for.
    pub fn sweep(&mut self, processes: &Processes, now: Timestamp) {
        let lives = |key: &Key| processes.get(*key).is_some_and(|process| process.exited.is_none());
        let roots: Vec<Key> = self.trees.keys().copied().collect();
        for root in roots {
            if let Some(tree) = self.trees.get_mut(&root) {
                tree.living.retain(lives);
            }
            self.end_if_empty(root, now);
        }
    }

    /// With its last process, all of it has ended.
    fn end_if_empty(&mut self, root: Key, now: Timestamp) {
        let Some(tree) = self.trees.get_mut(&root) else { return };
        if !tree.living.is_empty() || tree.ended.is_some() {
            return;
        }
        tree.ended = Some(now);
        self.ended.push_back(root);
        let id = self.id(root);
        self.take(Fact::Ended { id, at: now }, now);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, root: Key) {
        if let Some(tree) = self.trees.remove(&root) {
            self.actors.forget_root(root);
            if tree.first {
                self.actors.forget_container(tree.cgroup);
            }
        }
    }

    /// An alert was raised for a process that stems from a root.
    pub fn raised(&mut self, root: Key, raised: Raised) {
        let Some(tree) = self.trees.get_mut(&root) else { return };
        self.version += 1;
        if tree.raised.len() < EACH {
            tree.raised.push(raised);
        } else {
            tree.left_out += 1;
        }
    }

    /// Whether sessions have changed.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Sessions that have changed since the last call.
    pub fn changed(&mut self) -> Vec<Session> {
        std::mem::take(&mut self.changed)
    }

    fn session(&mut self, change: Change) -> Session {
        self.told[change.state as usize] += 1;
        let key = change.process.as_ref().map(|id| Key {
            pid: id.pid,
            start: id.start,
        });
        let tree = key.and_then(|key| self.trees.get(&key));
        let who = Who {
            state: change.state,
            since: tree.map_or_else(|| opened(&change), |tree| tree.at),
            actor: change.actor,
            after: change.after,
        };
        if let Some(tree) = tree {
            // How long it took to know stays what it was.
            let before = self.who(tree);
            let kept = before.filter(|before| before.actor == who.actor && before.actor.is_some());
            let who = Who {
                after: kept.map_or(who.after, |before| before.after),
                ..who.clone()
            };
            let interactive = who.actor.as_ref().is_some_and(|actor| actor.person.is_some());
            match tree.first {
                false => self.actors.set_root(tree.key, who),
                true if interactive || before.is_some() => self.actors.set_container(tree.cgroup, who),
                true => {}
            }
        }
        let request = who.actor.as_ref().and_then(|actor| actor.request);
        Session {
            entry: request.and_then(|id| self.entries.get(&id).cloned()),
            who,
            pod: change.pod,
            key,
        }
    }

    /// The execve that a session's process began with, and the processes as they were then.
    pub fn beginning(&self, key: Key) -> Option<(&[u8], &[Process])> {
        let tree = self.trees.get(&key).filter(|tree| !tree.record.is_empty())?;
        Some((&tree.record, &tree.cast))
    }

    /// Alerts that the processes of a session have raised so far.
    pub fn related(&self, key: Key) -> &[Raised] {
        self.trees.get(&key).map_or(&[], |tree| &tree.raised)
    }

    /// The clock was set: what was said about the past stays.
    pub fn set_boot(&mut self, boot: Timestamp) {
        self.boot = boot;
    }
}

fn opened(change: &Change) -> Timestamp {
    change.actor.as_ref().and_then(|actor| actor.opened).unwrap_or_default()
}

/// The container that holds a pod's namespaces; nobody enters it.
fn is_sandbox(container: &Container) -> bool {
    let own = container.pod.as_ref().and_then(|pod| pod.sandbox_id.as_deref());
    container.name.is_none() || own == Some(&*container.id)
}

/// The execve of a process that ran before anybody watched has no record: what a session shows then is what is known
/// of the process now.
fn stand_in(process: &Process, time: u64, out: &mut Vec<u8>) {
    let head = Header {
        kind: Kind::Exec as u16,
        time,
        start: process.key.start,
        cgroup: process.cgroup,
        pid: process.key.pid,
        tid: process.key.pid,
        ppid: process.info.ppid,
        uid: process.info.euid,
        gid: process.info.egid,
        ..Header::default()
    };
    let mut parts: [&[u8]; PARTS] = [b""; PARTS];
    parts[Part::Object as usize] = process.info.as_bytes();
    parts[Part::Base1 as usize] = &process.image.exe;
    parts[Part::Base2 as usize] = &process.cwd;
    parts[Part::Data as usize] = &process.image.argv;
    encode(head, parts, out);
}
