//! A compiled rule set: shared slots, shared nodes, rules, and the index that says which rules can match.

use std::sync::Arc;

use super::ast::{Operator, Transformer};
use super::format::{FieldSource, Output, OutputField};
use super::index::Index;
use super::operator::Test;
use crate::event::{Priority, Source};
use crate::fields::Extractor;

pub type SlotId = u32;
pub type NodeId = u32;

/// A value that is found at most once per event.
#[derive(Debug)]
pub enum Slot {
    Field(Extractor),
    Transformed {
        transformer: Transformer,
        arguments: Vec<Argument>,
        option: Option<Box<str>>,
    },
}

impl Slot {
    /// How a field is found; nothing for what a transformer makes.
    pub fn field(&self) -> Option<&Extractor> {
        match self {
            Slot::Field(extractor) => Some(extractor),
            Slot::Transformed { .. } => None,
        }
    }
}

/// What a transformer works on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    Slot(SlotId),
    Constant(Box<[u8]>),
    List(Vec<Argument>),
}

/// A condition or part of one, decided at most once per event.
#[derive(Debug)]
pub enum Node {
    Constant(bool),
    Test {
        slot: SlotId,
        test: Test,
    },
    Compare {
        left: SlotId,
        operator: Operator,
        right: SlotId,
    },
    Not(NodeId),
    And(Box<[NodeId]>),
    Or(Box<[NodeId]>),
}

/// A rule that can match.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub source: Source,
    pub priority: Priority,
    pub desc: String,
    pub tags: Vec<String>,
    pub runbook: Option<String>,
    /// The condition with macros and lists expanded, in canonical form.
    pub condition: String,
    pub node: NodeId,
    /// The parts that must all hold, as text and node; only where [`Options::explain`](super::Options) asks for them.
    pub conjuncts: Vec<(String, NodeId)>,
    pub output: Output,
}

/// The rules of one source with all that evaluating them needs.
#[derive(Debug, Default)]
pub struct Program {
    pub slots: Vec<Slot>,
    pub nodes: Vec<Node>,
    pub rules: Vec<Rule>,
    pub index: Index,
}

impl Program {
    /// True when a rule's condition or output reads a field for which `is` holds.
    pub fn reads(&self, rule: &Rule, is: &dyn Fn(&Extractor) -> bool) -> bool {
        let printed = |field: &OutputField| match &field.source {
            FieldSource::Slot(printed) => self.slot_reads(printed.slot, is),
            FieldSource::Pieces(_) => false,
        };
        self.node_reads(rule.node, is) || rule.output.fields.iter().any(printed)
    }

    fn node_reads(&self, node: NodeId, is: &dyn Fn(&Extractor) -> bool) -> bool {
        match &self.nodes[node as usize] {
            Node::Constant(_) => false,
            Node::Test { slot, .. } => self.slot_reads(*slot, is),
            Node::Compare { left, right, .. } => self.slot_reads(*left, is) || self.slot_reads(*right, is),
            Node::Not(inner) => self.node_reads(*inner, is),
            Node::And(children) | Node::Or(children) => children.iter().any(|c| self.node_reads(*c, is)),
        }
    }

    fn slot_reads(&self, slot: SlotId, is: &dyn Fn(&Extractor) -> bool) -> bool {
        match &self.slots[slot as usize] {
            Slot::Field(extractor) => is(extractor),
            Slot::Transformed { arguments, .. } => arguments.iter().any(|a| self.argument_reads(a, is)),
        }
    }

    fn argument_reads(&self, argument: &Argument, is: &dyn Fn(&Extractor) -> bool) -> bool {
        match argument {
            Argument::Slot(slot) => self.slot_reads(*slot, is),
            Argument::Constant(_) => false,
            Argument::List(items) => items.iter().any(|item| self.argument_reads(item, is)),
        }
    }
}

/// All sources' programs. Immutable; a reload makes another and swaps it in whole.
#[derive(Debug, Default)]
pub struct RuleSet {
    programs: [Program; 3],
    /// Every match alerts, not only the first.
    pub match_all: bool,
}

impl RuleSet {
    pub fn new(match_all: bool) -> RuleSet {
        RuleSet {
            match_all,
            ..RuleSet::default()
        }
    }

    pub fn set(&mut self, source: Source, program: Program) {
        if let Some(slot) = position(source).and_then(|i| self.programs.get_mut(i)) {
            *slot = program;
        }
    }

    /// The program of a source; an empty one for sources that rules cannot name.
    pub fn program(&self, source: Source) -> &Program {
        position(source).map_or(&self.programs[0], |i| &self.programs[i])
    }

    /// Every rule, source by source, in evaluation order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.programs.iter().flat_map(|p| &p.rules)
    }
}

fn position(source: Source) -> Option<usize> {
    Source::RULE_SOURCES.iter().position(|s| *s == source)
}
