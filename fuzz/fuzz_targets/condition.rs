//! Any text is a condition or an error, and the canonical text of a condition reads back as the same.
#![no_main]

use saker::engine::parser::parse;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(expr) = parse(text) {
        let canonical = expr.to_string();
        // Upstream's canonical form leaves commas and parentheses unquoted, so a value that was quoted because of them
        // reads back as something else; and a quote after a backslash never ends a string, so a value that ends in a
        // backslash cannot be written with quotes. Conditions without quotes and backslashes have no such values. A macro
        // named `not` can be named only before a parenthesis that ends.
        let macro_not = text.split("not").skip(1).any(|rest| !rest.starts_with(|c: char| c == '(' || c.is_whitespace()));
        // And `not not` is nothing, while a negation of one in parentheses is kept.
        let written_anew = text.contains(['"', '\'', '\\']) || macro_not || canonical.contains("not not ");
        if !written_anew {
            assert_eq!(parse(&canonical).map(|again| again.to_string()), Ok(canonical));
        }
    }
});
