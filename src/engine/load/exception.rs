//! Exceptions: named conditions under which a rule stays silent, written as fields, operators and values.

use super::item::Item;
use super::{Code, Collector, Context, Read, fail};
use crate::engine::ast::{Modifier, Operator};
use crate::engine::parser;
use crate::engine::source::{At, Text};
use crate::engine::yaml::{Node, NodeKind};

/// A value of YAML that is one thing or several.
#[derive(Clone, Debug)]
pub enum OneOrMany {
    One(Text),
    Many(Vec<OneOrMany>, At),
}

impl OneOrMany {
    fn read(node: &Node) -> OneOrMany {
        match &node.kind {
            NodeKind::Scalar { text, .. } => OneOrMany::One(text.clone()),
            NodeKind::Sequence(items) => OneOrMany::Many(items.iter().map(OneOrMany::read).collect(), node.at),
            // A mapping is no value; as an empty list it fails where its length is checked.
            NodeKind::Mapping(_) => OneOrMany::Many(Vec::new(), node.at),
        }
    }

    fn texts(&self) -> Vec<&Text> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(items, _) => items.iter().flat_map(OneOrMany::texts).collect(),
        }
    }

    fn at(&self) -> At {
        match self {
            OneOrMany::One(text) => text.whole(),
            OneOrMany::Many(_, at) => *at,
        }
    }

    fn len(&self) -> usize {
        match self {
            OneOrMany::One(_) => 1,
            OneOrMany::Many(items, _) => items.len(),
        }
    }
}

/// One exception of a rule.
#[derive(Clone, Debug)]
pub struct Exception {
    pub name: String,
    pub at: At,
    /// The whole exception.
    pub item_at: At,
    pub fields: Option<OneOrMany>,
    pub comps: Option<OneOrMany>,
    pub values: Vec<OneOrMany>,
}

fn list_operator(text: &str) -> bool {
    Operator::from_text(text.trim()).is_some_and(Operator::takes_list) || modified(text)
}

/// `startswith oneof` and the like.
fn modified(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some(operator), Some(modifier), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    Modifier::from_text(modifier).is_some()
        && Operator::from_text(operator)
            .is_some_and(|op| !op.is_numeric_only() && !op.takes_list() && op != Operator::Exists)
}

fn supported(text: &str) -> bool {
    Operator::from_text(text.trim()).is_some_and(|op| op != Operator::Exists) || modified(text)
}

impl Exception {
    /// What upstream calls the place of everything that is wrong with an exception.
    pub fn context(&self) -> Context {
        Context::new("exception", &self.name, self.item_at)
    }

    /// Checks an exception that no earlier one of its name completes.
    pub fn check_new(&self, item: &Item<'_>) -> Read<()> {
        self.checked(item).map_err(|mut diagnostic| {
            diagnostic.context.push(self.context());
            diagnostic
        })
    }

    fn checked(&self, item: &Item<'_>) -> Read<()> {
        let Some(fields) = &self.fields else {
            return item.fail(Code::YamlValidate, "Item has no mapping for key 'fields'", self.at);
        };
        match fields {
            OneOrMany::Many(list, at) => {
                if let Some(comps) = &self.comps
                    && (matches!(comps, OneOrMany::One(_)) || comps.len() != list.len())
                {
                    return item.fail(
                        Code::Validate,
                        "Fields and comps lists must have equal length",
                        comps.at(),
                    );
                }
                if list.is_empty() {
                    return item.fail(
                        Code::Validate,
                        "Rule exception must have fields property with a list of fields",
                        *at,
                    );
                }
            }
            OneOrMany::One(_) => {
                let wrong = match &self.comps {
                    None => None,
                    Some(OneOrMany::One(op)) => (!list_operator(op.as_str())).then(|| op.whole()),
                    Some(OneOrMany::Many(_, at)) => Some(*at),
                };
                if let Some(at) = wrong {
                    let message = "When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator (e.g. startswith oneof)";
                    return item.fail(Code::Validate, message, at);
                }
            }
        }
        for op in self.comps.iter().flat_map(OneOrMany::texts) {
            if !supported(op.as_str()) {
                return item.fail(
                    Code::Validate,
                    format!("'{}' is not a supported comparison operator", op.as_str()),
                    op.whole(),
                );
            }
        }
        for field in fields.texts() {
            if !parser::parse_operand(field.as_str()).is_ok_and(|(_, len)| len == field.as_str().trim_end().len()) {
                return item.fail(
                    Code::Validate,
                    format!("'{}' is not a supported filter field", field.as_str()),
                    field.whole(),
                );
            }
        }
        Ok(())
    }

    /// The fields as written.
    pub fn field_texts(&self) -> Vec<&Text> {
        self.fields.as_ref().map(OneOrMany::texts).unwrap_or_default()
    }

    /// The exception as condition text; nothing when it has no values.
    ///
    /// # Errors
    /// Values that do not fit the fields.
    pub fn condition(&self) -> Read<Option<Text>> {
        let Some(fields) = &self.fields else { return Ok(None) };
        if self.values.is_empty() {
            return Ok(None);
        }
        let mut out = Text::pinned("", self.at.start);
        match fields {
            OneOrMany::One(field) => {
                out.push_str("(");
                out.push(field);
                out.push_str(" ");
                match &self.comps {
                    Some(OneOrMany::One(op)) => push_trimmed(&mut out, op),
                    _ => out.push_str("in"),
                }
                out.push_str(" (");
                for (i, value) in self.values.iter().enumerate() {
                    let OneOrMany::One(value) = value else {
                        return fail(
                            Code::Validate,
                            "Expected values array to contain a list of strings",
                            value.at(),
                        );
                    };
                    if i > 0 {
                        out.push_str(", ");
                    }
                    push_quoted(&mut out, value);
                }
                out.push_str("))");
            }
            OneOrMany::Many(fields, _) => {
                out.push_str("(");
                for (i, tuple) in self.values.iter().enumerate() {
                    let OneOrMany::Many(tuple, at) = tuple else {
                        return fail(
                            Code::Validate,
                            "Fields and values lists must have equal length",
                            tuple.at(),
                        );
                    };
                    if tuple.len() != fields.len() {
                        return fail(Code::Validate, "Fields and values lists must have equal length", *at);
                    }
                    out.push_str(if i > 0 { " or (" } else { "(" });
                    for (k, (field, value)) in fields.iter().zip(tuple).enumerate() {
                        out.push_str(if k > 0 { " and " } else { "" });
                        self.push_comparison(&mut out, field, k, value);
                    }
                    out.push_str(")");
                }
                out.push_str(")");
            }
        }
        Ok(Some(out))
    }

    fn push_comparison(&self, out: &mut Text, field: &OneOrMany, k: usize, value: &OneOrMany) {
        field.texts().into_iter().for_each(|f| out.push(f));
        out.push_str(" ");
        let op = match &self.comps {
            Some(OneOrMany::Many(ops, _)) => ops.get(k).and_then(|op| op.texts().first().copied().cloned()),
            _ => None,
        };
        let is_list = op.as_ref().is_some_and(|op| list_operator(op.as_str()));
        match &op {
            Some(op) => push_trimmed(out, op),
            None => out.push_str("="),
        }
        out.push_str(" ");
        match value {
            OneOrMany::Many(items, _) => {
                out.push_str("(");
                for (i, item) in items.iter().flat_map(OneOrMany::texts).enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    push_quoted(out, item);
                }
                out.push_str(")");
            }
            OneOrMany::One(value) if is_list && !value.as_str().starts_with('(') => {
                out.push_str("(");
                push_quoted(out, value);
                out.push_str(")");
            }
            OneOrMany::One(value) if is_list => out.push(value),
            OneOrMany::One(value) => push_quoted(out, value),
        }
    }
}

fn push_trimmed(out: &mut Text, operator: &Text) {
    let text = operator.as_str();
    let start = text.len() - text.trim_start().len();
    out.push(&operator.slice(start, start + text.trim().len()));
}

/// Values with a blank are quoted, unless they come with quotes of their own.
pub fn push_quoted(out: &mut Text, value: &Text) {
    let text = value.as_str();
    if text.is_empty() {
        out.push_str("\"\"");
    } else if text.contains([' ', '\t', '\n']) && !text.starts_with(['"', '\'']) {
        out.push_str("\"");
        out.push(value);
        out.push_str("\"");
    } else {
        out.push(value);
    }
}

impl Collector {
    pub(super) fn exceptions(&mut self, item: &Item<'_>) -> Read<Vec<Exception>> {
        let Some(node) = item.node.get("exceptions") else {
            return Ok(Vec::new());
        };
        let NodeKind::Sequence(nodes) = &node.kind else {
            if node.is_null() {
                return Ok(Vec::new());
            }
            return item.fail(Code::YamlValidate, "Rule exceptions must be a sequence", node.at);
        };
        let mut exceptions: Vec<Exception> = Vec::new();
        for node in nodes {
            let name = node.get("name").and_then(Node::scalar);
            let Some(name) = name.filter(|n| !n.is_empty()) else {
                return item.fail(Code::YamlValidate, "Item has no mapping for key 'name'", node.at);
            };
            let exception = Exception {
                name: name.as_str().to_owned(),
                at: name.whole(),
                item_at: node.at,
                fields: node.get("fields").filter(|n| !n.is_null()).map(OneOrMany::read),
                comps: node.get("comps").filter(|n| !n.is_null()).map(OneOrMany::read),
                values: match node.get("values").map(|n| (&n.kind, n)) {
                    Some((NodeKind::Sequence(values), _)) => values.iter().map(OneOrMany::read).collect(),
                    Some((_, n)) if !n.is_null() => {
                        return item.fail(Code::YamlValidate, "Rule exception values must be a sequence", n.at);
                    }
                    _ => Vec::new(),
                },
            };
            if exceptions.iter().any(|e| e.name == exception.name) {
                let message = format!(
                    "Multiple definitions of exception '{}' in the same rule",
                    exception.name
                );
                let mut diagnostic = item.diagnostic(Code::ExceptionNameNotUnique, message, exception.at);
                diagnostic.context.push(exception.context());
                self.report(diagnostic);
            }
            exceptions.push(exception);
        }
        Ok(exceptions)
    }

    /// Adds values to exceptions of that name, or whole new exceptions.
    pub(super) fn append_exceptions(&mut self, item: &Item<'_>, index: usize, new: Vec<Exception>) -> Read<()> {
        for exception in new {
            let at = exception.at;
            match self.definitions.rules[index]
                .exceptions
                .iter_mut()
                .find(|e| e.name == exception.name)
            {
                Some(old) => {
                    if exception.fields.is_some() {
                        return item.fail(
                            Code::Validate,
                            "Can not append exception fields to existing exception, only values",
                            at,
                        );
                    }
                    if exception.comps.is_some() {
                        return item.fail(
                            Code::Validate,
                            "Can not append exception comps to existing exception, only values",
                            at,
                        );
                    }
                    if exception.values.is_empty() {
                        self.report(item.diagnostic(
                            Code::AppendNoValues,
                            "Overriding/appending exception with no values",
                            at,
                        ));
                    } else {
                        old.values.extend(exception.values);
                    }
                }
                None => {
                    if exception.fields.is_none() {
                        return item.fail(
                            Code::Validate,
                            "Rule exception must have fields property with a list of fields",
                            at,
                        );
                    }
                    if exception.values.is_empty() {
                        return item.fail(
                            Code::Validate,
                            "Rule exception must have values property with a list of values",
                            at,
                        );
                    }
                    exception.check_new(item)?;
                    self.definitions.rules[index].exceptions.push(exception);
                }
            }
        }
        Ok(())
    }
}
