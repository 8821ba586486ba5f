//! The optimised evaluation against a naive interpreter: random rule sets over random audit events must give the
//! same rules, in the same order, under both ways of matching.
//!
//! More cases than the default: `PROPTEST_CASES=20000 cargo test --test equivalence`.

mod generate;
mod naive;
mod several;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use saker::config::Matching;
use saker::engine::source::RuleFile;
use saker::engine::{Evaluator, Options, RuleSet, load};
use saker::event::Source;
use saker::event::audit::Tapes;
use saker::fields::evt::Host;
use saker::fields::ka::AuditView;
use saker::sources::audit::decode;

use generate::{Case, Choices};

fn compile(text: &str, matching: Matching) -> RuleSet {
    let file = RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.to_owned(),
    };
    let options = Options {
        sources: vec![Source::K8sAudit, Source::Syscall],
        matching,
        ..Options::default()
    };
    let loaded = load(vec![file], &options).expect("no fields of the user's own");
    let errors: Vec<String> = loaded.errors().map(|d| d.render(&loaded.sources)).collect();
    assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
    loaded.rules.expect("no errors")
}

/// The rules that match an event, in the order in which the engine tells them.
fn evaluate(evaluator: &mut Evaluator, tapes: &mut Tapes, rules: &RuleSet, event: &str) -> Vec<String> {
    let host = Host {
        name: "node".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    let mut matched = Vec::new();
    decode::lines(event.as_bytes(), |item| {
        let event = item.expect("an audit event");
        tapes.begin();
        let mut view = AuditView {
            event: &event,
            tapes,
            first: event.time,
            host: &host,
        };
        evaluator.evaluate(rules, Source::K8sAudit, &mut view, |rule, _| {
            matched.push(rule.name.to_string())
        });
    })
    .expect("text");
    matched
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let (mut evaluator, mut tapes) = (Evaluator::default(), Tapes::default());
    let text = case.rules.yaml();
    let (first, all) = (compile(&text, Matching::First), compile(&text, Matching::All));
    let interpreter = naive::Interpreter::new(&case.rules);
    for event in &case.events {
        let mut want = interpreter.matches(event);
        let json = event.text();
        let got = evaluate(&mut evaluator, &mut tapes, &all, &json);
        prop_assert_eq!(&got, &want, "all: {}\n{}", &json, &text);
        want.truncate(1);
        let got = evaluate(&mut evaluator, &mut tapes, &first, &json);
        prop_assert_eq!(&got, &want, "first: {}\n{}", &json, &text);
    }
    Ok(())
}

#[test]
fn optimised_evaluation_equals_the_naive_one() {
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::with_cases(
            std::env::var("PROPTEST_CASES")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or(1500),
        )
    };
    let choices = proptest::collection::vec(any::<u16>(), 50..1500);
    proptest!(config, |(choices in choices)| check(&Case::generate(&mut Choices::new(choices)))?);
}

/// A generator whose rules never match, or always do, would compare nothing.
#[test]
fn generated_rules_match_now_and_then() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut matching, mut total) = (0, 0);
    for _ in 0..200 {
        let choices = (0..1000)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u16
            })
            .collect();
        let case = Case::generate(&mut Choices::new(choices));
        let interpreter = naive::Interpreter::new(&case.rules);
        for event in &case.events {
            matching += interpreter.matches(event).len();
            total += case.rules.rules.len();
        }
    }
    let share = matching as f64 / total as f64;
    assert!((0.05..0.7).contains(&share), "{matching} of {total} match");
}
