//! Evaluation of one event: no allocation, no lock, and nothing that can fail.

use super::ast::Transformer;
use super::compile::conjunct_nodes;
use super::program::{Argument, Node, NodeId, Program, Rule, RuleSet, Slot, SlotId};
use super::{operator, transform};
use crate::event::Source;
use crate::fields::{Scratch, Value, View};

/// Memory of evaluation, reused from event to event. One per thread.
#[derive(Debug, Default)]
pub struct Evaluator {
    pub scratch: Scratch,
    slots: Vec<Known<Value>>,
    nodes: Vec<Known<bool>>,
    candidates: Vec<u64>,
    event: u32,
}

/// A result, with the number of the event it was found for.
#[derive(Clone, Copy, Debug)]
struct Known<T> {
    event: u32,
    value: T,
}

impl Evaluator {
    fn begin(&mut self, program: &Program) {
        self.scratch.begin();
        // At the wrap-around, and when another rule set comes, everything counts as unknown.
        self.event = self.event.wrapping_add(1);
        if self.event == 0 || self.slots.len() != program.slots.len() || self.nodes.len() != program.nodes.len() {
            self.event = 1;
            self.slots.clear();
            self.slots.resize(
                program.slots.len(),
                Known {
                    event: 0,
                    value: Value::Absent,
                },
            );
            self.nodes.clear();
            self.nodes.resize(program.nodes.len(), Known { event: 0, value: false });
        }
    }

    /// Evaluates the rules of `source` against one event and calls `matched` for each that matches, in order.
    pub fn evaluate<V: View>(
        &mut self,
        rules: &RuleSet,
        source: Source,
        view: &mut V,
        mut matched: impl FnMut(&Rule, &mut Run<'_, V>),
    ) {
        let program = rules.program(source);
        if program.rules.is_empty() {
            return;
        }
        self.begin(program);
        let mut candidates = std::mem::take(&mut self.candidates);
        let mut run = Run {
            program,
            view,
            state: self,
        };
        if program.index.candidates(&mut run, &mut candidates) {
            let mut at = 0;
            while let Some(found) = next(&candidates, at) {
                let rule = &program.rules[found];
                at = found + 1;
                let conjuncts = conjunct_nodes(&program.nodes, &rule.node);
                match conjuncts.iter().find(|c| !run.node(**c)) {
                    Some(failed) => program.index.fails(*failed, &mut candidates),
                    None => {
                        matched(rule, &mut run);
                        if !rules.match_all {
                            break;
                        }
                    }
                }
            }
        }
        self.candidates = candidates;
    }
}

/// The first rule at or after `from` that is still a candidate.
#[inline]
fn next(candidates: &[u64], from: usize) -> Option<usize> {
    let mut index = from / 64;
    let mut word = candidates.get(index)? & (!0 << (from % 64));
    while word == 0 {
        index += 1;
        word = *candidates.get(index)?;
    }
    Some(index * 64 + word.trailing_zeros() as usize)
}

impl Evaluator {
    /// Decides every rule's conjuncts for one event, whatever the index says, and calls `look` with them and with
    /// whether the index would have let the rule through. For rule tests; needs rules compiled with `explain`.
    pub fn inspect<V: View>(
        &mut self,
        rules: &RuleSet,
        source: Source,
        view: &mut V,
        mut look: impl FnMut(&Rule, &[bool], bool),
    ) {
        let program = rules.program(source);
        self.begin(program);
        let mut candidates = Vec::new();
        let mut run = Run {
            program,
            view,
            state: self,
        };
        program.index.candidates(&mut run, &mut candidates);
        for (i, rule) in program.rules.iter().enumerate() {
            let truths: Vec<bool> = rule.conjuncts.iter().map(|(_, node)| run.node(*node)).collect();
            look(
                rule,
                &truths,
                candidates.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1),
            );
        }
    }
}

/// One event under evaluation.
pub struct Run<'a, V> {
    pub program: &'a Program,
    pub view: &'a mut V,
    pub state: &'a mut Evaluator,
}

impl<V: View> Run<'_, V> {
    /// The value of a slot, found at the first call.
    #[inline]
    pub fn slot(&mut self, id: SlotId) -> Value {
        let known = self.state.slots[id as usize];
        if known.event == self.state.event {
            return known.value;
        }
        let program = self.program;
        let value = match &program.slots[id as usize] {
            Slot::Field(extractor) => self.view.extract(extractor, &mut self.state.scratch),
            Slot::Transformed {
                transformer,
                arguments,
                option,
            } => self.transform(*transformer, arguments, option.as_deref()),
        };
        self.state.slots[id as usize] = Known {
            event: self.state.event,
            value,
        };
        value
    }

    /// The truth of a node, decided at the first call.
    #[inline]
    pub fn node(&mut self, id: NodeId) -> bool {
        let known = self.state.nodes[id as usize];
        if known.event == self.state.event {
            return known.value;
        }
        let program = self.program;
        let value = match &program.nodes[id as usize] {
            Node::Constant(value) => *value,
            Node::Test { slot, test } => {
                let value = self.slot(*slot);
                test.holds(value, self.view.bytes(), &self.state.scratch)
            }
            Node::Compare { left, operator, right } => {
                let (left, right) = (self.slot(*left), self.slot(*right));
                operator::compare(*operator, left, right, self.view.bytes(), &self.state.scratch)
            }
            Node::Not(inner) => !self.node(*inner),
            Node::And(children) => children.iter().all(|c| self.node(*c)),
            Node::Or(children) => children.iter().any(|c| self.node(*c)),
        };
        self.state.nodes[id as usize] = Known {
            event: self.state.event,
            value,
        };
        value
    }

    /// The bytes of a text value.
    pub fn bytes(&self, text: crate::fields::Text) -> &[u8] {
        self.state.scratch.bytes_of(self.view.bytes(), text)
    }

    /// The elements of a list value.
    pub fn list(&self, list: crate::fields::List) -> &[Value] {
        self.state.scratch.list(list)
    }

    fn transform(&mut self, transformer: Transformer, arguments: &[Argument], option: Option<&str>) -> Value {
        let mut values = [Value::Absent; 2];
        match transformer {
            Transformer::Concat => {
                let start = self.state.scratch.items.len();
                for argument in arguments {
                    let value = self.argument(argument);
                    if value.is_absent() {
                        return Value::Absent;
                    }
                    self.state.scratch.items.push(value);
                }
                let list = self.state.scratch.list_from(start);
                transform::join(Value::Absent, list, self.view.bytes(), &mut self.state.scratch)
            }
            _ => {
                for (value, argument) in values.iter_mut().zip(arguments) {
                    *value = self.argument(argument);
                }
                transform::apply(transformer, values, option, self.view.bytes(), &mut self.state.scratch)
            }
        }
    }

    fn argument(&mut self, argument: &Argument) -> Value {
        match argument {
            Argument::Slot(id) => self.slot(*id),
            Argument::Constant(text) => Value::Text(self.state.scratch.text(|out| out.extend_from_slice(text))),
            Argument::List(arguments) => {
                // Elements are found first: finding one may push items of its own.
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let value = self.argument(argument);
                    if value.is_absent() {
                        return Value::Absent;
                    }
                    values.push(value);
                }
                let start = self.state.scratch.items.len() as u32;
                self.state.scratch.items.extend(values);
                Value::List(crate::fields::List {
                    start,
                    end: self.state.scratch.items.len() as u32,
                })
            }
        }
    }
}
