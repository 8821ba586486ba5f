//! `ka.*`: fields of Kubernetes audit events.
//!
//! The rows that Falco has are in `table`, our own in `own`; what is no plain lookup is in `computed`,
//! `request`, `effective`, `certificate` and `credentials`.
//!
//! Every field of the class is absent when the event has no `auditID`, as upstream has it.

mod certificate;
mod computed;
mod credentials;
mod effective;
mod object;
mod own;
mod request;
mod table;

pub use computed::Computed;
pub use request::{has_failed_open, push_target};
pub use table::table;

use std::sync::Arc;

use super::{Extractor, Field, Scratch, Text, Value, evt, value::Place};
use crate::event::Source;
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::json::path::{Compiled, Path, Rich, Step, walk};
use crate::json::tape::{compact, is_compact, unescape};
use crate::json::{Kind, Span, Tape};

/// A walk from a top-level member to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Direct {
    start: Start,
    steps: Vec<Step>,
    list: bool,
    /// Absent when the event has no auditID.
    audit_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    Member(Member),
    /// The pod that the request is about, see [`pod_member`].
    Pod,
    Whole,
}

impl Direct {
    fn new(path: Path, list: bool, audit_only: bool, pod: bool) -> Direct {
        let known = path.root.as_deref().and_then(|root| Member::from_name(root.as_bytes()));
        let mut steps = path.steps;
        let start = match (known, path.root) {
            (Some(Member::RequestObject), _) if pod => Start::Pod,
            (Some(member), _) => Start::Member(member),
            (None, Some(root)) => {
                steps.insert(0, Step::Name(root));
                Start::Whole
            }
            (None, None) => Start::Whole,
        };
        Direct {
            start,
            steps,
            list,
            audit_only,
        }
    }

    /// A single value at a pointer, for `jevt.value`.
    pub fn pointer(path: Path) -> Direct {
        Direct::new(path, false, false, false)
    }

    /// The member and plain names that the walk passes, when it is nothing else: what an index can be built on.
    pub fn plain_path(&self) -> Option<(Member, Vec<&str>)> {
        let Start::Member(member) = self.start else { return None };
        let names = self.steps.iter().map(|s| match s {
            Step::Name(n) | Step::Token(n) => Some(n.as_ref()),
            _ => None,
        });
        Some((member, names.collect::<Option<_>>()?)).filter(|_| !self.list)
    }

    /// Whether it leads into the object of the request or the response at the user's choice, or to the data of it.
    pub(super) fn shows_object(&self) -> bool {
        let first = self.steps.first().and_then(|step| match step {
            Step::Name(name) | Step::Token(name) => Some(&**name),
            _ => None,
        });
        let of_object = matches!(
            self.start,
            Start::Member(Member::RequestObject | Member::ResponseObject) | Start::Pod | Start::Whole
        );
        of_object && (!self.audit_only || matches!(first, None | Some("data" | "binaryData" | "stringData")))
    }

    pub(super) fn cost(&self) -> u32 {
        match self.start {
            Start::Member(Member::RequestObject | Member::ResponseObject) | Start::Pod => 40,
            Start::Member(_) if self.steps.is_empty() => 1,
            Start::Member(_) => 2,
            Start::Whole => 60,
        }
    }
}

/// Compiles a table row's path, with an index in the place of its first wildcard.
pub(super) fn resolve_path(path: &str, field: &Field, index: Option<u32>, pod: bool) -> Extractor {
    match Compiled::parse(path) {
        Ok(Compiled::Direct(path)) => {
            let path = index.map_or(path.clone(), |i| path.with_index(i as usize));
            Extractor::Json(Direct::new(path, field.list, true, pod))
        }
        Ok(Compiled::Rich(rich)) => Extractor::Rich {
            path: Arc::new(rich),
            list: field.list,
        },
        // INVARIANT: tables and users' own fields are checked when a catalog is made, so every path parses.
        Err(_) => Extractor::External(u32::MAX, None),
    }
}

/// The member that holds the pod a request is about: the object it led to when the request holds a patch
/// (and the answer is a Pod), the request object otherwise.
fn pod_member(event: &AuditEvent<'_>, tapes: &mut Tapes) -> Member {
    if event.raw(Member::Verb) == br#""patch""# {
        let tape = tapes.member(event, Member::ResponseObject);
        let kind = tape.root().and_then(|root| tape.member(event.text, root, "kind"));
        if kind.is_some_and(|kind| tape.node(kind).span.of(event.text) == b"Pod") {
            return Member::ResponseObject;
        }
    }
    Member::RequestObject
}

/// An audit event as the engine sees it.
pub struct AuditView<'a> {
    pub event: &'a AuditEvent<'a>,
    pub tapes: &'a mut Tapes,
    pub first: crate::event::Timestamp,
    pub host: &'a evt::Host,
}

impl super::View for AuditView<'_> {
    fn bytes(&self) -> &[u8] {
        self.event.text
    }

    #[inline]
    fn extract(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value {
        match extractor {
            Extractor::Json(direct) => self.direct(direct, scratch),
            Extractor::Audit { what, index, key } => {
                if self.event.member(Member::AuditId).is_empty() {
                    return Value::Absent;
                }
                computed::extract(*what, *index, key.as_deref(), self.event, self.tapes, scratch)
            }
            Extractor::Whole(what) => super::jevt::extract(*what, self.event, self.tapes, scratch),
            Extractor::Evt(what) => {
                let facts = evt::Facts {
                    source: Source::K8sAudit,
                    time: self.event.time,
                    first: self.first,
                    number: self.event.number,
                    plugin: Some("k8saudit"),
                    info: Some(self.event.bytes()),
                    host: self.host,
                };
                evt::extract(*what, &facts, scratch)
            }
            Extractor::Rich { path, list } => self.rich(path, *list, scratch),
            Extractor::Static(value) => Value::Text(scratch.text(|out| out.extend_from_slice(value.as_bytes()))),
            Extractor::External(..) => Value::Absent,
        }
    }

    fn indexable(&self) -> bool {
        // The index reads members whatever the auditID; without one every `ka.*` is absent instead.
        !self.event.member(Member::AuditId).is_empty()
    }
}

impl AuditView<'_> {
    #[inline]
    fn direct(&mut self, direct: &Direct, scratch: &mut Scratch) -> Value {
        let event = self.event;
        if direct.audit_only && event.member(Member::AuditId).is_empty() {
            return Value::Absent;
        }
        let tape = match direct.start {
            Start::Member(member) if direct.steps.is_empty() && !direct.list => {
                return raw_value(event.text, event.member(member), scratch);
            }
            Start::Member(member) => self.tapes.member(event, member),
            Start::Pod => {
                let member = pod_member(event, self.tapes);
                self.tapes.member(event, member)
            }
            Start::Whole => self.tapes.whole(event),
        };
        let Some(root) = tape.root() else {
            return Value::Absent;
        };
        let text = event.text;
        if !direct.list {
            let mut value = Value::Absent;
            walk(tape, text, root, &direct.steps, &mut |node| {
                value = node_value(tape, text, node, scratch)
            });
            return value;
        }
        let start = scratch.items.len();
        walk(tape, text, root, &direct.steps, &mut |node| {
            let value = node_value(tape, text, node, scratch);
            scratch.items.push(value);
        });
        scratch.list_from(start)
    }

    /// A path of the user's with filters or descendants: correct, and as slow as parsing the event again.
    fn rich(&mut self, path: &Rich, list: bool, scratch: &mut Scratch) -> Value {
        if self.event.member(Member::AuditId).is_empty() {
            return Value::Absent;
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(self.event.bytes()) else {
            return Value::Absent;
        };
        let found = jsonpath_rust::query::js_path_process(&path.query, &json).unwrap_or_default();
        let start = scratch.items.len();
        for value in found.into_iter().map(|v| v.val()) {
            let text = scratch.text(|out| match value {
                serde_json::Value::String(s) => out.extend_from_slice(s.as_bytes()),
                other => out.extend_from_slice(other.to_string().as_bytes()),
            });
            scratch.items.push(Value::Text(text));
        }
        if list {
            return scratch.list_from(start);
        }
        scratch.items.get(start).copied().unwrap_or(Value::Absent)
    }
}

/// A value as it stands in the text: a string's content, or anything else as compact JSON.
#[inline]
fn raw_value(text: &[u8], span: Span, scratch: &mut Scratch) -> Value {
    let raw = span.of(text);
    match raw.first() {
        None => Value::Absent,
        Some(b'"') => {
            let inner = Span {
                start: span.start + 1,
                end: span.end - 1,
            };
            string_value(text, inner, memchr::memchr(b'\\', inner.of(text)).is_some(), scratch)
        }
        Some(_) => json_value(text, span, scratch),
    }
}

fn string_value(text: &[u8], span: Span, escaped: bool, scratch: &mut Scratch) -> Value {
    if escaped {
        return Value::Text(scratch.text(|out| unescape(span.of(text), out)));
    }
    Value::Text(Text {
        start: span.start,
        end: span.end,
        place: Place::Event,
    })
}

fn json_value(text: &[u8], span: Span, scratch: &mut Scratch) -> Value {
    let raw = span.of(text);
    if is_compact(raw) {
        return Value::Text(Text {
            start: span.start,
            end: span.end,
            place: Place::Event,
        });
    }
    Value::Text(scratch.text(|out| compact(raw, out)))
}

/// A node's value: a string's content, or anything else as compact JSON.
fn node_value(tape: &Tape, text: &[u8], node: u32, scratch: &mut Scratch) -> Value {
    let node = tape.node(node);
    match node.kind {
        Kind::String => string_value(text, node.span, node.escaped, scratch),
        Kind::Array | Kind::Object => json_value(text, node.span, scratch),
        _ => Value::Text(Text {
            start: node.span.start,
            end: node.span.end,
            place: Place::Event,
        }),
    }
}
