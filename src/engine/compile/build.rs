//! Builds the shared slots and nodes of a program: equal parts are made once, alternatives on one slot become one
//! test, and cheap tests come first.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use crate::engine::ast::{Operator, Transformer, escape};
use crate::engine::operator::{Test, TextSet, TextTest};
use crate::engine::pattern::{self, Glob, PathPrefixes};
use crate::engine::program::{Argument, Node, NodeId, Slot, SlotId};
use crate::fields::Extractor;

/// Slots and nodes under construction.
#[derive(Debug, Default)]
pub struct Builder {
    slots: Vec<Slot>,
    nodes: Vec<Node>,
    costs: Vec<u32>,
    fields: HashMap<Extractor, SlotId>,
    transformed: HashMap<TransformedKey, SlotId>,
    tests: HashMap<(SlotId, TestKey), NodeId>,
    compares: HashMap<(SlotId, Operator, SlotId), NodeId>,
    joins: HashMap<(bool, Vec<NodeId>), NodeId>,
    nots: HashMap<NodeId, NodeId>,
    /// What a test node looks for, where it could be one of several alternatives.
    alternatives: HashMap<NodeId, (SlotId, Alternative)>,
}

/// What makes two transformed values the same.
type TransformedKey = (Transformer, Vec<Argument>, Option<Box<str>>);

/// What makes two tests of one slot the same.
pub type TestKey = String;

/// A test that can be fused with others like it on the same slot.
#[derive(Clone, Debug)]
pub struct Alternative {
    pub operator: Operator,
    pub texts: Vec<Box<[u8]>>,
}

impl Builder {
    pub fn field(&mut self, extractor: Extractor) -> SlotId {
        if let Some(&id) = self.fields.get(&extractor) {
            return id;
        }
        let id = self.slots.len() as SlotId;
        self.fields.insert(extractor.clone(), id);
        self.slots.push(Slot::Field(extractor));
        id
    }

    pub fn transformed(
        &mut self,
        transformer: Transformer,
        arguments: Vec<Argument>,
        option: Option<Box<str>>,
    ) -> SlotId {
        let key = (transformer, arguments, option);
        if let Some(&id) = self.transformed.get(&key) {
            return id;
        }
        let id = self.slots.len() as SlotId;
        self.slots.push(Slot::Transformed {
            transformer,
            arguments: key.1.clone(),
            option: key.2.clone(),
        });
        self.transformed.insert(key, id);
        id
    }

    fn add(&mut self, node: Node, cost: u32) -> NodeId {
        self.nodes.push(node);
        self.costs.push(cost);
        self.nodes.len() as NodeId - 1
    }

    fn slot_cost(&self, slot: SlotId) -> u32 {
        match &self.slots[slot as usize] {
            Slot::Field(extractor) => extractor.cost(),
            Slot::Transformed { arguments, .. } => {
                10 + arguments
                    .iter()
                    .map(|a| {
                        if let Argument::Slot(s) = a {
                            self.slot_cost(*s)
                        } else {
                            1
                        }
                    })
                    .sum::<u32>()
            }
        }
    }

    pub fn constant(&mut self, value: bool) -> NodeId {
        self.test_with(SlotId::MAX, value.to_string(), |_| Node::Constant(value), None)
    }

    fn test_with(
        &mut self,
        slot: SlotId,
        key: TestKey,
        make: impl FnOnce(&mut Self) -> Node,
        alternative: Option<Alternative>,
    ) -> NodeId {
        if let Some(&id) = self.tests.get(&(slot, key.clone())) {
            return id;
        }
        let node = make(self);
        let cost = match &node {
            Node::Test { slot, test } => self.slot_cost(*slot) + test.cost(),
            _ => 0,
        };
        let id = self.add(node, cost);
        self.tests.insert((slot, key), id);
        if let Some(alternative) = alternative {
            self.alternatives.insert(id, (slot, alternative));
        }
        id
    }

    /// A test of a slot; `key` tells equal tests apart from others.
    pub fn test(&mut self, slot: SlotId, key: TestKey, test: Test) -> NodeId {
        self.test_with(slot, key, |_| Node::Test { slot, test }, None)
    }

    /// A test of a slot that may be fused with others.
    pub fn alternative(&mut self, slot: SlotId, alternative: Alternative) -> NodeId {
        let key = alternative_key(&alternative);
        if let Some(&id) = self.tests.get(&(slot, key.clone())) {
            return id;
        }
        let Some(test) = alternative_test(&alternative) else {
            // What cannot be compiled has been refused before.
            return self.constant(false);
        };
        self.test_with(
            slot,
            key,
            |_| Node::Test {
                slot,
                test: Test::Text(test),
            },
            Some(alternative),
        )
    }

    pub fn compare(&mut self, left: SlotId, operator: Operator, right: SlotId) -> NodeId {
        if let Some(&id) = self.compares.get(&(left, operator, right)) {
            return id;
        }
        let cost = self.slot_cost(left) + self.slot_cost(right) + 5;
        let id = self.add(Node::Compare { left, operator, right }, cost);
        self.compares.insert((left, operator, right), id);
        id
    }

    pub fn not(&mut self, inner: NodeId) -> NodeId {
        if let Node::Not(original) = self.nodes[inner as usize] {
            return original;
        }
        if let Some(&id) = self.nots.get(&inner) {
            return id;
        }
        let id = self.add(Node::Not(inner), self.costs[inner as usize]);
        self.nots.insert(inner, id);
        id
    }

    pub fn and(&mut self, children: Vec<NodeId>) -> NodeId {
        self.join(true, children)
    }

    pub fn or(&mut self, children: Vec<NodeId>) -> NodeId {
        let children = self.fuse(children);
        self.join(false, children)
    }

    fn join(&mut self, and: bool, children: Vec<NodeId>) -> NodeId {
        // Nested chains of the same kind are one chain.
        let mut flat = Vec::with_capacity(children.len());
        for child in children {
            match (&self.nodes[child as usize], and) {
                (Node::And(inner), true) | (Node::Or(inner), false) => flat.extend_from_slice(inner),
                (Node::Constant(value), _) if *value == and => {}
                (Node::Constant(_), _) => return child,
                _ => flat.push(child),
            }
        }
        // Nothing that a check does can be observed, so the cheap ones go first.
        flat.sort_by_key(|c| (self.costs[*c as usize], *c));
        flat.dedup();
        match flat.as_slice() {
            [] => return self.constant(and),
            [only] => return *only,
            _ => {}
        }
        if let Some(&id) = self.joins.get(&(and, flat.clone())) {
            return id;
        }
        let cost = flat.iter().map(|c| self.costs[*c as usize]).sum();
        let node = if and {
            Node::And(flat.clone().into())
        } else {
            Node::Or(flat.clone().into())
        };
        let id = self.add(node, cost);
        self.joins.insert((and, flat), id);
        id
    }

    /// Makes one test of alternatives that look at the same slot with the same operator.
    fn fuse(&mut self, children: Vec<NodeId>) -> Vec<NodeId> {
        let mut out = Vec::with_capacity(children.len());
        let mut groups: Vec<(SlotId, Operator, Vec<NodeId>)> = Vec::new();
        for child in children {
            let Some((slot, alternative)) = self.alternatives.get(&child) else {
                out.push(child);
                continue;
            };
            let (slot, operator) = (*slot, fused_operator(alternative.operator));
            match groups.iter_mut().find(|(s, op, _)| *s == slot && *op == operator) {
                Some((.., members)) => members.push(child),
                None => groups.push((slot, operator, vec![child])),
            }
        }
        for (slot, operator, members) in groups {
            if members.len() == 1 {
                out.extend(members);
                continue;
            }
            let mut texts: Vec<Box<[u8]>> = members
                .iter()
                .filter_map(|m| self.alternatives.get(m))
                .flat_map(|(_, a)| a.texts.clone())
                .collect();
            texts.sort();
            texts.dedup();
            let alternative = Alternative { operator, texts };
            if alternative_test(&alternative).is_some() {
                out.push(self.alternative(slot, alternative));
            } else {
                out.extend(members);
            }
        }
        out
    }

    /// What has been built so far.
    pub fn parts(&self) -> (&[Slot], &[Node]) {
        (&self.slots, &self.nodes)
    }

    /// The slots and nodes of a program whose rules have these conditions.
    ///
    /// Now that it is known how many rules ask for each conjunct, those come first that settle many rules for little:
    /// when one fails, every rule that needs it is out (see [`Index::fails`](crate::engine::index::Index::fails)).
    pub fn finish(mut self, rules: &[NodeId]) -> (Vec<Slot>, Vec<Node>) {
        let mut askers = vec![0u32; self.nodes.len()];
        for rule in rules {
            for conjunct in conjuncts(&self.nodes, rule) {
                askers[*conjunct as usize] += 1;
            }
        }
        for rule in rules {
            if let Node::And(children) = &mut self.nodes[*rule as usize] {
                children.sort_by_key(|c| (self.costs[*c as usize] * 64 / askers[*c as usize].max(1), *c));
            }
        }
        (self.slots, self.nodes)
    }
}

/// The parts of a condition that must all hold.
pub fn conjuncts<'a>(nodes: &'a [Node], condition: &'a NodeId) -> &'a [NodeId] {
    match &nodes[*condition as usize] {
        Node::And(children) => children,
        _ => std::slice::from_ref(condition),
    }
}

/// Equality with one and membership in several are the same question.
fn fused_operator(operator: Operator) -> Operator {
    match operator {
        Operator::Eq | Operator::EqEq | Operator::Intersects => Operator::In,
        other => other,
    }
}

fn alternative_key(alternative: &Alternative) -> TestKey {
    let mut key = fused_operator(alternative.operator).text().to_owned();
    for text in &alternative.texts {
        key.push('\0');
        key.push_str(&escape(text));
    }
    key
}

fn alternative_test(alternative: &Alternative) -> Option<TextTest> {
    let texts = &alternative.texts;
    let as_text = |t: &[u8]| std::str::from_utf8(t).map(str::to_owned).ok();
    Some(match (fused_operator(alternative.operator), texts.as_slice()) {
        (Operator::In, [one]) => TextTest::Eq(one.clone()),
        (Operator::In, _) => TextTest::In(TextSet::new(texts.iter().cloned())),
        (Operator::Contains, [one]) => TextTest::Contains(Box::new(memchr::memmem::Finder::new(one).into_owned())),
        (Operator::Contains, _) => TextTest::ContainsAny(AhoCorasick::new(texts).ok()?),
        (Operator::Icontains, _) => {
            TextTest::Icontains(AhoCorasick::builder().ascii_case_insensitive(true).build(texts).ok()?)
        }
        (Operator::Startswith, _) => TextTest::StartsWith(texts.clone()),
        (Operator::Endswith, _) => TextTest::EndsWith(texts.clone()),
        (Operator::Glob, _) => TextTest::Glob(texts.iter().map(|t| Glob::new(t, false)).collect()),
        (Operator::Iglob, _) => TextTest::Glob(texts.iter().map(|t| Glob::new(t, true)).collect()),
        (Operator::Regex, [one]) => TextTest::Regex(Box::new(pattern::regex(&as_text(one)?).ok()?)),
        (Operator::Regex, _) => {
            let patterns: Option<Vec<String>> = texts
                .iter()
                .map(|t| {
                    as_text(t)
                        .and_then(|t| pattern::regex(&t).ok())
                        .map(|r| r.as_str().to_owned())
                })
                .collect();
            TextTest::RegexAny(regex::bytes::RegexSet::new(patterns?).ok()?)
        }
        (Operator::Pmatch, _) => TextTest::Pmatch(Box::new(PathPrefixes::new(texts.iter().map(|t| &**t)))),
        _ => return None,
    })
}
