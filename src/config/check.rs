//! Checks a tree against the table of keys.
//!
//! Finds everything that concerns one key alone (unknown or missing keys, values of the wrong form, files that are not
//! there), each with its place, and hands on plain JSON that the structs of [`super`] deserialise.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::load::Problem;
use super::schema::{Key, Kind, OUTPUT, OUTPUT_KINDS, closest, join};
use super::tree::{Entry, Node, Place, Value};
use super::{duration, size};
use crate::event::Priority;

/// Checks a tree, or a part of it, and collects what is wrong.
pub(super) struct Check<'a> {
    /// Relative paths in the file start here; those in variables start in the working directory.
    pub base: &'a Path,
    pub problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// The section as JSON; entries that are wrong are left out, after being reported.
    pub fn section(&mut self, node: &Node, keys: &[Key], path: &str) -> Option<Json> {
        let mut out = Map::new();
        for entry in self.entries(node, path)? {
            let Some(key) = keys.iter().find(|k| k.name == entry.key) else {
                self.unknown(entry, keys.iter().map(|k| k.name), path);
                continue;
            };
            if let Some(value) = self.value(&entry.node, &key.kind, &join(path, key.name)) {
                out.insert(key.name.to_owned(), value);
            }
        }
        let mut complete = true;
        for key in keys.iter().filter(|k| k.required) {
            if node.get(key.name).is_none_or(|n| matches!(n.value, Value::Null)) {
                self.report(&node.place, format!("`{path}` needs the key `{}`", key.name), None);
                complete = false;
            }
        }
        // A required value that was there but wrong has been reported; without it the section cannot be built.
        complete &= keys.iter().all(|k| !k.required || out.contains_key(k.name));
        complete.then_some(Json::Object(out))
    }

    fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(&[]),
            _ => {
                self.wrong(node, path, "a mapping (`key: value` lines)");
                None
            }
        }
    }

    fn unknown<'n>(&mut self, entry: &Entry, names: impl Iterator<Item = &'n str> + Clone, path: &str) {
        let shown = entry.key.escape_debug();
        let message = match path {
            "" => format!("unknown key `{shown}`"),
            _ => format!("unknown key `{shown}` in `{path}`"),
        };
        let help = match closest(&entry.key, names.clone()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known keys: {}", names.collect::<Vec<_>>().join(", ")),
        };
        self.report(&entry.place, message, Some(help));
    }

    /// `None` means: as if the key were not there.
    fn value(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Json> {
        if matches!(node.value, Value::Null) {
            return None;
        }
        match kind {
            Kind::Section(keys) => self.section(node, keys, path),
            Kind::OneOf(keys) => self.one_of(node, keys, path),
            Kind::Output => self.output(node, path),
            Kind::List(inner) => self.list(node, inner, path),
            Kind::Map => self.map(node, path),
            Kind::ExtraField if matches!(node.value, Value::Map(_)) => self.map(node, path),
            _ => self.scalar(node, kind, path),
        }
    }

    fn list(&mut self, node: &Node, inner: &Kind, path: &str) -> Option<Json> {
        let Value::List(items) = &node.value else {
            self.wrong(node, path, "a list (lines with `- `, or `[a, b]`)");
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            if matches!(item.value, Value::Null) {
                self.report(&item.place, format!("`{at}` is empty"), None);
            }
            out.extend(self.value(item, inner, &at));
        }
        // All or nothing: `validate` finds the place of an item by its index.
        (out.len() == items.len()).then_some(Json::Array(out))
    }

    fn map(&mut self, node: &Node, path: &str) -> Option<Json> {
        let mut out = Map::new();
        for entry in self.entries(node, path)? {
            let at = join(path, &entry.key);
            match &entry.node.value {
                Value::Scalar(text) => {
                    out.insert(entry.key.clone(), Json::String(text.clone()));
                }
                Value::Null => {
                    out.insert(entry.key.clone(), Json::String(String::new()));
                }
                _ => self.wrong(&entry.node, &at, "text"),
            }
        }
        Some(Json::Object(out))
    }

    fn one_of(&mut self, node: &Node, keys: &[Key], path: &str) -> Option<Json> {
        let section = self.section(node, keys, path)?;
        match &node.value {
            Value::Map(entries) if entries.len() == 1 => {
                // A lone key that was wrong has been reported already.
                section.as_object().filter(|o| o.len() == 1).map(|_| section.clone())
            }
            _ => {
                let names = keys.iter().map(|k| format!("`{}`", k.name)).collect::<Vec<_>>();
                self.report(
                    &node.place,
                    format!("`{path}` takes exactly one of {}", names.join(" and ")),
                    None,
                );
                None
            }
        }
    }

    fn output(&mut self, node: &Node, path: &str) -> Option<Json> {
        let entries = self.entries(node, path)?;
        let kinds = || OUTPUT_KINDS.iter().map(|(name, _)| *name);
        let kind = match node.get("kind").map(|n| (&n.value, &n.place)) {
            Some((Value::Scalar(kind), place)) => match OUTPUT_KINDS.iter().find(|(name, _)| name == kind) {
                Some(found) => found,
                None => {
                    self.report(
                        place,
                        format!("`{}` is not a kind of output", kind.escape_debug()),
                        Some(one_of_help(kind, kinds())),
                    );
                    return None;
                }
            },
            _ => {
                let help = format!(
                    "write e.g. `kind: stdout`; kinds: {}",
                    kinds().collect::<Vec<_>>().join(", ")
                );
                self.report(&node.place, format!("`{path}` needs the key `kind`"), Some(help));
                return None;
            }
        };
        let (kind_name, kind_keys) = kind;
        let mut out = Map::new();
        for entry in entries {
            if let Some(key) = OUTPUT.iter().chain(*kind_keys).find(|k| k.name == entry.key) {
                if let Some(value) = self.value(&entry.node, &key.kind, &join(path, key.name)) {
                    out.insert(key.name.to_owned(), value);
                }
                continue;
            }
            let owner = OUTPUT_KINDS
                .iter()
                .find(|(_, keys)| keys.iter().any(|k| k.name == entry.key));
            match owner {
                Some((owner, _)) => self.report(
                    &entry.place,
                    format!("an output of kind `{kind_name}` has no key `{}`", entry.key),
                    Some(format!("that key belongs to the kind `{owner}`")),
                ),
                None => self.unknown(entry, OUTPUT.iter().chain(*kind_keys).map(|k| k.name), path),
            }
        }
        for key in kind_keys.iter().filter(|k| k.required) {
            if node.get(key.name).is_none_or(|n| matches!(n.value, Value::Null)) {
                let message = format!("an output of kind `{kind_name}` needs the key `{}`", key.name);
                self.report(&node.place, message, None);
            }
        }
        let complete = kind_keys.iter().all(|k| !k.required || out.contains_key(k.name));
        complete.then_some(Json::Object(out))
    }

    fn scalar(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Json> {
        let Value::Scalar(text) = &node.value else {
            self.wrong(node, path, "a single value");
            return None;
        };
        let (accepted, expected) = match kind {
            Kind::Bool => match text.as_str() {
                "true" => return Some(Json::Bool(true)),
                "false" => return Some(Json::Bool(false)),
                _ => (false, "`true` or `false`".to_owned()),
            },
            Kind::Whole { min, max } => {
                if let Some(number) = text.parse::<u64>().ok().filter(|n| (min..=max).contains(&n)) {
                    return Some(Json::from(number));
                }
                (false, format!("a whole number from {min} to {max}"))
            }
            Kind::Duration => (
                duration::parse(text).is_some_and(|d| !d.is_zero()),
                "a duration: a number and ms, s, m or h, e.g. `10s`".to_owned(),
            ),
            Kind::Size => (
                size::parse(text).is_some_and(|bytes| bytes > 0),
                "a size: bytes, or a number and KiB, MiB or GiB, e.g. `32MiB`".to_owned(),
            ),
            Kind::Address => (
                text.parse::<std::net::SocketAddr>().is_ok(),
                "an address and port, e.g. `127.0.0.1:9443` or `[::]:9443`".to_owned(),
            ),
            Kind::Severity => (Priority::parse(text).is_some(), {
                let names = Priority::ALL.iter().map(|p| p.name().to_lowercase());
                format!("one of {}", names.collect::<Vec<_>>().join(", "))
            }),
            Kind::Choice(names) => {
                if !names.contains(&text.as_str()) {
                    self.report(
                        &node.place,
                        format!("`{path}` cannot be `{}`", text.escape_debug()),
                        Some(one_of_help(text, names.iter().copied())),
                    );
                    return None;
                }
                (true, String::new())
            }
            Kind::Input | Kind::Stream | Kind::Written => return self.path(node, text, kind, path),
            _ => (true, String::new()),
        };
        if accepted {
            return Some(Json::String(text.clone()));
        }
        let message = format!("`{path}` cannot be `{}`", text.escape_debug());
        self.report(&node.place, message, Some(format!("write {expected}")));
        None
    }

    fn path(&mut self, node: &Node, text: &str, kind: &Kind, path: &str) -> Option<Json> {
        if matches!(kind, Kind::Stream) && text == "-" {
            return Some(Json::String(text.to_owned()));
        }
        let full = match node.place {
            Place::File { .. } => self.base.join(text),
            Place::Variable(_) => PathBuf::from(text),
        };
        // The answer to `metadata` also covers a directory on the way that may not be searched.
        if let Err(error) = std::fs::metadata(&full) {
            let parent = match full.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let creatable = matches!(kind, Kind::Written | Kind::Stream) && parent.is_dir();
            if !creatable {
                let what = match kind {
                    Kind::Written => "the directory of ",
                    _ => "",
                };
                self.report(
                    &node.place,
                    format!(
                        "`{path}`: {what}`{}` cannot be used: {error}",
                        full.display().to_string().escape_debug()
                    ),
                    Some(match node.place {
                        Place::File { .. } => {
                            "a relative path starts in the directory of the configuration file".to_owned()
                        }
                        Place::Variable(_) => "a relative path starts in the working directory".to_owned(),
                    }),
                );
                return None;
            }
        }
        Some(Json::String(full.to_str()?.to_owned()))
    }

    fn wrong(&mut self, node: &Node, path: &str, expected: &str) {
        let name = match path {
            "" => "the file".to_owned(),
            _ => format!("`{}`", path.escape_debug()),
        };
        self.report(
            &node.place,
            format!("{name} holds {}, not {expected}", node.describe()),
            None,
        );
    }

    fn report(&mut self, place: &Place, message: String, help: Option<String>) {
        self.problems.push(Problem::new(place, message, help));
    }
}

fn one_of_help<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match closest(text, names.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("write one of: {}", names.collect::<Vec<_>>().join(", ")),
    }
}
