//! Upstream's own rule files, loaded together as a user would.

use std::collections::BTreeMap;

use saker::config::Matching;
use saker::engine::{Options, RuleFile, load};
use saker::event::Source;

/// The warnings of upstream's files, by code: none of upstream's own, as docs/compatibility.md says, and lints that are
/// right. Three names in the sandbox file are longer than the kernel's 15 bytes. "Network Tool Executed During NPM Package Install" (sandbox) is a special case of "Launch Suspicious Network
/// Tool in Container" (incubating), which comes first.
const WARNINGS: &[(&str, usize)] = &[("SAKER_LONG_NAME", 3), ("SAKER_SHADOWED", 1)];

#[test]
fn upstream_rule_files_load_together() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/upstream_rules");
    let files = [
        "falco_rules.yaml",
        "falco-incubating_rules.yaml",
        "falco-sandbox_rules.yaml",
        "k8s_audit_rules.yaml",
    ];
    let texts: Option<Vec<String>> = files
        .iter()
        .map(|f| std::fs::read_to_string(dir.join(f)).ok())
        .collect();
    let Some(texts) = texts else {
        println!("upstream's rule files SKIPPED: they are not in {}", dir.display());
        return;
    };
    let files = files.iter().zip(texts).map(|(name, text)| RuleFile {
        name: (*name).to_owned(),
        text,
    });
    // Lints as well, and those on the order of rules: files that are well kept must not be found fault with.
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        matching: Matching::First,
        lint: true,
        ..Options::default()
    };
    let loaded = load(files.collect(), &options).expect("no fields of the user's own");
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for diagnostic in &loaded.diagnostics {
        *codes.entry(diagnostic.code.name()).or_default() += 1;
        if !WARNINGS.iter().any(|(code, _)| *code == diagnostic.code.name()) {
            println!("{}", diagnostic.render(&loaded.sources));
        }
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), WARNINGS);
    assert!(loaded.skipped.is_empty());
    let rules = loaded.rules.expect("no error, so a rule set");
    assert!(rules.rules().count() > 90, "{}", rules.rules().count());
}
