//! Any bytes can be decoded and evaluated against the built-in rules; alerts are JSON and text whatever they hold.
#![no_main]

use std::cell::RefCell;

use saker::config::Matching;
use saker::engine::{Options, load};
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::rulefiles;
use saker::sources::audit::decode;

thread_local! {
    static REPLAYS: RefCell<[Replay; 2]> = RefCell::new([replay(true), replay(false)]);
}

fn replay(json: bool) -> Replay {
    let options = Options {
        matching: Matching::All,
        ..Options::default()
    };
    let loaded = load(rulefiles::builtin().collect(), &options).expect("no fields of the user's own");
    let host = Host {
        name: "node".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    Replay::new(loaded.rules.expect("no errors"), host, None, json)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = decode::body(bytes, &mut Vec::new());
    REPLAYS.with_borrow_mut(|[json, text]| {
        json.text(bytes);
        for line in json.out.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            serde_json::from_slice::<serde_json::Value>(line).expect("an alert is JSON");
        }
        json.out.clear();
        text.text(bytes);
        let lines = std::str::from_utf8(&text.out).expect("an alert is text");
        assert!(!lines.contains(|c: char| c.is_control() && c != '\n'), "an alert is one line");
        text.out.clear();
    });
});
