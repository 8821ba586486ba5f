//! The correlator: all pods of a node, and what changes with each fact and with time.
//!
//! All that is recent in a pod is decided together and from the beginning with each fact, so that the order in which
//! facts come does not matter. What is older than [`Settings::horizon`] stays as it was decided.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::decide::{Around, Listening, outlives};
use super::fact::{Access, Fact, Person, PodName, ProcessId, RequestId, Stage, Via};
use super::known::{Known, Pod};
use super::matching;
use crate::event::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// Pairs that the distance of the clocks is estimated from: at least, and at most.
const PAIRS: (usize, usize) = (5, 64);
/// Distances that spread by more than this come from clocks that disagree, and say nothing.
const SPREAD: i64 = 2 * SECOND as i64;
/// Who has made a container, or sits in front of it, is known for this long.
const ATTACHED: u64 = 24 * 3600 * SECOND;
/// Questions of kubelets that are kept.
const ACCESSES: usize = 256;
/// Far beyond the spread of the measured distances, 15 to 243 ms from the stream to the process.
const MARGIN: (i64, i64) = (SECOND as i64 / 2, SECOND as i64);

/// Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a process waits for the request behind it. Audit batches come up to 30 s late.
    pub patience: u64,
    /// How far the clocks of API server and node may be apart.
    pub skew: u64,
    /// The same of whoever takes reviews; 0 when that is the node itself.
    pub review_skew: u64,
    /// The longest time from a request to its process.
    pub delay: u64,
    /// A process this young may still get a rival: without a review nothing is said of it.
    pub settle: u64,
    /// A process that lives this long after its request was closed has outlived it.
    pub grace: u64,
    /// After this long nothing new is expected of a request or a process.
    pub horizon: u64,
    /// Pods, and requests or processes in each, that are kept.
    pub pods: usize,
    pub each: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            patience: 45 * SECOND,
            skew: 5 * SECOND,
            review_skew: 0,
            delay: SECOND,
            settle: SECOND / 2,
            grace: 30 * SECOND,
            horizon: 180 * SECOND,
            pods: 4096,
            each: 4 * matching::MOST,
        }
    }
}

/// Why a request and a process are said to belong together, the best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// An exact key, in the request and in the first execve.
    RequestKey,
    /// Nothing else fits either of them.
    Unique,
    /// Several fit; facts of the record exclude all others.
    Ordered,
    /// Several fit. The user is known all the same when all of them are his.
    Ambiguous,
    #[default]
    None,
}

impl Evidence {
    pub const fn name(self) -> &'static str {
        match self {
            Evidence::RequestKey => "request-key",
            Evidence::Unique => "unique",
            Evidence::Ordered => "ordered",
            Evidence::Ambiguous => "ambiguous",
            Evidence::None => "none",
        }
    }
}

/// What has become of a process that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Facts may still come.
    Waiting,
    Attributed,
    Ambiguous,
    /// Nothing explains it, and nothing that is to be expected can.
    Unattributed,
    /// Nothing explains it, and what would may not have come: see [`Actor::reason`].
    Unknown,
    /// It, or something that stems from it, still runs though its request was closed.
    Outlived,
    /// All of it has ended.
    Closed,
    /// A request was let through and started nothing; there is no process.
    Empty,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Waiting,
        State::Attributed,
        State::Ambiguous,
        State::Unattributed,
        State::Unknown,
        State::Outlived,
        State::Closed,
        State::Empty,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Attributed => "attributed",
            State::Ambiguous => "ambiguous",
            State::Unattributed => "unattributed",
            State::Unknown => "unknown",
            State::Outlived => "outlived",
            State::Closed => "closed",
            State::Empty => "empty",
        }
    }
}

/// Why it is not known who is behind a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It was there before anybody listened.
    Before,
    /// The bus was not there all the time.
    Down,
    /// The bus is there, and audit events did not come before and after.
    Silent,
    /// Too many processes came into the pod at once.
    Crowded,
}

impl Reason {
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Before => "it began before saker listened",
            Reason::Down => "the bus was down",
            Reason::Silent => "no audit events are coming",
            Reason::Crowded => "too much came into the pod at once",
        }
    }
}

/// Who is behind a process, and how that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Absent where the candidates are not one and the same.
    pub person: Option<Person>,
    pub source_ips: Vec<Box<str>>,
    pub user_agent: Option<Box<str>>,
    pub via: Option<Via>,
    /// The Audit-ID, or the uid of the review before that is known; absent where the session is not certain.
    pub session: Option<Box<str>>,
    pub command: Vec<Box<str>>,
    pub evidence: Evidence,
    /// Users who may be meant: when the evidence is ambiguous, or those who were allowed to use the kubelet directly.
    pub candidates: Vec<Box<str>>,
    /// When the request was made.
    pub opened: Option<Timestamp>,
    /// The audit event behind it.
    pub request: Option<RequestId>,
    /// Why nothing is known.
    pub reason: Option<Reason>,
}

/// What a fact, or time, has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absent where a request started none.
    pub process: Option<ProcessId>,
    pub pod: PodName,
    pub state: State,
    pub actor: Option<Arc<Actor>>,
    /// From the first execve, or the request, until now.
    pub after: u64,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pods: usize,
    /// Requests and processes that were dropped because there were too many.
    pub evicted: u64,
    /// How far the node's clock is ahead, as far as requests and processes tell (time to start included).
    pub skew: Option<i64>,
}

/// The state.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    pods: BTreeMap<PodName, Pod>,
    /// Where each process is.
    index: HashMap<ProcessId, PodName>,
    /// Pods in which something may still change, by when it may without a fact; all others are quiet.
    due: BTreeSet<(Timestamp, PodName)>,
    quiet: BTreeSet<PodName>,
    listening: Listening,
    /// By time.
    accesses: Vec<Access>,
    /// Distances from request to process of pairs that are certain, by time of the process.
    pairs: VecDeque<(Timestamp, ProcessId, i64)>,
    evicted: u64,
}

impl Correlator {
    pub fn new(settings: Settings) -> Correlator {
        Correlator {
            settings,
            pods: BTreeMap::new(),
            index: HashMap::new(),
            due: BTreeSet::new(),
            quiet: BTreeSet::new(),
            listening: Listening::default(),
            accesses: Vec::new(),
            pairs: VecDeque::new(),
            evicted: 0,
        }
    }

    /// Takes a fact, and appends what it changes.
    pub fn take(&mut self, fact: Fact, now: Timestamp, changes: &mut Vec<Change>) {
        if let Fact::Entry(entry) = &fact {
            // The first stage may name the wrong one, and the second comes before the process. What was refused is of
            // no use either, unless somebody has heard of the request before.
            let refused = self
                .pods
                .get(&entry.target.pod)
                .map_or(entry.code >= Some(400), |pod| pod.is_refused(entry));
            if entry.stage == Stage::RequestReceived || refused {
                return;
            }
        }
        let name = match &fact {
            Fact::Entry(entry) => entry.target.pod.clone(),
            Fact::Review(review) => review.target.pod.clone(),
            Fact::Looked(looked) => looked.pod.clone(),
            Fact::Root(root) => root.pod.clone(),
            Fact::Access(_) | Fact::Bus(_) | Fact::Heard(_) => return self.around(fact, now),
            Fact::Ended { id, .. } => match self.index.get(id) {
                Some(name) => name.clone(),
                None => return,
            },
        };
        if !self.pods.contains_key(&name) && self.pods.len() >= self.settings.pods {
            self.make_room();
        }
        let each = self.settings.each;
        let mut anew = true;
        let pod = self.pods.entry(name.clone()).or_default();
        match fact {
            Fact::Entry(entry) => pod.entry(*entry, now),
            Fact::Review(review) => pod.review(*review, now),
            Fact::Looked(looked) => pod.looked(*looked),
            Fact::Root(root) => {
                if self.index.insert(root.id.clone(), name.clone()).is_none() {
                    pod.root(*root, now);
                }
            }
            Fact::Ended { id, at } => {
                if let Some(known) = pod.roots.iter_mut().find(|known| known.root.id == id) {
                    known.ended = Some(at);
                    // Only of who sits in front of a container does it matter.
                    anew = known.root.first;
                }
            }
            Fact::Access(_) | Fact::Bus(_) | Fact::Heard(_) => {}
        }
        if pod.sessions.len() > each {
            let session = pod.sessions.remove(pod.worst_session());
            self.evicted += 1;
            // Whoever was named for it keeps the name.
            let of = |known: &&mut Known| {
                let actor = known.actor.as_ref();
                actor.is_some_and(|actor| actor.request.is_some() && actor.request == session.request)
            };
            pod.roots.iter_mut().filter(of).for_each(|known| known.frozen = true);
        }
        if pod.roots.len() > each {
            let known = pod.roots.remove(pod.worst_root());
            self.index.remove(&known.root.id);
            self.evicted += 1;
            if known.told.is_none() && known.root.tty && !known.root.first {
                changes.push(crowded(known, &name, now));
            }
        }
        self.quiet.remove(&name);
        self.decide(&name, now, anew, changes);
    }

    /// What concerns all pods.
    fn around(&mut self, fact: Fact, now: Timestamp) {
        match fact {
            Fact::Access(access) => {
                let at = self.accesses.partition_point(|other| *other < *access);
                if self.accesses.get(at) != Some(&*access) {
                    self.accesses.insert(at, *access);
                }
                if self.accesses.len() > ACCESSES {
                    self.accesses.remove(0);
                }
                for (due, name) in std::mem::take(&mut self.due) {
                    if let Some(pod) = self.pods.get_mut(&name) {
                        pod.next = due.min(now);
                        self.due.insert((pod.next, name));
                    }
                }
            }
            Fact::Bus(up) => {
                self.listening.up = up;
                self.listening.began = self.listening.began.or(up);
            }
            Fact::Heard(at) => self.listening.hear(at),
            _ => {}
        }
    }

    /// Lets time pass: who has waited long enough, and what is old.
    pub fn tick(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let mut due: Vec<PodName> = due.map(|(_, name)| name.clone()).collect();
        due.sort_unstable();
        for name in due {
            self.decide(&name, now, true, changes);
            let horizon = self.settings.horizon;
            let up = self.listening.up;
            let Some(pod) = self.pods.get_mut(&name) else { continue };
            for known in &mut pod.roots {
                // In front of a container with a terminal somebody may sit down at any time; and what could not be
                // heard may come when the bus is back.
                let stays = known.root.first && known.root.tty && known.ended.is_none();
                let Some(up) = up.filter(|_| !stays) else { continue };
                let last = known.root.at.max(known.added).max(up);
                known.frozen |= last.saturating_add(horizon) < now;
                known.past |= last.saturating_add(2 * horizon) < now;
            }
            // Longer than any process that they might explain is decided.
            pod.sessions.retain(|session| {
                let longer = if session.target.via.starts_process() {
                    3 * horizon
                } else {
                    ATTACHED
                };
                session.heard.saturating_add(longer) >= now
            });
            pod.looked.retain(|(at, _)| at.saturating_add(3 * horizon) >= now);
            pod.roots.retain(|known| {
                let keep = !known.past || known.ended.is_none();
                if !keep {
                    self.index.remove(&known.root.id);
                }
                keep
            });
            let waits = |known: &Known| known.closed.is_some() && !known.told_outlived && known.ended.is_none();
            if pod.sessions.is_empty() && pod.roots.iter().all(|known| known.past && !waits(known)) {
                self.due.remove(&(pod.next, name.clone()));
                match pod.roots.is_empty() {
                    true => drop(self.pods.remove(&name)),
                    false => drop(self.quiet.insert(name)),
                }
            }
        }
    }

    pub fn counts(&self) -> Counts {
        let mut lags: Vec<i64> = self.pairs.iter().map(|(_, _, lag)| *lag).collect();
        lags.sort_unstable();
        Counts {
            pods: self.pods.len(),
            evicted: self.evicted,
            skew: lags.get(lags.len() / 2).copied(),
        }
    }

    /// Drops a pod in which nothing can change any more, or else any.
    fn make_room(&mut self) {
        // Of pods of other nodes there are no processes: anybody can make such requests.
        let by =
            |worthless: &dyn Fn(&Pod) -> bool| self.pods.iter().find(|(_, pod)| worthless(pod)).map(|(n, _)| n.clone());
        let elsewhere = by(&|pod| pod.roots.is_empty());
        let told = || by(&|pod| !pod.is_waiting());
        let Some(name) = elsewhere.or_else(told).or_else(|| self.pods.keys().next().cloned()) else {
            return;
        };
        self.quiet.remove(&name);
        if let Some(pod) = self.pods.remove(&name) {
            self.due.remove(&(pod.next, name));
            self.evicted += (pod.sessions.len() + pod.roots.len()) as u64;
            for known in pod.roots {
                self.index.remove(&known.root.id);
            }
        }
    }

    /// Where the distance from request to process lies, when enough pairs agree.
    fn window(&self) -> Option<(i64, i64)> {
        if self.pairs.len() < PAIRS.0 {
            return None;
        }
        let low = self.pairs.iter().map(|(_, _, lag)| *lag).min()?;
        let high = self.pairs.iter().map(|(_, _, lag)| *lag).max()?;
        (high - low <= SPREAD).then_some((low - MARGIN.0, high + MARGIN.1))
    }

    /// Decides all of a pod anew, where that may come out otherwise, and tells what has changed.
    fn decide(&mut self, name: &PodName, now: Timestamp, anew: bool, changes: &mut Vec<Change>) {
        let around = Around {
            settings: &self.settings,
            window: self.window(),
            listening: self.listening,
            accesses: &self.accesses,
            now,
        };
        let Some(pod) = self.pods.get_mut(name) else { return };
        if anew {
            pod.decide(&around);
        }
        let (before, due) = (pod.next, pod.due(&around));
        pod.next = due;
        self.due.remove(&(before, name.clone()));
        self.due.insert((due, name.clone()));
        for known in &mut pod.roots {
            let lag = known.lag.map(|lag| (known.root.at, known.root.id.clone(), lag));
            let is_there = lag.as_ref().is_some_and(|pair| self.pairs.binary_search(pair).is_ok());
            if !known.frozen && !is_there {
                self.pairs.retain(|(_, id, _)| *id != known.root.id);
                if let Some(pair) = lag {
                    let at = self.pairs.partition_point(|other| *other < pair);
                    self.pairs.insert(at, pair);
                    if self.pairs.len() > PAIRS.1 {
                        self.pairs.pop_front();
                    }
                }
            }
            let states = known.news(&self.settings, now);
            changes.extend(states.into_iter().flatten().map(|state| Change {
                process: Some(known.root.id.clone()),
                pod: name.clone(),
                state,
                actor: known.actor.clone(),
                after: now.saturating_sub(known.root.at),
            }));
        }
        for actor in pod.empty(&around) {
            changes.push(Change {
                process: None,
                pod: name.clone(),
                state: State::Empty,
                after: now.saturating_sub(actor.opened.unwrap_or(now)),
                actor: Some(actor),
            });
        }
    }
}

/// A terminal that had to be forgotten before it was explained.
fn crowded(known: Known, pod: &PodName, now: Timestamp) -> Change {
    Change {
        process: Some(known.root.id),
        pod: pod.clone(),
        state: State::Unknown,
        actor: Some(Arc::new(Actor {
            reason: Some(Reason::Crowded),
            ..Actor::default()
        })),
        after: now.saturating_sub(known.root.at),
    }
}

impl Known {
    /// What there is to tell: who it is, that it has outlived its request, that all has ended.
    fn news(&mut self, settings: &Settings, now: Timestamp) -> [Option<State>; 3] {
        let mut news = [None; 3];
        let patient = now < self.root.at.saturating_add(settings.patience);
        let undecided = self.state == State::Waiting || self.state == State::Ambiguous && patient;
        // A name that is not believed any more is taken back at once.
        let named = self
            .told
            .as_ref()
            .and_then(|(_, actor)| actor.as_ref()?.person.as_ref());
        let person = self.actor.as_ref().and_then(|actor| actor.person.as_ref());
        let undecided = undecided && (named.is_none() || named == person);
        let told = (self.state, self.actor.clone());
        if !undecided && self.told.as_ref() != Some(&told) {
            self.told = Some(told);
            news[0] = Some(self.state);
        }
        let streams = |actor: &Arc<Actor>| actor.via.is_some_and(Via::starts_process);
        let outlived = self.closed.is_some_and(|closed| now >= outlives(closed, settings))
            && self.state == State::Attributed
            && self.actor.as_ref().is_some_and(streams)
            && self.ended.is_none();
        if outlived && !self.told_outlived {
            self.told_outlived = true;
            news[1] = Some(State::Outlived);
        }
        if self.ended.is_some() && self.told.is_some() && !self.told_closed {
            self.told_closed = true;
            news[2] = Some(State::Closed);
        }
        news
    }
}
