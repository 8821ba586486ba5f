//! Sessions as `saker sessions` shows them: who came in where, what ran, and what was alerted.
//!
//! The reader's thread owns what is known. It puts a list on the [`Board`] when somebody looks and something is new.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::attribution::{Attribution, Tree};
use crate::alert::push_uuid;
use crate::correlate::State;
use crate::event::Timestamp;
use crate::event::time::Civil;

/// A session. Times are RFC 3339; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Its identity: the Audit-ID, or the uid of its admission review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// See `actor.state`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The real user, when `user` was impersonated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    pub evidence: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub namespace: String,
    pub pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub node: String,
    pub pid: u32,
    /// It has a terminal.
    pub terminal: bool,
    pub since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    pub processes: Vec<Program>,
    pub alerts: Vec<Raised>,
    /// Programs and alerts that were too many to be kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// A program that ran in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    pub pid: u32,
    pub parent: u32,
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    pub command: String,
}

/// An alert of a session's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Raised {
    pub uuid: String,
    pub rule: String,
    pub priority: String,
    pub time: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn stamp(time: Timestamp) -> String {
    let mut out = Vec::new();
    Civil::utc(time).push_iso8601(&mut out);
    out.push(b'Z');
    String::from_utf8_lossy(&out).into_owned()
}

/// All sessions that are remembered, the oldest first: who came in by exec, and containers that somebody made or
/// attached to.
pub fn list(attribution: &Attribution) -> Vec<Session> {
    let trees = attribution.trees().into_iter();
    trees.filter_map(|tree| session(attribution, tree)).collect()
}

fn session(attribution: &Attribution, tree: &Tree) -> Option<Session> {
    let who = attribution.who(tree);
    // A container's own first process is a session only when somebody is behind it.
    if tree.first && who.is_none() {
        return None;
    }
    let actor = who.and_then(|who| who.actor.as_deref());
    let person = actor.and_then(|actor| actor.person.as_ref());
    let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let uuid = |uuid| {
        let mut out = Vec::new();
        push_uuid(uuid, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    Some(Session {
        session: actor.and_then(|a| a.session.as_deref()).map(str::to_owned),
        state: who.map_or(State::Waiting, |who| who.state).name().to_owned(),
        user: person.map(|p| p.user.to_string()),
        groups: person.map(|p| texts(&p.groups)).unwrap_or_default(),
        impersonator: person.and_then(|p| p.impersonator.as_deref()).map(str::to_owned),
        source_ips: actor.map(|a| texts(&a.source_ips)).unwrap_or_default(),
        user_agent: actor.and_then(|a| a.user_agent.as_deref()).map(str::to_owned),
        via: actor.and_then(|a| a.via).map(|via| via.name().to_owned()),
        evidence: actor.map_or("none", |a| a.evidence.name()).to_owned(),
        candidates: actor.map(|a| texts(&a.candidates)).unwrap_or_default(),
        reason: actor.and_then(|a| a.reason).map(|reason| reason.text().to_owned()),
        namespace: tree.pod.namespace.to_string(),
        pod: tree.pod.name.to_string(),
        container: tree.container.as_deref().map(str::to_owned),
        node: attribution.node().to_owned(),
        pid: tree.key.pid,
        terminal: tree.tty,
        since: stamp(tree.at),
        ended: tree.ended.map(stamp),
        processes: (tree.ran.iter())
            .map(|ran| Program {
                pid: ran.key.pid,
                parent: ran.parent.pid,
                at: stamp(ran.at),
                ended: ran.ended.map(stamp),
                command: ran.command.to_string(),
            })
            .collect(),
        alerts: (tree.raised.iter())
            .map(|raised| Raised {
                uuid: uuid(raised.uuid),
                rule: raised.rule.to_string(),
                priority: raised.priority.name().to_owned(),
                time: stamp(raised.time),
            })
            .collect(),
        left_out: tree.left_out,
    })
}

/// Where whoever asks finds the sessions of a running reader. Clones share everything.
#[derive(Clone, Debug)]
pub struct Board {
    list: Arc<watch::Sender<Arc<Vec<Session>>>>,
    asked: Arc<AtomicU64>,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            list: Arc::new(watch::Sender::default()),
            asked: Arc::default(),
        }
    }
}

impl Board {
    /// Asks for a list: the next one that comes is new.
    pub fn ask(&self) -> watch::Receiver<Arc<Vec<Session>>> {
        let receiver = self.list.subscribe();
        self.asked.fetch_add(1, Ordering::Relaxed);
        receiver
    }
}

/// The reader's end of a board.
#[derive(Debug, Default)]
pub struct Notices {
    board: Board,
    asked: u64,
    /// What was put up last.
    version: u64,
}

impl Notices {
    pub fn new(board: Board) -> Notices {
        Notices {
            board,
            asked: 0,
            version: 0,
        }
    }

    /// Puts up a list, if somebody looks and it is new to him.
    pub fn put_up(&mut self, attribution: &Attribution) {
        let asked = self.board.asked.load(Ordering::Relaxed);
        let news = asked != self.asked || attribution.version() != self.version;
        if self.board.list.receiver_count() > 0 && news {
            self.asked = asked;
            self.version = attribution.version();
            self.board.list.send_replace(Arc::new(list(attribution)));
        }
    }
}
