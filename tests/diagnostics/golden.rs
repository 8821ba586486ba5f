//! The inputs in `cases/`, and what loading each of them says.

use std::path::PathBuf;

use saker::engine::{Loaded, Options, RuleFile, load};
use saker::event::Source;

/// Every case's name and text.
pub fn cases() -> Vec<(String, String)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics/cases");
    let mut cases: Vec<(String, String)> = std::fs::read_dir(dir)
        .expect("cases")
        .map(|entry| entry.expect("entry").path())
        .map(|path| {
            let name = path.file_stem().expect("name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    cases.sort();
    cases
}

pub fn loaded(text: &str) -> Loaded {
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        unused_of_all: true,
        // Lints are shown where a case is about one.
        lint: text.starts_with("# lint"),
        ..Options::default()
    };
    let file = RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.to_owned(),
    };
    load(vec![file], &options).expect("no fields of the user's own")
}

/// All that is said, as `saker rules check` prints it.
pub fn rendered(loaded: &Loaded) -> String {
    let all: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(&loaded.sources)).collect();
    all.join("\n")
}
