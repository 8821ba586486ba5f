//! Lists and macros that rule sets hold out to their users: such a rule says nothing until it is given them.

use crate::engine::ast::{Expr, ExprKind, Operator, Right};
use crate::engine::load::RuleDef;
use crate::engine::source::{At, SourceMap};

/// What a rule waits for, and is no mistake therefore.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// A list that has a name, and no items yet.
    pub empty_list: bool,
    /// A macro that excludes whatever has some field at all.
    pub excludes_all: bool,
}

impl Hooks {
    pub fn of(rule: &RuleDef, expr: &Expr, sources: &SourceMap) -> Hooks {
        let mut empty_list = false;
        expr.checks(&mut |check| {
            if let Right::List { items, .. } = &check.right
                && items.is_empty()
            {
                let start = check.operator_span.end;
                let after = At {
                    start,
                    end: sources.end_of(start),
                };
                let written = sources.slice(after).trim_start().trim_start_matches('(').trim_start();
                empty_list |= !written.starts_with(')');
            }
        });
        let parts = match &expr.kind {
            ExprKind::And(children) => children.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        let excludes_all = parts.iter().any(|part| match &part.kind {
            ExprKind::Not(inner) => {
                let is_exists = matches!(&inner.kind, ExprKind::Check(check) if check.operator == Operator::Exists);
                // What does not stand in the rule itself stands in a macro.
                is_exists && rule.condition.find(inner.span.start).is_none()
            }
            _ => false,
        });
        Hooks {
            empty_list,
            excludes_all,
        }
    }
}
