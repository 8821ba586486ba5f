//! Types: each comparison of a tree against its field, each constant parsed to the field's type.

use super::at;
use super::build::{Alternative, Builder};
use super::constant::{address, boolean, number, single, text};
use super::warn::warn_retired;
use crate::engine::ast::*;
use crate::engine::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::engine::operator::{Test, TextSet, TextTest};
use crate::engine::pattern;
use crate::engine::program::{Argument, NodeId, SlotId};
use crate::fields::syscall::events;
use crate::fields::{ArgumentError, Catalog, Type};

/// What an operand comes to.
#[derive(Clone, Debug)]
pub struct Typed {
    pub slot: SlotId,
    pub kind: Type,
    pub list: bool,
    pub no_rhs: bool,
    no_transformer: bool,
    name: String,
}

/// Checks a tree and builds its nodes. What is wrong is reported; the node is then meaningless.
pub fn condition(expr: &Expr, catalog: &Catalog, builder: &mut Builder, found: &mut Vec<Diagnostic>) -> NodeId {
    let mut checker = Checker {
        catalog,
        builder,
        found,
    };
    checker.expr(expr)
}

/// Resolves a field or transformer outside of a condition.
pub fn operand(
    operand: &Operand,
    catalog: &Catalog,
    builder: &mut Builder,
    found: &mut Vec<Diagnostic>,
) -> Result<Typed, Diagnostic> {
    Checker {
        catalog,
        builder,
        found,
    }
    .operand(operand)
}

pub(super) struct Checker<'a> {
    pub(super) catalog: &'a Catalog,
    builder: &'a mut Builder,
    pub(super) found: &'a mut Vec<Diagnostic>,
}

/// What the message about a field says whose data nobody reads.
const REFUSED: &str = "is not supported by saker's probe";

/// True for the complaint that nobody reads a field's data: it matters where the rule is to run.
pub fn is_refusal(found: &Diagnostic) -> bool {
    found.message.contains(REFUSED)
}

pub type Checked<T> = Result<T, Diagnostic>;

pub fn error(message: impl Into<String>, span: &Span) -> Diagnostic {
    Diagnostic::new(Code::CompileCondition, message, at(span))
}

impl Checker<'_> {
    fn expr(&mut self, expr: &Expr) -> NodeId {
        match &expr.kind {
            ExprKind::And(children) => {
                let children = children.iter().map(|c| self.expr(c)).collect();
                self.builder.and(children)
            }
            ExprKind::Or(children) => {
                let children = children.iter().map(|c| self.expr(c)).collect();
                self.builder.or(children)
            }
            ExprKind::Not(child) => {
                let child = self.expr(child);
                self.builder.not(child)
            }
            ExprKind::Check(check) => match self.check(check, &expr.span) {
                Ok(node) => node,
                Err(diagnostic) => {
                    self.found.push(diagnostic);
                    self.builder.constant(false)
                }
            },
            // Macros are gone once a condition is expanded.
            ExprKind::Macro(_) => self.builder.constant(false),
        }
    }

    fn operand(&mut self, operand: &Operand) -> Checked<Typed> {
        match &operand.kind {
            OperandKind::Field { name, argument } => self.field(name, argument.as_deref(), &operand.span),
            OperandKind::Transformed {
                transformer,
                arguments,
                argument,
            } => self.transformed(*transformer, arguments, argument.as_deref(), &operand.span),
        }
    }

    fn field(&mut self, name: &str, argument: Option<&str>, span: &Span) -> Checked<Typed> {
        let written = argument.map_or(name.to_owned(), |argument| format!("{name}[{argument}]"));
        let nonexistent = || format!("filter_check called with nonexistent field {written}");
        let found = self.catalog.find(name);
        let Some((field, member)) = found.filter(|(_, member)| member.is_none() || argument.is_none()) else {
            let help = did_you_mean(name, self.catalog.fields().iter().map(|f| f.name.as_ref()));
            return Err(error(nonexistent(), span).with_help(help));
        };
        let argument = argument.or(member);
        warn_retired(name, at(span), self.found);
        let extractor = self.catalog.resolve(field, argument).map_err(|e| {
            let argument = argument.unwrap_or_default();
            let message = match &e {
                // Only plugins tell a wrong argument from a wrong field.
                _ if !is_plugin_field(name) => nonexistent(),
                ArgumentError::NoSuchMember(..) => nonexistent(),
                ArgumentError::NotWanted(_) => {
                    format!("filter '{name}[{argument}]': {name} does not allow nor require an argument but one is provided: {argument}")
                }
                ArgumentError::Missing(_) => format!("filter '{name}': {name} requires an argument but none provided"),
                ArgumentError::NotAnIndex(..) => {
                    format!("filter {name}[{argument}] {name} has an invalid index argument not composed only by digits: {argument}")
                }
            };
            error(message, span).with_help(Some(e.to_string()))
        })?;
        if let Some(reason) = field.refused {
            let message = format!("field {written} {REFUSED}: {reason}");
            self.found.push(error(message, span));
        }
        let typed = Typed {
            slot: 0,
            kind: field.kind_with(argument),
            list: field.list,
            no_rhs: field.no_rhs,
            no_transformer: field.no_transformer,
            name: written.clone(),
        };
        Ok(Typed {
            slot: self.builder.field(extractor),
            ..typed
        })
    }

    fn transformed(
        &mut self,
        transformer: Transformer,
        arguments: &[TransformerArgument],
        option: Option<&str>,
        span: &Span,
    ) -> Checked<Typed> {
        let wanted = match transformer {
            Transformer::Join | Transformer::Getopt => 2..=2,
            Transformer::Concat => 2..=usize::MAX,
            _ => 1..=1,
        };
        if !wanted.contains(&arguments.len()) {
            let count = if transformer == Transformer::Concat {
                "at least 2".to_owned()
            } else {
                wanted.start().to_string()
            };
            return Err(error(
                format!(
                    "transformer '{transformer}' takes {count} arguments, {} given",
                    arguments.len()
                ),
                span,
            ));
        }
        let mut compiled = Vec::with_capacity(arguments.len());
        let mut types = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let (argument, kind, list) = self.transformer_argument(transformer, argument, span)?;
            compiled.push(argument);
            types.push((kind, list));
        }
        let unsupported = |kind: Type, name: &str| {
            let kind = upstream_type(kind);
            let message = format!(
                "can't add field transformer: type '{kind}' is not supported by '{transformer}' transformer applied on field '{name}'"
            );
            error(message, span)
        };
        let first_name = match arguments.first() {
            Some(TransformerArgument::Operand(operand)) => operand.to_string(),
            _ => String::new(),
        };
        let (first, first_list) = types[0];
        let (kind, list) = match transformer {
            Transformer::Tolower | Transformer::Toupper | Transformer::Basename if first.is_text() => {
                (first, first_list)
            }
            Transformer::B64 if first.is_text() || first == Type::Bytes => (first, first_list),
            Transformer::Len if first_list || first.is_text() || first == Type::Bytes => (Type::Uint, false),
            Transformer::Val => (first, first_list),
            Transformer::Join => {
                let help = || Some("write join(\"-\", (a.b, c.d))".to_owned());
                if !first.is_text() || first_list {
                    return Err(error("join() first argument must be a string", span).with_help(help()));
                }
                if !types[1].1 {
                    return Err(error("join() second argument must be a list", span).with_help(help()));
                }
                (Type::String, false)
            }
            Transformer::Concat => {
                if let Some(i) = types.iter().position(|(kind, list)| !kind.is_text() || *list) {
                    let name = if let TransformerArgument::Operand(o) = &arguments[i] {
                        o.to_string()
                    } else {
                        String::new()
                    };
                    return Err(unsupported(types[i].0, &name));
                }
                (Type::String, false)
            }
            Transformer::Getopt => {
                if option.is_some_and(|o| o.chars().count() != 1) {
                    return Err(error("transformer 'getopt' takes one option letter in brackets", span));
                }
                if !first_list || !first.is_text() || !types[1].0.is_text() || types[1].1 {
                    return Err(error(
                        "transformer 'getopt' takes a list of words and a string of option letters",
                        span,
                    ));
                }
                (Type::String, option.is_none())
            }
            _ => return Err(unsupported(first, &first_name)),
        };
        let slot = self.builder.transformed(transformer, compiled, option.map(Into::into));
        let name = first_name;
        Ok(Typed {
            slot,
            kind,
            list,
            no_rhs: false,
            no_transformer: false,
            name,
        })
    }

    fn transformer_argument(
        &mut self,
        transformer: Transformer,
        argument: &TransformerArgument,
        span: &Span,
    ) -> Checked<(Argument, Type, bool)> {
        match argument {
            TransformerArgument::Operand(operand) => {
                let typed = self.operand(operand)?;
                if typed.no_transformer && transformer != Transformer::Val {
                    return Err(error(
                        format!("field '{}' cannot be given to a transformer", typed.name),
                        &operand.span,
                    ));
                }
                Ok((Argument::Slot(typed.slot), typed.kind, typed.list))
            }
            TransformerArgument::Constant(literal) => {
                Ok((Argument::Constant(literal.bytes().into()), Type::String, false))
            }
            TransformerArgument::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let (argument, _, is_list) = self.transformer_argument(transformer, item, span)?;
                    if is_list {
                        return Err(error("lists cannot hold lists", span));
                    }
                    list.push(argument);
                }
                Ok((Argument::List(list), Type::String, true))
            }
        }
    }

    fn check(&mut self, check: &Check, span: &Span) -> Checked<NodeId> {
        let left = self.operand(&check.left)?;
        let operator = if check.operator == Operator::EqEq {
            Operator::Eq
        } else {
            check.operator
        };
        self.supported(&left, check.operator, &check.operator_span)?;
        self.warn_na(check);
        self.event_types(&left, check)?;
        match &check.right {
            Right::Nothing => Ok(self.builder.test(left.slot, "exists".to_owned(), Test::Exists)),
            Right::Operand(right) => {
                let right_typed = self.operand(right)?;
                self.comparable(&left, &right_typed, operator, right)?;
                Ok(self.builder.compare(left.slot, operator, right_typed.slot))
            }
            Right::Value(literal) => {
                self.warn_constant(operator, literal);
                if operator.takes_list() {
                    return self.membership(&left, operator, std::slice::from_ref(literal), span);
                }
                self.constant(&left, operator, literal)
            }
            Right::List { items, parenthesised } => {
                items.iter().for_each(|item| self.warn_constant(operator, item));
                match check.modifier {
                    Some(modifier) => self.modified(&left, operator, modifier, items, span),
                    None => {
                        let _ = parenthesised;
                        self.membership(&left, operator, items, span)
                    }
                }
            }
        }
    }

    /// Names of events must be names of events.
    fn event_types(&self, left: &Typed, check: &Check) -> Checked<()> {
        let literals = match &check.right {
            Right::Value(literal) => std::slice::from_ref(literal),
            Right::List { items, .. } => items.as_slice(),
            _ => return Ok(()),
        };
        let whole = matches!(
            check.operator,
            Operator::Eq | Operator::EqEq | Operator::Ne | Operator::In | Operator::Intersects
        );
        if left.name != "evt.type" || !whole {
            return Ok(());
        }
        match literals.iter().find(|l| !events::is_event(&l.text)) {
            None => Ok(()),
            Some(literal) => {
                let help = did_you_mean(&literal.text, events::EVENTS.iter().copied());
                Err(error(format!("unknown event type {}", literal.text), &literal.span).with_help(help))
            }
        }
    }

    fn supported(&self, left: &Typed, operator: Operator, span: &Span) -> Checked<()> {
        use Operator::*;
        let base = matches!(operator, Eq | EqEq | Ne | In | Intersects | Exists);
        if left.list {
            if matches!(operator, In | Intersects | Exists) {
                return Ok(());
            }
            let help = format!(
                "`{}` is a list: use `intersects (...)` for any element, `in (...)` for all",
                left.name
            );
            return Err(error(
                format!("filter error: '{operator}' operator not supported list filters"),
                span,
            )
            .with_help(Some(help)));
        }
        let (ok, group) = match left.kind {
            Type::String | Type::FsPath => (!matches!(operator, Bcontains | Bstartswith), "string"),
            Type::Bool => (base, "bool"),
            Type::Bytes => (
                base || matches!(operator, Contains | Startswith | Endswith | Bcontains | Bstartswith),
                "byte buffer",
            ),
            Type::Ip => (base, "ip address"),
            Type::Net => (base, "ip network"),
            _ => (base || operator.is_numeric_only(), "numeric"),
        };
        if ok {
            return Ok(());
        }
        Err(error(
            format!("filter error: '{operator}' operator not supported for {group} filters"),
            span,
        ))
    }

    fn comparable(&self, left: &Typed, right: &Typed, operator: Operator, operand: &Operand) -> Checked<()> {
        let refuse = |why: String| Err(error(why, &operand.span));
        if matches!(operator, Operator::Pmatch | Operator::Regex) {
            return refuse(format!("'{operator}' does not take a field on its right side"));
        }
        if right.no_rhs || left.kind == Type::Net {
            return refuse(format!(
                "field '{}' cannot be compared with a field on its right side",
                right.name
            ));
        }
        if left.list != right.list {
            return refuse(format!(
                "'{}' and '{}' are not both lists or both single values",
                left.name, right.name
            ));
        }
        let same = left.kind == right.kind
            || left.kind.is_text() && right.kind.is_text()
            || left.kind.is_number() && right.kind.is_number();
        if !same {
            let (l, r) = (upstream_type(left.kind), upstream_type(right.kind));
            return refuse(format!(
                "'{}' has type {l} and '{}' has type {r}",
                left.name, right.name
            ));
        }
        Ok(())
    }

    fn constant(&mut self, left: &Typed, operator: Operator, literal: &Literal) -> Checked<NodeId> {
        let key = || format!("{operator} {literal}");
        let test = match left.kind {
            Type::String | Type::FsPath | Type::Bytes => return self.text_constant(left, operator, literal),
            Type::Bool => Test::Bool {
                equal: operator == Operator::Eq,
                to: boolean(literal)?,
            },
            Type::Ip | Type::Net => Test::Ip {
                equal: operator == Operator::Eq,
                to: address(left.kind, literal)?,
            },
            Type::Port if operator == Operator::Ne => Test::OtherPort(number(left.kind, literal)?),
            _ => Test::Number(operator, number(left.kind, literal)?),
        };
        Ok(self.builder.test(left.slot, key(), test))
    }

    fn text_constant(&mut self, left: &Typed, operator: Operator, literal: &Literal) -> Checked<NodeId> {
        let bytes = text(operator, literal)?;
        if operator == Operator::Regex {
            pattern::regex(&literal.text).map_err(|e| {
                error(
                    format!("invalid regular expression '{}': {e}", literal.text),
                    &literal.span,
                )
            })?;
        }
        let key = format!("{operator} {literal}");
        Ok(match operator {
            Operator::Ne => self.builder.test(left.slot, key, Test::NotText(TextTest::Eq(bytes))),
            op if op.is_numeric_only() => self
                .builder
                .test(left.slot, key, Test::Text(TextTest::Order(op, bytes))),
            Operator::Bcontains => self.builder.alternative(
                left.slot,
                Alternative {
                    operator: Operator::Contains,
                    texts: vec![bytes],
                },
            ),
            Operator::Bstartswith => self.builder.alternative(
                left.slot,
                Alternative {
                    operator: Operator::Startswith,
                    texts: vec![bytes],
                },
            ),
            op => self.builder.alternative(
                left.slot,
                Alternative {
                    operator: op,
                    texts: vec![bytes],
                },
            ),
        })
    }

    fn membership(&mut self, left: &Typed, operator: Operator, items: &[Literal], span: &Span) -> Checked<NodeId> {
        let mut key = format!("{operator} list");
        items.iter().for_each(|i| key += &format!("\0{i}"));
        if items.is_empty() {
            // No element is in an empty list; a list field is never empty, so `in` fails for it as well.
            return Ok(self.builder.test(left.slot, key, Test::Present(false)));
        }
        let all = operator == Operator::In;
        let test = match left.kind {
            Type::String | Type::FsPath | Type::Bytes => {
                let texts: Vec<Box<[u8]>> = items.iter().map(|i| text(operator, i)).collect::<Checked<_>>()?;
                if !left.list {
                    return Ok(self.builder.alternative(left.slot, Alternative { operator, texts }));
                }
                let set = TextSet::new(texts);
                if all { Test::AllIn(set) } else { Test::AnyIn(set) }
            }
            Type::Bool => Test::BoolIn(items.iter().map(boolean).collect::<Checked<_>>()?),
            Type::Ip | Type::Net => Test::IpIn(items.iter().map(|i| address(left.kind, i)).collect::<Checked<_>>()?),
            kind => {
                let set = items.iter().map(|i| number(kind, i)).collect::<Checked<_>>()?;
                if left.list {
                    Test::NumbersIn { all, set }
                } else {
                    Test::NumberIn(set)
                }
            }
        };
        let _ = span;
        Ok(self.builder.test(left.slot, key, test))
    }

    fn modified(
        &mut self,
        left: &Typed,
        operator: Operator,
        modifier: Modifier,
        items: &[Literal],
        span: &Span,
    ) -> Checked<NodeId> {
        if left.list {
            return Err(error(
                format!("filter error: '{operator} {modifier}' operator not supported list filters"),
                span,
            ));
        }
        let mut key = format!("{operator} {modifier}");
        items.iter().for_each(|i| key += &format!("\0{i}"));
        let tests: Vec<Test> = items
            .iter()
            .map(|i| single(left.kind, operator, i))
            .collect::<Checked<_>>()?;
        // With nothing to compare with, no modifier holds.
        let test = match modifier {
            _ if tests.is_empty() => Test::Present(false),
            Modifier::Oneof => Test::One(tests),
            Modifier::Anyof => Test::Any(tests),
            Modifier::Allof => Test::All(tests),
        };
        Ok(self.builder.test(left.slot, key, test))
    }
}

/// Fields that come from plugins upstream, whose messages about arguments differ.
fn is_plugin_field(name: &str) -> bool {
    let class = name.split('.').next().unwrap_or_default();
    matches!(class, "ka" | "jevt" | "json" | "container" | "k8s")
}

/// The name that upstream's messages give a type.
fn upstream_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "CHARBUF",
        Type::FsPath => "FSPATH",
        Type::Int => "INT64",
        Type::Uint => "UINT64",
        Type::Bool => "BOOL",
        Type::AbsTime => "ABSTIME",
        Type::RelTime => "RELTIME",
        Type::Port => "PORT",
        Type::Double => "DOUBLE",
        Type::Bytes => "BYTEBUF",
        Type::Ip => "IPADDR",
        Type::Net => "IPNET",
    }
}
