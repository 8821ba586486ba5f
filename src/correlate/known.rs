//! What is known of a pod: requests to enter it, and the processes that came in.

use std::sync::Arc;

use super::fact::{Entry, Looked, Person, RequestId, Review, Root, Stage, Target, Via};
use super::read::take_key;
use super::sessions::{Actor, State};
use crate::event::Timestamp;

/// Both webhooks are asked within a second each.
const REVIEWS: u64 = 2_500_000_000;
/// Answers that tell a pod's uid, of each pod.
const LOOKED: usize = 64;

/// A request, from its review, its audit events, or both.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub target: Target,
    pub person: Person,
    pub request: Option<RequestId>,
    pub audit_id: Option<Box<str>>,
    pub source_ips: Vec<Box<str>>,
    pub user_agent: Option<Box<str>>,
    /// Uids of its reviews, which the API server has chosen.
    pub reviews: Vec<Box<str>>,
    /// The key that a review saw in the command: another's, if somebody has typed it.
    pub key: Option<Box<str>>,
    /// Uid of the pod that it has made.
    pub uid: Option<Box<str>>,
    pub reviewed: Option<Timestamp>,
    pub received: Option<Timestamp>,
    /// When the API server had a stream to the node: the process follows within a fraction of a second, however long
    /// admission took.
    pub started: Option<Timestamp>,
    pub closed: Option<Timestamp>,
    pub code: Option<u16>,
    pub heard: Timestamp,
    /// There is, or was, a process that may be its own.
    pub fruitful: bool,
    /// It was told that nothing came of it.
    pub told_empty: bool,
}

impl Session {
    pub fn opened(&self) -> Timestamp {
        self.received.or(self.reviewed).unwrap_or_default()
    }

    /// What the process follows soonest.
    pub fn base(&self) -> Timestamp {
        let started = self.started.filter(|_| self.target.via == Via::Exec);
        started.unwrap_or_else(|| self.opened())
    }

    /// Whether the API server has let it through, as far as is known.
    pub fn may_run(&self) -> bool {
        let good = |code: u16| match self.target.via {
            Via::Exec | Via::Attach => code == 101,
            Via::Kubelet | Via::Debug | Via::Run => (200..300).contains(&code),
        };
        self.code.is_none_or(good)
    }

    fn merge(&mut self, other: Session) {
        // What the audit says is more: it knows who impersonates.
        if self.request.is_none() && other.request.is_some() {
            self.person = other.person;
        }
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
        self.key = self.key.take().or(other.key);
        self.uid = self.uid.take().or(other.uid);
        self.reviewed = [self.reviewed, other.reviewed].into_iter().flatten().min();
        self.received = self.received.or(other.received);
        self.started = self.started.or(other.started);
        self.closed = self.closed.or(other.closed);
        self.code = self.code.or(other.code);
        self.heard = self.heard.max(other.heard);
        self.fruitful |= other.fruitful;
        self.told_empty |= other.told_empty;
    }
}

/// Whether one is what a mutating webhook of ours has made of the other. The key alone says nothing, because anybody may
/// type it: who asks, for what, and the moment must be the same.
fn keyed(one: &Session, other: &Session) -> bool {
    let names = |one: &Session, other: &Session| one.key.as_ref().is_some_and(|key| other.reviews.contains(key));
    let near = match (one.reviewed, other.reviewed) {
        (Some(one), Some(other)) => one.abs_diff(other) <= REVIEWS,
        _ => false,
    };
    near && (names(one, other) || names(other, one)) && one.person == other.person && one.target == other.target
}

/// A process that came in, and what was decided of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub root: Root,
    /// When it was told of.
    pub added: Timestamp,
    /// Its arguments without a key of ours, and that key.
    pub argv: Option<Vec<Box<str>>>,
    pub key: Option<Box<str>>,
    pub ended: Option<Timestamp>,
    pub state: State,
    pub actor: Option<Arc<Actor>>,
    /// The last state and actor that were told.
    pub told: Option<(State, Option<Arc<Actor>>)>,
    /// From the request to the process, where that is certain without looking at time.
    pub lag: Option<i64>,
    /// When the API server closed its request, where that one is certain.
    pub closed: Option<Timestamp>,
    /// It was told that it outlived its request, and that all of it has ended.
    pub told_outlived: bool,
    pub told_closed: bool,
    /// What was decided stays. It is still a rival of others.
    pub frozen: bool,
    /// Older than anything that is still decided.
    pub past: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pod {
    /// By the time of the request.
    pub sessions: Vec<Session>,
    /// By time.
    pub roots: Vec<Known>,
    /// By time.
    pub looked: Vec<(Timestamp, Box<str>)>,
    /// When something may change without a fact.
    pub next: Timestamp,
}

impl Pod {
    pub fn entry(&mut self, entry: Entry, now: Timestamp) {
        let closed = (entry.stage == Stage::ResponseComplete).then_some(entry.at);
        // Of a request that is known no more: its processes were decided long ago.
        let of = |known: &&mut Known| known.actor.as_ref().is_some_and(|a| a.request == Some(entry.id));
        for known in self.roots.iter_mut().filter(of) {
            known.closed = known.closed.or(closed);
        }
        let session = Session {
            target: entry.target,
            person: entry.person,
            request: Some(entry.id),
            audit_id: Some(entry.audit_id),
            source_ips: entry.source_ips,
            user_agent: entry.user_agent,
            reviews: entry.reviews,
            key: None,
            uid: entry.uid,
            reviewed: None,
            received: Some(entry.received),
            started: (entry.stage == Stage::ResponseStarted).then_some(entry.at),
            closed,
            code: entry.code,
            heard: now,
            fruitful: false,
            told_empty: false,
        };
        self.add(session);
    }

    pub fn review(&mut self, review: Review, now: Timestamp) {
        let session = Session {
            target: review.target,
            person: review.person,
            request: None,
            audit_id: None,
            source_ips: Vec::new(),
            user_agent: None,
            reviews: vec![review.uid],
            key: review.key,
            uid: None,
            reviewed: Some(review.at),
            received: None,
            started: None,
            closed: None,
            code: None,
            heard: now,
            fruitful: false,
            told_empty: false,
        };
        self.add(session);
    }

    /// Whether a request that was refused is one that nobody knows: nothing will come of it.
    pub fn is_refused(&self, entry: &Entry) -> bool {
        let refused = entry.code.is_some_and(|code| code >= 400);
        refused && self.sessions.iter().all(|known| known.request != Some(entry.id))
    }

    /// Adds what is said of a request to what is known of it.
    fn add(&mut self, mut session: Session) {
        let same = |known: &Session| {
            let request = known.request.is_some() && known.request == session.request;
            // A uid is the API server's own; one request is never another's.
            let reviewed = known.reviews.iter().any(|uid| session.reviews.contains(uid));
            let other = known.request.is_some() && session.request.is_some() && known.request != session.request;
            request || (reviewed || keyed(known, &session)) && !other && known.target.pod == session.target.pod
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

    pub fn root(&mut self, root: Root, now: Timestamp) {
        let mut argv = root.argv.clone();
        let key = argv.as_mut().and_then(take_key);
        let known = Known {
            argv,
            key,
            root,
            added: now,
            ended: None,
            state: State::Waiting,
            actor: None,
            told: None,
            lag: None,
            closed: None,
            told_outlived: false,
            told_closed: false,
            frozen: false,
            past: false,
        };
        let place = |known: &Known| (known.root.at, known.root.id.clone());
        let at = self.roots.partition_point(|other| place(other) < place(&known));
        self.roots.insert(at, known);
    }

    pub fn looked(&mut self, looked: Looked) {
        let seen = (looked.at, looked.uid);
        let at = self.looked.partition_point(|other| *other < seen);
        if self.looked.get(at) != Some(&seen) {
            self.looked.insert(at, seen);
        }
        if self.looked.len() > LOOKED {
            self.looked.remove(0);
        }
    }

    /// The uid that the pod had when somebody looked, shortly before a request.
    pub fn uid_at(&self, opened: Timestamp, within: u64) -> Option<&str> {
        let after = self.looked.partition_point(|(at, _)| *at <= opened);
        let (at, uid) = self.looked.get(after.checked_sub(1)?)?;
        (at.saturating_add(within) >= opened).then_some(uid)
    }
}

impl Pod {
    /// The request that is least worth keeping.
    pub fn worst_session(&self) -> usize {
        let unlikely = |session: &Session| !session.may_run();
        let fruitless = |session: &Session| !session.fruitful;
        let by = |worthless: &dyn Fn(&Session) -> bool| self.sessions.iter().position(worthless);
        by(&unlikely).or_else(|| by(&fruitless)).unwrap_or(0)
    }

    /// The process that is least worth keeping: never a terminal that nobody has explained yet, while there is another.
    pub fn worst_root(&self) -> usize {
        let done = |known: &Known| known.ended.is_some() && (known.told.is_some() || !known.root.tty);
        let quiet = |known: &Known| !known.root.tty && !known.root.first;
        let told = |known: &Known| known.told.is_some();
        let by = |worthless: &dyn Fn(&Known) -> bool| self.roots.iter().position(worthless);
        by(&done).or_else(|| by(&quiet)).or_else(|| by(&told)).unwrap_or(0)
    }

    /// Whether a terminal waits to be explained.
    pub fn is_waiting(&self) -> bool {
        self.roots
            .iter()
            .any(|known| known.root.tty && !known.root.first && known.told.is_none())
    }
}
