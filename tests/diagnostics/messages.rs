//! Every message in the engine's source against the golden texts, so that none is without a case.

use std::path::Path;

use regex::Regex;

/// Messages that no rule file can bring about, and why.
const UNREACHABLE: &[(&str, &str)] = &[(
    "filter error: '{operator} {modifier}' operator not supported list filters",
    "the operator alone is refused before",
)];

/// What comes before a message's text where one is made.
const BEFORE: &str = r#"(?:Code::\w+,|\bmessage(?:: \w+)? ?[=:]|\berror\(|\bwrong_value\((?:key|"\w+"),|nameless\(|Err\(|Syntax\()\s*(?:Some\()?(?:&?format!\(\s*)?"((?:[^"\\]|\\.)*)""#;

/// Each message with `{}` where its values stand, and the file that has it.
fn messages() -> Vec<(String, String)> {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let mut folders = vec![engine];
    let mut out = Vec::new();
    let made = Regex::new(BEFORE).expect("an expression");
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            // What the formatter says is no diagnostic of a load; its messages have tests beside it.
            let formatter = path
                .components()
                .any(|c| c.as_os_str().to_string_lossy().starts_with("layout"));
            if formatter || path.ends_with("tests.rs") || path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            for found in made.captures_iter(product) {
                out.push((
                    found[1].replace("\\\"", "\"").replace("\\\\", "\\"),
                    path.display().to_string(),
                ));
            }
        }
    }
    out
}

#[test]
fn every_message_has_a_case() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics/snapshots");
    let golden: String = std::fs::read_dir(snapshots)
        .expect("snapshots")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("text"))
        .collect();
    let value = Regex::new(r"\{[^{}]*\}").expect("an expression");
    let messages = messages();
    assert!(messages.len() > 90, "{} messages", messages.len());
    let missing: Vec<_> = messages
        .iter()
        .filter(|(message, _)| {
            let parts: Vec<String> = value.split(message).map(regex::escape).collect();
            !Regex::new(&parts.join(".*")).expect("an expression").is_match(&golden)
        })
        .filter(|(message, _)| !UNREACHABLE.iter().any(|(known, _)| known == message))
        .collect();
    assert!(
        missing.is_empty(),
        "no case in tests/diagnostics/cases shows: {missing:#?}"
    );
}
