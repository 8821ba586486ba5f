//! Comparisons that are right and probably not meant.

use super::at;
use super::check::Checker;
use crate::engine::ast::*;
use crate::engine::diagnostic::{Code, Diagnostic};
use crate::engine::pattern;
use crate::engine::source::At;
use crate::fields::syscall;

/// Warns, once for a rule, of a field that is kept for old rules only.
pub fn warn_retired(name: &str, place: At, found: &mut Vec<Diagnostic>) {
    if !syscall::is_retired(name) {
        return;
    }
    let message = if name == "evt.dir" {
        "due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to false. The rule expression can be simplified by removing the condition on 'evt.dir'"
    } else {
        "field is not available due to the drop of enter events."
    };
    if !found.iter().any(|d| d.message == message) {
        found.push(Diagnostic::new(Code::DeprecatedItem, message, place));
    }
}

impl Checker<'_> {
    /// Comparing an audit field with `<NA>` does not find absent values.
    pub(super) fn warn_na(&mut self, check: &Check) {
        let OperandKind::Field { name, .. } = &check.left.kind else {
            return;
        };
        let class = name.split('.').next().unwrap_or_default();
        let asks =
            matches!(check.operator, Operator::Eq | Operator::EqEq | Operator::Ne) || check.operator.takes_list();
        let literals = match &check.right {
            Right::Value(literal) => std::slice::from_ref(literal),
            Right::List { items, .. } => items.as_slice(),
            _ => return,
        };
        if !matches!(class, "ka" | "jevt") || !asks {
            return;
        }
        if let Some(literal) = literals.iter().find(|l| l.text == "<NA>") {
            let help = format!("an absent field has no value to compare: write `{name} exists` or `not {name} exists`");
            let message = "comparing a field value with <NA> is unsafe and can lead to unpredictable behavior of the rule condition";
            self.found
                .push(Diagnostic::new(Code::UnsafeNaCheck, message, at(&literal.span)).with_help(Some(help)));
        }
    }

    pub(super) fn warn_constant(&mut self, operator: Operator, literal: &Literal) {
        let trimmed = literal.text.trim();
        let mut warn = |message: String, help: Option<String>| {
            self.found
                .push(Diagnostic::new(Code::CompileConditionWarning, message, at(&literal.span)).with_help(help));
        };
        if operator == Operator::Regex {
            if pattern::is_plain_text(&literal.text) {
                let message = format!(
                    "regex check with '{}' may be optimized with simpler operators such as '=', 'contains', 'startswith', 'endswith'",
                    literal.text
                );
                warn(message, None);
            }
            return;
        }
        let looks_like = crate::engine::parser::parse_operand(trimmed)
            .ok()
            .filter(|(_, len)| *len == trimmed.len());
        match looks_like.map(|(operand, _)| operand.kind) {
            Some(OperandKind::Field { name, .. }) if self.catalog.find(&name).is_some() => warn(
                format!(
                    "'{}' may be a valid field misused as a const string value",
                    literal.text
                ),
                Some(format!("to compare with the field's value write `val({trimmed})`")),
            ),
            Some(OperandKind::Transformed { .. }) => {
                warn(
                    format!(
                        "'{}' may be a valid field transformer misused as a const string value",
                        literal.text
                    ),
                    None,
                );
            }
            _ => {}
        }
    }
}
