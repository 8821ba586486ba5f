//! What follows from what is known of a pod.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fact::{Access, Root, Target, Via};
use super::known::{Known, Pod, Session};
use super::matching;
use super::sessions::{Actor, Evidence, Reason, Settings, State};
use crate::event::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// A container that is added to a pod may have to wait for its image.
const DEBUG_AFTER: u64 = 120 * SECOND;
/// kubectl looks at the pod some tens of milliseconds before it asks to enter it.
const LOOK: u64 = 2 * SECOND;
/// The kubelet keeps an answer that allows for this long (`authorization.webhook.cacheAuthorizedTTL`).
const ACCESS: u64 = 300 * SECOND;

/// What is known beyond the pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub settings: &'a Settings,
    /// Where the distance from request to process lies, when enough pairs agree.
    pub window: Option<(i64, i64)>,
    pub listening: Listening,
    /// By time.
    pub accesses: &'a [Access],
    pub now: Timestamp,
}

/// Whether what is not there can be told from what did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listening {
    /// When listening began.
    pub began: Option<Timestamp>,
    /// Since when all that was sent has come; nothing while it does not.
    pub up: Option<Timestamp>,
    /// When audit events were heard of first and last.
    pub heard: Option<(Timestamp, Timestamp)>,
}

impl Listening {
    /// An audit event came.
    pub fn hear(&mut self, now: Timestamp) {
        let (first, last) = self.heard.unwrap_or((now, now));
        self.heard = Some((first.min(now), last.max(now)));
    }

    /// Why nothing can be said of a process that no request explains.
    fn silence(&self, root: &Root, settings: &Settings, now: Timestamp) -> Option<Reason> {
        match self.began {
            None => return Some(Reason::Down),
            Some(began) if root.at < began => return Some(Reason::Before),
            Some(_) => {}
        }
        match self.up {
            Some(up) if now >= up.max(root.at).saturating_add(settings.patience) => {}
            _ => return Some(Reason::Down),
        }
        // Audit events came before the process began, and after: its own would have come as well.
        let heard = self
            .heard
            .is_some_and(|(first, last)| first <= root.at && last >= root.at);
        (!heard).then_some(Reason::Silent)
    }
}

impl Pod {
    pub fn decide(&mut self, around: &Around<'_>) {
        let uids: Vec<Option<Box<str>>> = (self.sessions.iter())
            .map(|session| {
                let looked = || self.uid_at(session.opened(), LOOK).map(Box::from);
                session.uid.clone().or_else(looked)
            })
            .collect();
        let (settings, now) = (around.settings, around.now);
        let Pod { sessions, roots, .. } = self;
        let roots: Vec<&mut Known> = roots.iter_mut().filter(|known| !known.past).collect();
        let keyed = keys(sessions, &roots, around);
        let mut taken = vec![false; sessions.len()];
        keyed.iter().flatten().for_each(|s| taken[*s] = true);
        // Edges by what can never be otherwise, and without what facts of the record exclude.
        let mut wide: Vec<Vec<usize>> = vec![Vec::new(); roots.len()];
        let mut narrow = wide.clone();
        let mut rivals = vec![0; sessions.len()];
        for (r, known) in roots.iter().enumerate() {
            for (s, session) in sessions.iter().enumerate() {
                let other_pod = || matches!((&uids[s], &known.root.uid), (Some(asked), Some(own)) if asked != own);
                if keyed[r].is_some() || taken[s] || !fits(session, known, around) || other_pod() {
                    continue;
                }
                wide[r].push(s);
                rivals[s] += 1;
                if !excluded(session, known, settings, around.window) {
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
            let settled = |s: usize| {
                // A review comes before its process; where both have one clock, nothing earlier can be meant.
                let reviewed = |at: Timestamp| settings.review_skew == 0 && known.root.at >= at;
                let last = known.root.at.max(sessions[s].base());
                sessions[s].reviewed.is_some_and(reviewed) || now >= last.saturating_add(settings.settle)
            };
            let exact = |s: usize| known.root.first || is_asked_for(&sessions[s].target, known);
            let found = match wide[r][..] {
                [s] if rivals[s] == 1 => (narrow[r] == [s]).then_some((s, Evidence::Unique)),
                // Where there are more processes than requests, more requests may come.
                _ if !certain[r].complete => None,
                _ => certain[r].partner.map(|s| (s, Evidence::Ordered)),
            };
            match found.filter(|(s, _)| settled(*s) && exact(*s)) {
                Some((s, evidence)) => {
                    known.attribute(&sessions[s], evidence);
                    if evidence == Evidence::Unique && !known.root.first && known.argv.is_some() {
                        known.lag = distance(&sessions[s], &known.root);
                    }
                }
                None if left.is_empty() => known.unexplained(around),
                None => {
                    let settled = certain[r].complete && left.iter().all(|s| settled(*s) && exact(*s));
                    known.candidates(left.iter().map(|s| &sessions[*s]), settled);
                }
            }
        }
        for (s, session) in sessions.iter_mut().enumerate() {
            session.fruitful |= taken[s] || rivals[s] > 0;
        }
    }

    /// Requests that were let through, and started nothing in a pod of this node: each of them once.
    pub fn empty(&mut self, around: &Around<'_>) -> Vec<Arc<Actor>> {
        let Around { settings, now, .. } = *around;
        // A process that ended before anybody watched was never seen.
        let Some(began) = around.listening.began.filter(|_| !self.roots.is_empty()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for session in &mut self.sessions {
            let through = session.target.via == Via::Exec && session.code == Some(101) && session.started.is_some();
            let waited = now >= session.opened().saturating_add(settings.patience)
                && session.base() >= began.saturating_add(settings.skew);
            if through && waited && !session.fruitful && !session.told_empty {
                session.told_empty = true;
                found.push(Arc::new(Actor::of(session, Evidence::None)));
            }
        }
        found
    }

    /// When something may change without a fact.
    pub fn due(&self, around: &Around<'_>) -> Timestamp {
        let (settings, now) = (around.settings, around.now);
        let mut next = now.saturating_add(settings.horizon);
        let mut at = |time: Timestamp| {
            if time > now {
                next = next.min(time);
            }
        };
        for known in self.roots.iter().filter(|known| !known.past) {
            for after in [
                settings.settle,
                settings.patience,
                settings.horizon,
                2 * settings.horizon,
            ] {
                at(known.root.at.saturating_add(after).saturating_add(1));
                at(known.added.saturating_add(after).saturating_add(1));
            }
            if known.state == State::Unknown && !known.frozen {
                at(now + SECOND);
            }
        }
        for known in self
            .roots
            .iter()
            .filter(|known| known.ended.is_none() && !known.told_outlived)
        {
            known
                .closed
                .into_iter()
                .for_each(|closed| at(outlives(closed, settings)));
        }
        for session in &self.sessions {
            at(session.base().saturating_add(settings.settle).saturating_add(1));
            at(session.opened().saturating_add(settings.patience));
            if let Some(closed) = session.closed.filter(|_| session.target.via == Via::Attach) {
                at(closed.saturating_add(settings.skew).saturating_add(1));
            }
            at(session.heard.saturating_add(3 * settings.horizon + 1));
        }
        next
    }
}

/// From when on a process counts as one that has outlived its request.
pub(super) fn outlives(closed: Timestamp, settings: &Settings) -> Timestamp {
    closed.saturating_add(settings.skew + settings.grace)
}

impl Known {
    fn wait(&mut self) {
        self.state = State::Waiting;
        self.actor = None;
    }

    fn unexplained(&mut self, around: &Around<'_>) {
        let Around { settings, now, .. } = *around;
        // A container needs nobody in front of it, and may have a terminal all the same (`tty: true`).
        let began = around.listening.began.map_or(self.added, |_| self.root.at);
        if self.root.first || now < began.saturating_add(settings.patience) {
            return self.wait();
        }
        let reason = around.listening.silence(&self.root, settings, now);
        self.state = match reason {
            Some(_) => State::Unknown,
            None => State::Unattributed,
        };
        let from = self.root.at.saturating_sub(ACCESS + settings.skew);
        let until = self.root.at.saturating_add(settings.skew);
        let asked = around
            .accesses
            .iter()
            .filter(|access| *access.node == *self.root.id.node);
        let users: BTreeSet<&str> = asked
            .filter(|access| (from..=until).contains(&access.at))
            .map(|access| &*access.user)
            .collect();
        let candidates: Vec<Box<str>> = users.into_iter().map(Box::from).collect();
        self.actor = (reason.is_some() || !candidates.is_empty()).then(|| {
            Arc::new(Actor {
                via: (!candidates.is_empty()).then_some(Via::Kubelet),
                candidates,
                reason,
                ..Actor::default()
            })
        });
    }

    fn attribute(&mut self, session: &Session, evidence: Evidence) {
        self.state = State::Attributed;
        self.closed = session.closed;
        self.actor = Some(Arc::new(Actor::of(session, evidence)));
    }

    /// Several sessions could be meant. Where all are one person's, that person it is.
    fn candidates<'s>(&mut self, sessions: impl Iterator<Item = &'s Session> + Clone, settled: bool) {
        let Some(some) = sessions.clone().next() else { return };
        let one = settled && sessions.clone().all(|session| session.person == some.person);
        if one && self.root.first {
            // Who has brought the container, and then attached to it.
            let best = sessions.clone().find(|session| session.target.via.starts_container());
            return self.attribute(best.unwrap_or(some), Evidence::Unique);
        }
        let users: BTreeSet<Box<str>> = sessions.clone().map(|session| session.person.user.clone()).collect();
        self.state = if one { State::Attributed } else { State::Ambiguous };
        self.actor = Some(Arc::new(Actor {
            person: one.then(|| some.person.clone()),
            via: Some(some.target.via),
            command: some.target.argv.clone(),
            evidence: Evidence::Ambiguous,
            candidates: users.into_iter().collect(),
            opened: sessions.map(Session::opened).min(),
            ..Actor::default()
        }));
    }
}

impl Actor {
    fn of(session: &Session, evidence: Evidence) -> Actor {
        Actor {
            person: Some(session.person.clone()),
            source_ips: session.source_ips.clone(),
            user_agent: session.user_agent.clone(),
            via: Some(session.target.via),
            session: session.audit_id.clone().or_else(|| session.reviews.first().cloned()),
            command: session.target.argv.clone(),
            evidence,
            candidates: Vec::new(),
            opened: Some(session.opened()),
            request: session.request,
            reason: None,
        }
    }
}

/// Sessions that a key in the first execve names: known, of the same pod, container, command and time, and named once.
fn keys(sessions: &[Session], roots: &[&mut Known], around: &Around<'_>) -> Vec<Option<usize>> {
    let mut used = vec![false; sessions.len()];
    let mut found = vec![None; roots.len()];
    for (r, known) in roots.iter().enumerate().filter(|(_, known)| !known.root.first) {
        // Ours is in the command, and names a review. Others are in the environment, which may be the container's own:
        // one that several processes have names nobody.
        let ours = known.key.iter().map(|value| (value, None));
        let others = known.root.keys.iter().map(|(name, value)| (value, Some(name)));
        let shared = |name: &str, value: &str| {
            let has = |other: &&mut Known| other.root.keys.iter().any(|(n, v)| **n == *name && **v == *value);
            roots.iter().filter(|other| has(other)).count() > 1
        };
        let values = ours.chain(others.filter(|(value, name)| name.is_none_or(|name| !shared(name, value))));
        found[r] = values
            .filter_map(|(value, name)| {
                let mut named = sessions.iter().enumerate().filter(|(_, session)| match name {
                    Some(_) => session.reviews.contains(value) || session.audit_id.as_deref() == Some(&**value),
                    None => session.reviews.contains(value),
                });
                // An Audit-ID is the client's choice and may name several.
                let (s, session) = named.next()?;
                let agrees = named.next().is_none() && fits(session, known, around);
                let agrees = agrees && is_asked_for(&session.target, known);
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
    let behind = |argv: &[Box<str>]| is_command(without_env(argv), target, known);
    let command = known.root.first || is_asked_for(target, known) || known.argv.as_deref().is_some_and(behind);
    container && command && target.tty == known.root.tty
}

/// Whether a command is the one that was asked for, as it is or behind a key of ours. Behind variables of others it may
/// be, which is not enough for a name.
fn is_asked_for(target: &Target, known: &Known) -> bool {
    [&known.root.argv, &known.argv]
        .into_iter()
        .any(|argv| argv.as_deref().is_none_or(|argv| is_command(argv, target, known)))
}

fn is_command(argv: &[Box<str>], target: &Target, known: &Known) -> bool {
    match known.root.cut {
        true => is_beginning(argv, &target.argv),
        false => *argv == *target.argv,
    }
}

/// A command without an `env NAME=VALUE…` before it: webhooks and policies of others put variables in that way too.
fn without_env(argv: &[Box<str>]) -> &[Box<str>] {
    let Some(rest) = argv.strip_prefix(&["env".into()]) else {
        return argv;
    };
    let variables = rest.iter().take_while(|argument| argument.contains('=')).count();
    if variables == 0 { argv } else { &rest[variables..] }
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
fn fits(session: &Session, known: &Known, around: &Around<'_>) -> bool {
    let Around { settings, now, .. } = *around;
    let (root, target) = (&known.root, &session.target);
    let (at, opened) = (root.at, session.opened());
    let near = match target.via {
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
        // While somebody sits in front of it.
        Via::Attach => {
            let left = |closed: Timestamp| {
                let until = closed.saturating_add(settings.skew);
                now > until && known.ended.is_none_or(|ended| ended > until)
            };
            root.first && root.tty && at <= opened.saturating_add(settings.skew) && !session.closed.is_some_and(left)
        }
        Via::Debug | Via::Run => {
            root.first && at.saturating_add(settings.skew) >= opened && at <= opened.saturating_add(DEBUG_AFTER)
        }
    };
    // Most are of another time, which costs less to see.
    near && session.may_run() && alike(target, known)
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
    // It ended before the process began. The node's clock is ahead by no more than the longest distance.
    let ahead = window.map_or(settings.skew as i64, |(_, high)| high);
    let ended = |closed: Timestamp| closed.saturating_add_signed(ahead).saturating_add(settings.delay);
    if session.closed.is_some_and(|closed| ended(closed) < at) {
        return true;
    }
    match (window, distance(session, &known.root)) {
        (Some((low, high)), Some(lag)) => lag < low || lag > high,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_were_cut() {
        let texts = |all: &[&str]| -> Vec<Box<str>> { all.iter().map(|t| Box::from(*t)).collect() };
        for (cut, whole, want) in [
            (&["sh", "-c", "ec"][..], &["sh", "-c", "echo"][..], true),
            (&["sh", "-c"], &["sh", "-c", "echo"], true),
            (&["sh", "-d", "ec"], &["sh", "-c", "echo"], false),
            (&["sh", "-c", "echo", "x"], &["sh", "-c", "echo"], false),
            (&[], &["sh"], true),
        ] {
            assert_eq!(is_beginning(&texts(cut), &texts(whole)), want, "{cut:?} {whole:?}");
        }
    }
}
