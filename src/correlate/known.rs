//! What is known of a pod: requests to enter it, and the processes that came in.

use std::sync::Arc;

use super::fact::{Entry, Looked, Person, RequestId, Review, Root, Stage, Target, Via};
use super::read::take_key;
use super::sessions::{Actor, State};
use crate::event::Timestamp;

/// Answers that tell a pod's uid, of each pod.
const LOOKED: usize = 64;

/// A request, from its review, its audit events, or both.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub target: Target,
    /// Absent while only the first stage is known, which may name the wrong one.
    pub person: Option<Person>,
    pub request: Option<RequestId>,
    pub audit_id: Option<Box<str>>,
    pub source_ips: Vec<Box<str>>,
    pub user_agent: Option<Box<str>>,
    /// Uids of its reviews.
    pub reviews: Vec<Box<str>>,
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
        self.fruitful |= other.fruitful;
        self.told_empty |= other.told_empty;
    }
}

/// A process that came in, and what was decided of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub root: Root,
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
        let first = entry.stage == Stage::RequestReceived;
        let closed = (entry.stage == Stage::ResponseComplete).then_some(entry.at);
        // Of a request that is known no more: its processes were decided long ago.
        let of = |known: &&mut Known| known.actor.as_ref().is_some_and(|a| a.request == Some(entry.id));
        for known in self.roots.iter_mut().filter(of) {
            known.closed = known.closed.or(closed);
        }
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
            fruitful: false,
            told_empty: false,
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

    pub fn root(&mut self, root: Root) {
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
