//! `jevt.*` and `json.*`: any value of the event by JSON pointer, the event itself, its time.

use super::{Field, Origin, Scratch, Value};
use crate::event::audit::{AuditEvent, Tapes};
use crate::json::{Kind, Tape};

/// Values of the event as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Computed {
    /// Pretty-printed with two blanks of indentation.
    Object,
    /// Nanoseconds since the epoch, as text.
    RawTime,
}

/// The rows of both classes, which are the same under two names.
pub fn table() -> Vec<Field> {
    ["jevt", "json"]
        .into_iter()
        .flat_map(|class| {
            [
                Field::string(
                    format!("{class}.value"),
                    Origin::Pointer,
                    "value at a JSON pointer, e.g. jevt.value[/objectRef/name]; strings as they are, anything else as compact JSON",
                )
                .keyed(),
                Field::string(format!("{class}.obj"), Origin::Json(Computed::Object), "the whole event, pretty-printed").always(),
                Field::string(
                    format!("{class}.rawtime"),
                    Origin::Json(Computed::RawTime),
                    "event time in nanoseconds since the epoch, as text",
                )
                .always(),
            ]
        })
        .collect()
}

/// The value of a whole-event field.
pub fn extract(what: Computed, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Value {
    match what {
        Computed::RawTime => Value::Text(scratch.text(|out| crate::event::time::push_padded(out, event.time, 1))),
        Computed::Object => {
            let tape = tapes.whole(event);
            let Some(root) = tape.root() else {
                return Value::Absent;
            };
            Value::Text(scratch.text(|out| pretty(tape, event.text, root, 0, out)))
        }
    }
}

fn pretty(tape: &Tape, text: &[u8], node: u32, indent: usize, out: &mut Vec<u8>) {
    let newline = |out: &mut Vec<u8>, indent: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', indent * 2));
    };
    let here = tape.node(node);
    let quoted = |out: &mut Vec<u8>, raw: &[u8]| {
        out.push(b'"');
        out.extend_from_slice(raw);
        out.push(b'"');
    };
    match here.kind {
        Kind::String => quoted(out, here.span.of(text)),
        Kind::Null | Kind::Bool | Kind::Number => out.extend_from_slice(here.span.of(text)),
        Kind::Array => {
            out.push(b'[');
            let mut first = true;
            for child in tape.children(node) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                newline(out, indent + 1);
                pretty(tape, text, child, indent + 1, out);
            }
            if !first {
                newline(out, indent);
            }
            out.push(b']');
        }
        Kind::Object => {
            out.push(b'{');
            let mut first = true;
            for key in tape.keys(node) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                newline(out, indent + 1);
                quoted(out, tape.node(key).span.of(text));
                out.extend_from_slice(b": ");
                pretty(tape, text, key + 1, indent + 1, out);
            }
            if !first {
                newline(out, indent);
            }
            out.push(b'}');
        }
    }
}
