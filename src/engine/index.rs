//! Which rules can match an event, from what they require of a few cheap fields.
//!
//! A rule requires a value when its condition cannot hold without it. For each dimension (verb, resource, stage, …)
//! and each value that some rule requires there, a bit set says which rules are left; an event's candidates are the
//! intersection over the dimensions. It may hold too many rules, never too few.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::compile::conjunct_nodes;
use super::eval::Run;
use super::operator::{Test, TextSet, TextTest};
use super::program::{Node, NodeId, Rule, Slot, SlotId};
use crate::fields::{Extractor, Value, View, syscall};

/// Dimensions beyond this many cost more than they save.
const MAX_DIMENSIONS: usize = 6;

/// The index of one program.
#[derive(Debug, Default)]
pub struct Index {
    dimensions: Vec<Dimension>,
    /// All rules.
    all: Vec<u64>,
    /// Conjuncts that several rules share, with all but those rules.
    without: HashMap<NodeId, Vec<u64>>,
}

#[derive(Debug)]
struct Dimension {
    slot: SlotId,
    by_value: HashMap<Box<[u8]>, Vec<u64>>,
    absent: Vec<u64>,
    /// Rules that require nothing here.
    other: Vec<u64>,
}

/// Values that a condition cannot do without; `None` stands for absence.
pub(super) type Required = BTreeSet<Option<Box<[u8]>>>;

impl Index {
    pub fn build(slots: &[Slot], nodes: &[Node], rules: &[Rule]) -> Index {
        let words = rules.len().div_ceil(64);
        let mut all = vec![0u64; words];
        (0..rules.len()).for_each(|rule| set(&mut all, rule));
        // Slots that read the same place are one dimension.
        let mut places: Vec<(Place<'_>, SlotId)> = Vec::new();
        let mut place_of: HashMap<SlotId, usize> = HashMap::new();
        for (id, slot) in slots.iter().enumerate() {
            let Some(place) = place(slot) else { continue };
            let at = places.iter().position(|(p, _)| *p == place).unwrap_or_else(|| {
                places.push((place, id as SlotId));
                places.len() - 1
            });
            place_of.insert(id as SlotId, at);
        }
        let mut dimensions = Vec::new();
        for (at, (_, slot)) in places.iter().enumerate() {
            let is_here = |id: SlotId| place_of.get(&id) == Some(&at);
            let several = is_several(&slots[*slot as usize]);
            let required: Vec<Option<Required>> = rules
                .iter()
                .map(|r| require(nodes, r.node, &is_here, several))
                .collect();
            let constrained = required.iter().flatten().count();
            if constrained > 0 {
                dimensions.push((constrained, Dimension::new(*slot, &required, words)));
            }
        }
        dimensions.sort_by_key(|(constrained, _)| std::cmp::Reverse(*constrained));
        dimensions.truncate(MAX_DIMENSIONS);
        let without = without(nodes, rules, &all);
        Index {
            dimensions: dimensions.into_iter().map(|(_, d)| d).collect(),
            all,
            without,
        }
    }

    /// Takes the rules out of `candidates` that cannot match because `conjunct` has failed.
    #[inline]
    pub fn fails(&self, conjunct: NodeId, candidates: &mut [u64]) {
        if let Some(left) = self.without.get(&conjunct) {
            candidates.iter_mut().zip(left).for_each(|(word, left)| *word &= left);
        }
    }

    /// Fills in the rules that may match; false when there are none.
    pub fn candidates<V: View>(&self, run: &mut Run<'_, V>, out: &mut Vec<u64>) -> bool {
        out.clear();
        out.extend_from_slice(&self.all);
        if !run.view.indexable() {
            return true;
        }
        for dimension in &self.dimensions {
            let bits = match run.slot(dimension.slot) {
                Value::Text(text) => dimension.by_value.get(run.bytes(text)).unwrap_or(&dimension.other),
                Value::Absent => &dimension.absent,
                // Any of several values will do, such as the names of all ancestors.
                Value::List(list) => {
                    for (at, word) in out.iter_mut().enumerate().filter(|(_, word)| **word != 0) {
                        let of = |item: &Value| match item {
                            Value::Text(text) => dimension.by_value.get(run.bytes(*text)).map_or(0, |bits| bits[at]),
                            _ => 0,
                        };
                        *word &= run
                            .list(list)
                            .iter()
                            .map(of)
                            .fold(dimension.other[at], |all, bits| all | bits);
                    }
                    continue;
                }
                _ => &dimension.other,
            };
            let mut any = 0;
            for (word, mask) in out.iter_mut().zip(bits) {
                *word &= mask;
                any |= *word;
            }
            if any == 0 {
                return false;
            }
        }
        true
    }

    /// What each dimension requires of a rule, for `rules explain`: the dimension's slot and the values, where `None`
    /// stands for absence. Dimensions in which any value will do are left out.
    pub fn required(&self, slots: &[Slot], nodes: &[Node], rule: NodeId) -> Vec<(SlotId, Vec<Option<String>>)> {
        let place_of = |slot: SlotId| slots.get(slot as usize).and_then(place);
        let here = |dimension: &Dimension| {
            let wanted = place_of(dimension.slot)?;
            let here = |slot: SlotId| place_of(slot).is_some_and(|p| p == wanted);
            let several = slots.get(dimension.slot as usize).is_some_and(is_several);
            let required = require(nodes, rule, &here, several)?;
            let text = |value: Box<[u8]>| String::from_utf8_lossy(&value).into_owned();
            Some((dimension.slot, required.into_iter().map(|v| v.map(text)).collect()))
        };
        self.dimensions.iter().filter_map(here).collect()
    }
}

/// For each conjunct that at least this many rules share: all rules but those.
fn without(nodes: &[Node], rules: &[Rule], all: &[u64]) -> HashMap<NodeId, Vec<u64>> {
    const SHARED: usize = 4;
    let mut askers: HashMap<NodeId, Vec<usize>> = HashMap::new();
    for (i, rule) in rules.iter().enumerate() {
        for conjunct in conjunct_nodes(nodes, &rule.node) {
            askers.entry(*conjunct).or_default().push(i);
        }
    }
    askers.retain(|_, rules| rules.len() >= SHARED);
    let but = |askers: Vec<usize>| {
        let mut left = all.to_vec();
        askers
            .into_iter()
            .for_each(|rule| left[rule / 64] &= !(1 << (rule % 64)));
        left
    };
    askers
        .into_iter()
        .map(|(conjunct, askers)| (conjunct, but(askers)))
        .collect()
}

fn set(bits: &mut [u64], rule: usize) {
    bits[rule / 64] |= 1 << (rule % 64);
}

impl Dimension {
    fn new(slot: SlotId, required: &[Option<Required>], words: usize) -> Dimension {
        let mut dimension = Dimension {
            slot,
            by_value: HashMap::new(),
            absent: vec![0; words],
            other: vec![0; words],
        };
        for value in required.iter().flatten().flatten().flatten() {
            dimension
                .by_value
                .entry(value.clone())
                .or_insert_with(|| vec![0; words]);
        }
        for (rule, required) in required.iter().enumerate() {
            match required {
                None => {
                    set(&mut dimension.absent, rule);
                    set(&mut dimension.other, rule);
                    dimension.by_value.values_mut().for_each(|bits| set(bits, rule));
                }
                Some(values) => {
                    for value in values {
                        match value {
                            None => set(&mut dimension.absent, rule),
                            Some(value) => {
                                if let Some(bits) = dimension.by_value.get_mut(value) {
                                    set(bits, rule);
                                }
                            }
                        }
                    }
                }
            }
        }
        dimension
    }
}

/// A cheap place of the event, the same for every field that reads it.
#[derive(PartialEq)]
enum Place<'a> {
    Json(crate::event::audit::Member, Vec<&'a str>),
    External(u32),
}

fn place(slot: &Slot) -> Option<Place<'_>> {
    use crate::event::audit::Member;
    match slot {
        Slot::Field(Extractor::Json(direct)) => {
            let (member, names) = direct.plain_path()?;
            let cheap = !matches!(
                member,
                Member::RequestObject | Member::ResponseObject | Member::RequestUri | Member::AuditId
            );
            cheap.then_some(Place::Json(member, names))
        }
        Slot::Field(Extractor::External(number, None)) => Some(Place::External(*number)),
        _ => None,
    }
}

/// True when the index can tell from an event that the condition does not hold.
pub(super) fn restricts(slots: &[Slot], nodes: &[Node], node: NodeId) -> bool {
    (0..)
        .zip(slots)
        .any(|(id, slot)| place(slot).is_some() && require(nodes, node, &|s| s == id, is_several(slot)).is_some())
}

/// True for a field of which several values are compared at once, and any of them will do: the names of all ancestors.
pub(super) fn is_several(slot: &Slot) -> bool {
    matches!(slot, Slot::Field(Extractor::External(number, _)) if syscall::is_several(*number))
}

/// The values that `node` requires where `is_here` says; `None` when any value will do. A field of `several` values can
/// be two things at once, so that of what is required together one part is as much as can be told.
pub(super) fn require(
    nodes: &[Node],
    node: NodeId,
    is_here: &impl Fn(SlotId) -> bool,
    several: bool,
) -> Option<Required> {
    match &nodes[node as usize] {
        Node::Test { slot, test } if is_here(*slot) => match test {
            Test::Text(TextTest::Eq(value)) => Some(Required::from([Some(value.clone())])),
            Test::Text(TextTest::In(set)) => {
                let values: Vec<Box<[u8]>> = match set {
                    TextSet::Few(few) => few.clone(),
                    TextSet::Many(many) => many.iter().cloned().collect(),
                };
                Some(values.into_iter().map(Some).collect())
            }
            _ => None,
        },
        Node::Constant(false) => Some(Required::new()),
        Node::Not(inner) => match &nodes[*inner as usize] {
            Node::Test {
                slot,
                test: Test::Exists,
            } if is_here(*slot) => Some(Required::from([None])),
            _ => None,
        },
        Node::And(children) => children
            .iter()
            .filter_map(|c| require(nodes, *c, is_here, several))
            .reduce(|a, b| match several {
                true if b.len() < a.len() => b,
                true => a,
                false => &a & &b,
            }),
        Node::Or(children) => {
            let all: Option<Vec<Required>> = children.iter().map(|c| require(nodes, *c, is_here, several)).collect();
            all?.into_iter().reduce(|a, b| &a | &b)
        }
        _ => None,
    }
}
