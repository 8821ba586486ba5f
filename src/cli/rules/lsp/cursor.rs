//! Where in a rule file the cursor is. Lines and indentation decide, not the YAML parser: a file that is being typed
//! is seldom YAML.

use std::collections::BTreeSet;

use crate::event::Source;

/// The kinds of items.
pub const KINDS: [&str; 5] = [
    "rule",
    "macro",
    "list",
    "required_engine_version",
    "required_plugin_versions",
];
const EXCEPTION_KEYS: [&str; 4] = ["name", "fields", "comps", "values"];

/// What surrounds the cursor.
#[derive(Debug)]
pub struct Cursor<'a> {
    pub place: Place<'a>,
    /// `rule`, `macro` or `list`; empty outside of such an item.
    pub kind: &'a str,
    /// The item's name.
    pub name: &'a str,
    /// What the item says of its source.
    pub source: Option<&'a str>,
    /// The keys that the item has.
    pub keys: BTreeSet<&'a str>,
    /// Where the word begins that ends at the cursor.
    pub word: usize,
}

/// What can be written at the cursor.
#[derive(Debug, PartialEq)]
pub enum Place<'a> {
    /// The kind of a new item; whether its dash is there.
    Item {
        dash: bool,
    },
    Key,
    ExceptionKey,
    /// A key's value, and what of it stands before the word.
    Value {
        key: &'a str,
        before: &'a str,
    },
}

/// `key: value`, where the text begins so.
fn entry(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    plain.then_some((key, value))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// A line's column and text behind the dash of a sequence.
fn behind_dash(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches(' ').strip_prefix('-')?;
    let text = rest.trim_start_matches(' ');
    let dash = text.len() < rest.len() || text.trim_end().is_empty();
    dash.then_some((line.len() - text.len(), text))
}

/// A scalar of one line without its quotes and comment.
fn scalar(value: &str) -> &str {
    let value = value.split(" #").next().unwrap_or_default();
    value.trim().trim_matches(['"', '\''])
}

/// Characters of names, of fields with their argument, and of macros and lists.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_.-[]".contains(c)
}

impl<'a> Cursor<'a> {
    /// Looks around an offset, which lies between two characters.
    pub fn at(text: &'a str, offset: usize) -> Cursor<'a> {
        let before = &text[..offset];
        let mut word = before.trim_end_matches(is_word).len();
        if word == offset {
            word = before.trim_end_matches(['=', '<', '>', '!']).len();
        }
        let line = before.rfind('\n').map_or(0, |n| n + 1);
        let mut cursor = Cursor {
            place: Place::Item { dash: false },
            kind: "",
            name: "",
            source: None,
            keys: BTreeSet::new(),
            word,
        };
        let Some((start, end)) = item(text, offset) else {
            return cursor;
        };
        let mut column = 0;
        let mut current: Option<(&str, usize)> = None;
        let mut at = start;
        for l in text[start..end].split_inclusive('\n') {
            let (indent, content) = match behind_dash(l) {
                Some(found) if at == start => found,
                _ => (indent(l), l.trim_start_matches(' ')),
            };
            if at == start {
                column = indent;
            }
            if let Some((key, value)) = entry(content).filter(|_| indent == column) {
                cursor.keys.insert(key);
                if cursor.kind.is_empty() && KINDS.contains(&key) {
                    cursor.kind = key;
                    cursor.name = scalar(value);
                } else if key == "source" {
                    cursor.source = Some(scalar(value));
                }
                let value = at + l.len() - value.len();
                if value <= offset {
                    current = Some((key, value));
                }
            }
            at += l.len();
        }
        let typed = &text[line..offset];
        let written = match behind_dash(typed) {
            Some((column, _)) if line == start => column,
            _ => indent(typed),
        };
        let valued = current.is_some_and(|(_, value)| value > line);
        cursor.place = match current {
            _ if line == start && !valued => Place::Item {
                dash: text[line..word].contains('-'),
            },
            Some((key, value)) if valued || written > column || line != start && behind_dash(typed).is_some() => {
                value_of(text, key, value, word, offset)
            }
            _ if written == column => Place::Key,
            _ => Place::Item { dash: false },
        };
        cursor
    }

    /// The sources whose fields can stand here. A macro is of no source.
    pub fn sources(&self, known: impl Fn(&str) -> Option<Source>) -> Vec<Source> {
        match self.source {
            _ if self.kind != "rule" => Source::RULE_SOURCES.to_vec(),
            Some(name) => Source::from_name(name).into_iter().collect(),
            // An item that changes an earlier rule is of that rule's source.
            None => vec![known(self.name).unwrap_or(Source::Syscall)],
        }
    }
}

/// The item around an offset.
fn item(text: &str, offset: usize) -> Option<(usize, usize)> {
    let (mut start, mut base, mut at) = (None, None, 0);
    for line in text.split_inclusive('\n') {
        if behind_dash(line).is_some() && indent(line) <= *base.get_or_insert(indent(line)) {
            if at > offset {
                return start.map(|start| (start, at));
            }
            start = Some(at);
        }
        at += line.len();
    }
    start.map(|start| (start, text.len()))
}

/// A place in a key's value; exceptions have keys of their own.
fn value_of<'a>(text: &'a str, key: &'a str, value: usize, word: usize, offset: usize) -> Place<'a> {
    let before = |from: usize| &text[from..word.max(from)];
    if key != "exceptions" {
        let before = before(value);
        return Place::Value { key, before };
    }
    let typed = &text[value..offset];
    let found = EXCEPTION_KEYS.iter().filter_map(|key| {
        let (at, _) = typed.rmatch_indices(key).find(|(at, _)| {
            let begins = typed[..*at].ends_with([' ', '{', ',']);
            begins && typed[at + key.len()..].starts_with(':')
        })?;
        Some((value + at, *key))
    });
    let column = |at: usize| at - text[..at].rfind('\n').map_or(0, |n| n + 1);
    let line = offset - column(offset);
    let content = &text[line..offset];
    let written = behind_dash(content).map_or(indent(content), |(column, _)| column);
    match found.max() {
        Some((at, key)) if at >= line || written > column(at) => Place::Value {
            key,
            before: before(at + key.len() + 1),
        },
        _ => Place::ExceptionKey,
    }
}
