//! The same facts with the same times, in whatever order they arrive, end in the same result.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use saker::correlate::fact::RequestId;
use saker::correlate::{Entry, Evidence, Fact, Person, PodName, ProcessId, Review, Root, Settings, Stage, State};
use saker::correlate::{Target, Via};

use crate::world::{Random, SECOND, play};

/// One exec: who, when, which of two commands, whether a review tells of it, and whether a process came of it.
#[derive(Clone, Debug)]
struct Exec {
    user: u8,
    at: u64,
    command: bool,
    reviewed: bool,
    runs: bool,
}

fn exec() -> impl Strategy<Value = Exec> {
    (0..3u8, 0..20_000u64, any::<bool>(), any::<bool>(), 0..5u8).prop_map(|(user, at, command, reviewed, runs)| Exec {
        user,
        at: 1_000 * SECOND + at * (SECOND / 1_000),
        command,
        reviewed,
        runs: runs > 0,
    })
}

/// What happens, and when each of it can be known at the earliest.
fn facts(execs: &[Exec]) -> Vec<(u64, Fact)> {
    let mut facts = Vec::new();
    for (i, exec) in execs.iter().enumerate() {
        let pod = PodName {
            namespace: "prod".into(),
            name: "web".into(),
        };
        let argv: Vec<Box<str>> = vec![if exec.command { "bash" } else { "sh" }.into()];
        let target = Target {
            via: Via::Exec,
            pod: pod.clone(),

            container: Some("app".into()),
            argv: argv.clone(),
            tty: true,
        };
        let person = Person {
            user: format!("user-{}", exec.user).into(),
            groups: Vec::new(),
            impersonator: None,
        };
        let uid: Box<str> = format!("review-{i}").into();
        if exec.reviewed {
            let review = Review {
                uid: uid.clone(),
                at: exec.at + 1,
                target: target.clone(),
                person: person.clone(),
                key: None,
            };
            facts.push((exec.at + 1, Fact::Review(Box::new(review))));
        }
        for (stage, after) in [
            (Stage::RequestReceived, 0),
            (Stage::ResponseStarted, 10),
            (Stage::ResponseComplete, 900),
        ] {
            let at = exec.at + after * (SECOND / 1_000);
            let entry = Entry {
                id: RequestId(i as u128),
                audit_id: format!("audit-{i}").into(),
                stage,
                received: exec.at,
                at,
                target: target.clone(),
                person: person.clone(),
                source_ips: Vec::new(),
                user_agent: None,
                code: (stage != Stage::RequestReceived).then_some(101),
                reviews: (exec.reviewed && stage != Stage::RequestReceived)
                    .then(|| uid.clone())
                    .into_iter()
                    .collect(),
                uid: None,
            };
            facts.push((at, Fact::Entry(Box::new(entry))));
        }
        if exec.runs {
            let at = exec.at + (40 + 37 * (i as u64 % 5)) * (SECOND / 1_000);
            let root = Root {
                id: ProcessId {
                    node: Arc::from("n"),
                    pid: i as u32 + 1,
                    start: at,
                },
                pod,
                uid: None,
                container: Some("app".into()),
                argv: Some(argv),
                cut: false,
                tty: true,
                at,
                first: false,
                keys: Vec::new(),
            };
            facts.push((at, Fact::Root(Box::new(root))));
        }
    }
    facts
}

type Outcome = (State, Evidence, Option<Box<str>>, Vec<Box<str>>);

fn outcome(facts: Vec<(u64, Fact)>) -> BTreeMap<ProcessId, Outcome> {
    let told = play(facts, Settings::default());
    let last = told
        .into_iter()
        .filter_map(|(id, changes)| Some((id, changes.into_iter().last()?)));
    last.map(|(id, change)| {
        let actor = change.actor;
        let evidence = actor.as_ref().map_or(Evidence::None, |a| a.evidence);
        let user = actor.as_ref().and_then(|a| Some(a.person.as_ref()?.user.clone()));
        let candidates = actor.map(|a| a.candidates.clone()).unwrap_or_default();
        (id, (change.state, evidence, user, candidates))
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_does_not_matter(execs in prop::collection::vec(exec(), 1..8), seed in 1..u64::MAX) {
        let plain = facts(&execs);
        let mut random = Random(seed);
        // Audit events come up to 30 s late, stages apart, and some twice. Reviews and processes come at once.
        let mut other: Vec<(u64, Fact)> = plain
            .iter()
            .map(|(at, fact)| match fact {
                Fact::Entry(_) => (at + random.below(30_000) as u64 * (SECOND / 1_000), fact.clone()),
                _ => (*at, fact.clone()),
            })
            .collect();
        let again: Vec<_> = other.iter().filter(|(_, fact)| matches!(fact, Fact::Entry(_))).take(3).cloned().collect();
        other.extend(again.into_iter().map(|(at, fact)| (at + 5 * SECOND, fact)));
        random.shuffle(&mut other);
        prop_assert_eq!(outcome(plain), outcome(other));
    }

    /// Who is named is one who asked for that command in that time.
    #[test]
    fn a_name_is_never_made_up(execs in prop::collection::vec(exec(), 1..8)) {
        for (id, (state, _, user, _)) in outcome(facts(&execs)) {
            let own = &execs[id.pid as usize - 1];
            if let (State::Attributed, Some(user)) = (state, user) {
                let near = execs.iter().filter(|e| e.command == own.command && e.at.abs_diff(own.at) < 6 * SECOND);
                let mut names = near.map(|e| format!("user-{}", e.user));
                let known = names.any(|name| *name == *user);
                prop_assert!(known, "{} for {:?}", user, own);
            }
        }
    }
}
