//! Golden tests of every diagnostic: each file of `cases/` against what loading it says, kept in `snapshots/`.

use std::collections::BTreeSet;

use saker::engine::diagnostic::Code;

mod golden;
mod messages;
mod recorded;

use golden::{cases, loaded, rendered};

#[test]
fn every_case_says_what_it_said() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, text) in cases() {
            insta::assert_snapshot!(name, rendered(&loaded(&text)));
        }
    });
}

#[test]
fn every_case_says_something() {
    let silent: Vec<String> = cases()
        .into_iter()
        .filter(|(_, text)| loaded(text).diagnostics.is_empty())
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn every_code_has_a_case() {
    let said: BTreeSet<Code> = cases()
        .iter()
        .flat_map(|(_, text)| loaded(text).diagnostics)
        .map(|d| d.code)
        .collect();
    // Files that cannot be read never reach the engine: the command's own tests have that one.
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| **code != Code::FileRead && !said.contains(code))
        .map(|code| code.name())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is underlined is what is wrong, in folded and literal blocks and where a list was expanded as well.
#[test]
fn the_offending_text_is_underlined() {
    for (case, want) in [
        ("syntax_literal", "a"),
        ("list_expanded", "codes"),
        ("field_unknown", "ka.target.resouce"),
        ("macro_undefined", "contains_proivate_credentials"),
        ("priority", "WARNNING"),
        ("unknown_key", "prioritty"),
    ] {
        let text = cases()
            .into_iter()
            .find(|(name, _)| name == case)
            .map(|(_, text)| text)
            .expect("case");
        let loaded = loaded(&text);
        let first = loaded.diagnostics.first().expect("diagnostic");
        assert_eq!(loaded.sources.slice(first.at), want, "{case}");
    }
}

#[test]
fn the_examples_of_the_language_guide_compile() {
    let guide = include_str!("../../docs/rules.md");
    let examples: Vec<&str> = guide
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 4);
    let loaded = loaded(&examples.join("\n"));
    assert!(loaded.diagnostics.is_empty(), "{}", rendered(&loaded));
}
