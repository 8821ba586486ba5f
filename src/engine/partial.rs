//! What a condition can still be when only some fields are known: the kernel's side of evaluation.
//!
//! A source that can drop events before they are sent asks here, for each kind of event it can tell apart, whether any
//! rule could match, and which path a rule insists on. Answers may be too generous, never too strict.

use std::collections::BTreeSet;

use super::operator::{Test, TextTest};
use super::program::{Node, NodeId, Program, Slot};
use crate::fields::{Extractor, Scratch, Value};

/// What is known of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Text(&'static str),
    /// A text, and none of these.
    NotAny(&'static [&'static str]),
    Bool(bool),
    /// A number of which the sign is known.
    Negative(bool),
    /// A path; what tests of it insist on is wanted. The number says which way it is looked at.
    Path(PathField),
}

/// Which part of a path a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathField {
    Whole,
    Directory,
    Name,
    /// The path as it was given, not resolved.
    Raw,
}

/// Where a component of a path must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    Last = 1,
    Parent = 2,
    Any = 4,
}

/// What a condition insists on in a path; one of these must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    Component(Role, Vec<u8>),
    /// The path as given has `..` in it.
    Dots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    No,
    Maybe,
    Yes,
}

impl Truth {
    fn of(value: bool) -> Truth {
        if value { Truth::Yes } else { Truth::No }
    }

    fn not(self) -> Truth {
        match self {
            Truth::No => Truth::Yes,
            Truth::Maybe => Truth::Maybe,
            Truth::Yes => Truth::No,
        }
    }
}

/// Whether a condition can hold, and if so, what it insists on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Possible {
    No,
    /// Only with one of these in the path.
    With(BTreeSet<Need>),
    Yes,
}

/// Decides one rule's condition, given what `known` says of fields.
pub fn possible(program: &Program, node: NodeId, known: &impl Fn(&Extractor) -> Option<Given>) -> Possible {
    let partial = Partial { program, known };
    if partial.truth(node) == Truth::No {
        return Possible::No;
    }
    match partial.needs(node) {
        Some(needs) => Possible::With(needs),
        None => Possible::Yes,
    }
}

struct Partial<'a, F> {
    program: &'a Program,
    known: &'a F,
}

impl<F: Fn(&Extractor) -> Option<Given>> Partial<'_, F> {
    fn given(&self, slot: u32) -> Option<Given> {
        match &self.program.slots[slot as usize] {
            Slot::Field(extractor) => (self.known)(extractor),
            Slot::Transformed { .. } => None,
        }
    }

    fn truth(&self, node: NodeId) -> Truth {
        match &self.program.nodes[node as usize] {
            Node::Constant(value) => Truth::of(*value),
            Node::Test { slot, test } => self.given(*slot).map_or(Truth::Maybe, |given| decide(test, given)),
            Node::Compare { .. } => Truth::Maybe,
            Node::Not(inner) => self.truth(*inner).not(),
            Node::And(children) => self.chain(children, Truth::No, Truth::Yes),
            Node::Or(children) => self.chain(children, Truth::Yes, Truth::No),
        }
    }

    /// `ends` decides the chain; without it and without doubt, it is `otherwise`.
    fn chain(&self, children: &[NodeId], ends: Truth, otherwise: Truth) -> Truth {
        let mut result = otherwise;
        for child in children {
            match self.truth(*child) {
                truth if truth == ends => return ends,
                Truth::Maybe => result = Truth::Maybe,
                _ => {}
            }
        }
        result
    }

    /// What must be in the path for the node to hold; nothing when it may hold with any path.
    fn needs(&self, node: NodeId) -> Option<BTreeSet<Need>> {
        match &self.program.nodes[node as usize] {
            Node::Test { slot, test } => match self.given(*slot)? {
                Given::Path(field) => test_needs(test, field),
                _ => None,
            },
            Node::And(children) => children.iter().filter_map(|c| self.needs(*c)).min_by_key(BTreeSet::len),
            Node::Or(children) => {
                let mut all = BTreeSet::new();
                for child in children.iter().filter(|c| self.truth(**c) != Truth::No) {
                    all.extend(self.needs(*child)?);
                }
                Some(all)
            }
            _ => None,
        }
    }
}

fn decide(test: &Test, given: Given) -> Truth {
    let mut scratch = Scratch::default();
    let value = match given {
        Given::Text(text) => Value::Text(scratch.text(|out| out.extend_from_slice(text.as_bytes()))),
        Given::Bool(value) => Value::Bool(value),
        Given::NotAny(texts) => return decide_without(test, texts),
        Given::Negative(negative) => return decide_sign(test, negative),
        Given::Path(_) => return Truth::Maybe,
    };
    Truth::of(test.holds(value, &[], &scratch))
}

/// The value is a text, and none of `texts`.
fn decide_without(test: &Test, texts: &[&str]) -> Truth {
    let among = |text: &[u8]| texts.iter().any(|t| t.as_bytes() == text);
    let text = |test: &TextTest| match test {
        TextTest::Eq(text) if among(text) => Truth::No,
        TextTest::In(set) if set.iter().all(among) => Truth::No,
        _ => Truth::Maybe,
    };
    match test {
        Test::Exists => Truth::Yes,
        Test::Text(test) => text(test),
        Test::NotText(test) => text(test).not(),
        Test::AllIn(set) if set.iter().all(among) => Truth::No,
        _ => Truth::Maybe,
    }
}

/// The value is a number, below zero or not. Two samples of each sign agree where only the sign matters.
fn decide_sign(test: &Test, negative: bool) -> Truth {
    use super::ast::Operator;
    let samples: &[i64] = if negative { &[-1, -4095] } else { &[0, 1 << 31] };
    match test {
        Test::Exists => Truth::Yes,
        Test::Number(Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge, _) => {
            let scratch = Scratch::default();
            let holds = samples
                .iter()
                .filter(|n| test.holds(Value::Int(**n), &[], &scratch))
                .count();
            match holds {
                0 => Truth::No,
                2 => Truth::Yes,
                _ => Truth::Maybe,
            }
        }
        _ => Truth::Maybe,
    }
}

fn test_needs(test: &Test, field: PathField) -> Option<BTreeSet<Need>> {
    let Test::Text(test) = test else {
        return match test {
            Test::Any(tests) => {
                let mut all = BTreeSet::new();
                for test in tests {
                    all.extend(test_needs(test, field)?);
                }
                Some(all)
            }
            _ => None,
        };
    };
    let each = |texts: &mut dyn Iterator<Item = &[u8]>, need: fn(&[u8]) -> Option<Need>| -> Option<BTreeSet<Need>> {
        texts.map(need).collect()
    };
    match (test, field) {
        (TextTest::Contains(finder), PathField::Raw) => finder
            .needle()
            .windows(2)
            .any(|two| two == b"..")
            .then(|| BTreeSet::from([Need::Dots])),
        (_, PathField::Raw) => None,
        (TextTest::Eq(text), PathField::Whole) => each(&mut std::iter::once(&**text), last),
        (TextTest::In(set), PathField::Whole) => each(&mut set.iter(), last),
        (TextTest::Eq(text), PathField::Directory) => each(&mut std::iter::once(&**text), parent),
        (TextTest::In(set), PathField::Directory) => each(&mut set.iter(), parent),
        (TextTest::Eq(text), PathField::Name) => each(&mut std::iter::once(&**text), last),
        (TextTest::In(set), PathField::Name) => each(&mut set.iter(), last),
        (TextTest::StartsWith(texts), PathField::Whole | PathField::Directory) => {
            each(&mut texts.iter().map(|t| &**t), inner)
        }
        (TextTest::EndsWith(texts), PathField::Whole) => each(&mut texts.iter().map(|t| &**t), ending),
        (TextTest::Contains(finder), PathField::Whole) => each(&mut std::iter::once(finder.needle()), enclosed),
        _ => None,
    }
}

fn component(role: Role, name: &[u8]) -> Option<Need> {
    // Names with dots alone are resolved away.
    (!name.is_empty() && name != b"." && name != b"..").then(|| Need::Component(role, name.to_vec()))
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

fn last(path: &[u8]) -> Option<Need> {
    component(Role::Last, name_of(path))
}

fn parent(directory: &[u8]) -> Option<Need> {
    component(Role::Parent, name_of(directory))
}

/// The last whole component of what a path begins with: `/etc/pam.d/` has `pam.d`, `/etc/pam` has `etc`.
fn inner(prefix: &[u8]) -> Option<Need> {
    let whole = &prefix[..prefix.iter().rposition(|b| *b == b'/')?];
    component(Role::Any, name_of(whole))
}

/// What a path ends with says its last component when the slash before it is there.
fn ending(suffix: &[u8]) -> Option<Need> {
    suffix.contains(&b'/').then(|| last(suffix))?
}

/// `/.ssh/` somewhere in a path is a component.
fn enclosed(text: &[u8]) -> Option<Need> {
    let inside = text.strip_prefix(b"/")?.strip_suffix(b"/")?;
    component(Role::Any, name_of(inside))
}
