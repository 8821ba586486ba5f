//! docs/coverage.md: what upstream's rules find and what ours find on the same events, and our rules in the matrices of
//! attacks. `UPDATE_DOCS=1 cargo test --test rules coverage` writes it anew.
//!
//! Upstream's rules and the recordings lie in `../shared`; without them only the matrices are compared.

mod compare;
mod matrix;

use saker::config::Matching;

const COMPARISON: &str = "## The same events, upstream's rules and ours";
const MATRIX: &str = "## Our rules in ATT&CK and in Microsoft's threat matrix";

const HEAD: &str = "# What the audit rules cover

Generated: `UPDATE_DOCS=1 cargo test --test rules coverage`. The same test fails when a number here is stale, when an
event that only upstream finds has no reason, and when a rule has no row.

How to read it:

- **What do I lose or gain against upstream's rules?** The first part. Both rule sets run through Saker's engine,
  with `rule_matching: all`, over the same events: a real cluster with people who work and people who attack it, the
  first minutes of its control plane, and cases constructed for upstream's rules. An event is one stage of one request.
- **Which rule is for which attack?** The second part: by rule, and by entry of Microsoft's matrix, with
  what audit events cannot show.
- The reasons are written by hand in `tests/coverage/reasons.tsv`, the entries in `tests/coverage/threats.tsv`.

Numbers are of these recordings and no measure of quality by themselves: most events are the cluster's own work, and the
best rule is silent there.

";

#[test]
fn coverage_document_is_fresh() {
    let path = crate::root().join("docs/coverage.md");
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let start = kept.find(COMPARISON).unwrap_or(kept.len());
    let kept_comparison = &kept[start..kept.find(MATRIX).unwrap_or(kept.len())];
    let comparison = match compare::Inputs::read() {
        None => kept_comparison.to_owned(),
        Some(inputs) if !update && !kept.contains(&inputs.table()) => {
            eprintln!("SKIPPED: docs/coverage.md was made of other recordings than those in `../shared`");
            kept_comparison.to_owned()
        }
        Some(inputs) => format!("{COMPARISON}\n\n{}\n", compare::document(&inputs)),
    };
    let rules = crate::rules(&[], Matching::All);
    let text = format!(
        "{HEAD}{comparison}{}",
        matrix::document(&rules.rules().collect::<Vec<_>>())
    );
    if update {
        std::fs::write(&path, &text).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (kept, text) in kept.lines().zip(text.lines()) {
        assert_eq!(kept, text, "stale: run UPDATE_DOCS=1 cargo test --test rules coverage");
    }
    assert!(
        kept == text,
        "stale: run UPDATE_DOCS=1 cargo test --test rules coverage"
    );
}
