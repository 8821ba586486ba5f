//! What becomes of a process beside its name: unknown, closed, outlived; requests that start nothing; direct use of the
//! kubelet; pods that were made again; clocks that disagree.

use std::sync::Arc;

use saker::correlate::fact::{Access, Looked, RequestId};
use saker::correlate::{Change, Correlator, Entry, Evidence, Fact, Person, PodName, ProcessId, Reason, Root, Settings};
use saker::correlate::{Stage, State, Target, Via};

use crate::world::SECOND;

pub const START: u64 = 10_000 * SECOND;

pub fn pod() -> PodName {
    PodName {
        namespace: "prod".into(),
        name: "web".into(),
    }
}

pub fn root(pid: u32, at: u64) -> Root {
    Root {
        id: ProcessId {
            node: Arc::from("node-1"),
            pid,
            start: at,
        },
        pod: pod(),
        uid: None,
        container: Some("app".into()),
        argv: Some(vec!["bash".into()]),
        cut: false,
        tty: true,
        at,
        first: false,
        keys: Vec::new(),
    }
}

fn entry(n: u128, user: &str, stage: Stage, received: u64, at: u64) -> Fact {
    entry_with(n, user, stage, received, at, 101)
}

pub fn entry_with(n: u128, user: &str, stage: Stage, received: u64, at: u64, code: u16) -> Fact {
    Fact::Entry(Box::new(Entry {
        id: RequestId(n),
        audit_id: format!("audit-{n}").into(),
        stage,
        received,
        at,
        target: Target {
            via: Via::Exec,
            pod: pod(),
            container: Some("app".into()),
            argv: vec!["bash".into()],
            tty: true,
        },
        person: Person {
            user: user.into(),
            groups: Vec::new(),
            impersonator: None,
        },
        source_ips: Vec::new(),
        user_agent: None,
        code: (stage != Stage::RequestReceived).then_some(code),
        reviews: Vec::new(),
        uid: None,
    }))
}

pub fn started(n: u128, user: &str, at: u64) -> Fact {
    entry(n, user, Stage::ResponseStarted, at, at + SECOND / 100)
}

fn closed(n: u128, user: &str, at: u64, ended: u64) -> Fact {
    entry(n, user, Stage::ResponseComplete, at, ended)
}

/// A correlator with its clock, and what it has told.
pub struct Play {
    pub correlator: Correlator,
    pub told: Vec<Change>,
}

impl Play {
    /// Everything can be heard.
    pub fn new() -> Play {
        let mut play = Play::deaf();
        play.take(Fact::Bus(Some(START - 1_000 * SECOND)), START - 1_000 * SECOND);
        play.take(Fact::Heard(START - 900 * SECOND), START - 900 * SECOND);
        play
    }

    fn deaf() -> Play {
        Play {
            correlator: Correlator::new(Settings::default()),
            told: Vec::new(),
        }
    }

    pub fn take(&mut self, fact: Fact, now: u64) {
        self.correlator.take(fact, now, &mut self.told);
    }

    pub fn root(&mut self, root: Root) {
        let at = root.at;
        self.take(Fact::Root(Box::new(root)), at);
    }

    /// Seconds pass, and audit events of others are heard.
    pub fn pass(&mut self, from: u64, seconds: u64) {
        for second in 0..=seconds {
            self.take(Fact::Heard(from + second * SECOND), from + second * SECOND);
            self.correlator.tick(from + second * SECOND, &mut self.told);
        }
    }

    fn states(&self) -> Vec<State> {
        self.told.iter().map(|change| change.state).collect()
    }

    fn last_user(&self) -> Option<String> {
        let person = self.told.last()?.actor.as_ref()?.person.as_ref()?;
        Some(person.user.to_string())
    }
}

#[test]
fn a_session_from_its_beginning_to_its_end() {
    let mut play = Play::new();
    play.root(root(7, START));
    play.take(started(1, "alice", START - SECOND / 20), START + 3 * SECOND);
    assert_eq!(
        (play.states(), play.last_user()),
        (vec![State::Attributed], Some("alice".into()))
    );
    assert_eq!(play.told[0].after, 3 * SECOND);
    assert_eq!(play.told[0].actor.as_ref().unwrap().evidence, Evidence::Unique);
    let end = START + 600 * SECOND;
    play.pass(START + 4 * SECOND, 590);
    play.take(
        Fact::Ended {
            id: root(7, START).id,
            at: end,
        },
        end,
    );
    play.take(closed(1, "alice", START - SECOND / 20, end), end + 20 * SECOND);
    play.pass(end + 21 * SECOND, 100);
    assert_eq!(play.states(), [State::Attributed, State::Closed]);
}

#[test]
fn what_still_runs_after_the_request_was_closed() {
    for seconds in [2, 3_600] {
        let mut play = Play::new();
        let opened = START - SECOND / 20;
        let end = START + seconds * SECOND;
        play.root(root(7, START));
        play.take(started(1, "alice", opened), START + SECOND);
        play.pass(START + SECOND, seconds);
        play.take(closed(1, "alice", opened, end), end + 10 * SECOND);
        play.pass(end + 10 * SECOND, 20);
        assert_eq!(play.states(), [State::Attributed], "{seconds}: within the grace");
        play.pass(end + 30 * SECOND, 30);
        assert_eq!(play.states(), [State::Attributed, State::Outlived], "{seconds}");
        assert_eq!(play.last_user().as_deref(), Some("alice"));
        let much_later = end + 4_000 * SECOND;
        play.take(
            Fact::Ended {
                id: root(7, START).id,
                at: much_later,
            },
            much_later,
        );
        assert_eq!(play.states()[2..], [State::Closed], "{seconds}");
    }
}

#[test]
fn a_request_that_starts_nothing_is_told_once_on_the_node_of_the_pod() {
    for local in [true, false] {
        let mut play = Play::new();
        if local {
            let first = Root {
                first: true,
                tty: false,
                ..root(1, START - 500 * SECOND)
            };
            play.root(first);
        }
        play.pass(START - 500 * SECOND, 400);
        play.told.clear();
        play.take(started(1, "alice", START), START + SECOND);
        play.pass(START + SECOND, 200);
        let want: &[State] = if local { &[State::Empty] } else { &[] };
        assert_eq!(play.states(), want, "{local}");
        assert!(play.told.iter().all(|change| change.process.is_none()));
    }
}

#[test]
fn a_request_of_before_is_not_said_to_have_started_nothing() {
    // The stream tells an agent that starts of all that was: processes that ended meanwhile were never seen.
    let mut play = Play::deaf();
    let first = Root {
        first: true,
        tty: false,
        ..root(1, START - 500 * SECOND)
    };
    play.root(first);
    play.take(started(1, "alice", START - 60 * SECOND), START);
    play.take(Fact::Bus(Some(START)), START);
    play.pass(START, 100);
    play.told.retain(|change| change.state == State::Empty);
    assert_eq!(play.told, []);
    play.take(started(2, "alice", START + 100 * SECOND), START + 101 * SECOND);
    play.pass(START + 101 * SECOND, 60);
    assert_eq!(play.states(), [State::Empty]);
}

#[test]
fn nothing_is_unexplained_while_nothing_can_be_heard() {
    let reason = |play: &Play| play.told.last().and_then(|change| change.actor.as_ref()?.reason);
    // Nobody has ever posted anything.
    let mut play = Play::deaf();
    play.take(Fact::Bus(Some(START - SECOND)), START - SECOND);
    play.root(root(7, START));
    for second in 0..60 {
        play.correlator.tick(START + second * SECOND, &mut play.told);
    }
    assert_eq!(
        (play.states(), reason(&play)),
        (vec![State::Unknown], Some(Reason::Silent))
    );
    // Audit events come now, and did not when it began.
    play.pass(START + 61 * SECOND, 20);
    assert_eq!(play.states(), [State::Unknown]);

    let mut play = Play::new();
    play.take(Fact::Bus(None), START - SECOND);
    play.root(root(7, START));
    play.pass(START, 60);
    assert_eq!(
        (play.states(), reason(&play)),
        (vec![State::Unknown], Some(Reason::Down))
    );
    // It is back, and what was kept comes within patience.
    play.take(Fact::Bus(Some(START + 60 * SECOND)), START + 60 * SECOND);
    play.pass(START + 60 * SECOND, 20);
    play.take(started(1, "alice", START - SECOND / 20), START + 80 * SECOND);
    assert_eq!(play.states(), [State::Unknown, State::Attributed]);
    assert_eq!(play.last_user().as_deref(), Some("alice"));

    // Who was there before.
    let mut play = Play::deaf();
    play.take(Fact::Bus(Some(START + SECOND)), START + SECOND);
    play.root(root(7, START));
    play.pass(START + SECOND, 100);
    assert_eq!(
        (play.states(), reason(&play)),
        (vec![State::Unknown], Some(Reason::Before))
    );
}

/// Many a pod asks for a terminal (`tty: true`) that nobody ever sits in front of.
#[test]
fn a_container_with_a_terminal_takes_no_request() {
    for heard in [true, false] {
        let mut play = Play::new();
        let own = Root {
            first: true,
            ..root(1, START)
        };
        play.root(own);
        for second in 0..400 {
            if heard {
                play.take(Fact::Heard(START + second * SECOND), START + second * SECOND);
            }
            play.correlator.tick(START + second * SECOND, &mut play.told);
        }
        assert_eq!(play.states(), [], "{heard}");
    }
}

#[test]
fn who_may_use_the_kubelet_is_a_candidate_and_never_the_name() {
    let mut play = Play::new();
    let access = |user: &str, node: &str, at| {
        Fact::Access(Box::new(Access {
            at,
            node: node.into(),
            user: user.into(),
        }))
    };
    play.take(access("mallory", "node-1", START - 100 * SECOND), START - 99 * SECOND);
    play.take(access("other", "node-2", START - SECOND), START);
    play.take(access("long-ago", "node-1", START - 900 * SECOND), START);
    play.root(root(7, START));
    play.pass(START, 60);
    let change = play.told.last().unwrap();
    let actor = change.actor.as_ref().unwrap();
    assert_eq!((change.state, actor.via), (State::Unattributed, Some(Via::Kubelet)));
    assert_eq!(
        (actor.person.as_ref(), &actor.candidates[..]),
        (None, &["mallory".into()][..])
    );
}

#[test]
fn a_pod_that_was_made_again_is_another() {
    let mut play = Play::new();
    let looked = |uid: &str, at| {
        Fact::Looked(Box::new(Looked {
            pod: pod(),
            uid: uid.into(),
            at,
        }))
    };
    // Bob entered the pod that was there before, and it was deleted before anything ran. Nobody asked for this one.
    play.take(looked("old", START - SECOND / 5), START);
    play.take(started(1, "bob", START - SECOND / 6), START);
    let new = Root {
        uid: Some("new".into()),
        ..root(7, START)
    };
    play.root(new);
    play.pass(START, 60);
    assert_eq!(play.states(), [State::Unattributed, State::Empty]);
    let mut play = Play::new();
    play.take(looked("old", START - SECOND), START);
    play.take(looked("new", START - SECOND / 5), START);
    play.take(started(1, "bob", START - SECOND / 6), START);
    let new = Root {
        uid: Some("new".into()),
        ..root(7, START)
    };
    play.root(new);
    play.pass(START, 60);
    assert_eq!(
        (play.states(), play.last_user()),
        (vec![State::Attributed], Some("bob".into()))
    );
}

/// With the node's clock ahead, a request that ended at once by the API server's clock is still its process's.
#[test]
fn clocks_that_disagree() {
    for ahead in [-4 * SECOND as i64, 0, 4 * SECOND as i64] {
        let mut play = Play::new();
        let node = |time: u64| time.saturating_add_signed(ahead);
        // Enough pairs to know the distance.
        for n in 0..8u64 {
            let at = START + n * 20 * SECOND;
            let user = if n % 2 == 0 { "alice" } else { "bob" };
            play.root(root(n as u32 + 1, node(at + SECOND / 20)));
            play.take(started(u128::from(n), user, at), at + SECOND);
            play.take(closed(u128::from(n), user, at, at + SECOND / 10), at + SECOND);
            let id = root(n as u32 + 1, node(at + SECOND / 20)).id;
            play.take(
                Fact::Ended {
                    id,
                    at: node(at + SECOND / 10),
                },
                at + SECOND,
            );
            play.pass(node(at + SECOND).max(at + SECOND), 12);
            assert_eq!(play.last_user().as_deref(), Some(user), "{ahead} {n}");
        }
        let well = |state: &State| matches!(state, State::Attributed | State::Closed);
        assert!(play.states().iter().all(well), "{ahead}: {:?}", play.states());
        // Two at once, of which one had ended before the other began.
        let at = START + 400 * SECOND;
        play.take(started(90, "alice", at), at + 3 * SECOND);
        play.take(closed(90, "alice", at, at + SECOND / 10), at + 3 * SECOND);
        play.take(started(91, "bob", at + 3 * SECOND), at + 4 * SECOND);
        play.root(root(90, node(at + SECOND / 20)));
        play.root(root(91, node(at + 3 * SECOND + SECOND / 20)));
        play.pass(node(at + 8 * SECOND).max(at + 8 * SECOND), 60);
        let users: Vec<_> = [90, 91]
            .map(|pid| {
                let own = |change: &&Change| {
                    change.state == State::Attributed && change.process.as_ref().is_some_and(|id| id.pid == pid)
                };
                let last = play.told.iter().rfind(own).unwrap();
                (
                    last.state,
                    last.actor.as_ref().unwrap().person.as_ref().unwrap().user.to_string(),
                )
            })
            .into();
        assert_eq!(
            users,
            [
                (State::Attributed, "alice".to_owned()),
                (State::Attributed, "bob".to_owned())
            ],
            "{ahead}"
        );
    }
}
