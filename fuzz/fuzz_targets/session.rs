//! Any bytes are an audit event or review that leads into a pod, or nothing; a recording of such, whatever it says, can
//! be played, and each alert of it is JSON and names who is behind it without breaking out of its place.
#![no_main]

use std::sync::LazyLock;

use saker::correlate::read;
use saker::engine::{Options, RuleFile, load};
use saker::event::Source;
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::sources::syscall::sessions;

/// Rules that match everything and print much.
static RULES: LazyLock<Vec<RuleFile>> = LazyLock::new(|| {
    let rule = |source: &str| {
        format!(
            "- {{rule: {source}, source: {source}, desc: d, priority: INFO, condition: evt.num > 0, output: '%actor.user \
             %actor.groups %actor.command %actor.state %actor.candidates %proc.cmdline %evt.time'}}\n"
        )
    };
    vec![RuleFile {
        name: "r".to_owned(),
        text: rule("syscall") + &rule("k8s_exec"),
    }]
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = read::audit(input);
    let _ = read::review(input, 7);
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        ..Options::default()
    };
    let rules = load(RULES.clone(), &options).unwrap().rules.unwrap();
    let host = Host {
        name: "h".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    let mut replay = Replay::new(rules, host, None, true);
    for line in input.split(|b| *b == b'\n').take(64) {
        replay.text(line);
    }
    for line in replay.out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let alert: serde_json::Value = serde_json::from_slice(line).expect("an alert is JSON");
        assert!(alert["output_fields"].is_object() && alert["rule"].is_string());
    }
    if let Some(node) = replay.node() {
        let _ = sessions::list(&node.attribution);
    }
});
