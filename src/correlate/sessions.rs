//! What is known of each pod, and what follows from it.
//!
//! All that is recent in a pod is decided together and from the beginning with each fact, so that the order in which
//! facts come does not matter. What is older than [`Settings::horizon`] stays as it was decided.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::fact::{Entry, Fact, Person, PodName, ProcessId, RequestId, Review, Root, Stage, Target, Via};
use super::matching;
use super::read::take_key;
use crate::event::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// A container that starts this long before somebody attaches to it was started to be attached to (`kubectl run -it`).
const ATTACH_AFTER: u64 = 60 * SECOND;
/// A container that is added to a pod may have to wait for its image.
const DEBUG_AFTER: u64 = 120 * SECOND;
/// Pairs that the distance of the clocks is estimated from: at least, and at most.
const PAIRS: (usize, usize) = (5, 64);
/// Distances that spread by more than this come from clocks that disagree, and say nothing.
const SPREAD: i64 = 2 * SECOND as i64;
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
            horizon: 180 * SECOND,
            pods: 4096,
            each: 4 * matching::MOST,
        }
    }
}

/// Why a request and a process are said to belong together, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// An exact key, in the request and in the first execve.
    RequestKey,
    /// Nothing else fits either of them.
    Unique,
    /// Several fit; facts of the record exclude all others.
    Ordered,
    /// Several fit. The user is known all the same when all of them are his.
    Ambiguous,
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
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Attributed => "attributed",
            State::Ambiguous => "ambiguous",
            State::Unattributed => "unattributed",
        }
    }
}

/// Who is behind a process, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Users who may be meant, when the evidence is ambiguous.
    pub candidates: Vec<Box<str>>,
    /// When the request was made.
    pub opened: Option<Timestamp>,
}

/// What a fact, or time, has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub process: ProcessId,
    pub pod: PodName,
    pub state: State,
    pub actor: Option<Arc<Actor>>,
    /// From the first execve until now.
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

/// A request, from its review, its audit events, or both.
#[derive(Clone, Debug)]
struct Session {
    target: Target,
    /// Absent while only the first stage is known, which may name the wrong one.
    person: Option<Person>,
    request: Option<RequestId>,
    audit_id: Option<Box<str>>,
    source_ips: Vec<Box<str>>,
    user_agent: Option<Box<str>>,
    /// Uids of its reviews.
    reviews: Vec<Box<str>>,
    reviewed: Option<Timestamp>,
    received: Option<Timestamp>,
    /// When the API server had a stream to the node: the process follows within a fraction of a second, however long
    /// admission took.
    started: Option<Timestamp>,
    closed: Option<Timestamp>,
    code: Option<u16>,
    heard: Timestamp,
}

impl Session {
    fn opened(&self) -> Timestamp {
        self.received.or(self.reviewed).unwrap_or_default()
    }

    /// What the process follows soonest.
    fn base(&self) -> Timestamp {
        let started = self.started.filter(|_| self.target.via == Via::Exec);
        started.unwrap_or_else(|| self.opened())
    }

    /// Whether the API server has let it through, as far as is known.
    fn may_run(&self) -> bool {
        let good = |code: u16| match self.target.via {
            Via::Exec | Via::Attach => code == 101,
            Via::Kubelet | Via::Debug => (200..300).contains(&code),
        };
        self.code.is_none_or(good)
    }

    fn merge(&mut self, other: Session) {
        self.person = match (self.request.is_some(), other.request.is_some()) {
            // What the audit says is more: it knows who impersonates.
            (true, _) if self.person.is_some() => self.person.take(),
            (_, true) if other.person.is_some() => other.person,
            _ => self.person.take().or(other.person),
        };
        self.request = self.request.or(other.request);
        self.audit_id = self.audit_id.take().or(other.audit_id);
        self.user_agent = self.user_agent.take().or(other.user_agent);
        if self.source_ips.is_empty() {
            self.source_ips = other.source_ips;
        }
        for uid in other.reviews {
            if !self.reviews.contains(&uid) {
                self.reviews.push(uid);
            }
        }
        self.reviewed = [self.reviewed, other.reviewed].into_iter().flatten().min();
        self.received = self.received.or(other.received);
        self.started = self.started.or(other.started);
        self.closed = self.closed.or(other.closed);
        self.code = self.code.or(other.code);
        self.heard = self.heard.max(other.heard);
    }
}

/// A process that came in, and what was decided of it.
#[derive(Clone, Debug)]
struct Known {
    root: Root,
    /// Its arguments without a key of ours, and that key.
    argv: Option<Vec<Box<str>>>,
    key: Option<Box<str>>,
    ended: Option<Timestamp>,
    state: State,
    actor: Option<Arc<Actor>>,
    /// The last state and actor that were told.
    told: Option<(State, Option<Arc<Actor>>)>,
    /// From the request to the process, where that is certain without looking at time.
    lag: Option<i64>,
    /// What was decided stays. It is still a rival of others.
    frozen: bool,
    /// Older than anything that is still decided.
    past: bool,
}

#[derive(Debug, Default)]
struct Pod {
    sessions: Vec<Session>,
    roots: Vec<Known>,
}

/// The state.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    pods: BTreeMap<PodName, Pod>,
    /// Where each process is.
    index: HashMap<ProcessId, PodName>,
    /// Pods in which something may still change.
    open: BTreeSet<PodName>,
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
            open: BTreeSet::new(),
            pairs: VecDeque::new(),
            evicted: 0,
        }
    }

    /// Takes a fact, and appends what it changes.
    pub fn take(&mut self, fact: Fact, now: Timestamp, changes: &mut Vec<Change>) {
        let name = match &fact {
            Fact::Entry(entry) => entry.target.pod.clone(),
            Fact::Review(review) => review.target.pod.clone(),
            Fact::Root(root) => root.pod.clone(),
            Fact::Ended { id, .. } => match self.index.get(id) {
                Some(name) => name.clone(),
                None => return,
            },
        };
        if !self.pods.contains_key(&name) && self.pods.len() >= self.settings.pods {
            self.make_room();
        }
        let each = self.settings.each;
        let pod = self.pods.entry(name.clone()).or_default();
        match fact {
            Fact::Entry(entry) => pod.entry(*entry, now),
            Fact::Review(review) => pod.review(*review, now),
            Fact::Root(root) => {
                if self.index.insert(root.id.clone(), name.clone()).is_none() {
                    pod.root(*root);
                }
            }
            Fact::Ended { id, at } => {
                if let Some(known) = pod.roots.iter_mut().find(|known| known.root.id == id) {
                    known.ended = Some(at);
                }
            }
        }
        if pod.sessions.len() > each {
            pod.sessions.remove(0);
            self.evicted += 1;
        }
        if pod.roots.len() > each {
            let known = pod.roots.remove(0);
            self.index.remove(&known.root.id);
            self.evicted += 1;
        }
        self.open.insert(name.clone());
        self.decide(&name, now, changes);
    }

    /// Lets time pass: who has waited long enough, and what is old.
    pub fn tick(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        for name in self.open.clone() {
            self.decide(&name, now, changes);
            let horizon = self.settings.horizon;
            let Some(pod) = self.pods.get_mut(&name) else { continue };
            for known in &mut pod.roots {
                known.frozen |= known.root.at.saturating_add(horizon) < now;
                known.past |= known.root.at.saturating_add(2 * horizon) < now;
            }
            // Longer than any process that they might explain is decided.
            pod.sessions
                .retain(|session| session.heard.saturating_add(3 * horizon) >= now);
            pod.roots.retain(|known| {
                let keep = !known.past || known.ended.is_none();
                if !keep {
                    self.index.remove(&known.root.id);
                }
                keep
            });
            if pod.sessions.is_empty() && pod.roots.iter().all(|known| known.past) {
                self.open.remove(&name);
            }
            if pod.sessions.is_empty() && pod.roots.is_empty() {
                self.pods.remove(&name);
            }
        }
    }

    /// Who is behind the processes that stem from this one, as far as is known now.
    pub fn actor(&self, process: &ProcessId) -> Option<(State, Option<&Arc<Actor>>)> {
        let pod = self.pods.get(self.index.get(process)?)?;
        let known = pod.roots.iter().find(|known| known.root.id == *process)?;
        Some((known.state, known.actor.as_ref()))
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
        let quiet = self.pods.keys().find(|name| !self.open.contains(*name)).cloned();
        let Some(name) = quiet.or_else(|| self.pods.keys().next().cloned()) else {
            return;
        };
        self.open.remove(&name);
        if let Some(pod) = self.pods.remove(&name) {
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

    /// Decides all of a pod anew.
    fn decide(&mut self, name: &PodName, now: Timestamp, changes: &mut Vec<Change>) {
        let window = self.window();
        let Some(pod) = self.pods.get_mut(name) else { return };
        pod.decide(&self.settings, window, now);
        for known in pod.roots.iter_mut().filter(|known| !known.frozen) {
            let lag = known.lag.map(|lag| (known.root.at, known.root.id.clone(), lag));
            self.pairs.retain(|(_, id, _)| *id != known.root.id);
            if let Some(pair) = lag {
                let at = self.pairs.partition_point(|other| *other < pair);
                self.pairs.insert(at, pair);
                if self.pairs.len() > PAIRS.1 {
                    self.pairs.pop_front();
                }
            }
            let patient = now < known.root.at.saturating_add(self.settings.patience);
            if known.state == State::Waiting || known.state == State::Ambiguous && patient {
                continue;
            }
            let news = (known.state, known.actor.clone());
            if known.told.as_ref() != Some(&news) {
                known.told = Some(news);
                changes.push(Change {
                    process: known.root.id.clone(),
                    pod: name.clone(),
                    state: known.state,
                    actor: known.actor.clone(),
                    after: now.saturating_sub(known.root.at),
                });
            }
        }
    }
}

impl Pod {
    fn entry(&mut self, entry: Entry, now: Timestamp) {
        let first = entry.stage == Stage::RequestReceived;
        let session = Session {
            target: entry.target,
            person: (!first).then_some(entry.person),
            request: Some(entry.id),
            audit_id: Some(entry.audit_id),
            source_ips: entry.source_ips,
            user_agent: entry.user_agent,
            reviews: entry.reviews,
            reviewed: None,
            received: Some(entry.received),
            started: (entry.stage == Stage::ResponseStarted).then_some(entry.at),
            closed: (entry.stage == Stage::ResponseComplete).then_some(entry.at),
            code: entry.code,
            heard: now,
        };
        self.add(session);
    }

    fn review(&mut self, review: Review, now: Timestamp) {
        let session = Session {
            target: review.target,
            person: Some(review.person),
            request: None,
            audit_id: None,
            source_ips: Vec::new(),
            user_agent: None,
            reviews: std::iter::once(review.uid).chain(review.key).collect(),
            reviewed: Some(review.at),
            received: None,
            started: None,
            closed: None,
            code: None,
            heard: now,
        };
        self.add(session);
    }

    /// Adds what is said of a request to what is known of it.
    fn add(&mut self, mut session: Session) {
        let same = |known: &Session| {
            let request = known.request.is_some() && known.request == session.request;
            // A uid is the API server's own; one request is never another's.
            let reviewed = known.reviews.iter().any(|uid| session.reviews.contains(uid));
            let other = known.request.is_some() && session.request.is_some() && known.request != session.request;
            request || reviewed && !other && known.target.pod == session.target.pod
        };
        let mut at = 0;
        let found: Vec<bool> = self.sessions.iter().map(same).collect();
        self.sessions.retain_mut(|known| {
            let merge = found[at];
            at += 1;
            if merge {
                session.merge(known.clone());
            }
            !merge
        });
        let at = self
            .sessions
            .partition_point(|known| (known.opened(), &known.reviews) < (session.opened(), &session.reviews));
        self.sessions.insert(at, session);
    }

    fn root(&mut self, root: Root) {
        let mut argv = root.argv.clone();
        let key = argv.as_mut().and_then(take_key);
        let known = Known {
            argv,
            key,
            root,
            ended: None,
            state: State::Waiting,
            actor: None,
            told: None,
            lag: None,
            frozen: false,
            past: false,
        };
        let place = |known: &Known| (known.root.at, known.root.id.clone());
        let at = self.roots.partition_point(|other| place(other) < place(&known));
        self.roots.insert(at, known);
    }

    fn decide(&mut self, settings: &Settings, window: Option<(i64, i64)>, now: Timestamp) {
        let Pod { sessions, roots } = self;
        let roots: Vec<&mut Known> = roots.iter_mut().filter(|known| !known.past).collect();
        let keyed = keys(sessions, &roots);
        let mut taken = vec![false; sessions.len()];
        keyed.iter().flatten().for_each(|s| taken[*s] = true);
        // Edges by what can never be otherwise, and without what facts of the record exclude.
        let mut wide: Vec<Vec<usize>> = vec![Vec::new(); roots.len()];
        let mut narrow = wide.clone();
        let mut rivals = vec![0; sessions.len()];
        for (r, known) in roots.iter().enumerate() {
            for (s, session) in sessions.iter().enumerate() {
                if keyed[r].is_some() || taken[s] || !fits(session, known, settings) {
                    continue;
                }
                wide[r].push(s);
                rivals[s] += 1;
                if !excluded(session, known, settings, window) {
                    narrow[r].push(s);
                }
            }
        }
        let certain = matching::certain(&narrow, sessions.len());
        for (r, known) in roots.into_iter().enumerate().filter(|(_, known)| !known.frozen) {
            known.lag = None;
            if let Some(s) = keyed[r] {
                known.attribute(&sessions[s], Evidence::RequestKey);
                known.lag = distance(&sessions[s], &known.root);
                continue;
            }
            let left = if narrow[r].is_empty() { &wide[r] } else { &narrow[r] };
            let settled =
                |s: usize| sessions[s].reviewed.is_some() || now >= known.root.at.saturating_add(settings.settle);
            let found = match wide[r][..] {
                [s] if rivals[s] == 1 => Some((s, Evidence::Unique)),
                // Where there are more processes than requests, more requests may come.
                _ if !certain[r].complete => None,
                _ => certain[r].partner.map(|s| (s, Evidence::Ordered)),
            };
            match found.filter(|(s, _)| settled(*s)) {
                Some((s, evidence)) if sessions[s].person.is_some() => {
                    known.attribute(&sessions[s], evidence);
                    if evidence == Evidence::Unique && !known.root.first && known.argv.is_some() {
                        known.lag = distance(&sessions[s], &known.root);
                    }
                }
                // Its next stage will say who it is.
                Some(_) => known.wait(),
                None if left.is_empty() && now < known.root.at.saturating_add(settings.patience) => known.wait(),
                None if left.is_empty() => {
                    known.state = State::Unattributed;
                    known.actor = None;
                }
                None => {
                    let settled = certain[r].complete && left.iter().all(|s| settled(*s));
                    known.candidates(left.iter().map(|s| &sessions[*s]), settled);
                }
            }
        }
    }
}

impl Known {
    fn wait(&mut self) {
        self.state = State::Waiting;
        self.actor = None;
    }

    fn attribute(&mut self, session: &Session, evidence: Evidence) {
        self.state = if session.person.is_some() {
            State::Attributed
        } else {
            State::Waiting
        };
        self.actor = Some(Arc::new(Actor {
            person: session.person.clone(),
            source_ips: session.source_ips.clone(),
            user_agent: session.user_agent.clone(),
            via: Some(session.target.via),
            session: session.audit_id.clone().or_else(|| session.reviews.first().cloned()),
            command: session.target.argv.clone(),
            evidence,
            candidates: Vec::new(),
            opened: Some(session.opened()),
        }));
    }

    /// Several sessions could be meant. Where all are one person's, that person it is.
    fn candidates<'s>(&mut self, sessions: impl Iterator<Item = &'s Session> + Clone, settled: bool) {
        let mut persons = sessions.clone().map(|session| session.person.as_ref());
        let first = persons.next().flatten();
        let one = settled && first.is_some() && persons.all(|person| person == first);
        if one && self.root.first {
            // Who has added the container, and then attached to it.
            let best = sessions.clone().find(|session| session.target.via == Via::Debug);
            if let Some(session) = best.or_else(|| sessions.clone().next()) {
                return self.attribute(session, Evidence::Unique);
            }
        }
        let users: BTreeSet<Box<str>> = sessions
            .clone()
            .filter_map(|session| Some(session.person.as_ref()?.user.clone()))
            .collect();
        let via = sessions.clone().next().map(|session| session.target.via);
        self.state = if one { State::Attributed } else { State::Ambiguous };
        self.actor = Some(Arc::new(Actor {
            person: first.filter(|_| one).cloned(),
            source_ips: Vec::new(),
            user_agent: None,
            via,
            session: None,
            command: sessions
                .clone()
                .next()
                .map(|s| s.target.argv.clone())
                .unwrap_or_default(),
            evidence: Evidence::Ambiguous,
            candidates: users.into_iter().collect(),
            opened: sessions.map(Session::opened).min(),
        }));
    }
}

/// Sessions that a key in the first execve names: known, of the same pod, container and command, and named once only.
fn keys(sessions: &[Session], roots: &[&mut Known]) -> Vec<Option<usize>> {
    let mut used = vec![false; sessions.len()];
    let mut found = vec![None; roots.len()];
    for (r, known) in roots.iter().enumerate().filter(|(_, known)| !known.root.first) {
        let values = known.key.iter().chain(known.root.keys.iter().map(|(_, value)| value));
        found[r] = values
            .filter_map(|value| {
                let mut named = sessions.iter().enumerate().filter(|(_, session)| {
                    session.reviews.contains(value) || session.audit_id.as_deref() == Some(&**value)
                });
                // An Audit-ID is the client's choice and may name several.
                let (s, session) = named.next()?;
                let agrees = named.next().is_none() && session.may_run() && alike(&session.target, known);
                (agrees && session.target.via.starts_process() && !used[s]).then_some(s)
            })
            .next();
        if let Some(s) = found[r] {
            used[s] = true;
        }
    }
    found
}

/// Whether container, terminal and command agree.
fn alike(target: &Target, known: &Known) -> bool {
    let container = match (&target.container, &known.root.container) {
        (Some(asked), Some(entered)) => asked == entered,
        _ => true,
    };
    let command = known.root.first
        || [&known.root.argv, &known.argv].into_iter().any(|argv| match argv {
            None => true,
            Some(argv) if known.root.cut => is_beginning(argv, &target.argv),
            Some(argv) => *argv == target.argv,
        });
    container && command && target.tty == known.root.tty
}

/// Whether a command line that was cut somewhere may be the other.
fn is_beginning(cut: &[Box<str>], whole: &[Box<str>]) -> bool {
    let Some((last, before)) = cut.split_last() else {
        return true;
    };
    whole.len() >= cut.len() && whole[..before.len()] == *before && whole[before.len()].starts_with(&**last)
}

/// From the stream to the process.
fn distance(session: &Session, root: &Root) -> Option<i64> {
    let started = session.started.filter(|_| session.target.via == Via::Exec)?;
    (root.at as i64).checked_sub(started as i64)
}

/// Whether a process may be a session's by all that is certain: what was asked for, and the clocks' tolerance.
fn fits(session: &Session, known: &Known, settings: &Settings) -> bool {
    let (root, target) = (&known.root, &session.target);
    if !session.may_run() || !alike(target, known) {
        return false;
    }
    let (at, opened) = (root.at, session.opened());
    match target.via {
        Via::Exec | Via::Kubelet => {
            // Reviews and processes share a clock, or nearly.
            let skew = if session.received.is_some() {
                settings.skew
            } else {
                settings.review_skew
            };
            let (base, late) = (session.base(), skew + settings.delay);
            !root.first && at.saturating_add(skew) >= base && at <= base.saturating_add(late)
        }
        Via::Attach => {
            let until = opened.saturating_add(settings.skew);
            root.first && root.tty && at <= until && opened <= at.saturating_add(ATTACH_AFTER)
        }
        Via::Debug => {
            root.first && at.saturating_add(settings.skew) >= opened && at <= opened.saturating_add(DEBUG_AFTER)
        }
    }
}

/// Whether facts of the record say that they do not belong together.
fn excluded(session: &Session, known: &Known, settings: &Settings, window: Option<(i64, i64)>) -> bool {
    let at = known.root.at;
    // A review comes before its process, on the same clock.
    if session
        .reviewed
        .is_some_and(|reviewed| at.saturating_add(settings.review_skew) < reviewed)
    {
        return true;
    }
    if !session.target.via.starts_process() {
        return false;
    }
    let tolerated = window.map_or(settings.skew, |_| MARGIN.0 as u64);
    // It ended before the process began.
    if session
        .closed
        .is_some_and(|closed| closed.saturating_add(tolerated + settings.delay) < at)
    {
        return true;
    }
    match (window, distance(session, &known.root)) {
        (Some((low, high)), Some(lag)) => lag < low || lag > high,
        _ => false,
    }
}
