//! Events made of the values that a case gives, and rule sets of one condition over them.

use std::collections::BTreeMap;

use saker::engine::{Environment, Evaluator, Loaded, Options, RuleFile, load_in};
use saker::event::Source;
use saker::fields::evt::{self, Facts, Host};
use saker::fields::{Argument, Catalog, Extractor, Field, Origin, Scratch, Type, Value, View};
use serde_json::Value as Json;

/// A value by the number its field has and the argument it is asked with.
pub struct Mock {
    values: BTreeMap<(u32, Option<String>), Json>,
    host: Host,
}

impl View for Mock {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn extract(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value {
        match extractor {
            Extractor::External(number, argument) => {
                let key = (*number, argument.as_ref().map(|a| a.to_string()));
                self.values.get(&key).map_or(Value::Absent, |v| value(v, scratch))
            }
            Extractor::Evt(what) => {
                let facts = Facts {
                    source: Source::Syscall,
                    time: 1_500_000_000_000_000_000,
                    first: 1_500_000_000_000_000_000,
                    number: 1,
                    plugin: None,
                    info: None,
                    host: &self.host,
                };
                evt::extract(*what, &facts, scratch)
            }
            _ => Value::Absent,
        }
    }
}

/// `{type, value | hex | any_of, list?}` as a value.
fn value(spec: &Json, scratch: &mut Scratch) -> Value {
    if let Some(hex) = spec["hex"].as_str() {
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).expect("hex"))
            .collect();
        let text = scratch.text(|out| out.extend_from_slice(&bytes));
        return match spec["type"].as_str() {
            Some("bytes") => Value::Bytes(text),
            _ => Value::Text(text),
        };
    }
    let several = spec["any_of"].as_array().or(spec["value"].as_array());
    if let Some(items) = several {
        let items: Vec<Value> = items.iter().map(|v| scalar(&spec["type"], v, scratch)).collect();
        let start = scratch.items.len();
        scratch.items.extend(items);
        return scratch.list_from(start);
    }
    scalar(&spec["type"], &spec["value"], scratch)
}

fn scalar(kind: &Json, value: &Json, scratch: &mut Scratch) -> Value {
    match (kind.as_str().unwrap_or_default(), value) {
        (_, Json::Null) => Value::Absent,
        ("ipaddr" | "ipnet", Json::String(text)) => Value::Ip(text.parse().expect("an address")),
        (_, Json::String(text)) => Value::Text(scratch.text(|out| out.extend_from_slice(text.as_bytes()))),
        (_, Json::Bool(b)) => Value::Bool(*b),
        (_, Json::Number(n)) => n
            .as_i64()
            .map_or(Value::Double(n.as_f64().expect("a number")), Value::Int),
        (kind, other) => panic!("no value of type {kind}: {other}"),
    }
}

fn kind(name: &str) -> Type {
    match name {
        "bytes" => Type::Bytes,
        "ipaddr" => Type::Ip,
        "ipnet" => Type::Net,
        "bool" => Type::Bool,
        name if name.starts_with("int") => Type::Int,
        name if name.starts_with("uint") => Type::Uint,
        _ => Type::String,
    }
}

/// A catalog and the values behind it.
pub struct World {
    pub catalog: Catalog,
    values: BTreeMap<(u32, Option<String>), Json>,
}

impl World {
    /// The syscall source's fields, with those that `fields` gives in the type it gives them.
    pub fn new(fields: &Json) -> World {
        let mut rows = Catalog::of(Source::Syscall).fields().to_vec();
        // These cases are about the language, not about what the probe reads.
        rows.iter_mut().for_each(|row| row.refused = None);
        let mut values = BTreeMap::new();
        let none = serde_json::Map::new();
        for (next, (written, spec)) in (100_000..).zip(fields.as_object().unwrap_or(&none)) {
            let (name, argument) = match written.split_once('[') {
                Some((name, rest)) => (name, Some(rest.trim_end_matches(']').to_owned())),
                None => (written.as_str(), None),
            };
            let position = rows.iter().position(|f| f.name == name);
            let number = match position.map(|i| rows[i].origin.clone()) {
                Some(Origin::External(number)) => number,
                _ => next,
            };
            if let Some(row) = position.map(|i| &mut rows[i]) {
                row.origin = Origin::External(number);
                if argument.is_none() && row.argument == Argument::None {
                    row.kind = kind(spec["type"].as_str().unwrap_or_default());
                    row.list = spec["list"] == true;
                }
            } else {
                let row = Field::string(name.to_owned(), Origin::External(number), "mock");
                let row = row.of(kind(spec["type"].as_str().unwrap_or_default()));
                rows.push(if spec["list"] == true { row.list() } else { row });
            }
            values.insert((number, argument), spec.clone());
        }
        World {
            catalog: Catalog::new(rows),
            values,
        }
    }

    /// Loads rule text with the catalog for every source.
    pub fn load(&self, text: String) -> Loaded {
        let options = Options {
            sources: Source::RULE_SOURCES.to_vec(),
            ..Options::default()
        };
        let mut environment = Environment::new(&options).expect("no fields of the user's own");
        for (_, catalog) in &mut environment.catalogs {
            *catalog = self.catalog.clone();
        }
        let file = RuleFile {
            name: "case.yaml".to_owned(),
            text,
        };
        load_in(vec![file], &options, &environment)
    }

    pub fn mock(&self) -> Mock {
        Mock {
            values: self.values.clone(),
            host: Host {
                name: "host".into(),
                zone: jiff::tz::TimeZone::UTC,
            },
        }
    }

    /// Whether the condition of the only rule holds.
    pub fn holds(&self, loaded: &Loaded) -> bool {
        let rules = loaded.rules.as_ref().expect("a rule set");
        let mut hit = false;
        Evaluator::default().evaluate(rules, Source::Syscall, &mut self.mock(), |_, _| hit = true);
        hit
    }
}

/// A file of one syscall rule. JSON strings are YAML strings.
pub fn rule(condition: &str, output: &str) -> String {
    let quote = |text: &str| Json::from(text).to_string();
    format!(
        "- rule: T\n  desc: d\n  priority: WARNING\n  warn_evttypes: false\n  condition: {}\n  output: {}\n",
        quote(condition),
        quote(output)
    )
}
