//! An exec session as rules of source `k8s_exec` see it: the process, the audit event, and who it was.

use super::ka::AuditView;
use super::syscall::view::SyscallView;
use super::{Extractor, Place, Scratch, Text, Value, View, evt};
use crate::event::{Source, Timestamp};

/// Both halves of a session. Its bytes are the record's: texts of the audit event are copied.
pub struct SessionView<'a> {
    /// The execve that the process began with, and who is behind it.
    pub process: SyscallView<'a>,
    /// The audit event that opened it, where that is known.
    pub audit: Option<AuditView<'a>>,
    /// When it changed.
    pub time: Timestamp,
    pub first: Timestamp,
    pub number: u64,
}

impl SessionView<'_> {
    fn of_audit(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value {
        let Some(audit) = &mut self.audit else {
            return Value::Absent;
        };
        let from = scratch.items.len();
        let value = audit.extract(extractor, scratch);
        for at in from..scratch.items.len() {
            scratch.items[at] = copied(scratch.items[at], audit.bytes(), &mut scratch.bytes);
        }
        copied(value, audit.bytes(), &mut scratch.bytes)
    }
}

/// A value whose text is no part of the event any more.
fn copied(value: Value, event: &[u8], out: &mut Vec<u8>) -> Value {
    let copy = |text: Text, out: &mut Vec<u8>| match text.place {
        Place::Scratch => text,
        Place::Event => {
            let start = out.len() as u32;
            out.extend_from_slice(event.get(text.start as usize..text.end as usize).unwrap_or_default());
            Text {
                start,
                end: out.len() as u32,
                place: Place::Scratch,
            }
        }
    };
    match value {
        Value::Text(text) => Value::Text(copy(text, out)),
        Value::Bytes(text) => Value::Bytes(copy(text, out)),
        other => other,
    }
}

impl View for SessionView<'_> {
    fn bytes(&self) -> &[u8] {
        self.process.bytes()
    }

    fn extract(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value {
        match extractor {
            Extractor::External(..) | Extractor::Static(_) => self.process.extract(extractor, scratch),
            Extractor::Evt(what) => {
                let facts = evt::Facts {
                    source: Source::K8sExec,
                    time: self.time,
                    first: self.first,
                    number: self.number,
                    plugin: None,
                    info: None,
                    host: self.process.host,
                };
                evt::extract(*what, &facts, scratch)
            }
            _ => self.of_audit(extractor, scratch),
        }
    }
}
