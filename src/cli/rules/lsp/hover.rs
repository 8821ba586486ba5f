//! What is said of the text under the pointer.

use serde_json::{Value, json};

use super::complete::source_of;
use super::cursor::{Cursor, Place, is_word};
use super::position::range;
use crate::engine::load::Definitions;
use crate::fields::Catalog;

/// A field's type and meaning, a macro's condition or a list's items; `null` for any other text.
pub fn hover(text: &str, offset: usize, definitions: Option<&Definitions>) -> Option<(String, Value)> {
    let start = text[..offset].trim_end_matches(is_word).len();
    let end = text.len() - text[offset..].trim_start_matches(is_word).len();
    let cursor = Cursor::at(text, offset);
    let Place::Value { key, .. } = cursor.place else {
        return None;
    };
    // Descriptions, tags and the like are prose.
    if !["condition", "output", "fields", "values", "items", "macro", "list"].contains(&key) {
        return None;
    }
    // An output may pad a field, and a sentence may end behind one.
    let padded = text[..start].ends_with('%').then_some(|c: char| c.is_ascii_digit());
    let word = &text[start..end];
    let word = padded
        .map_or(word, |digit| word.trim_start_matches(digit))
        .trim_end_matches(['.', '-']);
    let name = word.split('[').next().unwrap_or_default();
    let said = field(&cursor, name, definitions).or_else(|| named(name, definitions?))?;
    Some((said, range(text, start, end)))
}

fn field(cursor: &Cursor<'_>, name: &str, definitions: Option<&Definitions>) -> Option<String> {
    cursor
        .sources(|rule| source_of(definitions, rule))
        .into_iter()
        .find_map(|source| {
            let catalog = Catalog::of(source);
            let (field, argument) = catalog.find(name)?;
            let list = if field.list { "list of " } else { "" };
            let kind = field.kind_with(argument).name();
            Some(format!("{name}: {list}{kind} ({source})\n\n{}", field.doc))
        })
}

fn named(name: &str, definitions: &Definitions) -> Option<String> {
    let of_macro = definitions.macros.iter().find(|m| m.name == name);
    let of_list = || definitions.lists.iter().find(|l| l.name == name);
    match of_macro {
        Some(found) => Some(format!("macro {name}\n\n{}", found.condition.as_str().trim())),
        None => {
            let items: Vec<&str> = of_list()?.items.iter().map(|item| item.as_str()).collect();
            Some(format!("list {name}\n\n{}", items.join(", ")))
        }
    }
}

/// What the editor shows; several texts stand one below the other.
pub fn shown(texts: &[String], range: Option<Value>) -> Value {
    if texts.is_empty() {
        return Value::Null;
    }
    let mut hover = json!({"contents": {"kind": "plaintext", "value": texts.join("\n\n")}});
    if let Some(range) = range {
        hover["range"] = range;
    }
    hover
}
