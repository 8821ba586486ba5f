//! The structure of the repository: import arrows, module docs, generated documentation.

#[path = "diagnostics/documentation.rs"]
mod documentation;
#[path = "diagnostics/golden.rs"]
mod golden;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").map(|e| e.expect("entry").path()) {
        if entry.is_dir() {
            rust_files(&entry, out);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        rust_files(&root().join(dir), &mut files);
    }
    files.sort();
    let name = |p: &PathBuf| p.strip_prefix(root()).expect("inside").display().to_string();
    files
        .iter()
        .map(|p| (name(p), fs::read_to_string(p).expect("text")))
        .collect()
}

/// Code without its tests: what follows `#[cfg(test)]` is not part of the product.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The core does no I/O, reads no clock, and sees nothing that does.
#[test]
fn arrows() {
    let core = [
        "src/event/",
        "src/json/",
        "src/fields/",
        "src/engine/",
        "src/processes/",
        "src/alert.rs",
        "src/correlate/",
        "src/credentials/",
    ];
    let forbidden = [
        "tokio",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::io",
        "Instant",
        "SystemTime",
        "std::env",
        "std::process",
        "tracing",
        "crate::app",
        "crate::cli",
        "crate::clock",
        "crate::outputs",
        "crate::sources",
        "crate::web",
        "crate::metrics",
        "crate::watch",
        "crate::rulefiles",
        "crate::replay",
    ];
    // Writing a number into a Vec<u8> goes through std::io::Write.
    // Decompression reads from memory through std::io::Read.
    let allowed = [
        ("src/engine/format.rs", "std::io"),
        ("src/credentials/decode.rs", "std::io"),
        ("src/credentials/tests.rs", "std::io"),
    ];
    let mut wrong = Vec::new();
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| core.iter().any(|c| name.starts_with(c)))
    {
        for word in forbidden {
            let code = product(text).lines().filter(|l| !l.trim_start().starts_with("//"));
            if !allowed.contains(&(name, word)) && code.into_iter().any(|l| l.contains(word)) {
                wrong.push(format!("{name} uses {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn files_are_readable_in_one_sitting() {
    let tables = ["src/fields/syscall.rs"];
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(name, _)| name.starts_with("src/") && !name.ends_with("tests.rs") && !tables.contains(&name.as_str()))
        .map(|(name, text)| (product(&text).lines().count(), name))
        .filter(|(lines, _)| *lines > 750)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn generated_documentation_is_fresh() {
    for (file, text) in [
        ("docs/fields.md", saker::cli::fields::documentation()),
        (
            "docs/credential-kinds.md",
            saker::cli::fields::credentials::documentation(),
        ),
        ("docs/metrics.md", saker::metrics::documentation()),
        ("docs/diagnostics.md", documentation::documentation()),
    ] {
        let path = root().join(file);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &text).expect("writable");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{file} is stale: run UPDATE_DOCS=1 cargo test --test tidy"
        );
    }
}
