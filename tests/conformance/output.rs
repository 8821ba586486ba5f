//! Output strings, and what the configuration appends to them.

use saker::config::{AppendOutput, ExtraField};
use saker::engine::format::{self, FieldSource};
use saker::engine::load::{Plugin, Version};
use saker::engine::{Environment, Evaluator, Options, RuleFile, load_in};
use saker::event::Source;
use serde_json::{Map, Value, json};

use crate::mocks::{World, rule};
use crate::report::{Outcome, Report, text};

pub fn run(report: &mut Report) {
    let id = |v: &Value| format!("{} {}", text(v, "id"), text(v, "format"));
    report.file("output_format.jsonl", id, output_format);
    report.file("append_output.jsonl", id, append_output);
    report.file("plugin_requirements.jsonl", id, plugins);
}

fn output_format(case: &Value) -> Outcome {
    let world = World::new(&case["fields"]);
    let loaded = world.load(rule("evt.num > 0", text(case, "format")));
    let errors: Vec<String> = loaded.errors().map(|e| e.message.clone()).collect();
    if errors.is_empty() != (case["compiles"] == true) {
        return Outcome::Fail(format!("compiles should be {}, errors {errors:?}", case["compiles"]));
    }
    let Some(rules) = &loaded.rules else {
        return Outcome::Pass;
    };
    let (mut message, mut fields) = (Vec::new(), Map::new());
    Evaluator::default().evaluate(rules, Source::Syscall, &mut world.mock(), |rule, run| {
        format::message(&rule.output.pieces, run, &mut message);
        for field in rule.output.fields.iter().filter(|f| f.key != "evt.time") {
            let mut value = Vec::new();
            format::json_value(&field.source, 0, run, &mut value);
            fields.insert(field.key.clone(), serde_json::from_slice(&value).expect("JSON"));
        }
    });
    let message = String::from_utf8(message).expect("text");
    Outcome::all([expected_output(case, &message, &fields), expected_fields(case, &fields)])
}

fn expected_output(case: &Value, message: &str, fields: &Map<String, Value>) -> Outcome {
    let Some(want) = case["output"].as_str() else {
        return Outcome::Pass;
    };
    if case["complete"] == false {
        // The engine puts `*` before every rule's output, so a text never ends early.
        return match message.starts_with(want) && message.contains("<NA>") {
            true => Outcome::Deviation("outputs of rules go on after an absent value, as upstream's engine has them"),
            false => Outcome::Fail(format!("got {message:?}")),
        };
    }
    if text(case, "mode") != "json" {
        return Outcome::equal(message, want);
    }
    let want: Value = serde_json::from_str(want).expect("JSON");
    if case["resolve_transformed_fields"] == false {
        let plain: Map<String, Value> = fields
            .iter()
            .filter(|(k, _)| !k.contains('('))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        return match Value::Object(plain) == want {
            true => Outcome::Deviation("output_fields hold transformed fields too: there is no switch for it"),
            false => Outcome::Fail(format!("got {fields:?}")),
        };
    }
    let got = if fields.is_empty() {
        Value::Null
    } else {
        Value::Object(fields.clone())
    };
    Outcome::equal(got, want)
}

fn expected_fields(case: &Value, fields: &Map<String, Value>) -> Outcome {
    let printed = |v: &Value| match v {
        Value::Null => "<NA>".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let count = case["resolved_fields_count"].as_u64();
    let stopped = case["complete"] == false || case["resolve_transformed_fields"] == false;
    if let Some(count) = count.filter(|c| *c != fields.len() as u64 && !stopped) {
        return Outcome::Fail(format!("{count} fields should be resolved, got {fields:?}"));
    }
    let empty = Map::new();
    for (key, want) in case["resolved_fields"].as_object().unwrap_or(&empty) {
        if fields.get(key).map(printed) != want.as_str().map(str::to_owned) {
            return Outcome::Fail(format!("{key}: want {want}, got {fields:?}"));
        }
    }
    let names = case["field_names"].as_array().map(Vec::as_slice).unwrap_or_default();
    match names
        .iter()
        .find(|n| !fields.contains_key(n.as_str().unwrap_or_default()))
    {
        Some(name) => Outcome::Fail(format!("no field {name} in {fields:?}")),
        None => Outcome::Pass,
    }
}

fn append_output(case: &Value) -> Outcome {
    let appends: Vec<AppendOutput> = case["append_output"]
        .as_array()
        .expect("appends")
        .iter()
        .map(|append| {
            let own = AppendOutput {
                matches: serde_json::from_value(append["match"].clone()).expect("a match"),
                extra_output: append["extra_output"].as_str().map(str::to_owned),
                suggested_output: false,
                ..AppendOutput::default()
            };
            let extra = match &append["extra_fields"] {
                Value::Object(aliases) => vec![ExtraField::Alias(
                    aliases
                        .iter()
                        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                        .collect(),
                )],
                Value::Array(_) => serde_json::from_value(append["extra_fields"].clone()).expect("fields"),
                _ => Vec::new(),
            };
            AppendOutput {
                extra_fields: extra,
                ..own
            }
        })
        .collect();
    let mut items = case["rules"].clone();
    for item in items.as_array_mut().expect("rules") {
        item["desc"] = json!("d");
    }
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        append_output: appends,
        ..Options::default()
    };
    let file = RuleFile {
        name: "case.yaml".to_owned(),
        text: items.to_string(),
    };
    let loaded = load_in(vec![file], &options, &Environment::new(&options).expect("fields"));
    let Some(rules) = &loaded.rules else {
        return Outcome::Fail(format!("{:?}", loaded.diagnostics));
    };
    let empty = Map::new();
    for (name, want) in case["compiled_output"].as_object().unwrap_or(&empty) {
        let got = rules
            .rules()
            .find(|r| *r.name == **name)
            .map(|r| r.output.text.as_str());
        if got != want.as_str() {
            return Outcome::equal(got, want.as_str());
        }
    }
    for (name, formats) in case["compiled_formatted_fields"].as_object().unwrap_or(&empty) {
        let rule = rules.rules().find(|r| *r.name == **name);
        for key in formats.as_object().unwrap_or(&empty).keys() {
            let field = rule.and_then(|r| r.output.fields.iter().find(|f| f.key == *key));
            if !field.is_some_and(|f| matches!(f.source, FieldSource::Pieces(_))) {
                return Outcome::Fail(format!("{name} has no field {key}"));
            }
        }
    }
    Outcome::Pass
}

fn plugins(case: &Value) -> Outcome {
    let number = |text: &str| Version::parse(text).expect("a version");
    let options = Options::default();
    let mut environment = Environment::new(&options).expect("fields");
    environment.plugins = case["loaded_plugins"]
        .as_array()
        .expect("plugins")
        .iter()
        .map(|p| Plugin {
            name: text(p, "name").to_owned().into(),
            version: number(text(p, "version")),
        })
        .collect();
    let file = RuleFile {
        name: "case.yaml".to_owned(),
        text: text(case, "rules").to_owned(),
    };
    let loaded = load_in(vec![file], &options, &environment);
    let errors: Vec<&str> = loaded.errors().map(|e| e.message.as_str()).collect();
    match errors.is_empty() == (case["satisfied"] == true) {
        true => Outcome::Pass,
        false => Outcome::Fail(format!("{errors:?}")),
    }
}
