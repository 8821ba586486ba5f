//! No text makes the loader panic, hang, or lose its place.

use proptest::prelude::*;
use saker::engine::{Options, RuleFile, load, parser};
use saker::event::Source;

use crate::mocks::rule;

fn check(text: String) {
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        ..Options::default()
    };
    let file = |name: &str| RuleFile {
        name: name.to_owned(),
        text: text.clone(),
    };
    let loaded = load(vec![file("a.yaml"), file("b.yaml")], &options).expect("no fields of the user's own");
    for diagnostic in &loaded.diagnostics {
        assert!(diagnostic.at.start <= diagnostic.at.end, "{diagnostic:?}");
        let rendered = diagnostic.render(&loaded.sources);
        assert!(rendered.contains("-->"), "{rendered}");
    }
}

/// Pieces that make a text look like a condition.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "and",
            "or",
            "not",
            "(",
            ")",
            "in",
            "=",
            "!=",
            "contains",
            "regex",
            "glob",
            "pmatch",
            "oneof",
            "intersects",
            "exists",
            ",",
            "[",
            "]",
            "\"",
            "'",
            "\\",
            "\\x",
            "val(",
            "getopt(",
            "join(",
            "concat(",
            "len(",
            "b64(",
            "<=",
            "%",
            "*",
            "ka.verb",
            "evt.type",
            "evt.arg.flags",
            "proc.aname",
            "ka.req.pod.containers.image",
            "fd.snet",
            "evt.rawarg.",
            "<NA>",
            "10.0.0.0/8",
            "-1",
            "0x1f",
            "true",
            "l1",
            "m1",
            "é",
            "\u{1F600}",
            "{2,",
            "evt.num",
            "x.y",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>().prop_map(|s| s.chars().take(8).collect()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    (prop::collection::vec(word(), 0..14), any::<bool>())
        .prop_map(|(words, blanks)| words.join(if blanks { " " } else { "" }))
}

/// Lines that make a text look like a rule file.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "- rule",
        "- macro",
        "- list",
        "- required_engine_version",
        "- required_plugin_versions",
        "  condition",
        "  output",
        "  desc",
        "  priority",
        "  items",
        "  append",
        "  override",
        "  exceptions",
        "    - name",
        "      fields",
        "      comps",
        "      values",
        "  tags",
        "  enabled",
        "  source",
        "  warn_evttypes",
        "---",
        "#",
        "    condition",
        "  - &a",
        "  <<",
    ]);
    let value = prop_oneof![
        condition(),
        prop::sample::select(vec![
            "",
            "l1",
            "m1",
            "[l1, a b, 'c']",
            "[[a, b], [c]]",
            "{condition: append}",
            "{}",
            "[]",
            ">",
            "|-",
            "true",
            "WARNING",
            "k8s_audit",
            "*a",
            "!!binary x",
            "~",
            "0.1.0",
            "[{name: k8saudit, version: 0.1.0}]",
            "[ka.verb, evt.type]",
        ])
        .prop_map(str::to_owned),
    ];
    (key, value).prop_map(|(key, value)| format!("{key}: {value}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_rule_file_or_an_error(text in any::<String>()) {
        check(text);
    }

    #[test]
    fn any_lines_are_a_rule_file_or_an_error(lines in prop::collection::vec(line(), 0..14)) {
        check(lines.join("\n"));
    }

    #[test]
    fn any_condition_and_output_compile_or_are_refused(condition in condition(), output in condition()) {
        check(format!(
            "- list: l1\n  items: [a, b c]\n- macro: m1\n  condition: evt.num > 0\n{}",
            rule(&condition, &output)
        ));
        let k8s = rule(&condition, &output) + "  source: k8s_audit\n";
        check(k8s);
    }

    /// A tree's canonical text is a condition with the same canonical text.
    #[test]
    fn canonical_text_parses_to_itself(condition in condition()) {
        if let Ok(tree) = parser::parse(&condition) {
            let text = tree.to_string();
            if let Ok(again) = parser::parse(&text) {
                prop_assert_eq!(again.to_string(), text);
            }
        }
    }
}

#[test]
fn deep_and_large_files_end_with_an_error() {
    check("[".repeat(100_000));
    check(rule(&"(".repeat(100_000), "x"));
    check(rule(&format!("{}evt.num > 0", "not ".repeat(100_000)), "x"));
    check(rule(&"len(".repeat(100_000), "x"));
    check(rule("evt.num > 0", &format!("%{}", "toupper(".repeat(100_000))));
    let mut macros = "- macro: m0\n  condition: evt.num > 0 or evt.num > 1\n".to_owned();
    for i in 1..60 {
        macros += &format!("- macro: m{i}\n  condition: m{0} or m{0}\n", i - 1);
    }
    check(macros + &rule("m59", "x"));
}
