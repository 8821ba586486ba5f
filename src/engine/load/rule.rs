//! Rules: definition, append, override, and the standalone `enabled` switch.

use std::collections::BTreeSet;

use super::item::{Change, Item};
use super::{Code, Collector, Context, Read, RuleDef};
use crate::engine::diagnostic::did_you_mean;
use crate::engine::source::Text;
use crate::engine::yaml::Node;
use crate::event::Priority;

/// The keys of a rule.
pub const KEYS: &[&str] = &[
    "rule",
    "condition",
    "output",
    "desc",
    "priority",
    "source",
    "enabled",
    "tags",
    "exceptions",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
    "append",
    "override",
    "runbook",
    "examples",
];
/// The keys that `override` may append to, and those that it may replace.
pub const APPENDABLE: &[&str] = &["condition", "output", "desc", "tags", "exceptions"];
pub const REPLACEABLE: &[&str] = &[
    "condition",
    "output",
    "desc",
    "priority",
    "tags",
    "exceptions",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
    "runbook",
];

impl Collector {
    pub(super) fn rule(&mut self, node: &Node) -> Read<()> {
        let item = Item::new("rule", node)?;
        item.unknown_keys(self, KEYS);
        let changes = item.changes(self, APPENDABLE, REPLACEABLE)?;
        let append_key = node.get("append").is_some() && item.flag("append")? == Some(true);
        self.check_types(&item)?;
        if append_key {
            return self.append_rule(&item);
        }
        if !changes.is_empty() {
            return self.override_rule(&item, &changes);
        }
        let has = |key: &str| node.get(key).is_some();
        if !["condition", "output", "desc", "priority"].into_iter().any(has) {
            return self.toggle_rule(&item);
        }
        self.define_rule(&item)
    }

    /// Reads the keys that are not kept, so that a wrong type is an error all the same.
    fn check_types(&mut self, item: &Item<'_>) -> Read<()> {
        item.flag("capture")?;
        capture_duration(item)?;
        Ok(())
    }

    fn define_rule(&mut self, item: &Item<'_>) -> Read<()> {
        let condition = item.required("condition")?;
        let output = item.required("output")?;
        let desc = item.required("desc")?;
        let priority = priority(item, &item.required("priority")?)?;
        let source = if item
            .node
            .get("source")
            .is_some_and(|s| s.is_null() || s.scalar().is_some_and(Text::is_empty))
        {
            None
        } else {
            item.text("source")?
        };
        let rule = RuleDef {
            name: item.name.clone(),
            at: item.at(),
            item_at: item.node.at,
            source: source.as_ref().map(|s| s.as_str().to_owned()).unwrap_or_default(),
            source_at: source.as_ref().map_or(item.at(), Text::whole),
            condition,
            condition_at: item.value_at("condition"),
            output: trimmed(&output),
            output_at: item.value_at("output"),
            desc: desc.as_str().to_owned(),
            priority,
            tags: tags(item)?.unwrap_or_default(),
            exceptions: self.exceptions(item)?,
            enabled: item.flag("enabled")?.unwrap_or(true),
            warn_evttypes: item.flag("warn_evttypes")?.unwrap_or(true),
            skip_if_unknown_filter: item.flag("skip-if-unknown-filter")?.unwrap_or(false),
            capture: item.flag("capture")?.unwrap_or(false),
            capture_duration: capture_duration(item)?.unwrap_or(0),
            runbook: item.text("runbook")?.map(|t| t.as_str().trim().to_owned()),
            appended: Vec::new(),
        };
        for exception in &rule.exceptions {
            exception.check_new(item)?;
        }
        self.next_change();
        match self.definitions.rules.iter_mut().find(|r| r.name == rule.name) {
            Some(old)
                if old.known_source() != rule.known_source()
                    || old.known_source().is_none() && old.source != rule.source =>
            {
                item.fail(
                    Code::Validate,
                    "Rule has been re-defined with a different source",
                    item.at(),
                )
            }
            Some(old) => {
                *old = rule;
                Ok(())
            }
            None => {
                self.definitions.rules.push(rule);
                Ok(())
            }
        }
    }

    fn existing(&self, item: &Item<'_>, message: &str) -> Read<usize> {
        match self.definitions.rules.iter().position(|r| r.name == item.name) {
            Some(index) => Ok(index),
            None => {
                let help = did_you_mean(&item.name, self.definitions.rules.iter().map(|r| r.name.as_str()));
                Err(Box::new(
                    item.diagnostic(Code::Validate, message, item.at()).with_help(help),
                ))
            }
        }
    }

    fn same_source(&self, item: &Item<'_>, index: usize) -> Read<()> {
        match item.node.get("source").filter(|s| !s.is_null()).and_then(Node::scalar) {
            Some(source)
                if !source.is_empty() && source.as_str() != effective_source(&self.definitions.rules[index]) =>
            {
                item.fail(
                    Code::Validate,
                    "Rule has been re-defined with a different source",
                    source.whole(),
                )
            }
            _ => Ok(()),
        }
    }

    /// The older form, `append: true`: condition and exceptions only.
    fn append_rule(&mut self, item: &Item<'_>) -> Read<()> {
        let condition = item.text("condition")?;
        let exceptions = self.exceptions(item)?;
        let index = self.existing(
            item,
            "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists",
        )?;
        self.same_source(item, index)?;
        if condition.is_none() && exceptions.is_empty() {
            return item.fail(
                Code::Validate,
                "Appended rule must have exceptions or condition property",
                item.at(),
            );
        }
        self.next_change();
        if let Some(condition) = condition {
            append_text(&mut self.definitions.rules[index].condition, &condition);
            self.definitions.rules[index].appended.push(condition.whole());
        }
        self.append_exceptions(item, index, exceptions)
    }

    fn override_rule(&mut self, item: &Item<'_>, changes: &[(String, Change)]) -> Read<()> {
        let appends = changes.iter().any(|(_, c)| *c == Change::Append);
        let message = if appends {
            "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists"
        } else {
            "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists"
        };
        let index = self.existing(item, message)?;
        self.same_source(item, index)?;
        self.next_change();
        for (key, change) in changes {
            let append = *change == Change::Append;
            match key.as_str() {
                "condition" => {
                    let text = item.required(key)?;
                    let rule = &mut self.definitions.rules[index];
                    if append {
                        rule.appended.push(text.whole());
                        append_text(&mut rule.condition, &text);
                    } else {
                        rule.appended.clear();
                        rule.condition = text;
                        rule.condition_at = item.value_at(key);
                    }
                }
                "output" => {
                    let text = trimmed(&item.required(key)?);
                    if append {
                        append_text(&mut self.definitions.rules[index].output, &text);
                    } else {
                        self.definitions.rules[index].output = text;
                        self.definitions.rules[index].output_at = item.value_at(key);
                    }
                }
                "desc" => {
                    let text = item.required(key)?;
                    let rule = &mut self.definitions.rules[index];
                    rule.desc = if append {
                        format!("{} {}", rule.desc, text.as_str())
                    } else {
                        text.as_str().to_owned()
                    };
                }
                "tags" => {
                    let new = tags(item)?.unwrap_or_default();
                    if !append {
                        self.definitions.rules[index].tags.clear();
                    }
                    self.definitions.rules[index].tags.extend(new);
                }
                "exceptions" => {
                    let new = self.exceptions(item)?;
                    if append {
                        self.append_exceptions(item, index, new)?;
                    } else {
                        for exception in &new {
                            exception.check_new(item)?;
                        }
                        self.definitions.rules[index].exceptions = new;
                    }
                }
                "priority" => self.definitions.rules[index].priority = priority(item, &item.required(key)?)?,
                "enabled" => self.definitions.rules[index].enabled = item.flag(key)?.unwrap_or(true),
                "warn_evttypes" => self.definitions.rules[index].warn_evttypes = item.flag(key)?.unwrap_or(true),
                "skip-if-unknown-filter" => {
                    self.definitions.rules[index].skip_if_unknown_filter = item.flag(key)?.unwrap_or(false)
                }
                "runbook" => {
                    self.definitions.rules[index].runbook = item.text(key)?.map(|t| t.as_str().trim().to_owned())
                }
                "capture" => self.definitions.rules[index].capture = item.flag(key)?.unwrap_or(false),
                "capture_duration" => {
                    self.definitions.rules[index].capture_duration = capture_duration(item)?.unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `- rule: name` with nothing but `enabled`.
    fn toggle_rule(&mut self, item: &Item<'_>) -> Read<()> {
        let Some(enabled) = item.flag("enabled")? else {
            let help = "a rule has at least `condition`, `output`, `desc` and `priority`";
            let diagnostic = item.diagnostic(Code::YamlValidate, "Item has no mapping for key 'enabled'", item.at());
            return Err(Box::new(diagnostic.with_help(Some(help.to_owned()))));
        };
        let message = "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace').";
        let at = item.node.entry("enabled").map_or(item.at(), |(key, _)| key.at);
        self.report(item.diagnostic(Code::DeprecatedItem, message, at));
        let index = self.existing(item, "Rule has 'enabled' key but no rule by that name already exists")?;
        self.definitions.rules[index].enabled = enabled;
        Ok(())
    }
}

/// Milliseconds.
fn capture_duration(item: &Item<'_>) -> Read<Option<u32>> {
    let Some(text) = item.text("capture_duration")? else {
        return Ok(None);
    };
    match text.as_str().parse() {
        Ok(duration) => Ok(Some(duration)),
        Err(_) => item.fail(Code::YamlValidate, "Can't decode YAML scalar value", text.whole()),
    }
}

fn effective_source(rule: &RuleDef) -> &str {
    if rule.source.is_empty() {
        "syscall"
    } else {
        &rule.source
    }
}

fn append_text(text: &mut Text, more: &Text) {
    text.push_str(" ");
    text.push(more);
}

/// Outputs are one line: blanks around them are the YAML's, not the author's.
fn trimmed(text: &Text) -> Text {
    let s = text.as_str();
    let start = s.len() - s.trim_start().len();
    text.slice(start, start + s.trim().len())
}

fn tags(item: &Item<'_>) -> Read<Option<BTreeSet<String>>> {
    Ok(item
        .texts("tags")?
        .map(|tags| tags.iter().map(|t| t.as_str().to_owned()).collect()))
}

fn priority(item: &Item<'_>, text: &Text) -> Read<Priority> {
    match Priority::parse(text.as_str()) {
        Some(priority) => Ok(priority),
        None => {
            let names = Priority::ALL.map(|p| p.name().to_ascii_uppercase());
            let help = did_you_mean(&text.as_str().to_ascii_uppercase(), names.iter().map(String::as_str))
                .unwrap_or_else(|| format!("priorities are {}", names.join(", ")));
            let mut diagnostic = item.diagnostic(Code::YamlValidate, "Invalid priority", text.whole());
            let value = item.value_at("priority");
            diagnostic.context.push(Context::new("rule priority", "", value));
            Err(Box::new(diagnostic.with_help(Some(help))))
        }
    }
}
