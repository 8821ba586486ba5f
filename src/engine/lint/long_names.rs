//! Names of processes that are longer than the kernel keeps them, so that no process ever has them.

use super::{Linted, shortened};
use crate::engine::ast::{Check, Literal, Operator, Right};
use crate::engine::diagnostic::{Code, Diagnostic};
use crate::engine::source::At;
use crate::event::Source;

/// Bytes of a task's name, without the NUL (include/linux/sched.h: `TASK_COMM_LEN`).
const MAX_NAME: usize = 15;
/// Fields that give such a name.
const FIELDS: [&str; 3] = ["proc.name", "proc.pname", "proc.aname"];

impl Linted<'_> {
    pub(super) fn long_names(&self, found: &mut Vec<Diagnostic>) {
        if self.rule.known_source() != Some(Source::Syscall) {
            return;
        }
        let mut seen = Vec::new();
        self.expr.checks(&mut |check| {
            let field = check.left.field_name().filter(|name| FIELDS.contains(name));
            let Some(field) = field.filter(|_| needs_all_bytes(check.operator)) else {
                return;
            };
            for literal in literals(check) {
                let at = At {
                    start: literal.span.start,
                    end: literal.span.end,
                };
                let bytes = literal.raw.as_deref().unwrap_or(literal.text.as_bytes());
                // A macro or list is one place however often the rule uses it.
                if bytes.len() <= MAX_NAME || seen.contains(&at.start) {
                    continue;
                }
                seen.push(at.start);
                let shown = shortened(&literal.text);
                let never = verb(check.operator);
                let message = format!("`{field}` never {never} `{shown}`: the kernel keeps {MAX_NAME} bytes of a name");
                let kept = String::from_utf8_lossy(&bytes[..MAX_NAME]);
                let kept = kept.trim_end_matches(char::REPLACEMENT_CHARACTER);
                let help = match check.operator {
                    Operator::Endswith | Operator::Contains | Operator::Icontains => {
                        "compare the program's path instead, e.g. `proc.exepath endswith …`".to_owned()
                    }
                    _ => {
                        format!("compare with `{kept}`, or compare the program's path, e.g. `proc.exepath endswith …`")
                    }
                };
                found.push(Diagnostic::new(Code::LongName, message, at).with_help(Some(help)));
            }
        });
    }
}

/// Operators for which the value has to hold every byte of the constant.
fn needs_all_bytes(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::EqEq
            | Operator::Ne
            | Operator::In
            | Operator::Intersects
            | Operator::Startswith
            | Operator::Endswith
            | Operator::Contains
            | Operator::Icontains
    )
}

fn verb(operator: Operator) -> &'static str {
    match operator {
        Operator::Startswith => "begins with",
        Operator::Endswith => "ends with",
        Operator::Contains | Operator::Icontains => "contains",
        _ => "is",
    }
}

fn literals(check: &Check) -> &[Literal] {
    match &check.right {
        Right::Value(literal) => std::slice::from_ref(literal),
        Right::List { items, .. } => items,
        Right::Nothing | Right::Operand(_) => &[],
    }
}
