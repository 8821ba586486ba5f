//! Conformance with upstream: its test data and what its binary answered, run through the library.
//!
//! `cargo test --test conformance -- --nocapture` prints a line for each file and each case that fails. The cases lie
//! in `../shared/conformance` beside the repository, or in the folder that `SAKER_CONFORMANCE_DIR` names.

mod contexts;
mod language;
mod loader;
mod mocks;
mod output;
mod recorded;
mod report;
mod robust;
mod stock;

use report::Report;
use std::path::PathBuf;

/// Where the cases lie, and whether it is the default place.
fn folder() -> (PathBuf, bool) {
    match std::env::var_os("SAKER_CONFORMANCE_DIR") {
        Some(dir) => (dir.into(), false),
        None => (
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"),
            true,
        ),
    }
}

#[test]
fn conformance() {
    let (dir, default) = folder();
    if !dir.is_dir() {
        println!("conformance SKIPPED: there is no folder {}", dir.display());
        println!("conformance SKIPPED: name one with SAKER_CONFORMANCE_DIR=DIR");
        return;
    }
    let mut report = Report::new(dir);
    language::run(&mut report);
    output::run(&mut report);
    loader::run(&mut report);
    recorded::run(&mut report);
    report.finish(default.then_some(include_str!("passing.txt")));
}
