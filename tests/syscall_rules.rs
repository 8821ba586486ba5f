//! The built-in rules of the node: what they say of themselves, and how little they ask of the probe.

use std::path::Path;

use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Source;
use saker::fields::syscall::calls::{CALLS, Call, Family};
use saker::rulefiles;
use saker::sources::syscall::plan::Plan;

/// The built-in syscall rules, with more files after them, when nothing is wrong with any.
fn rules(more: Vec<RuleFile>) -> RuleSet {
    let options = Options {
        sources: vec![Source::Syscall],
        unused_of_all: true,
        ..Options::default()
    };
    let ours = |file: &RuleFile| file.name.starts_with("rules/syscall/");
    let files: Vec<RuleFile> = rulefiles::builtin().filter(ours).chain(more).collect();
    let mut loaded = load(files, &options).expect("no fields of one's own");
    let problems: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(&loaded.sources)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    loaded.rules.take().expect("no errors")
}

fn file(path: &Path) -> RuleFile {
    RuleFile {
        name: path.display().to_string(),
        text: std::fs::read_to_string(path).expect("readable"),
    }
}

/// The recordings are of x86_64: other machines lack some of its calls.
#[test]
#[cfg(target_arch = "x86_64")]
fn tests_beside_the_rules_pass_and_leave_no_rule_out() {
    use saker::ruletest;

    for folder in ["rules/syscall", "rules/k8s_exec"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = ruletest::run::find(&[folder]).expect("test files");
        let report = ruletest::run(&files).expect("rules load");
        assert_eq!(report.failed(), 0, "{}", ruletest::report::text(&report));
        assert_eq!(report.uncovered().collect::<Vec<_>>(), []);
    }
}

#[test]
fn every_rule_says_what_it_is_and_what_to_do() {
    let rules = rules(Vec::new());
    assert!(rules.rules().count() > 100);
    for rule in rules.rules() {
        let name = &rule.name;
        assert!(
            rule.runbook.as_deref().is_some_and(|r| !r.is_empty()),
            "{name}: runbook"
        );
        let has = |prefix: &str| rule.tags.iter().any(|tag| tag.starts_with(prefix));
        for prefix in ["T1", "mitre_", "maturity_"] {
            assert!(has(prefix), "{name}: a tag that begins with {prefix}");
        }
        assert!(has("host") || has("container"), "{name}: where");
    }
}

#[test]
fn the_tuning_file_loads_without_a_warning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    rules(vec![file(&root.join("rules/syscall/local.yaml.example"))]);
}

/// A user who loads upstream's files after ours keeps our lists and macros.
#[test]
fn upstream_rules_load_beside_ours() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/upstream_rules");
    if !folder.is_dir() {
        eprintln!("SKIPPED: there is no folder `{}`", folder.display());
        return;
    }
    let names = [
        "falco_rules.yaml",
        "falco-incubating_rules.yaml",
        "falco-sandbox_rules.yaml",
    ];
    let (alone, both) = (
        rules(Vec::new()),
        rules(names.iter().map(|n| file(&folder.join(n))).collect()),
    );
    for rule in alone.rules() {
        let other = both.rules().find(|r| r.name == rule.name).expect("the same rule");
        assert_eq!(rule.condition, other.condition, "{}", rule.name);
    }
}

#[test]
fn no_rule_asks_for_every_opened_file() {
    let plan = Plan::new(&rules(Vec::new()));
    // Nobody opens files by handle without a reason, and the path is not in the call.
    let opens = |call: &&Call| call.family() == Family::Open && call.name != "open_by_handle_at";
    for call in CALLS.iter().filter(opens) {
        let wanted = &plan.calls[&call.nr];
        assert_eq!((wanted.send, wanted.dotted), (0, 0), "{}", call.name);
        assert_ne!(wanted.named, 0, "{}", call.name);
    }
    // Names that nearly every program opens something below, or by.
    let common = [
        "etc", "usr", "lib", "lib64", "proc", "sys", "dev", "var", "run", "tmp", "src", "config", "debug",
    ];
    for name in plan.names.keys() {
        let text = format!("{name:?}");
        for word in common {
            let bytes = format!("{:?}", word.as_bytes());
            assert!(!text.contains(&format!(", {bytes})")), "{word}");
        }
    }
}
