//! Which events a condition of the syscall source can match: rules that match nearly all of them are slow.

use crate::engine::ast::{Check, Expr, ExprKind, Literal, Modifier, OperandKind, Operator, Right};
use crate::fields::syscall::events::EVENTS;

/// A rule that matches more kinds than this deserves a warning. Upstream counts an event's entry and return apart.
const MANY: usize = 100 / 2;

/// For each event of the table, whether the condition can hold.
type Set = Vec<bool>;

/// True when the condition leaves too many events open.
pub fn too_many(expr: &Expr) -> bool {
    possible(expr, false).into_iter().filter(|p| *p).count() > MANY
}

fn all() -> Set {
    vec![true; EVENTS.len()]
}

/// The events for which the expression, or its negation, can be true.
fn possible(expr: &Expr, negated: bool) -> Set {
    match &expr.kind {
        ExprKind::Not(child) => possible(child, !negated),
        ExprKind::And(children) | ExprKind::Or(children) => {
            // A negated chain is the other chain of the negated parts.
            let every = matches!(expr.kind, ExprKind::And(_)) != negated;
            let start = vec![every; EVENTS.len()];
            children.iter().fold(start, |mut set, child| {
                for (have, can) in set.iter_mut().zip(possible(child, negated)) {
                    *have = if every { *have && can } else { *have || can };
                }
                set
            })
        }
        ExprKind::Check(check) => match exact(check) {
            Some(set) => set.into_iter().map(|can| can != negated).collect(),
            None => all(),
        },
        ExprKind::Macro(_) => all(),
    }
}

/// The events for which a check of the event's type or number holds; nothing for checks of anything else.
fn exact(check: &Check) -> Option<Set> {
    let OperandKind::Field { name, argument: None } = &check.left.kind else {
        return None;
    };
    let literals: &[Literal] = match &check.right {
        Right::Value(literal) => std::slice::from_ref(literal),
        Right::List { items, .. } => items,
        Right::Nothing | Right::Operand(_) => &[],
    };
    let equal = matches!(check.operator, Operator::Eq | Operator::EqEq);
    match name.as_str() {
        // Events are numbered from 1: rule files write `evt.num=0` for "never".
        "evt.num" if equal && literals.iter().any(|l| l.text == "0") => Some(vec![false; EVENTS.len()]),
        "evt.type" => {
            let is_one = |event: &&str| literals.iter().any(|l| l.text == **event);
            let set = EVENTS.iter().map(is_one);
            match (check.operator, check.modifier) {
                (Operator::In | Operator::Intersects, _) => Some(set.collect()),
                (_, None | Some(Modifier::Anyof)) if equal => Some(set.collect()),
                (Operator::Ne, None) => Some(set.map(|is| !is).collect()),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::parser::parse;

    #[test]
    fn conditions_that_leave_the_event_open_are_found() {
        for (text, want) in [
            ("evt.type = open", false),
            ("evt.type != open", true),
            ("not evt.type = open", true),
            ("not not evt.type = open", false),
            ("proc.name = a", true),
            ("proc.name = a and evt.type in (open, openat)", false),
            ("proc.name = a or evt.type in (open, openat)", true),
            ("not (evt.type != open or proc.name = a)", false),
            ("not (evt.type = open and proc.name = a)", true),
            ("evt.type = open and evt.type = close", false),
            ("evt.num = 0", false),
            ("evt.type = open and not evt.num = 0", false),
            ("evt.type = anyof (open, close)", false),
            ("evt.type exists", true),
        ] {
            assert_eq!(too_many(&parse(text).expect(text)), want, "{text}");
        }
    }
}
