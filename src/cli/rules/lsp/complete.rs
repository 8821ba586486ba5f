//! What can be written at the cursor: keys, values, and the parts of conditions and outputs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::schema;
use super::cursor::{Cursor, KINDS, Place};
use super::position::range;
use crate::engine::ast::{Modifier, Operator, Transformer};
use crate::engine::load::Definitions;
use crate::event::{Priority, Source};
use crate::fields::Catalog;

/// Kinds of completions, as the protocol numbers them.
const FUNCTION: u8 = 3;
const FIELD: u8 = 5;
const PROPERTY: u8 = 10;
const VALUE: u8 = 12;
const KEYWORD: u8 = 14;
const MEMBER: u8 = 20;
const OPERATOR: u8 = 24;

/// Collects completions by label, so that each is offered once.
#[derive(Default)]
struct Offers(BTreeMap<String, (u8, String, String)>);

impl Offers {
    fn add(&mut self, label: &str, kind: u8, detail: impl Into<String>) {
        self.add_as(label, kind, detail, label.to_owned());
    }

    fn add_as(&mut self, label: &str, kind: u8, detail: impl Into<String>, text: String) {
        self.0.entry(label.to_owned()).or_insert((kind, detail.into(), text));
    }

    fn words(&mut self, words: &[&str], kind: u8) {
        words.iter().for_each(|word| self.add(word, kind, ""));
    }

    /// Keys of a kind of item that it does not have yet, from the schema.
    fn keys(&mut self, kind: &str, cursor: &Cursor<'_>) {
        let schema = schema::rules();
        let properties = schema["$defs"][kind]["properties"].as_object();
        for (key, is) in properties.into_iter().flatten() {
            if kind == "exception" || !cursor.keys.contains(key.as_str()) {
                let detail = is["description"].as_str().unwrap_or_default();
                self.add_as(key, PROPERTY, detail, format!("{key}: "));
            }
        }
    }

    fn fields(&mut self, catalogs: &[Catalog]) {
        for field in catalogs.iter().flat_map(Catalog::fields) {
            self.add(&field.name, FIELD, format!("{}: {}", field.kind.name(), field.doc));
        }
    }

    /// Names of macros or lists: those that are loaded, and those of this file, which may not load.
    fn named(&mut self, kind: &str, text: &str, loaded: impl Iterator<Item = String>, number: u8) {
        let lead = format!("- {kind}:");
        let written = text.lines().filter_map(|line| line.trim_start().strip_prefix(&lead));
        let written = written
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty());
        loaded.chain(written).for_each(|name| self.add(&name, number, kind));
    }
}

/// The source of a rule that is loaded.
pub fn source_of(definitions: Option<&Definitions>, rule: &str) -> Option<Source> {
    definitions?.rules.iter().find(|r| r.name == rule)?.known_source()
}

/// The completions at an offset.
pub fn complete(text: &str, offset: usize, definitions: Option<&Definitions>) -> Value {
    let cursor = Cursor::at(text, offset);
    let catalogs = || -> Vec<Catalog> {
        let sources = cursor.sources(|rule| source_of(definitions, rule));
        sources.into_iter().map(Catalog::of).collect()
    };
    let mut offers = Offers::default();
    let mut word = cursor.word;
    match cursor.place {
        Place::Item { dash } => {
            for kind in KINDS {
                let lead = if dash { "" } else { "- " };
                offers.add_as(kind, KEYWORD, "", format!("{lead}{kind}: "));
            }
        }
        Place::Key => offers.keys(cursor.kind, &cursor),
        Place::ExceptionKey => offers.keys("exception", &cursor),
        Place::Value { key, before } => match key {
            "priority" => Priority::ALL
                .iter()
                .for_each(|p| offers.add(&p.name().to_ascii_uppercase(), MEMBER, "")),
            "source" => offers.words(&Source::RULE_SOURCES.map(Source::name), MEMBER),
            "condition" => condition(&mut offers, text, before, definitions, &catalogs()),
            "fields" => offers.fields(&catalogs()),
            "comps" => Operator::ALL.iter().for_each(|o| offers.add(o.text(), OPERATOR, "")),
            "items" | "values" => lists(&mut offers, text, definitions),
            "output" if before.ends_with('%') => {
                // `%20field` is padded to 20 columns.
                word += text[word..offset].len()
                    - text[word..offset]
                        .trim_start_matches(|c: char| c.is_ascii_digit())
                        .len();
                offers.fields(&catalogs());
            }
            _ => {}
        },
    }
    let edited = range(text, word, offset);
    let item = |(label, (kind, detail, new)): (String, (u8, String, String))| json!({"label": label, "kind": kind, "detail": detail, "textEdit": {"range": edited, "newText": new}});
    offers.0.into_iter().map(item).collect()
}

fn lists(offers: &mut Offers, text: &str, definitions: Option<&Definitions>) {
    let loaded = definitions.iter().flat_map(|d| d.lists.iter().map(|l| l.name.clone()));
    offers.named("list", text, loaded, VALUE);
}

/// Takes sets of values, and so lists.
fn takes_list(word: &str) -> bool {
    matches!(
        Operator::from_text(word),
        Some(Operator::In | Operator::Intersects | Operator::Pmatch)
    ) || Modifier::from_text(word).is_some()
}

/// What goes on a condition.
fn condition(offers: &mut Offers, text: &str, before: &str, definitions: Option<&Definitions>, catalogs: &[Catalog]) {
    // What is left of quotes and of a block scalar's header at the start is no part of the condition.
    let before = before
        .trim()
        .trim_start_matches(['>', '|', '+', '-', '"', '\''])
        .trim_start();
    let last = |text: &'_ str| -> String {
        let from = text.trim_end().rfind(|c: char| c.is_whitespace() || "()".contains(c));
        text.trim_end()[from.map_or(0, |n| n + 1)..].to_owned()
    };
    let opened = opening(before).map(|n| last(&before[..n])).unwrap_or_default();
    let word = last(before);
    let name = word.split('[').next().unwrap_or_default();
    let operator = Operator::from_text(&word);
    let starts = before.is_empty() || before.ends_with('(') || matches!(word.as_str(), "and" | "or" | "not");
    if takes_list(&opened) || takes_list(&word) {
        lists(offers, text, definitions);
    } else if Transformer::from_text(&opened).is_some() {
        offers.fields(catalogs);
    } else if starts {
        offers.fields(catalogs);
        let loaded = definitions.iter().flat_map(|d| d.macros.iter().map(|m| m.name.clone()));
        offers.named("macro", text, loaded, FUNCTION);
        offers.words(&["not"], KEYWORD);
    } else if catalogs.iter().any(|c| c.find(name).is_some()) && !compared(before, &word) {
        Operator::ALL.iter().for_each(|o| offers.add(o.text(), OPERATOR, ""));
    } else if operator.is_none_or(|o| o == Operator::Exists) {
        offers.words(&["and", "or"], KEYWORD);
    }
}

/// Whether the last word is the right side of a comparison.
fn compared(before: &str, word: &str) -> bool {
    let left = before[..before.len() - word.len()].trim_end();
    let operator = left.rsplit(char::is_whitespace).next().unwrap_or_default();
    Operator::from_text(operator).is_some_and(|o| o != Operator::Exists)
}

/// The innermost parenthesis that is open at the end.
fn opening(text: &str) -> Option<usize> {
    let mut closed = 0;
    text.rmatch_indices(['(', ')']).find_map(|(at, c)| {
        if c == ")" {
            closed += 1;
        } else if closed == 0 {
            return Some(at);
        } else {
            closed -= 1;
        }
        None
    })
}
