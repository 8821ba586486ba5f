//! The language as its description has it, evaluated check by check over `serde_json` values: nothing is shared,
//! fused, indexed or ordered.

use std::collections::HashMap;

use saker::engine::ast::{
    Check, Expr, ExprKind, Literal, Modifier, Operand, OperandKind, Operator, Right, Transformer, TransformerArgument,
};
use saker::engine::parser::parse;
use serde_json::Value as Json;

use crate::generate::{Event, FIELDS, Rules, Step};

pub struct Interpreter<'a> {
    lists: HashMap<&'a str, &'a [String]>,
    macros: HashMap<&'a str, Expr>,
    rules: Vec<(&'a str, Expr)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(usize),
    List(Vec<String>),
}

impl<'a> Interpreter<'a> {
    pub fn new(rules: &'a Rules) -> Interpreter<'a> {
        let tree = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Interpreter {
            lists: rules
                .lists
                .iter()
                .map(|(n, items)| (n.as_str(), items.as_slice()))
                .collect(),
            macros: rules.macros.iter().map(|(n, text)| (n.as_str(), tree(text))).collect(),
            rules: rules.rules.iter().map(|(n, text)| (n.as_str(), tree(text))).collect(),
        }
    }

    /// Every rule that matches, in order.
    pub fn matches(&self, event: &Event) -> Vec<String> {
        let holds = |(_, expr): &&(&str, Expr)| self.expr(expr, event);
        self.rules
            .iter()
            .filter(holds)
            .map(|(name, _)| (*name).to_owned())
            .collect()
    }

    fn expr(&self, expr: &Expr, event: &Event) -> bool {
        match &expr.kind {
            ExprKind::And(children) => children.iter().all(|c| self.expr(c, event)),
            ExprKind::Or(children) => children.iter().any(|c| self.expr(c, event)),
            ExprKind::Not(child) => !self.expr(child, event),
            ExprKind::Macro(name) => self.expr(&self.macros[name.as_str()], event),
            ExprKind::Check(check) => self.check(check, event),
        }
    }

    /// A constant's texts: several where it names a list.
    fn texts(&self, literal: &Literal) -> Vec<String> {
        match self.lists.get(literal.text.as_str()) {
            Some(items) if !literal.quoted => items.to_vec(),
            _ => vec![literal.text.clone()],
        }
    }

    fn check(&self, check: &Check, event: &Event) -> bool {
        let Some(left) = operand(&check.left, event) else {
            return false;
        };
        match &check.right {
            Right::Nothing => true,
            Right::Operand(right) => {
                operand(right, event).is_some_and(|right| against_value(check.operator, &left, &right))
            }
            Right::Value(literal) => against_text(check.operator, &left, &literal.text),
            Right::List { items, .. } => {
                let items: Vec<String> = items.iter().flat_map(|i| self.texts(i)).collect();
                let holds = |item: &&String| against_text(check.operator, &left, item);
                match check.modifier {
                    Some(Modifier::Oneof) => items.iter().filter(holds).count() == 1,
                    Some(Modifier::Anyof) => items.iter().any(|i| holds(&i)),
                    Some(Modifier::Allof) => !items.is_empty() && items.iter().all(|i| holds(&i)),
                    None => against_list(check.operator, &left, &items),
                }
            }
        }
    }
}

fn against_list(operator: Operator, left: &Value, items: &[String]) -> bool {
    match (operator, left) {
        (Operator::In, Value::List(elements)) => elements.iter().all(|e| items.contains(e)),
        (Operator::Intersects, Value::List(elements)) => elements.iter().any(|e| items.contains(e)),
        (Operator::Pmatch, Value::Text(path)) => items.iter().any(|prefix| path_prefix(prefix, path)),
        (_, Value::Text(text)) => items.contains(text),
        _ => panic!("no {operator} for {left:?}"),
    }
}

fn against_text(operator: Operator, left: &Value, right: &str) -> bool {
    match left {
        Value::Text(text) => compare(operator, text, right),
        Value::Number(number) => {
            let right: usize = right.parse().expect("a number");
            ordered(operator, number.cmp(&right))
        }
        Value::List(_) => panic!("no {operator} for lists"),
    }
}

fn against_value(operator: Operator, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(_), Value::List(right)) => against_list(operator, left, right),
        (Value::Text(left), Value::Text(right)) => compare(operator, left, right),
        _ => panic!("{left:?} {operator} {right:?}"),
    }
}

fn ordered(operator: Operator, order: std::cmp::Ordering) -> bool {
    match operator {
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Gt => order.is_gt(),
        Operator::Ge => order.is_ge(),
        Operator::Ne => order.is_ne(),
        Operator::Eq | Operator::EqEq | Operator::In => order.is_eq(),
        other => panic!("{other} is no order"),
    }
}

fn compare(operator: Operator, left: &str, right: &str) -> bool {
    let glob = |pattern: &str, text: &str| {
        let chars = |s: &str| s.chars().collect::<Vec<char>>();
        glob(&chars(pattern), &chars(text))
    };
    match operator {
        Operator::Contains => left.contains(right),
        Operator::Icontains => left.to_ascii_lowercase().contains(&right.to_ascii_lowercase()),
        Operator::Startswith => left.starts_with(right),
        Operator::Endswith => left.ends_with(right),
        Operator::Glob => glob(right, left),
        Operator::Iglob => glob(&right.to_ascii_lowercase(), &left.to_ascii_lowercase()),
        Operator::Regex => {
            let anchored = format!(r"\A(?m:{right})\z");
            regex::Regex::new(&anchored).expect("an expression").is_match(left)
        }
        Operator::Pmatch => path_prefix(right, left),
        other => ordered(other, left.as_bytes().cmp(right.as_bytes())),
    }
}

/// fnmatch(3) over characters, by trying everything.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|n| glob(rest, &text[n..])),
        ['?', rest @ ..] => !text.is_empty() && glob(rest, &text[1..]),
        ['[', inner @ ..] if inner.iter().skip(1).any(|c| *c == ']') => {
            let end = 1 + inner.iter().skip(1).position(|c| *c == ']').expect("seen");
            let (set, rest) = (&inner[..end], &inner[end + 1..]);
            let (negated, set) = match set {
                ['!', set @ ..] => (true, set),
                set => (false, set),
            };
            text.first().is_some_and(|c| set.contains(c) != negated) && glob(rest, &text[1..])
        }
        ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

fn path_prefix(prefix: &str, path: &str) -> bool {
    let components = |p: &str| -> Vec<String> { p.split('/').filter(|c| !c.is_empty()).map(str::to_owned).collect() };
    let (prefix, path) = (components(prefix), components(path));
    prefix.len() <= path.len() && prefix.iter().zip(&path).all(|(p, c)| compare(Operator::Glob, c, p))
}

fn operand(operand: &Operand, event: &Event) -> Option<Value> {
    let (transformer, arguments) = match &operand.kind {
        OperandKind::Field { .. } => return field(&operand.to_string(), event),
        OperandKind::Transformed {
            transformer, arguments, ..
        } => (*transformer, arguments),
    };
    let values: Vec<Value> = arguments.iter().map(|a| argument(a, event)).collect::<Option<_>>()?;
    Some(match (transformer, values.as_slice()) {
        (Transformer::Val, [value]) => value.clone(),
        (Transformer::Tolower, [Value::Text(text)]) => Value::Text(text.to_ascii_lowercase()),
        (Transformer::Toupper, [Value::Text(text)]) => Value::Text(text.to_ascii_uppercase()),
        (Transformer::Basename, [Value::Text(text)]) => {
            Value::Text(text.rsplit('/').next().unwrap_or_default().to_owned())
        }
        (Transformer::Len, [Value::Text(text)]) => Value::Number(text.len()),
        (Transformer::Len, [Value::List(items)]) => Value::Number(items.len()),
        (Transformer::Concat, values) => Value::Text(values.iter().map(text).collect()),
        (Transformer::Join, [Value::Text(separator), Value::List(items)]) => Value::Text(items.join(separator)),
        other => panic!("{other:?}"),
    })
}

fn argument(argument: &TransformerArgument, event: &Event) -> Option<Value> {
    Some(match argument {
        TransformerArgument::Operand(inner) => operand(inner, event)?,
        TransformerArgument::Constant(literal) => Value::Text(literal.text.clone()),
        TransformerArgument::List(items) => {
            let items: Option<Vec<Value>> = items.iter().map(|i| self::argument(i, event)).collect();
            Value::List(items?.iter().map(text).collect())
        }
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

fn field(name: &str, event: &Event) -> Option<Value> {
    let field = FIELDS
        .iter()
        .find(|f| f.name == name)
        .expect("a field of the generator");
    if name.starts_with("ka.") && event.json.get("auditID").is_none() {
        return None;
    }
    let mut found = Vec::new();
    walk(&event.json, field.steps, &mut found);
    let mut texts = found.into_iter().map(|v| match v {
        Json::String(text) => text.clone(),
        other => event.compact(other),
    });
    if field.list {
        let items: Vec<String> = texts.collect();
        return (!items.is_empty()).then_some(Value::List(items));
    }
    texts.next().map(Value::Text)
}

fn walk<'v>(node: &'v Json, steps: &[Step], found: &mut Vec<&'v Json>) {
    let Some((step, rest)) = steps.split_first() else {
        return found.push(node);
    };
    let next = match step {
        Step::Name(name) => node.as_object().and_then(|o| o.get(*name)),
        Step::Index(index) => node.as_array().and_then(|a| a.get(*index)),
        Step::Token(token) => match node {
            Json::Array(items) => token.parse().ok().and_then(|i: usize| items.get(i)),
            other => other.get(*token),
        },
        Step::Pod => {
            let patched = node["verb"] == "patch" && node["responseObject"]["kind"] == "Pod";
            node.get(if patched { "responseObject" } else { "requestObject" })
        }
        Step::All => {
            match node {
                Json::Array(items) => items.iter().for_each(|i| walk(i, rest, found)),
                Json::Object(members) => members.values().for_each(|m| walk(m, rest, found)),
                _ => {}
            }
            return;
        }
    };
    if let Some(next) = next {
        walk(next, rest, found);
    }
}
