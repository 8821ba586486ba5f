//! A place in a parsed member, with the ways to move on from there.

use super::node_value;
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::{Scratch, Value};
use crate::json::tape::unescape;
use crate::json::{Kind, Tape};

/// A tape with its text: enough to move around in one object.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub tape: &'a Tape,
    pub text: &'a [u8],
    pub node: u32,
}

impl<'a> Object<'a> {
    pub fn member(self, name: &str) -> Option<Object<'a>> {
        self.tape
            .member(self.text, self.node, name)
            .map(|node| Object { node, ..self })
    }

    /// Calls `found` with everything at `path`. Of several members with one name all are visited: a patch is recorded
    /// as it came, and the API server takes the last of them where [`Object::member`] takes the first.
    pub fn each(self, path: &[&str], found: &mut dyn FnMut(Object<'a>)) {
        let Some((first, rest)) = path.split_first() else {
            return found(self);
        };
        let mut name = Vec::new();
        for (key, child) in self.tape.keys(self.node).zip(self.tape.children(self.node)) {
            name.clear();
            Object { node: key, ..self }.push_text(&mut name);
            if name == first.as_bytes() {
                Object { node: child, ..self }.each(rest, found);
            }
        }
    }

    /// Whether there is anything at `path`.
    pub fn has(self, path: &[&str]) -> bool {
        let mut any = false;
        self.each(path, &mut |_| any = true);
        any
    }

    pub fn at(self, path: &[&str]) -> Option<Object<'a>> {
        path.iter().try_fold(self, |object, name| object.member(name))
    }

    /// The elements of an array, with the one at `index` only where that is given.
    pub fn elements(self, index: Option<u32>) -> impl Iterator<Item = Object<'a>> {
        let children = (self.kind() == Kind::Array).then(|| self.tape.children(self.node));
        let skip = index.unwrap_or(0) as usize;
        let take = if index.is_some() { 1 } else { usize::MAX };
        children
            .into_iter()
            .flatten()
            .skip(skip)
            .take(take)
            .map(move |node| Object { node, ..self })
    }

    pub fn kind(self) -> Kind {
        self.tape.node(self.node).kind
    }

    /// Raw text: a string without its quotes, anything else as it stands.
    pub fn raw(self) -> &'a [u8] {
        self.tape.node(self.node).span.of(self.text)
    }

    pub fn is(self, text: &str) -> bool {
        self.raw() == text.as_bytes()
    }

    pub fn value(self, scratch: &mut Scratch) -> Value {
        node_value(self.tape, self.text, self.node, scratch)
    }

    /// Appends the text of a string, or the JSON text of anything else.
    pub fn push_text(self, out: &mut Vec<u8>) {
        let node = self.tape.node(self.node);
        if node.escaped {
            unescape(self.raw(), out)
        } else {
            out.extend_from_slice(self.raw())
        }
    }
}

/// The root of a member's value.
pub fn object<'a>(event: &AuditEvent<'a>, tapes: &'a mut Tapes, member: Member) -> Option<Object<'a>> {
    let tape = tapes.member(event, member);
    tape.root().map(|node| Object {
        tape,
        text: event.text,
        node,
    })
}
