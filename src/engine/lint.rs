//! Lints beyond upstream's warnings: what a rule set says and its author can hardly have meant.
//!
//! Each speaks only when it is sure; a lint that cries wolf is switched off. They look at the tree where the wording
//! counts, and at the compiled nodes, where equal parts are one, where the meaning counts.

use std::collections::BTreeSet;

use super::ast::{Check, Expr, ExprKind, Literal, Right};
use super::diagnostic::{Code, Context, Diagnostic, closest};
use super::format::Output;
use super::index::{self, Required};
use super::load::{Collector, Definitions, MacroDef, RuleDef};
use super::operator::{Test, TextTest};
use super::parser;
use super::program::{Argument, Node, NodeId, Rule, Slot, SlotId};
use super::source::{At, Text};
use crate::event::Source;
use crate::fields::{Catalog, Extractor};

mod absent;
mod hooks;
mod long_names;

use hooks::Hooks;

/// Longest condition that a message repeats, in characters.
const MAX_SHOWN: usize = 160;

/// Cost from which on a field counts as costly: those that read into request and response objects.
const COSTLY: u32 = 40;

/// One rule with what it was compiled to.
pub struct Linted<'a> {
    pub rule: &'a RuleDef,
    pub expr: &'a Expr,
    pub node: NodeId,
    pub output: &'a Output,
    pub slots: &'a [Slot],
    pub nodes: &'a [Node],
}

impl Linted<'_> {
    /// Everything that one rule shows by itself.
    pub fn check(&self, collector: &Collector, catalog: &Catalog, found: &mut Vec<Diagnostic>) {
        self.likely_lists(collector, found);
        self.long_names(found);
        found.extend(appends(&self.rule.condition, &self.rule.appended));
        let whole = self.rule.condition.whole();
        let hooks = Hooks::of(self.rule, self.expr, &collector.sources);
        match decided(self.slots, self.nodes, self.node, hooks) {
            Some((false, why)) => {
                let message = format!("the rule can never match: {why}");
                found.push(Diagnostic::new(Code::NeverMatches, message, whole));
            }
            Some((true, why)) => {
                let message = format!("the rule matches every event: {why}");
                found.push(Diagnostic::new(Code::AlwaysMatches, message, whole));
            }
            None => {
                self.absent_outputs(catalog, found);
                self.costly(found);
            }
        }
    }

    fn likely_lists(&self, collector: &Collector, found: &mut Vec<Diagnostic>) {
        let names = || collector.definitions.lists.iter().map(|l| l.name.as_str());
        self.expr.checks(&mut |check| {
            let Some(item) = lone_item(check) else { return };
            let at = At {
                start: item.span.start,
                end: item.span.end,
            };
            // An item of a list that was put in stands elsewhere, and is what its author wrote there.
            if collector.sources.slice(at) != item.text || !item.text.contains('_') {
                return;
            }
            let word = item.text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let near = closest(&item.text, names());
            // Names of Kubernetes hold no `_`; those of processes and of kernel constants often do.
            let usual = self.rule.known_source() != Some(Source::K8sAudit);
            if !word || usual && near.is_none() || check.left.field_name() == Some("evt.type") {
                return;
            }
            let message = format!("`{0}` is compared as text: no list `{0}` exists", item.text);
            let help = match near {
                Some(name) => format!("did you mean the list `{name}`? If the text is meant, quote it"),
                None => format!("define `- list: {}`, or quote the text if it is meant", item.text),
            };
            found.push(Diagnostic::new(Code::LikelyList, message, at).with_help(Some(help)));
        });
    }

    fn require(&self, slot: SlotId) -> Option<Required> {
        let several = index::is_several(&self.slots[slot as usize]);
        index::require(self.nodes, self.node, &|s| s == slot, several)
    }

    fn costly(&self, found: &mut Vec<Diagnostic>) {
        // Of system calls LOAD_NO_EVTTYPE tells that nothing restricts the rule.
        let audit = self.rule.known_source() == Some(Source::K8sAudit);
        if !audit || index::restricts(self.slots, self.nodes, self.node) {
            return;
        }
        // The first of several is decided first, and often alone.
        let first = match &self.nodes[self.node as usize] {
            Node::And(children) => children.first().copied().unwrap_or(self.node),
            _ => self.node,
        };
        let mut reasons = BTreeSet::new();
        reasons_of_cost(self.slots, self.nodes, first, &mut reasons);
        if reasons.is_empty() {
            return;
        }
        let reasons: Vec<&str> = reasons.into_iter().collect();
        let message = format!("every event is looked at, and the condition {}", reasons.join(" and "));
        let help = "require something cheap as well, e.g. `ka.verb in (…)` or `ka.target.resource = …`";
        found
            .push(Diagnostic::new(Code::Costly, message, self.rule.condition.whole()).with_help(Some(help.to_owned())));
    }
}

/// The only item of a parenthesised list, where it is not quoted.
fn lone_item(check: &Check) -> Option<&Literal> {
    match &check.right {
        Right::List {
            items,
            parenthesised: true,
        } if check.modifier.is_none() => match items.as_slice() {
            [item] if !item.quoted => Some(item),
            _ => None,
        },
        _ => None,
    }
}

fn reasons_of_cost(slots: &[Slot], nodes: &[Node], node: NodeId, reasons: &mut BTreeSet<&'static str>) {
    let mut slot = |id: SlotId| {
        if slot_cost(slots, id) >= COSTLY {
            reasons.insert("reads request or response objects");
        }
    };
    match &nodes[node as usize] {
        Node::Constant(_) => {}
        Node::Test { slot: id, test } => {
            slot(*id);
            if matches!(test, Test::Text(TextTest::Regex(_) | TextTest::RegexAny(_))) {
                reasons.insert("runs a regular expression");
            }
        }
        Node::Compare { left, right, .. } => [left, right].into_iter().for_each(|id| slot(*id)),
        Node::Not(inner) => reasons_of_cost(slots, nodes, *inner, reasons),
        Node::And(children) | Node::Or(children) => {
            children.iter().for_each(|c| reasons_of_cost(slots, nodes, *c, reasons));
        }
    }
}

fn slot_cost(slots: &[Slot], id: SlotId) -> u32 {
    let argument = |a: &Argument| match a {
        Argument::Slot(id) => slot_cost(slots, *id),
        _ => 0,
    };
    match &slots[id as usize] {
        // Text of the whole event costs, and is not an object inside it.
        Slot::Field(Extractor::Whole(_)) => 0,
        Slot::Field(extractor) => extractor.cost(),
        Slot::Transformed { arguments, .. } => arguments.iter().map(argument).max().unwrap_or(0),
    }
}

/// The truth of a node that no event can change, with the reason.
fn decided(slots: &[Slot], nodes: &[Node], node: NodeId, hooks: Hooks) -> Option<(bool, String)> {
    let both = |children: &[NodeId]| {
        children.iter().any(|c| match &nodes[*c as usize] {
            Node::Not(inner) => children.contains(inner),
            _ => false,
        })
    };
    match &nodes[node as usize] {
        Node::Constant(value) => Some((*value, format!("it is always {value}"))),
        Node::Test {
            test: Test::Present(false),
            ..
        } => (!hooks.empty_list).then(|| (false, "it compares with an empty list".to_owned())),
        Node::Test { .. } | Node::Compare { .. } => None,
        Node::Not(inner) => decided(slots, nodes, *inner, hooks).map(|(value, why)| (!value, why)),
        Node::Or(children) => {
            if both(children) {
                return Some((true, "a test and its opposite are alternatives".to_owned()));
            }
            let all: Vec<_> = children.iter().map(|c| decided(slots, nodes, *c, hooks)).collect();
            let certain = all.iter().flatten().find(|(value, _)| *value).cloned();
            certain.or_else(|| all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().next())
        }
        Node::And(children) => {
            if both(children) {
                return Some((false, "it requires a test and its opposite".to_owned()));
            }
            if let Some(why) = contradiction(slots, nodes, node, children, hooks) {
                return Some((false, why));
            }
            let all: Vec<_> = children.iter().map(|c| decided(slots, nodes, *c, hooks)).collect();
            let impossible = all.iter().flatten().find(|(value, _)| !*value).cloned();
            impossible.or_else(|| all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().next())
        }
    }
}

/// Requirements of a conjunction that no value of a field meets at once.
fn contradiction(slots: &[Slot], nodes: &[Node], node: NodeId, children: &[NodeId], hooks: Hooks) -> Option<String> {
    for id in 0..slots.len() as SlotId {
        let here = |s: SlotId| s == id;
        // Several values at once are no contradiction.
        if index::is_several(&slots[id as usize]) {
            continue;
        }
        let Some(required) = index::require(nodes, node, &here, false) else {
            continue;
        };
        let parts = || children.iter().filter_map(|c| index::require(nodes, *c, &here, false));
        if required.is_empty() && parts().all(|p| !p.is_empty()) {
            let wanted: Vec<String> = parts().map(|p| alternatives(&p)).collect();
            return Some(format!("it requires one field to be {} at once", wanted.join(" and ")));
        }
        let tested = children.iter().any(|c| match &nodes[*c as usize] {
            Node::Test { slot, .. } => *slot == id,
            Node::Compare { left, right, .. } => *left == id || *right == id,
            _ => false,
        });
        if tested && !hooks.excludes_all && required == BTreeSet::from([None]) {
            return Some("it requires a field to be absent, and compares its value".to_owned());
        }
    }
    None
}

fn alternatives(required: &Required) -> String {
    let texts: Vec<String> = required
        .iter()
        .map(|v| match v {
            Some(value) => format!("`{}`", String::from_utf8_lossy(value)),
            None => "absent".to_owned(),
        })
        .collect();
    shortened(&texts.join(" or "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Rules under an earlier one that takes every event of theirs; for rule sets of which the first match counts.
pub fn shadowed<'a>(nodes: &[Node], rules: &[Rule], definitions: &'a Definitions) -> Vec<(&'a RuleDef, Diagnostic)> {
    let conjuncts = |rule: &Rule| match &nodes[rule.node as usize] {
        Node::And(children) => children.to_vec(),
        _ => vec![rule.node],
    };
    let all: Vec<Vec<NodeId>> = rules.iter().map(conjuncts).collect();
    // What an earlier rule requires is among what this one requires, or a wider alternative of it.
    let implied = |part: &NodeId, parts: &[NodeId]| {
        parts.contains(part)
            || match &nodes[*part as usize] {
                Node::Or(children) => children.iter().any(|c| parts.contains(c)),
                _ => false,
            }
    };
    let mut found = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        let Some(earlier) = (0..i).find(|&e| all[e].iter().all(|part| implied(part, &all[i]))) else {
            continue;
        };
        let Some(definition) = definitions.rules.iter().find(|r| r.name == *rule.name) else {
            continue;
        };
        let message = format!(
            "the rule never alerts: rule `{}` comes first and matches every event that this one matches",
            rules[earlier].name
        );
        let help = "put the narrower rule first, or set `rules.matching: all`";
        let diagnostic = Diagnostic::new(Code::Shadowed, message, definition.at).with_help(Some(help.to_owned()));
        found.push((definition, diagnostic));
    }
    found
}

/// Appends to macros that change how they are read.
pub fn macros(macros: &[MacroDef], diagnostics: &mut Vec<Diagnostic>) {
    for definition in macros {
        for mut diagnostic in appends(&definition.condition, &definition.appended) {
            diagnostic
                .context
                .push(Context::new("macro", &definition.name, definition.item_at));
            diagnostics.push(diagnostic);
        }
    }
}

/// Appended texts that bind otherwise than they look: appending joins text, and puts no parentheses.
fn appends(condition: &Text, appended: &[At]) -> Vec<Diagnostic> {
    let offsets: Vec<usize> = appended.iter().filter_map(|at| condition.find(at.start)).collect();
    let ends = offsets.iter().skip(1).copied().chain([condition.as_str().len()]);
    let mut found = Vec::new();
    for (start, end) in offsets.iter().copied().zip(ends) {
        let text = &condition.as_str()[..end];
        let (before, added) = text.split_at(start);
        let keyword = |word: &str| {
            added
                .trim_start()
                .strip_prefix(word)
                .filter(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '('))
        };
        let Some(rest) = keyword("and") else { continue };
        if !is_open_or(before) && !is_open_or(rest) {
            continue;
        }
        let Ok(read) = parser::parse(text) else { continue };
        let message = format!(
            "`and` binds tighter than `or`, so with the appended text the condition is read as {}",
            shortened(&read.to_string())
        );
        let help = "put parentheses around the alternatives, with `override: {condition: replace}` if they are not in this text";
        let place = condition.at(start, end);
        found.push(Diagnostic::new(Code::AppendPrecedence, message, place).with_help(Some(help.to_owned())));
    }
    found
}

/// True for `a or b` without parentheses around it.
fn is_open_or(text: &str) -> bool {
    match parser::parse(text) {
        Ok(Expr {
            kind: ExprKind::Or(children),
            span,
        }) => children.first().is_some_and(|first| first.span.start == span.start),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
