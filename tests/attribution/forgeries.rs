//! What somebody may do to be taken for another, or for nobody.

use saker::correlate::{Evidence, Fact, Person, Review, Root, Settings, Stage, State, Target, Via};

use crate::states::{Play, START, entry_with, pod, root, started};
use crate::world::SECOND;

const MS: u64 = SECOND / 1_000;

fn review(uid: &str, user: &str, argv: &[&str], key: Option<&str>, at: u64) -> Fact {
    Fact::Review(Box::new(Review {
        uid: uid.into(),
        at,
        target: Target {
            via: Via::Exec,
            pod: pod(),
            container: Some("app".into()),
            argv: argv.iter().map(|a| Box::from(*a)).collect(),
            tty: true,
        },
        person: Person {
            user: user.into(),
            groups: Vec::new(),
            impersonator: None,
        },
        key: key.map(Box::from),
    }))
}

fn with(root: Root, argv: &[&str]) -> Root {
    Root {
        argv: Some(argv.iter().map(|a| Box::from(*a)).collect()),
        ..root
    }
}

fn names(play: &Play, pid: u32) -> Vec<Option<String>> {
    let own = play
        .told
        .iter()
        .filter(|change| change.process.as_ref().is_some_and(|id| id.pid == pid));
    own.map(|change| Some(change.actor.as_ref()?.person.as_ref()?.user.to_string()))
        .collect()
}

/// Carol's key stands in the environment of her session, where everybody in the container can read it.
#[test]
fn a_key_of_another_that_somebody_types() {
    let mut play = Play::new();
    play.take(review("U", "carol", &["bash"], None, START), START);
    play.take(review("V", "carol", &["bash"], Some("U"), START + MS), START + MS);
    play.root(with(root(1, START + 50 * MS), &["env", "SAKER_EXEC_ID=U", "bash"]));
    let later = START + 3 * SECOND;
    play.take(review("M", "mallory", &["sh"], Some("U"), later), later);
    play.root(with(root(2, later + 50 * MS), &["env", "SAKER_EXEC_ID=U", "sh"]));
    play.pass(later, 60);
    let carol = Some("carol".to_owned());
    assert!(
        names(&play, 1).iter().all(|name| *name == carol),
        "{:?}",
        names(&play, 1)
    );
    assert!(!names(&play, 2).contains(&carol), "{:?}", names(&play, 2));
}

/// The key of a session that is long over, and an Audit-ID of one's own choice.
#[test]
fn keys_of_another_time() {
    let mut play = Play::new();
    play.root(root(1, START));
    play.take(started(1, "carol", START - 50 * MS), START + SECOND);
    play.pass(START + SECOND, 20);
    let later = START + 100 * SECOND;
    for key in ["audit-1", "U"] {
        play.root(with(root(2, later), &["env", &format!("SAKER_EXEC_ID={key}"), "bash"]));
    }
    play.pass(later, 60);
    assert!(
        !names(&play, 2).contains(&Some("carol".to_owned())),
        "{:?}",
        names(&play, 2)
    );
}

/// The container has such a variable itself, and mallory has chosen that Audit-ID.
#[test]
fn a_variable_of_the_container() {
    let mut play = Play::new();
    let keyed = |pid, at| Root {
        keys: vec![("KUBERNETES_EXEC_AUDIT_ID".into(), "audit-2".into())],
        ..root(pid, at)
    };
    play.root(keyed(1, START));
    play.take(started(1, "carol", START - 50 * MS), START);
    play.root(keyed(2, START + 4 * SECOND));
    play.take(started(2, "mallory", START + 4 * SECOND - 50 * MS), START + 4 * SECOND);
    play.pass(START + 5 * SECOND, 60);
    assert!(
        !names(&play, 1).contains(&Some("mallory".to_owned())),
        "{:?}",
        names(&play, 1)
    );
    assert!(
        !names(&play, 2).contains(&Some("carol".to_owned())),
        "{:?}",
        names(&play, 2)
    );
}

/// A shell by crictl, and then a request for the same command, told of before its own process.
#[test]
fn a_request_that_comes_just_after_an_unexplained_shell() {
    let mut play = Play::new();
    play.root(root(1, START));
    let opened = START + 3_970 * MS;
    play.take(started(1, "carol", opened), opened + 20 * MS);
    play.root(root(2, opened + 50 * MS));
    play.pass(opened + 100 * MS, 60);
    assert!(
        !names(&play, 1).contains(&Some("carol".to_owned())),
        "{:?}",
        names(&play, 1)
    );
    let mut play = Play::new();
    play.root(root(1, START));
    play.take(
        review("U", "carol", &["bash"], None, START + 4 * SECOND),
        START + 4 * SECOND,
    );
    play.pass(START + 4 * SECOND, 60);
    assert_eq!(names(&play, 1), [None], "a review comes before its process");
}

/// A name that is not believed any more is taken back at once.
#[test]
fn a_name_is_taken_back() {
    let mut play = Play::new();
    play.take(review("U", "carol", &["bash"], None, START), START);
    play.root(root(1, START + 50 * MS));
    assert_eq!(names(&play, 1), [Some("carol".to_owned())]);
    // Dave's own review was lost.
    play.root(root(2, START + 60 * MS));
    assert_eq!(names(&play, 1).last(), Some(&None));
}

/// Whoever comes in masses cannot make a terminal be forgotten.
#[test]
fn a_flood_hides_no_terminal() {
    let each = Settings::default().each as u32;
    let mut play = Play::new();
    play.root(root(1, START));
    for n in 0..2 * each {
        let at = START + SECOND + u64::from(n) * MS;
        play.root(Root {
            tty: false,
            ..with(root(n + 2, at), &["true"])
        });
        let refused = entry_with(1_000 + u128::from(n), "mallory", Stage::ResponseComplete, at, at, 403);
        play.take(refused, at);
    }
    play.pass(START + 2 * SECOND, 60);
    let terminal = play
        .told
        .iter()
        .find(|change| change.process.as_ref().is_some_and(|id| id.pid == 1));
    assert_eq!(terminal.map(|change| change.state), Some(State::Unattributed));
}

/// Refused requests push nobody's name out.
#[test]
fn a_flood_takes_no_name_away() {
    let each = Settings::default().each as u128;
    let mut play = Play::new();
    play.root(root(1, START));
    play.take(started(1, "mallory", START - 50 * MS), START + SECOND);
    play.pass(START + SECOND, 5);
    for n in 0..3 * each {
        let at = START + 7 * SECOND + n as u64 * MS;
        play.take(
            entry_with(1_000 + n, "mallory", Stage::ResponseComplete, at, at, 403),
            at,
        );
        play.take(
            entry_with(9_000 + n, "mallory", Stage::ResponseStarted, at, at, 101),
            at,
        );
    }
    play.pass(START + 10 * SECOND, 60);
    assert_eq!(names(&play, 1).last(), Some(&Some("mallory".to_owned())));
}

/// Carol attached and left; what dave types afterwards is not hers.
#[test]
fn who_sits_in_front_of_a_container_now() {
    let mut play = Play::new();
    let first = Root {
        first: true,
        ..root(1, START)
    };
    play.root(first);
    let attach = |n, user: &str, stage, at, ended| match entry_with(n, user, stage, at, ended, 101) {
        Fact::Entry(mut entry) => {
            entry.target.via = Via::Attach;
            entry.target.argv.clear();
            Fact::Entry(entry)
        }
        other => other,
    };
    let at = START + 10 * SECOND;
    play.take(attach(1, "carol", Stage::ResponseStarted, at, at), at);
    play.pass(at, 2);
    assert_eq!(names(&play, 1).last(), Some(&Some("carol".to_owned())));
    play.take(
        attach(1, "carol", Stage::ResponseComplete, at, at + 5 * SECOND),
        at + 5 * SECOND,
    );
    play.pass(at + 5 * SECOND, 60);
    assert_eq!(names(&play, 1).last(), Some(&None), "nobody sits there");
    let at = START + 110 * SECOND;
    play.take(attach(2, "dave", Stage::ResponseStarted, at, at), at);
    play.pass(at, 5);
    assert_eq!(names(&play, 1).last(), Some(&Some("dave".to_owned())));
    let evidence = play.told.last().unwrap().actor.as_ref().unwrap().evidence;
    assert_eq!(evidence, Evidence::Unique);
    // Two at once are two.
    play.take(
        attach(3, "carol", Stage::ResponseStarted, at + 9 * SECOND, at + 9 * SECOND),
        at + 9 * SECOND,
    );
    play.pass(at + 9 * SECOND, 5);
    assert_eq!(names(&play, 1).last(), Some(&None));
}
