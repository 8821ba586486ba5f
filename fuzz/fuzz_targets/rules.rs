//! Any text is a rule file or has errors, with lints and without, and every diagnostic can be shown.
#![no_main]

use saker::engine::{Options, RuleFile, load};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for lint in [false, true] {
        let file = RuleFile {
            name: "rules.yaml".to_owned(),
            text: text.to_owned(),
        };
        let options = Options {
            lint,
            ..Options::default()
        };
        let loaded = load(vec![file], &options).expect("no fields of the user's own");
        assert_eq!(loaded.rules.is_none(), loaded.errors().next().is_some());
        for diagnostic in &loaded.diagnostics {
            let _ = diagnostic.render(&loaded.sources);
        }
    }
});
