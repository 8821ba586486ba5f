//! `saker rules schema`: JSON Schema (2020-12) of rule files and test files, for editors that complete and check.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::print;
use crate::engine::load::{APPENDABLE, REPLACEABLE};
use crate::event::{Priority, Source};

pub const HELP: &str = "\
Examples:
  saker rules schema rules > rules.schema.json
  saker rules schema tests > tests.schema.json

Editors with the YAML language server read it from a comment at a file's top:
  # yaml-language-server: $schema=rules.schema.json";

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The kind of file
    #[arg(value_enum)]
    of: Kind,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Rules,
    Tests,
}

pub fn run(args: &SchemaArgs) -> ExitCode {
    let schema = match args.of {
        Kind::Rules => rules(),
        Kind::Tests => tests(),
    };
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
    print(text.as_bytes())
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

fn string(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn strings(description: &str) -> Value {
    json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}, "description": description})
}

fn changes(append: &[&str], replace: &[&str]) -> Value {
    let mut properties = Map::new();
    for key in replace {
        let ways: &[&str] = if append.contains(key) {
            &["append", "replace"]
        } else {
            &["replace"]
        };
        properties.insert((*key).to_owned(), json!({"enum": ways}));
    }
    json!({
        "type": "object", "properties": properties, "additionalProperties": false,
        "description": "which keys of an earlier definition this item changes, and how",
    })
}

/// The schema of rule files.
pub fn rules() -> Value {
    let append = || flag("deprecated: use override");
    let one_or_many = || {
        json!({"anyOf": [
            {"type": ["string", "number", "boolean"]},
            {"type": "array", "items": {"type": ["string", "number", "boolean", "array"]}},
        ]})
    };
    json!({
        "$schema": DRAFT, "title": "Falco rules, as Saker reads them", "type": "array",
        "items": {"anyOf": [
            {"$ref": "#/$defs/rule"}, {"$ref": "#/$defs/macro"}, {"$ref": "#/$defs/list"},
            {"$ref": "#/$defs/required_engine_version"}, {"$ref": "#/$defs/required_plugin_versions"},
        ]},
        "$defs": {
            "rule": {
                "type": "object", "required": ["rule"], "additionalProperties": false,
                "properties": rule_properties(),
            },
            "macro": {
                "type": "object", "required": ["macro", "condition"], "additionalProperties": false,
                "properties": {
                    "macro": {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]*$", "description": "name"},
                    "condition": string("the condition that the name stands for"),
                    "append": append(),
                    "override": changes(&["condition"], &["condition"]),
                },
            },
            "list": {
                "type": "object", "required": ["list", "items"], "additionalProperties": false,
                "properties": {
                    "list": {"type": "string", "pattern": "^[^()\"'\\s=,]+$", "description": "name"},
                    "items": strings("values, or names of lists that come before"),
                    "append": append(),
                    "override": changes(&["items"], &["items"]),
                },
            },
            "exception": {
                "type": "object", "required": ["name"],
                "properties": {
                    "name": string("name within the rule"),
                    "fields": one_or_many(), "comps": one_or_many(),
                    "values": {"type": "array", "description": "one entry per excepted combination"},
                },
            },
            "required_engine_version": {
                "type": "object", "required": ["required_engine_version"], "additionalProperties": false,
                "properties": {"required_engine_version": {"type": ["integer", "string"],
                    "description": "least version of Falco's engine"}},
            },
            "required_plugin_versions": {
                "type": "object", "required": ["required_plugin_versions"], "additionalProperties": false,
                "properties": {"required_plugin_versions": {"type": "array", "items": {"$ref": "#/$defs/plugin"}}},
            },
            "plugin": {
                "type": "object", "required": ["name", "version"],
                "properties": {
                    "name": string("plugin"), "version": string("x.y.z"),
                    "alternatives": {"type": "array", "items": {"$ref": "#/$defs/plugin"}},
                },
            },
        },
    })
}

fn rule_properties() -> Value {
    let priorities: Vec<String> = Priority::ALL
        .iter()
        .map(|p| p.name().to_ascii_uppercase())
        .chain(["INFO".to_owned()])
        .collect();
    let spellings: Vec<String> = priorities.iter().map(|p| any_case(p)).collect();
    let mut properties = json!({
                    "rule": string("unique name"),
                    "condition": string("when the rule matches; docs/rules.md"),
                    "output": string("text of the alert, with %field placeholders"),
                    "desc": string("what the rule finds, and why it matters"),
                    "priority": {"type": "string", "pattern": format!("^({})$", spellings.join("|")),
                        "description": format!("one of {}, in any case", priorities.join(", "))},
                    "source": {"type": "string", "examples": Source::RULE_SOURCES.map(Source::name),
                        "description": "source of the events; syscall when absent"}
    });
    let more = json!({
        "enabled": flag("false switches the rule off"),
        "tags": strings("labels by which rules are selected"),
        "exceptions": {"type": "array", "items": {"$ref": "#/$defs/exception"},
            "description": "when the rule stays silent"},
        "warn_evttypes": flag("false silences the warning of a condition without evt.type"),
        "skip-if-unknown-filter": flag("true leaves the rule out when it names a field that does not exist"),
        "capture": flag("read for Falco's sake"),
        "capture_duration": {"type": "integer", "minimum": 0, "description": "milliseconds; read for Falco's sake"},
        "append": flag("deprecated: use override"),
        "override": changes(APPENDABLE, REPLACEABLE),
        "runbook": string("what an on-call person checks and does"),
        "examples": {"description": "not read"},
    });
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), more) {
        all.extend(more);
    }
    properties
}

/// A pattern for a word in any case; JSON Schema has no flag for it.
fn any_case(word: &str) -> String {
    word.chars()
        .map(|c| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()))
        .collect()
}

fn tests() -> Value {
    let pointers = "JSON pointers, as in /user/username";
    json!({
        "$schema": DRAFT, "title": "Tests of rules", "$ref": "#/$defs/file",
        "$defs": {
            "file": {
                "type": "object", "required": ["tests"], "additionalProperties": false,
                "properties": {
                    "rules": strings("rule files and folders, relative to this file; the folder above when absent"),
                    "recordings": string("recorded events, one per line, that tests name by auditID/stage"),
                    "tests": {"type": "array", "items": {"$ref": "#/$defs/test"}},
                },
            },
            "test": {
                "type": "object", "required": ["name", "events"], "additionalProperties": false,
                "properties": {
                    "name": string("what is shown, as a sentence"),
                    "events": {"type": "array", "items": {"$ref": "#/$defs/event"}},
                    "alerts": {"type": "array", "items": {"$ref": "#/$defs/alert"}, "description": "alerts that must come"},
                    "only": flag("no alerts but those"),
                    "quiet": {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}],
                        "description": "rules that must stay silent"},
                    "matching": {"enum": ["all", "first"], "description": "all unless the order of rules is the point"},
                },
            },
            "event": {
                "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
                "properties": {
                    "recorded": string("auditID/stage of a recorded event"),
                    "file": string("file whose events are all used, relative to this file"),
                    "event": {"type": "object", "description": "an event as it is"},
                    "like": {"$ref": "#/$defs/variation"},
                },
            },
            "variation": {
                "type": "object", "additionalProperties": false,
                "oneOf": [{"required": ["recorded"]}, {"required": ["event"]}],
                "properties": {
                    "recorded": string("auditID/stage of a recorded event"),
                    "event": {"type": "object"},
                    "set": {"type": "object", "description": pointers},
                    "remove": {"type": "array", "items": {"type": "string", "pattern": "^/"}, "description": pointers},
                },
            },
            "alert": {
                "type": "object", "required": ["rule"], "additionalProperties": false,
                "properties": {
                    "rule": string("name of the rule"), "priority": string("its priority"),
                    "fields": {"type": "object", "description": "exact values of output fields"},
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::engine::load::{LIST_KEYS, MACRO_KEYS, RULE_KEYS};
    use crate::ruletest::file::{EventSource, Expected, Test, TestFile, Variation};

    fn properties(schema: &Value, name: &str) -> BTreeSet<String> {
        let properties = schema["$defs"][name]["properties"].as_object().expect("properties");
        properties.keys().cloned().collect()
    }

    #[test]
    fn the_rules_schema_has_the_keys_that_the_loader_reads() {
        let schema = rules();
        for (name, keys) in [("rule", RULE_KEYS), ("macro", MACRO_KEYS), ("list", LIST_KEYS)] {
            let keys: BTreeSet<String> = keys.iter().map(|k| (*k).to_owned()).collect();
            assert_eq!(properties(&schema, name), keys, "{name}");
        }
        let changed: BTreeSet<&str> = APPENDABLE.iter().chain(REPLACEABLE).copied().collect();
        let named = schema["$defs"]["rule"]["properties"]["override"]["properties"].as_object();
        assert_eq!(
            named
                .expect("properties")
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            changed
        );
    }

    /// The keys that a type reads, as it says itself when it is given another one.
    fn known<T: DeserializeOwned>() -> BTreeSet<String> {
        let Err(error) = serde_json::from_value::<T>(json!({"no-such-key": null})) else {
            panic!("the type takes any key");
        };
        let text = error.to_string();
        let words = text.split('`').skip(1).step_by(2).map(str::to_owned);
        words.filter(|w| w != "no-such-key").collect()
    }

    #[test]
    fn the_tests_schema_has_the_keys_that_tests_read() {
        let schema = tests();
        assert_eq!(properties(&schema, "file"), known::<TestFile>());
        assert_eq!(properties(&schema, "test"), known::<Test>());
        assert_eq!(properties(&schema, "event"), known::<EventSource>());
        assert_eq!(properties(&schema, "variation"), known::<Variation>());
        assert_eq!(properties(&schema, "alert"), known::<Expected>());
    }
}
