//! Lists and macros, and the keys that every kind of item shares.

use super::{Code, Collector, Context, Diagnostic, ListDef, MacroDef, Read};
use crate::engine::diagnostic::did_you_mean;
use crate::engine::source::{At, Text};
use crate::engine::yaml::{Node, NodeKind};

/// The keys of a list.
pub const LIST_KEYS: &[&str] = &["list", "items", "append", "override"];
/// The keys of a macro.
pub const MACRO_KEYS: &[&str] = &["macro", "condition", "append", "override"];

/// An item under inspection: its kind, name, and mapping.
pub struct Item<'a> {
    pub kind: &'static str,
    pub name: String,
    pub node: &'a Node,
}

/// How a key of an item relates to an earlier definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    #[default]
    Define,
    Append,
    Replace,
}

impl<'a> Item<'a> {
    /// Reads the item's name from the key that names its kind.
    pub fn new(kind: &'static str, node: &'a Node) -> Read<Item<'a>> {
        let value = node.get(kind);
        let at = value.map_or(node.at, |v| v.at);
        let nameless = |message: String| {
            let mut diagnostic = Diagnostic::new(Code::YamlValidate, message, at);
            diagnostic.context.push(Context::new(kind, "", node.at));
            Err(Box::new(diagnostic))
        };
        match value.and_then(Node::scalar) {
            Some(name) if !name.is_empty() && !value.is_some_and(Node::is_null) => Ok(Item {
                kind,
                name: name.as_str().to_owned(),
                node,
            }),
            Some(_) => nameless(format!("Mapping for key '{kind}' is empty")),
            None => nameless("Value is not a scalar value".to_owned()),
        }
    }

    pub fn fail<T>(&self, code: Code, message: impl Into<String>, at: At) -> Read<T> {
        Err(Box::new(self.diagnostic(code, message, at)))
    }

    pub fn diagnostic(&self, code: Code, message: impl Into<String>, at: At) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(code, message, at);
        diagnostic
            .context
            .push(Context::new(self.kind, &self.name, self.node.at));
        diagnostic
    }

    /// A wrong value of a key.
    fn wrong_value(&self, key: &str, message: &str, at: At) -> Diagnostic {
        let mut diagnostic = self.diagnostic(Code::YamlValidate, message, at);
        let value = self.node.get(key).map_or(at, |value| value.at);
        diagnostic.context.push(Context::new("value for", key, value));
        diagnostic
    }

    /// Where a key's value is, with what YAML has around it.
    pub fn value_at(&self, key: &str) -> At {
        self.node.get(key).map_or(self.node.at, |value| value.at)
    }

    /// Where the item's name is.
    pub fn at(&self) -> At {
        self.node.get(self.kind).map_or(self.node.at, |v| v.at)
    }

    /// The text of a key that must be there.
    pub fn required(&self, key: &str) -> Read<Text> {
        match self.text(key)? {
            Some(text) => Ok(text),
            None => self.fail(
                Code::YamlValidate,
                format!("Item has no mapping for key '{key}'"),
                self.at(),
            ),
        }
    }

    /// The text of a key, where the item has it.
    pub fn text(&self, key: &str) -> Read<Option<Text>> {
        let Some((name, value)) = self.node.entry(key) else {
            return Ok(None);
        };
        match value.scalar() {
            Some(text) if text.is_empty() || value.is_null() => {
                let at = if text.is_empty() { name.at } else { value.at };
                Err(Box::new(self.wrong_value(key, "Value must be non-empty", at)))
            }
            Some(text) => Ok(Some(text.clone())),
            None => Err(Box::new(self.wrong_value(key, "Value is not a scalar value", value.at))),
        }
    }

    /// A key with a truth value, in YAML 1.1's spellings as upstream reads them.
    pub fn flag(&self, key: &str) -> Read<Option<bool>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.as_str().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Some(true)),
            "false" | "no" | "off" | "n" => Ok(Some(false)),
            _ => {
                let help = format!("`{key}` is `true` or `false`");
                let diagnostic = self.wrong_value(key, "Can't decode YAML scalar value", text.whole());
                Err(Box::new(diagnostic.with_help(Some(help))))
            }
        }
    }

    /// A sequence of scalars.
    pub fn texts(&self, key: &str) -> Read<Option<Vec<Text>>> {
        let Some(value) = self.node.get(key) else {
            return Ok(None);
        };
        if value.is_null() {
            return Ok(Some(Vec::new()));
        }
        let NodeKind::Sequence(items) = &value.kind else {
            let help = format!("`{key}` takes a list, as in `{key}: [a, b]`");
            let diagnostic = self.wrong_value(key, "Value is not a sequence", value.at);
            return Err(Box::new(diagnostic.with_help(Some(help))));
        };
        items
            .iter()
            .map(|item| match item.scalar() {
                Some(text) => Ok(text.clone()),
                None => {
                    let help = format!("items of `{key}` are plain values");
                    let diagnostic = self.wrong_value(key, "Can't decode YAML sequence value", item.at);
                    Err(Box::new(diagnostic.with_help(Some(help))))
                }
            })
            .collect::<Read<Vec<_>>>()
            .map(Some)
    }

    /// How `key` changes an earlier definition, after the checks that an `override` needs.
    pub fn changes(
        &self,
        collector: &mut Collector,
        appendable: &[&str],
        replaceable: &[&str],
    ) -> Read<Vec<(String, Change)>> {
        let append = self.flag("append")?.unwrap_or(false);
        if let Some((key, _)) = self.node.entry("append").filter(|_| append) {
            let message = "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.";
            collector.report(self.diagnostic(Code::DeprecatedItem, message, key.at));
        }
        let mut changes = Vec::new();
        let Some((override_key, overrides)) = self.node.entry("override") else {
            if append {
                changes.extend(appendable.iter().map(|key| ((*key).to_owned(), Change::Append)));
            }
            return Ok(changes);
        };
        let NodeKind::Mapping(entries) = &overrides.kind else {
            return self.fail(
                Code::YamlValidate,
                "Value of `override` must map keys to `append` or `replace`",
                overrides.at,
            );
        };
        if append {
            let message = "Keys 'override' and 'append: true' cannot be used together. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.";
            return self.fail(Code::YamlValidate, message, override_key.at);
        }
        for (key, value) in entries {
            let name = key.scalar().map(Text::as_str).unwrap_or_default();
            let operation = value.scalar().map(Text::as_str).unwrap_or_default();
            let (change, allowed, verb) = match operation {
                "append" => (Change::Append, appendable, "appended to, use 'replace' instead"),
                "replace" => (Change::Replace, replaceable, "replaced"),
                other => {
                    let message = format!(
                        "Invalid override operation for key '{name}': '{other}'. Allowed values are: append, replace"
                    );
                    return self.fail(Code::YamlValidate, message, value.at);
                }
            };
            if !allowed.contains(&name) {
                let mut diagnostic =
                    self.diagnostic(Code::YamlValidate, format!("Key '{name}' cannot be {verb}"), key.at);
                diagnostic.context.push(Context::new("overrides", "", self.node.at));
                diagnostic.context.push(Context::new("overrides", name, key.at));
                diagnostic.help = did_you_mean(name, allowed.iter().copied());
                return Err(Box::new(diagnostic));
            }
            if self.node.get(name).is_none() {
                let message = format!("An {operation} override for '{name}' was specified but '{name}' is not defined");
                return self.fail(Code::YamlValidate, message, key.at);
            }
            changes.push((name.to_owned(), change));
        }
        let NodeKind::Mapping(own) = &self.node.kind else {
            return Ok(changes);
        };
        for (key, _) in own {
            let name = key.scalar().map(Text::as_str).unwrap_or_default();
            let overridable = appendable.contains(&name) || replaceable.contains(&name);
            if overridable && !changes.is_empty() && !changes.iter().any(|(k, _)| k == name) {
                let message = format!("Unexpected key '{name}': no corresponding entry under 'override' is defined.");
                return self.fail(Code::YamlValidate, message, key.at);
            }
        }
        Ok(changes)
    }

    /// Warns of keys that nothing reads.
    pub fn unknown_keys(&self, collector: &mut Collector, known: &[&str]) {
        let NodeKind::Mapping(entries) = &self.node.kind else {
            return;
        };
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in entries {
            let name = key.scalar().map(Text::as_str).unwrap_or_default();
            if !known.contains(&name) {
                let message = format!("Unknown key '{name}'. The key will be ignored.");
                let help = did_you_mean(name, known.iter().copied());
                collector.report(self.diagnostic(Code::UnknownKey, message, key.at).with_help(help));
            } else if seen.contains(&name) {
                let message = format!("Key '{name}' is given twice. The first one counts.");
                collector.report(self.diagnostic(Code::DuplicateKey, message, key.at));
            }
            seen.push(name);
        }
    }
}

impl Collector {
    pub(super) fn list(&mut self, node: &Node) -> Read<()> {
        let item = Item::new("list", node)?;
        item.unknown_keys(self, LIST_KEYS);
        let Some(items) = item.texts("items")? else {
            return item.fail(Code::YamlValidate, "Item has no mapping for key 'items'", item.at());
        };
        let change = item
            .changes(self, &["items"], &["items"])?
            .first()
            .map(|(_, c)| *c)
            .unwrap_or_default();
        if !item
            .name
            .chars()
            .all(|c| !matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') && !c.is_whitespace())
        {
            let message =
                "List has an invalid name. List names should match a regular expression: ([^()\"'[:space:]=,]+)";
            self.report(item.diagnostic(Code::InvalidListName, message, item.at()));
        }
        let visibility = self.next_change();
        let existing = self.definitions.lists.iter_mut().find(|l| l.name == item.name);
        match (existing, change) {
            (Some(list), Change::Append) => {
                list.items.extend(items);
                list.visibility = visibility;
            }
            (Some(list), _) => {
                list.items = items;
                list.visibility = visibility;
            }
            (None, Change::Append) => {
                let message = "List uses 'append' or 'override.items: append' but no list by that name already exists";
                let help = did_you_mean(&item.name, self.definitions.lists.iter().map(|l| l.name.as_str()));
                return Err(Box::new(
                    item.diagnostic(Code::Validate, message, item.at()).with_help(help),
                ));
            }
            (None, _) => self.definitions.lists.push(ListDef {
                name: item.name.clone(),
                at: item.at(),
                item_at: item.node.at,
                items,
                index: visibility,
                visibility,
            }),
        }
        Ok(())
    }

    pub(super) fn macro_(&mut self, node: &Node) -> Read<()> {
        let item = Item::new("macro", node)?;
        item.unknown_keys(self, MACRO_KEYS);
        let condition = item.required("condition")?;
        let change = item
            .changes(self, &["condition"], &["condition"])?
            .first()
            .map(|(_, c)| *c)
            .unwrap_or_default();
        let valid = item.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && item.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let message =
                "Macro has an invalid name. Macro names should match a regular expression: ([a-zA-Z]+[a-zA-Z0-9_]*)";
            self.report(item.diagnostic(Code::InvalidMacroName, message, item.at()));
        }
        let visibility = self.next_change();
        let existing = self.definitions.macros.iter_mut().find(|m| m.name == item.name);
        match (existing, change) {
            (Some(found), Change::Append) => {
                found.appended.push(condition.whole());
                found.condition.push_str(" ");
                found.condition.push(&condition);
                found.visibility = visibility;
            }
            (Some(found), _) => {
                found.appended.clear();
                found.condition = condition;
                found.condition_at = item.value_at("condition");
                found.visibility = visibility;
            }
            (None, Change::Append) => {
                let message =
                    "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists";
                let help = did_you_mean(&item.name, self.definitions.macros.iter().map(|m| m.name.as_str()));
                return Err(Box::new(
                    item.diagnostic(Code::Validate, message, item.at()).with_help(help),
                ));
            }
            (None, _) => self.definitions.macros.push(MacroDef {
                name: item.name.clone(),
                at: item.at(),
                item_at: item.node.at,
                condition,
                condition_at: item.value_at("condition"),
                appended: Vec::new(),
                index: visibility,
                visibility,
            }),
        }
        Ok(())
    }
}
