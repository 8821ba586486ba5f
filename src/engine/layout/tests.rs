//! Layouts of small texts, and of thousands of generated ones.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(before: &str, after: &str) {
    let laid_out = canonical(before).unwrap_or_else(|e| panic!("{e}\n{}", lay_out(before).unwrap_or_default()));
    assert_eq!(laid_out, after);
}

#[test]
fn keys_come_in_order_with_their_comments() {
    check(
        "# File\n\n\n# About a\n- condition: >\n      a = 1\n      and b\n  # the name\n  rule: a   # trailing\n  runbook: r\n  \
         enabled: false\n  # why\n  output: o\n\n  desc: d\n  # tail\n# Next\n-   list:   b\n    items:\n    - x\n    # - y\n    \
         - z\n      # - w\n    override: {items: append}\n\n\n# End",
        "# File\n\n# About a\n# the name\n- rule: a   # trailing\n  desc: d\n  condition: >\n    a = 1\n    and b\n  # why\n  \
         output: o\n  enabled: false\n  runbook: r\n  # tail\n\n# Next\n- list: b\n  items:\n    - x\n    # - y\n    - z\n      \
         # - w\n  override: {items: append}\n\n# End\n",
    );
}

#[test]
fn long_conditions_fold() {
    let part = "ka.target.resource = configmaps and ka.verb in (create, update, patch, delete)";
    let folded = format!("- macro: m\n  condition: >-\n    {part} and\n    {part}\n");
    check(&format!("- macro: m\n  condition: {part} and {part}\n"), &folded);
    check(&format!("- macro: m\n  condition: '{part} and {part}'\n"), &folded);
    check(
        &format!("- macro: m\n  condition: >\n   {part} and {part}\n"),
        &folded.replace(">-", ">"),
    );
    let commented = format!("- macro: m\n  condition: {part} and {part} # why\n");
    check(&commented, &commented);
}

#[test]
fn what_is_not_understood_keeps_its_lines() {
    check("[{list: a,   items: []}]\n", "[{list: a,   items: []}]\n");
    check("  - {list: a,   items: []}\n", "- {list: a,   items: []}\n");
    check(
        "-\n  condition: c\n  macro: m\n- items: &x [a]\n  list: l\n",
        "-\n  condition: c\n  macro: m\n\n- items: &x [a]\n  list: l\n",
    );
    check(
        "---\n- list: a\n  items: []\n---\n- x\n...\n",
        "---\n- list: a\n  items: []\n\n---\n- x\n\n...\n",
    );
    check("# nothing\n", "# nothing\n");
    assert!(canonical("- [\n").is_err());
}

#[test]
fn blank_lines_that_are_values_stay() {
    let kept =
        "- rule: a\n  desc: |+\n    text\n\n\n- rule: b\n  desc: |\n    # no comment\n      deeper  \n\n    end\n";
    check(kept, kept);
    check("- list: a\r\n  items:   []\r\n", "- list: a\r\n  items: []\r\n");
}

#[test]
fn verification_sees_what_is_lost() {
    let error = |before, after| verify::same(before, after).expect_err("differs").to_string();
    let macro_ = "- macro: m # why\n  condition: (a)\n";
    assert!(error(macro_, "- macro: m # why\n  condition: ( a)\n").starts_with("macro `m`: a value"));
    assert!(error(macro_, "- macro: m\n  condition: (a)\n").contains("a comment would be lost: # why"));
    assert!(error(macro_, "").starts_with("macro `m`"));
    assert!(error("- list: a\n  items: ['1']\n", "- list: a\n  items: [1]\n").starts_with("list `a`"));
}

/// Lines as they occur in rule files, well laid out and not.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "rule",
        "macro",
        "list",
        "desc",
        "condition",
        "items",
        "enabled",
        "tags",
        "override",
    ]);
    let value = prop::sample::select(vec![
        "x",
        "",
        ">",
        "|",
        ">-",
        "|+",
        "|2",
        "[a, b]",
        "[a,",
        "{a: b}",
        "'q",
        "\"a b\" # c",
        "a and b # c",
        "&a x",
        "*a",
    ]);
    let other = prop::sample::select(vec![
        "",
        "",
        "# c",
        "  # d",
        "    # e",
        "  - a",
        "    - b",
        "    text",
        "      text  ",
        "   ",
        "  ]",
        "---",
        "   # f #",
        "    q'",
    ]);
    prop_oneof![
        3 => (prop::sample::select(vec!["- ", "  ", "-   ", "    "]), key, value).prop_map(|(i, k, v)| format!("{i}{k}: {v}")),
        2 => other.prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever is laid out says the same, and stays.
    #[test]
    fn layouts_stay(lines in prop::collection::vec(line(), 1..9)) {
        let text = lines.join("\n");
        if let Ok(laid_out) = canonical(&text) {
            prop_assert_eq!(canonical(&laid_out).expect("laid out again"), laid_out.clone());
            prop_assert!(laid_out.is_empty() || laid_out.ends_with('\n'));
        }
    }
}
