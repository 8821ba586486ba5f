//! Comparisons: a value of an event against constants that were prepared at load.

use std::net::IpAddr;

use aho_corasick::AhoCorasick;
use hashbrown::HashSet;

use super::ast::Operator;
use super::pattern::{Glob, PathPrefixes};
use crate::fields::{Scratch, Text, Value};

/// A prepared comparison of one value.
#[derive(Debug)]
pub enum Test {
    Exists,
    /// Decided at load (an empty list after a modifier); still false for an absent value.
    Present(bool),
    Text(TextTest),
    /// The text is present and the inner test fails.
    NotText(TextTest),
    Number(Operator, Number),
    /// `!=` of a port: where an event has two, both must differ.
    OtherPort(Number),
    NumberIn(Vec<Number>),
    Bool {
        equal: bool,
        to: bool,
    },
    BoolIn(Vec<bool>),
    Ip {
        equal: bool,
        to: IpMatch,
    },
    IpIn(Vec<IpMatch>),
    /// Every element of a list is in the set.
    AllIn(TextSet),
    /// At least one element of a list is in the set.
    AnyIn(TextSet),
    NumbersIn {
        all: bool,
        set: Vec<Number>,
    },
    /// `oneof`: exactly one of the tests holds.
    One(Vec<Test>),
    /// `anyof`: at least one.
    Any(Vec<Test>),
    /// `allof`: every one.
    All(Vec<Test>),
}

/// A prepared comparison of text.
#[derive(Debug)]
pub enum TextTest {
    Eq(Box<[u8]>),
    Order(Operator, Box<[u8]>),
    In(TextSet),
    Contains(Box<memchr::memmem::Finder<'static>>),
    ContainsAny(AhoCorasick),
    Icontains(AhoCorasick),
    StartsWith(Vec<Box<[u8]>>),
    EndsWith(Vec<Box<[u8]>>),
    Glob(Vec<Glob>),
    Regex(Box<regex::bytes::Regex>),
    RegexAny(regex::bytes::RegexSet),
    Pmatch(Box<PathPrefixes>),
}

/// A set of texts: few are compared one by one, many are hashed.
#[derive(Debug)]
pub enum TextSet {
    Few(Vec<Box<[u8]>>),
    Many(HashSet<Box<[u8]>>),
}

impl TextSet {
    pub fn new(items: impl IntoIterator<Item = Box<[u8]>>) -> TextSet {
        let set: HashSet<Box<[u8]>> = items.into_iter().collect();
        if set.len() <= 6 {
            let mut few: Vec<_> = set.into_iter().collect();
            few.sort();
            TextSet::Few(few)
        } else {
            TextSet::Many(set)
        }
    }

    #[inline]
    pub fn contains(&self, text: &[u8]) -> bool {
        match self {
            TextSet::Few(few) => few.iter().any(|item| **item == *text),
            TextSet::Many(set) => set.contains(text),
        }
    }

    /// The texts, in no order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            TextSet::Few(few) => Box::new(few.iter().map(|item| &**item)),
            TextSet::Many(many) => Box::new(many.iter().map(|item| &**item)),
        }
    }
}

/// An integer of any field type, or a floating-point value.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Number {
    Int(i128),
    Double(f64),
}

impl Number {
    fn order(self, other: Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.double().partial_cmp(&b.double()),
        }
    }

    fn double(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Double(d) => d,
        }
    }

    fn of(value: Value) -> Option<Number> {
        match value {
            Value::Uint(n) => Some(Number::Int(n.into())),
            Value::Int(n) => Some(Number::Int(n.into())),
            Value::Double(d) => Some(Number::Double(d)),
            Value::Bool(b) => Some(Number::Int(b.into())),
            _ => None,
        }
    }
}

fn holds(operator: Operator, order: std::cmp::Ordering) -> bool {
    match operator {
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Gt => order.is_gt(),
        Operator::Ge => order.is_ge(),
        Operator::Ne => order.is_ne(),
        _ => order.is_eq(),
    }
}

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpMatch {
    pub address: IpAddr,
    pub prefix: u8,
}

impl IpMatch {
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl TextTest {
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            TextTest::Eq(want) => **want == *text,
            TextTest::Order(operator, want) => holds(*operator, text.cmp(want)),
            TextTest::In(set) => set.contains(text),
            TextTest::Contains(finder) => finder.find(text).is_some(),
            TextTest::ContainsAny(words) | TextTest::Icontains(words) => words.is_match(text),
            TextTest::StartsWith(prefixes) => prefixes.iter().any(|p| text.starts_with(p)),
            TextTest::EndsWith(suffixes) => suffixes.iter().any(|s| text.ends_with(s)),
            TextTest::Glob(globs) => globs.iter().any(|g| g.matches(text)),
            TextTest::Regex(regex) => sanitised(text, |t| regex.is_match(t)),
            TextTest::RegexAny(set) => sanitised(text, |t| set.is_match(t)),
            TextTest::Pmatch(paths) => paths.matches(text),
        }
    }

    /// How much looking costs, in units of comparing a short string.
    pub fn cost(&self) -> u32 {
        match self {
            TextTest::Eq(_) | TextTest::Order(..) | TextTest::In(_) => 1,
            TextTest::StartsWith(_) | TextTest::EndsWith(_) => 2,
            TextTest::Contains(_) => 6,
            TextTest::Pmatch(_) | TextTest::Glob(_) => 10,
            TextTest::ContainsAny(_) | TextTest::Icontains(_) => 12,
            TextTest::Regex(_) | TextTest::RegexAny(_) => 40,
        }
    }
}

/// Regular expressions see text: bytes that are not UTF-8 become U+FFFD.
fn sanitised(text: &[u8], is_match: impl FnOnce(&[u8]) -> bool) -> bool {
    match simdutf8::basic::from_utf8(text) {
        Ok(_) => is_match(text),
        Err(_) => is_match(String::from_utf8_lossy(text).as_bytes()),
    }
}

fn text_of(value: Value) -> Option<Text> {
    match value {
        Value::Text(text) | Value::Bytes(text) => Some(text),
        _ => None,
    }
}

impl Test {
    /// True when the value satisfies the comparison; an absent one never does.
    pub fn holds(&self, value: Value, event: &[u8], scratch: &Scratch) -> bool {
        if value.is_absent() {
            return false;
        }
        let text =
            |test: &TextTest, value: Value| text_of(value).is_some_and(|t| test.matches(scratch.bytes_of(event, t)));
        let items = |value: Value| match value {
            Value::List(list) => Some(scratch.list(list)),
            _ => None,
        };
        let in_set =
            |set: &TextSet, value: &Value| text_of(*value).is_some_and(|t| set.contains(scratch.bytes_of(event, t)));
        let number_in = |set: &[Number], value: Value| {
            Number::of(value).is_some_and(|n| set.iter().any(|m| n.order(*m).is_some_and(std::cmp::Ordering::is_eq)))
        };
        match self {
            Test::Exists => true,
            Test::Present(result) => *result,
            Test::OtherPort(to) => {
                let equal = |value: Value| Number::of(value).and_then(|n| n.order(*to)).is_some_and(|o| o.is_eq());
                !items(value).map_or_else(|| equal(value), |several| several.iter().any(|v| equal(*v)))
            }
            // A field that may have several values, such as the names of all ancestors: any of them will do.
            Test::Text(_)
            | Test::NotText(_)
            | Test::Number(..)
            | Test::NumberIn(_)
            | Test::Bool { .. }
            | Test::BoolIn(_)
                if matches!(value, Value::List(_)) =>
            {
                items(value).is_some_and(|several| several.iter().any(|v| self.holds(*v, event, scratch)))
            }
            Test::Text(test) => text(test, value),
            Test::NotText(test) => text_of(value).is_some() && !text(test, value),
            Test::Number(operator, to) => Number::of(value)
                .and_then(|n| n.order(*to))
                .is_some_and(|order| holds(*operator, order)),
            Test::NumberIn(set) => number_in(set, value),
            Test::Bool { equal, to } => matches!(value, Value::Bool(b) if (b == *to) == *equal),
            Test::BoolIn(set) => matches!(value, Value::Bool(b) if set.contains(&b)),
            Test::Ip { equal, to } => any_ip(value, scratch, *equal, |ip| to.contains(ip)),
            Test::IpIn(set) => any_ip(value, scratch, true, |ip| set.iter().any(|m| m.contains(ip))),
            Test::AllIn(set) => items(value).is_some_and(|items| items.iter().all(|item| in_set(set, item))),
            Test::AnyIn(set) => items(value).is_some_and(|items| items.iter().any(|item| in_set(set, item))),
            Test::NumbersIn { all, set } => items(value).is_some_and(|items| {
                if *all {
                    items.iter().all(|i| number_in(set, *i))
                } else {
                    items.iter().any(|i| number_in(set, *i))
                }
            }),
            Test::One(tests) => tests.iter().filter(|t| t.holds(value, event, scratch)).count() == 1,
            Test::Any(tests) => tests.iter().any(|t| t.holds(value, event, scratch)),
            Test::All(tests) => tests.iter().all(|t| t.holds(value, event, scratch)),
        }
    }

    pub fn cost(&self) -> u32 {
        match self {
            Test::Text(test) | Test::NotText(test) => test.cost(),
            Test::One(tests) | Test::Any(tests) | Test::All(tests) => tests.iter().map(Test::cost).sum(),
            _ => 1,
        }
    }
}

/// An address field may have two ends: `=` asks for any of them, `!=` for both to differ.
fn any_ip(value: Value, scratch: &Scratch, equal: bool, found: impl Fn(IpAddr) -> bool) -> bool {
    let is = |v: &Value| matches!(v, Value::Ip(ip) if found(*ip));
    let any = match value {
        Value::List(list) => scratch.list(list).iter().any(is),
        Value::Ip(_) => is(&value),
        _ => return false,
    };
    any == equal
}

/// Compares two values of the event, `field OP val(other)`.
pub fn compare(operator: Operator, left: Value, right: Value, event: &[u8], scratch: &Scratch) -> bool {
    if left.is_absent() || right.is_absent() {
        return false;
    }
    if let (Value::List(l), Value::List(r)) = (left, right) {
        let (l, r) = (scratch.list(l), scratch.list(r));
        let found = |a: &Value| r.iter().any(|b| compare(Operator::Eq, *a, *b, event, scratch));
        return match operator {
            Operator::Intersects => l.iter().any(found),
            _ => l.iter().all(found),
        };
    }
    if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
        return a.order(b).is_some_and(|order| holds(operator, order));
    }
    if let (Value::Ip(a), Value::Ip(b)) = (left, right) {
        return holds(
            operator,
            if a == b {
                std::cmp::Ordering::Equal
            } else {
                std::cmp::Ordering::Less
            },
        );
    }
    let (Some(a), Some(b)) = (text_of(left), text_of(right)) else {
        return false;
    };
    let (a, b) = (scratch.bytes_of(event, a), scratch.bytes_of(event, b));
    match operator {
        Operator::Contains | Operator::Bcontains => memchr::memmem::find(a, b).is_some(),
        Operator::Icontains => memchr::memmem::find(&a.to_ascii_lowercase(), &b.to_ascii_lowercase()).is_some(),
        Operator::Startswith | Operator::Bstartswith => a.starts_with(b),
        Operator::Endswith => a.ends_with(b),
        Operator::Glob => Glob::new(b, false).matches(a),
        Operator::Iglob => Glob::new(b, true).matches(a),
        _ => holds(operator, a.cmp(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_values_one_is_enough_unless_ports_must_differ() {
        let mut scratch = Scratch::default();
        let name =
            |scratch: &mut Scratch, text: &str| Value::Text(scratch.text(|out| out.extend_from_slice(text.as_bytes())));
        let names = [name(&mut scratch, "bash"), name(&mut scratch, "sshd")];
        scratch.items.extend(names);
        let names = scratch.list_from(0);
        let eq = |text: &str| TextTest::Eq(text.as_bytes().into());
        scratch.items.extend([Value::Uint(80), Value::Uint(40_000)]);
        let ports = scratch.list_from(2);
        for (test, value, want) in [
            (Test::Text(eq("sshd")), names, true),
            (Test::Text(eq("cron")), names, false),
            (Test::NotText(eq("sshd")), names, true),
            (Test::Number(Operator::Eq, Number::Int(80)), ports, true),
            (Test::NumberIn(vec![Number::Int(81)]), ports, false),
            (Test::OtherPort(Number::Int(80)), ports, false),
            (Test::OtherPort(Number::Int(81)), ports, true),
            (Test::OtherPort(Number::Int(81)), Value::Uint(80), true),
            (Test::OtherPort(Number::Int(81)), Value::Absent, false),
        ] {
            assert_eq!(test.holds(value, &[], &scratch), want, "{test:?} {value:?}");
        }
    }
}
