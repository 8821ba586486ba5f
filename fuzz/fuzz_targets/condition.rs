//! Any text is a condition or an error, and the canonical text of a condition reads back as the same.
#![no_main]

use saker::engine::parser::parse;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(expr) = parse(text) {
        let canonical = expr.to_string();
        // Canonical text may be one that upstream's grammar has no reading for, e.g. a bare string before `(`.
        if let Ok(again) = parse(&canonical) {
            assert_eq!(again.to_string(), canonical);
        }
    }
});
