//! docs/diagnostics.md: what each code means and what to do, with an example from the golden cases.

use saker::engine::diagnostic::{Code, Severity};

use super::golden::{cases, loaded, rendered};

/// Code, the case that shows it, what it means, and what to do.
const ADVICE: &[(&str, &str, &str, &str)] = &[
    (
        "LOAD_ERR_FILE_READ",
        "",
        "A file or folder named on the command line or in saker.yaml cannot be read, holds no rule files, or is not UTF-8 text.",
        "Check the path and its permissions; rule files end in `.yaml` or `.yml`.",
    ),
    (
        "LOAD_ERR_YAML_PARSE",
        "yaml_parse",
        "The file is not YAML. Nothing after the place can be trusted, so the file is left out.",
        "Look at the marked line and the one above it: quotes that are not closed, tabs in the indentation, and a `:` or `%` that needs quotes are the usual reasons.",
    ),
    (
        "LOAD_ERR_YAML_VALIDATE",
        "priority",
        "The YAML is well-formed, but an item lacks a key, or a key has a value of the wrong kind.",
        "Compare with docs/rules.md; `saker rules schema rules` lets an editor tell while you type.",
    ),
    (
        "LOAD_ERR_COMPILE_CONDITION",
        "field_unknown",
        "A condition cannot be parsed, names a field that its source does not have, or compares a field in a way that its type does not allow.",
        "Follow the help line; `saker fields` lists every field with its type.",
    ),
    (
        "LOAD_ERR_COMPILE_OUTPUT",
        "output_field",
        "An output names a field that its source does not have, or holds a `%` that begins no field.",
        "Correct the name. A percent sign that begins no field cannot be written.",
    ),
    (
        "LOAD_ERR_VALIDATE",
        "macro_undefined",
        "An item refers to something that does not exist or does not fit: a macro, an earlier definition to append to, an engine or plugin version, an exception's fields and values.",
        "Define what is missing before the item that uses it: files are read in order, and macros see only macros that come before them.",
    ),
    (
        "LOAD_UNKNOWN_SOURCE",
        "unknown_source",
        "The rule is about events of a source that is not known here. It is left out.",
        "Sources are `k8s_audit`, `syscall` and `k8s_exec`. A rule for another plugin can stay: it does nothing.",
    ),
    (
        "LOAD_UNSAFE_NA_CHECK",
        "na",
        "`<NA>` is what outputs print for an absent field; no field ever has it as its value. The comparison does not find absent fields.",
        "Ask with `exists` or `not … exists`.",
    ),
    (
        "LOAD_NO_EVTTYPE",
        "evttype_none",
        "A rule about system calls does not say which ones, so it is evaluated for every single event.",
        "Begin the condition with `evt.type in (…)`, or set `warn_evttypes: false` where all are meant.",
    ),
    (
        "LOAD_UNKNOWN_FILTER",
        "unknown_filter",
        "The rule names a field or an event type that does not exist, and says `skip-if-unknown-filter: true`. It is left out.",
        "Nothing, if the rule is meant for another version; otherwise correct the name.",
    ),
    (
        "LOAD_UNUSED_MACRO",
        "unused_macro",
        "No rule or other macro uses the macro.",
        "Remove it, unless files of users' own build on it.",
    ),
    (
        "LOAD_UNUSED_LIST",
        "unused_list",
        "No rule, macro or other list uses the list.",
        "Remove it; if a rule should use it, look for a misspelled name in `in (…)`, which is taken for a plain word.",
    ),
    (
        "LOAD_UNKNOWN_ITEM",
        "unknown_item",
        "An item is neither rule, macro, list nor a version requirement. It is left out.",
        "Correct the item's first key.",
    ),
    (
        "LOAD_DEPRECATED_ITEM",
        "append_deprecated",
        "The item works, but in a way that Falco has replaced.",
        "Write what the message proposes, mostly an `override`.",
    ),
    (
        "LOAD_APPEND_NO_VALUES",
        "exception_append_no_values",
        "An exception is appended to an earlier one of the same name and brings no values. It changes nothing.",
        "Add `values`, or remove the entry.",
    ),
    (
        "LOAD_EXCEPTION_NAME_NOT_UNIQUE",
        "exception_twice",
        "A rule has two exceptions of one name; later appends reach only the first.",
        "Give each exception a name of its own.",
    ),
    (
        "LOAD_INVALID_MACRO_NAME",
        "macro_name",
        "The macro's name has characters that a condition cannot hold in a name, so no condition can use it.",
        "Use letters, digits and `_`, with a letter first.",
    ),
    (
        "LOAD_INVALID_LIST_NAME",
        "list_name",
        "The list's name has blanks, quotes, parentheses, commas or `=`, so no condition can use it.",
        "Leave those out, e.g. `my_list`.",
    ),
    (
        "LOAD_COMPILE_CONDITION",
        "regex_plain",
        "The condition is valid, but probably says something else than was meant, or says it at needless cost.",
        "Follow the message; a field on the right side of an operator needs `val(…)`.",
    ),
    (
        "LOAD_UNKNOWN_KEY",
        "unknown_key",
        "The item has a key that nothing reads.",
        "Correct or remove the key: as it stands it is without effect.",
    ),
    (
        "SAKER_DUPLICATE_KEY",
        "key_twice",
        "The item has a key twice. As in Falco, the first one counts.",
        "Remove one of the two.",
    ),
    (
        "SAKER_LIKELY_LIST",
        "lint_likely_list",
        "A value in parentheses looks like the name of a list that does not exist. Falco compares with the text itself then, and says nothing.",
        "Correct the name, or quote the value if it is meant as text.",
    ),
    (
        "SAKER_APPEND_PRECEDENCE",
        "lint_append_precedence",
        "Appended text joins the condition as text: `a or b` and `and c` are read as `a or (b and c)`.",
        "Put the first condition in parentheses, or replace it as a whole.",
    ),
    (
        "SAKER_NEVER_MATCHES",
        "lint_never",
        "Parts of the condition exclude each other, so the rule never alerts.",
        "Look at which of them is meant; `or` may be meant where `and` stands.",
    ),
    (
        "SAKER_ALWAYS_MATCHES",
        "lint_always",
        "The condition holds for every event, so with `matching: first` no later rule alerts at all.",
        "Restrict the condition.",
    ),
    (
        "SAKER_SHADOWED",
        "lint_shadowed",
        "Under `matching: first` an earlier rule alerts for every event that this one would alert for.",
        "Put the more specific rule first, or use `matching: all`.",
    ),
    (
        "SAKER_OUTPUT_FIELD_ABSENT",
        "lint_output_absent",
        "The condition rules out that a field of the output has a value: it always prints `<NA>`.",
        "Take the field out of the output, or the condition is not what was meant.",
    ),
    (
        "SAKER_LONG_NAME",
        "lint_long_name",
        "The kernel cuts the name of a process to 15 bytes, so `proc.name`, `proc.pname` and `proc.aname` are never longer. The constant takes no part in the comparison.",
        "Cut the constant to 15 bytes as the kernel does, or compare `proc.exepath` or `proc.exe`, which are whole.",
    ),
    (
        "SAKER_COSTLY",
        "lint_costly",
        "Nothing cheap restricts the rule, so its costly part is looked at for every event.",
        "Begin with what the rule is about, such as `ka.verb`, `ka.target.resource` and `ka.stage`.",
    ),
];

/// The whole document.
pub fn documentation() -> String {
    let mut out = String::from(
        "# Diagnostics\n\nMade by `UPDATE_DOCS=1 cargo test --test tidy` from the codes in `src/engine/diagnostic.rs` and the cases in\n\
         `tests/diagnostics/`.\n\n\
         `saker rules check` tells of everything that is wrong in one run. Codes are stable: those that begin with `LOAD_` are\n\
         Falco's, those that begin with `SAKER_` are Saker's own. Rules with an error are not loaded, and `saker serve` keeps\n\
         the rules that it has; a warning changes nothing.\n",
    );
    let cases = cases();
    for code in Code::ALL {
        let (_, case, meaning, action) = ADVICE
            .iter()
            .find(|(name, ..)| *name == code.name())
            .unwrap_or_else(|| {
                panic!(
                    "{} needs a row in ADVICE of tests/diagnostics/documentation.rs",
                    code.name()
                )
            });
        let severity = match code.severity() {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        out += &format!(
            "\n## {}\n\n{severity}: {}.\n\n{meaning}\n\n**What to do:** {action}\n",
            code.name(),
            code.description().trim_end_matches('.')
        );
        if case.is_empty() {
            continue;
        }
        let (_, text) = cases
            .iter()
            .find(|(name, _)| name == case)
            .unwrap_or_else(|| panic!("no case {case}"));
        let loaded = loaded(text);
        assert!(
            loaded.diagnostics.iter().any(|d| d.code == *code),
            "case {case} does not show {}",
            code.name()
        );
        out += &format!("\n```yaml\n{text}```\n\n```text\n{}```\n", rendered(&loaded));
    }
    out
}
