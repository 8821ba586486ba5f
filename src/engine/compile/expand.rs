//! Lists are replaced in the text, before parsing; macros in the tree, after it.

use std::collections::HashMap;

use super::place::{condition_context, macro_context, rule_context};
use crate::engine::ast::{Expr, ExprKind, Operand, OperandKind, Right, Span, TransformerArgument};
use crate::engine::diagnostic::{Code, Context, Diagnostic, Expression, did_you_mean};
use crate::engine::load::{Collector, ListDef, MacroDef, RuleDef};
use crate::engine::parser;
use crate::engine::source::{At, Text};

/// Most nodes that a rule's tree may have after its macros are expanded.
const MAX_NODES: usize = 200_000;

/// The expanded lists and parsed macros of one compilation.
pub struct Expansion<'a> {
    collector: &'a Collector,
    lists: Vec<(&'a ListDef, Vec<Text>, bool)>,
    macros: Vec<Macro<'a>>,
    by_name: HashMap<&'a str, usize>,
}

/// A tree, or what is wrong with it.
type Tree = Result<Expr, Vec<Diagnostic>>;

struct Macro<'a> {
    definition: &'a MacroDef,
    /// The condition as written, its lists replaced.
    parsed: Tree,
    /// The same with its macros replaced.
    expanded: Option<Tree>,
    used: bool,
}

/// One replacement of all macros in a tree.
struct Walk {
    /// Macros count that were first defined before this change.
    before: usize,
    /// The macros around the place, which must not come again.
    path: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
    /// How many more nodes the tree may grow by.
    budget: usize,
}

impl<'a> Expansion<'a> {
    pub fn new(collector: &'a Collector) -> Expansion<'a> {
        let mut expansion = Expansion {
            collector,
            lists: Vec::new(),
            macros: Vec::new(),
            by_name: HashMap::new(),
        };
        expansion.lists = collector
            .definitions
            .lists
            .iter()
            .map(|l| (l, Vec::new(), false))
            .collect();
        for i in 0..expansion.lists.len() {
            let list = expansion.lists[i].0;
            let mut items = Vec::new();
            for item in &list.items {
                // Another list of an earlier place gives its own items, one level deep.
                let other = expansion
                    .lists
                    .iter_mut()
                    .find(|(l, ..)| l.name == item.as_str() && l.index < list.visibility);
                match other {
                    Some((other, _, used)) => {
                        *used = true;
                        items.extend(other.items.iter().cloned());
                    }
                    None => items.push(item.clone()),
                }
            }
            expansion.lists[i].1 = items;
        }
        for definition in &collector.definitions.macros {
            let text = expansion.replace_lists(&definition.condition);
            let parsed = parse(&text).map_err(|mut d| {
                d.context = vec![
                    macro_context(definition),
                    Context::new("macro condition", "", definition.condition_at),
                ];
                vec![*d]
            });
            expansion.by_name.insert(&definition.name, expansion.macros.len());
            expansion.macros.push(Macro {
                definition,
                parsed,
                expanded: None,
                used: false,
            });
        }
        // A macro sees what comes before its own latest definition; what it sees is mostly expanded by then.
        for i in 0..expansion.macros.len() {
            let definition = expansion.macros[i].definition;
            let Ok(mut expr) = expansion.macros[i].parsed.clone() else {
                continue;
            };
            let mut walk = Walk {
                before: definition.visibility,
                path: vec![i],
                diagnostics: Vec::new(),
                budget: MAX_NODES,
            };
            expansion.replace_macros(&mut expr, &mut walk);
            for diagnostic in &mut walk.diagnostics {
                diagnostic.expression = Expression::find(&definition.condition, diagnostic.at).map(Box::new);
                diagnostic.context = vec![macro_context(definition)];
            }
            expansion.macros[i].expanded = Some(if walk.diagnostics.is_empty() {
                Ok(expr)
            } else {
                Err(walk.diagnostics)
            });
        }
        expansion
    }

    /// A rule's condition with exceptions, lists and macros in place, and the macros that do not exist: the rest of the
    /// condition is worth checking all the same.
    ///
    /// # Errors
    /// Text that is no condition.
    pub fn rule(&mut self, rule: &RuleDef) -> Result<(Expr, Vec<Diagnostic>), Box<Diagnostic>> {
        let mut condition = rule.condition.clone();
        let mut clauses = Vec::new();
        for exception in &rule.exceptions {
            match exception.condition() {
                Ok(Some(clause)) => clauses.push(clause),
                Ok(None) => {}
                Err(mut diagnostic) => {
                    diagnostic.context = vec![rule_context(rule), exception.context()];
                    return Err(diagnostic);
                }
            }
        }
        if !clauses.is_empty() {
            let mut whole = Text::pinned("(", condition.whole().start);
            whole.push(&condition);
            whole.push_str(")");
            for clause in clauses {
                whole.push_str(" and not ");
                whole.push(&clause);
            }
            condition = whole;
        }
        let text = self.replace_lists(&condition);
        let mut expr = parse(&text).map_err(|mut diagnostic| {
            diagnostic.context = condition_context(rule);
            diagnostic
        })?;
        let mut walk = Walk {
            before: usize::MAX,
            path: Vec::new(),
            diagnostics: Vec::new(),
            budget: MAX_NODES,
        };
        self.replace_macros(&mut expr, &mut walk);
        for diagnostic in &mut walk.diagnostics {
            diagnostic.expression = Expression::find(&rule.condition, diagnostic.at).map(Box::new);
            diagnostic.context = vec![rule_context(rule)];
        }
        Ok((expr, walk.diagnostics))
    }

    /// Reports macros that do not parse; without any error, warns of lists and macros that nothing names.
    pub fn finish(mut self, diagnostics: &mut Vec<Diagnostic>) {
        for found in &mut self.macros {
            for result in [Some(&mut found.parsed), found.expanded.as_mut()].into_iter().flatten() {
                if let Err(found) = result {
                    diagnostics.append(found);
                }
            }
        }
        // What names them may be just what is wrong.
        if diagnostics
            .iter()
            .chain(&self.collector.diagnostics)
            .any(Diagnostic::is_error)
        {
            return;
        }
        for Macro { definition, used, .. } in self.macros {
            if !used {
                let message = "Macro not referred to by any other rule/macro";
                let mut diagnostic = Diagnostic::new(Code::UnusedMacro, message, definition.at);
                diagnostic.context.push(macro_context(definition));
                diagnostics.push(diagnostic);
            }
        }
        for (definition, _, used) in self.lists {
            if !used {
                let message = "List not referred to by any other rule/macro";
                let mut diagnostic = Diagnostic::new(Code::UnusedList, message, definition.at);
                let context = Context::new("list", &definition.name, definition.item_at);
                diagnostic.context.push(context);
                diagnostics.push(diagnostic);
            }
        }
    }

    /// Replaces each list's name where it stands alone between blanks, parentheses, commas and equals signs.
    fn replace_lists(&mut self, text: &Text) -> Text {
        let mut text = text.clone();
        for (list, items, used) in &mut self.lists {
            if let Some(replaced) = replace_list(&text, &list.name, items) {
                *used = true;
                text = replaced;
            }
        }
        text
    }

    fn replace_macros(&mut self, expr: &mut Expr, walk: &mut Walk) {
        let name = match &mut expr.kind {
            ExprKind::And(children) | ExprKind::Or(children) => {
                children.iter_mut().for_each(|c| self.replace_macros(c, walk));
                return;
            }
            ExprKind::Not(child) => return self.replace_macros(child, walk),
            ExprKind::Check(_) => return,
            ExprKind::Macro(name) => name,
        };
        let place = At {
            start: expr.span.start,
            end: expr.span.end,
        };
        let found = self.by_name.get(name.as_str()).copied();
        let Some(found) = found.filter(|&i| self.macros[i].definition.index < walk.before) else {
            walk.diagnostics.push(self.undefined(name, place));
            return;
        };
        if walk.path.contains(&found) {
            let message = format!("reference loop in macro '{name}'");
            walk.diagnostics.push(Diagnostic::new(Code::Validate, message, place));
            return;
        }
        let known = &mut self.macros[found];
        known.used = true;
        // A macro that has errors reports them itself.
        let Ok(inner) = known.expanded.as_ref().unwrap_or(&known.parsed) else {
            return;
        };
        let size = size(inner);
        if size > walk.budget {
            let message = format!("the condition has more than {MAX_NODES} parts when its macros are expanded");
            walk.diagnostics.push(Diagnostic::new(Code::Validate, message, place));
            return;
        }
        walk.budget -= size;
        *expr = inner.clone();
        if known.expanded.is_none() {
            walk.path.push(found);
            self.replace_macros(expr, walk);
            walk.path.pop();
        }
    }

    fn undefined(&self, name: &str, place: At) -> Diagnostic {
        let help = match self.collector.definitions.lists.iter().any(|l| l.name == name) {
            true => Some(format!("`{name}` is a list: write `in ({name})` after a field")),
            false => did_you_mean(name, self.by_name.keys().copied()),
        };
        Diagnostic::new(
            Code::Validate,
            format!("Undefined macro '{name}' used in filter."),
            place,
        )
        .with_help(help)
    }
}

fn size(expr: &Expr) -> usize {
    1 + match &expr.kind {
        ExprKind::And(children) | ExprKind::Or(children) => children.iter().map(size).sum(),
        ExprKind::Not(child) => size(child),
        _ => 0,
    }
}

const BLANKS: &[u8] = b" \t\n\r";

fn is_delimiter(byte: u8) -> bool {
    BLANKS.contains(&byte) || matches!(byte, b'(' | b')' | b',' | b'=')
}

/// The text with a list's name replaced by its items; nothing when the name does not occur.
fn replace_list(text: &Text, name: &str, items: &[Text]) -> Option<Text> {
    if name.is_empty() {
        return None;
    }
    let source = text.as_str();
    let bytes = source.as_bytes();
    let mut out: Option<Text> = None;
    let mut done = 0;
    let mut from = 0;
    while let Some(at) = source[from..].find(name).map(|i| from + i) {
        let (mut start, mut end) = (at, at + name.len());
        from = at + 1;
        while !source.is_char_boundary(from) {
            from += 1;
        }
        let alone = (start == 0 || is_delimiter(bytes[start - 1])) && (end >= bytes.len() || is_delimiter(bytes[end]));
        if !alone || at < done {
            continue;
        }
        while start > done && BLANKS.contains(&bytes[start - 1]) {
            start -= 1;
        }
        while end < bytes.len() && BLANKS.contains(&bytes[end]) {
            end += 1;
        }
        if items.is_empty() {
            // Nothing in its place: one comma beside it goes as well.
            if start > done && bytes[start - 1] == b',' {
                start -= 1;
            } else if end < bytes.len() && bytes[end] == b',' {
                end += 1;
            }
        }
        let place = text.at(at, at + name.len());
        let result = out.get_or_insert_with(|| Text::pinned("", place.start));
        result.push(&text.slice(done, start));
        if start > 0 {
            result.push(&Text::standing_for(" ", place));
        }
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                result.push(&Text::standing_for(", ", place));
            }
            let item = item.as_str();
            let quote = item.contains([' ', '\t', '\n', '\r']) && !item.starts_with(['"', '\'']);
            let written = if item.is_empty() {
                "\"\"".to_owned()
            } else if quote {
                format!("\"{item}\"")
            } else {
                item.to_owned()
            };
            result.push(&Text::standing_for(&written, place));
        }
        result.push(&Text::standing_for(" ", place));
        done = end;
        from = end.max(from);
    }
    let mut result = out?;
    result.push(&text.slice(done, source.len()));
    Some(result)
}

/// Parses expanded text and turns the tree's spans into positions.
fn parse(text: &Text) -> Result<Expr, Box<Diagnostic>> {
    match parser::parse(text.as_str()) {
        Ok(mut expr) => {
            relocate(&mut expr, text);
            Ok(expr)
        }
        Err(e) => {
            let place = text.at(e.span.start as usize, e.span.end as usize);
            let help = help_for_syntax(text.as_str(), e.span.start as usize);
            let mut diagnostic = Diagnostic::new(Code::CompileCondition, e.message, place).with_help(help);
            diagnostic.expression = Some(Box::new(Expression {
                text: text.as_str().to_owned(),
                offset: Some(e.span.start as usize),
            }));
            Err(Box::new(diagnostic))
        }
    }
}

/// What people mean by the words that the parser stopped at.
fn help_for_syntax(text: &str, at: usize) -> Option<String> {
    let rest = text.get(at..)?.trim_start();
    let word: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '(').collect();
    let meant = match word.as_str() {
        "&&" | "AND" => "and",
        "||" | "OR" => "or",
        "NOT" => "not",
        w if w.starts_with('!') => "not",
        _ => {
            let words = ["and", "or", "not"];
            return crate::engine::diagnostic::closest(&word, words).map(|w| format!("did you mean `{w}`?"));
        }
    };
    Some(format!("write `{meant}`"))
}

fn relocate(expr: &mut Expr, text: &Text) {
    locate(&mut expr.span, text);
    match &mut expr.kind {
        ExprKind::And(children) | ExprKind::Or(children) => children.iter_mut().for_each(|c| relocate(c, text)),
        ExprKind::Not(child) => relocate(child, text),
        ExprKind::Macro(_) => {}
        ExprKind::Check(check) => {
            locate(&mut check.operator_span, text);
            relocate_operand(&mut check.left, text);
            match &mut check.right {
                Right::Nothing => {}
                Right::Value(literal) => locate(&mut literal.span, text),
                Right::List { items, .. } => items.iter_mut().for_each(|i| locate(&mut i.span, text)),
                Right::Operand(operand) => relocate_operand(operand, text),
            }
        }
    }
}

fn relocate_operand(operand: &mut Operand, text: &Text) {
    locate(&mut operand.span, text);
    if let OperandKind::Transformed { arguments, .. } = &mut operand.kind {
        arguments.iter_mut().for_each(|a| relocate_argument(a, text));
    }
}

fn relocate_argument(argument: &mut TransformerArgument, text: &Text) {
    match argument {
        TransformerArgument::Operand(operand) => relocate_operand(operand, text),
        TransformerArgument::Constant(literal) => locate(&mut literal.span, text),
        TransformerArgument::List(items) => items.iter_mut().for_each(|i| relocate_argument(i, text)),
    }
}

fn locate(span: &mut Span, text: &Text) {
    let at = text.at(span.start as usize, span.end as usize);
    *span = at.start..at.end;
}
