//! What the lint on outputs takes for granted of requests, over recorded ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use saker::config::{Matching, UserField};
use saker::engine::diagnostic::Code;
use saker::engine::{Evaluator, Loaded, Options, RuleFile, load};
use saker::event::{Source, audit::Tapes};
use saker::fields::{Argument, Catalog, evt::Host, ka::AuditView};
use saker::sources::audit::decode;
use serde_json::Value;

const EVENTS: &str = include_str!("../fixtures/recorded.jsonl");

/// Saker's fields, and one of a user's own for each member of a recorded request's object.
fn options() -> Options {
    let events = EVENTS
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let members: BTreeSet<String> = events
        .filter_map(|event| Some(event["requestObject"].as_object()?.keys().cloned().collect::<Vec<_>>()))
        .flatten()
        .collect();
    let own = |member: String| UserField {
        name: format!("ka.own.{member}"),
        path: format!("$.requestObject.{member}"),
        list: false,
        desc: String::new(),
    };
    Options {
        lint: true,
        matching: Matching::All,
        fields: members.into_iter().map(own).collect(),
        ..Options::default()
    }
}

fn loaded(rules: String) -> Loaded {
    let name = "rules.yaml".to_owned();
    let loaded = load(vec![RuleFile { name, text: rules }], &options()).expect("fields");
    assert_eq!(loaded.errors().count(), 0, "{:?}", loaded.diagnostics);
    loaded
}

fn rule(name: &str, condition: &str, output: &str) -> String {
    format!(
        "- rule: {name}\n  source: k8s_audit\n  desc: d\n  priority: INFO\n  output: \"{output}\"\n  condition: {condition}\n"
    )
}

/// Every field that needs no argument.
fn fields() -> Vec<String> {
    let catalog = Catalog::of(Source::K8sAudit).with_user_fields(&options().fields);
    let catalog = catalog.expect("fields");
    let plain = |f: &&saker::fields::Field| !matches!(f.argument, Argument::Key | Argument::Member { .. });
    catalog
        .fields()
        .iter()
        .filter(plain)
        .map(|f| f.name.to_string())
        .collect()
}

/// The fields that the lint calls absent for requests with this verb.
fn absent(verb: &str) -> BTreeSet<String> {
    let printed: Vec<String> = fields().iter().map(|f| format!("%{f}")).collect();
    let loaded = loaded(rule("r", &format!("ka.verb = {verb}"), &printed.join(" ")));
    let found = loaded.diagnostics.iter().filter(|d| d.code == Code::OutputFieldAbsent);
    found
        .filter_map(|d| Some(d.message.split('`').nth(1)?.to_owned()))
        .collect()
}

/// The fields that have a value in some recorded request with this verb.
fn present(verb: &str) -> BTreeSet<String> {
    let rules: String = fields()
        .iter()
        .map(|f| rule(f, &format!("ka.verb = {verb} and {f} exists"), "x"))
        .collect();
    let rules = loaded(rules).rules.expect("rules");
    let host = Arc::new(Host {
        name: "vm".into(),
        zone: jiff::tz::TimeZone::UTC,
    });
    let (mut evaluator, mut tapes, mut found) = (Evaluator::default(), Tapes::default(), BTreeSet::new());
    let _ = decode::lines(EVENTS.as_bytes(), |item| {
        let Ok(event) = item else { return };
        tapes.begin();
        let mut view = AuditView {
            event: &event,
            tapes: &mut tapes,
            first: event.time,
            host: &host,
        };
        evaluator.evaluate(&rules, Source::K8sAudit, &mut view, |rule, _| {
            found.insert(rule.name.to_string());
        });
    });
    found
}

#[test]
fn what_is_called_absent_is_absent() {
    for verb in ["get", "list", "watch", "delete", "deletecollection"] {
        let (absent, present) = (absent(verb), present(verb));
        assert!(
            absent.len() > 40 && absent.contains("ka.own.spec"),
            "{verb}: {absent:?}"
        );
        let both: Vec<_> = absent.intersection(&present).collect();
        assert!(both.is_empty(), "{verb}: {both:?}");
    }
    // A delete brings options, a read brings nothing; of other verbs the lint says nothing.
    assert!(present("delete").contains("ka.own.propagationPolicy"));
    assert!(absent("get").contains("ka.own.propagationPolicy"));
    assert!(absent("create").is_empty());
    assert!(present("create").contains("ka.own.spec"));
}
