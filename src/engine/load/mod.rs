//! From YAML to definitions: lists, macros and rules as they stand after every append and override.

mod exception;
mod item;
mod rule;
mod versions;

use std::collections::BTreeSet;

use super::diagnostic::{Code, Context, Diagnostic};
use super::source::{At, RuleFile, SourceMap, Text};
use super::yaml::{self, Node, NodeKind};
use crate::event::{Priority, Source};

pub use exception::Exception;
pub use item::{LIST_KEYS, MACRO_KEYS};
pub use rule::{APPENDABLE, KEYS as RULE_KEYS, REPLACEABLE};
pub use versions::{ENGINE_VERSION, PLUGINS, Plugin, Version};

/// A list as written: its items may name other lists.
#[derive(Clone, Debug)]
pub struct ListDef {
    pub name: String,
    pub at: At,
    /// The whole item.
    pub item_at: At,
    pub items: Vec<Text>,
    /// Order of the first definition, and of the latest change.
    pub index: usize,
    pub visibility: usize,
}

/// A macro's condition text.
#[derive(Clone, Debug)]
pub struct MacroDef {
    pub name: String,
    pub at: At,
    /// The whole item.
    pub item_at: At,
    pub condition: Text,
    /// The condition with what YAML has around it.
    pub condition_at: At,
    /// Places where appended condition text begins, for the lint on precedence.
    pub appended: Vec<At>,
    pub index: usize,
    pub visibility: usize,
}

/// A rule's parts as text.
#[derive(Clone, Debug)]
pub struct RuleDef {
    pub name: String,
    pub at: At,
    /// The whole item.
    pub item_at: At,
    /// The source as written; empty means syscall.
    pub source: String,
    pub source_at: At,
    pub condition: Text,
    /// The condition and the output with what YAML has around them.
    pub condition_at: At,
    pub output: Text,
    pub output_at: At,
    pub desc: String,
    pub priority: Priority,
    pub tags: BTreeSet<String>,
    pub exceptions: Vec<Exception>,
    pub enabled: bool,
    pub warn_evttypes: bool,
    pub skip_if_unknown_filter: bool,
    /// Read and kept for `describe`; nothing here writes captures.
    pub capture: bool,
    /// Milliseconds.
    pub capture_duration: u32,
    /// What an on-call person checks and does; carried in the alert.
    pub runbook: Option<String>,
    /// Places where appended condition text begins, for the lint on precedence.
    pub appended: Vec<At>,
}

impl RuleDef {
    /// The source, unless it is one we do not know.
    pub fn known_source(&self) -> Option<Source> {
        if self.source.is_empty() {
            Some(Source::Syscall)
        } else {
            Source::from_name(&self.source)
        }
    }
}

/// Everything that rule files define.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub lists: Vec<ListDef>,
    pub macros: Vec<MacroDef>,
    pub rules: Vec<RuleDef>,
}

/// Reads rule files, and notes what is wrong with them.
#[derive(Debug, Default)]
pub struct Collector {
    pub sources: SourceMap,
    pub definitions: Definitions,
    pub diagnostics: Vec<Diagnostic>,
    plugins: Vec<Plugin>,
    changes: usize,
}

impl Collector {
    /// A collector that knows the plugins that count as loaded.
    pub fn new(plugins: Vec<Plugin>) -> Collector {
        Collector {
            plugins,
            ..Collector::default()
        }
    }

    /// Reads one file on top of those before it.
    pub fn add(&mut self, file: RuleFile) {
        let base = self.sources.add(file.clone());
        let whole = At {
            start: base,
            end: base + file.text.len() as u32,
        };
        let documents = match yaml::parse(&file.text, base) {
            Ok(documents) => documents,
            Err(e) => {
                let mut diagnostic = Diagnostic::new(Code::YamlParse, e.message, e.at);
                diagnostic.context.push(Context::new("value for", "", e.at));
                self.report(diagnostic);
                return;
            }
        };
        for document in &documents {
            match &document.kind {
                NodeKind::Sequence(items) => items.iter().for_each(|item| self.item(item)),
                _ if document.is_null() => {}
                NodeKind::Mapping(_) => {
                    let diagnostic = Diagnostic::new(
                        Code::YamlValidate,
                        "Rules content is not yaml array of objects",
                        document.at,
                    );
                    self.report(
                        diagnostic.with_help(Some("begin each item with `- `, e.g. `- rule: name`".to_owned())),
                    );
                }
                NodeKind::Scalar { .. } => {
                    let at = if document.at.start == document.at.end {
                        whole
                    } else {
                        document.at
                    };
                    let diagnostic = Diagnostic::new(Code::YamlValidate, "Rules content is not yaml", at);
                    self.report(
                        diagnostic.with_help(Some("a rules file is a list of rules, macros and lists".to_owned())),
                    );
                }
            }
        }
        self.check_versions(&documents);
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    fn next_change(&mut self) -> usize {
        self.changes += 1;
        self.changes
    }

    /// One item of a file. Kinds are tried in upstream's order.
    fn item(&mut self, node: &Node) {
        let NodeKind::Mapping(entries) = &node.kind else {
            let message = "Unexpected element type. Each element should be a yaml associative array.";
            let mut diagnostic = Diagnostic::new(Code::YamlValidate, message, node.at);
            diagnostic.context.push(Context::new("rules content item", "", node.at));
            self.report(diagnostic);
            return;
        };
        let result = if let Some(version) = node.get("required_engine_version") {
            versions::engine(version, node)
        } else if node.get("required_plugin_versions").is_some() {
            Ok(())
        } else if node.get("list").is_some() {
            self.list(node)
        } else if node.get("macro").is_some() {
            self.macro_(node)
        } else if node.get("rule").is_some() {
            self.rule(node)
        } else {
            let known = [
                "rule",
                "macro",
                "list",
                "required_engine_version",
                "required_plugin_versions",
            ];
            let first = entries.first().and_then(|(k, _)| k.scalar());
            let name = first.map_or("?", Text::as_str);
            let at = first.map_or(node.at, Text::whole);
            let help = super::diagnostic::did_you_mean(name, known).unwrap_or_else(|| {
                format!(
                    "an item begins with one of {}",
                    known.map(|k| format!("`{k}`")).join(", ")
                )
            });
            let mut diagnostic = Diagnostic::new(Code::UnknownItem, "Unknown top level item", at).with_help(Some(help));
            diagnostic.context.push(Context::new("rules content item", "", node.at));
            self.report(diagnostic);
            Ok(())
        };
        if let Err(diagnostic) = result {
            self.report(*diagnostic);
        }
    }
}

/// What reading one item comes to: the first thing wrong with it.
type Read<T> = Result<T, Box<Diagnostic>>;

fn fail<T>(code: Code, message: impl Into<String>, at: At) -> Read<T> {
    Err(Box::new(Diagnostic::new(code, message, at)))
}
