//! Where upstream says that a finding is: the items around it, and the place inside a condition.

use crate::engine::ast::{Expr, Right};
use crate::engine::diagnostic::{Code, Context, Diagnostic, Expression};
use crate::engine::load::{MacroDef, RuleDef};
use crate::engine::source::{At, Pos};

pub fn rule_context(rule: &RuleDef) -> Context {
    Context::new("rule", &rule.name, rule.item_at)
}

pub fn macro_context(definition: &MacroDef) -> Context {
    Context::new("macro", &definition.name, definition.item_at)
}

/// The items around a rule's condition.
pub fn condition_context(rule: &RuleDef) -> Vec<Context> {
    let condition = Context::new("rule condition", "", rule.condition_at);
    vec![rule_context(rule), condition]
}

/// Places a finding about a rule's condition. What stands in a macro is counted from the macro's own text, and
/// all the same from the place of the rule's condition.
pub fn in_condition(rule: &RuleDef, expr: &Expr, macros: &[MacroDef], diagnostic: &mut Diagnostic) {
    let at = At {
        start: counted_from(expr, diagnostic),
        ..diagnostic.at
    };
    let texts = std::iter::once(&rule.condition).chain(macros.iter().map(|m| &m.condition));
    let found = texts.into_iter().find_map(|text| Expression::find(text, at));
    // Of these upstream tells only that they are somewhere in the condition.
    let whole = matches!(diagnostic.code, Code::UnsafeNaCheck | Code::DeprecatedItem);
    diagnostic.expression = Some(Box::new(Expression {
        text: rule.condition.as_str().to_owned(),
        offset: found.and_then(|e| e.offset).filter(|_| !whole),
    }));
    diagnostic.context = condition_context(rule);
}

/// Upstream means a whole comparison by an error about one of its parts.
fn counted_from(expr: &Expr, diagnostic: &Diagnostic) -> Pos {
    let at = diagnostic.at.start;
    let mut from = at;
    expr.checks(&mut |check| {
        let mut end = check.operator_span.end;
        match &check.right {
            Right::Value(literal) => end = literal.span.end,
            Right::List { items, .. } => end = items.last().map_or(end, |i| i.span.end),
            Right::Operand(operand) => end = operand.span.end,
            Right::Nothing => {}
        }
        if at >= check.left.span.end && at < end && diagnostic.is_error() {
            from = check.left.span.start;
        }
    });
    from
}

/// Places a finding about a rule's output.
pub fn output_context(rule: &RuleDef, diagnostic: &mut Diagnostic) {
    diagnostic.context = vec![rule_context(rule)];
    if diagnostic.code != Code::DeprecatedItem {
        diagnostic.context.push(Context::new("rule output", "", rule.output_at));
    }
}
