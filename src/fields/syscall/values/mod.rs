//! How fields are found, by class. Nothing here allocates: texts are parts of the record or written into the scratch.

pub mod actor;
pub mod container;
pub mod event;
pub mod files;
pub mod parameter;
mod path;
pub mod process;
pub mod socket;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::ops::Range;

use crate::event::syscall::Part;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Place, Scratch, Text, Value};

/// Text that is copied.
fn text(scratch: &mut Scratch, bytes: &[u8]) -> Option<Value> {
    Some(Value::Text(scratch.text(|out| out.extend_from_slice(bytes))))
}

/// Text that `write` puts together, unless it finds that there is none.
fn written(scratch: &mut Scratch, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<Value> {
    let mut found = None;
    let text = scratch.text(|out| {
        let start = out.len();
        found = write(out);
        if found.is_none() {
            out.truncate(start);
        }
    });
    found.map(|()| Value::Text(text))
}

/// Text that is a part of the record.
fn part(view: &SyscallView<'_>, part: Part) -> Option<Text> {
    let Range { start, end } = view.record.range(part);
    (start < end).then_some(Text {
        start: start as u32,
        end: end as u32,
        place: Place::Event,
    })
}

/// Appends something that can be printed; writing to memory does not fail.
fn push(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    let _ = write!(out, "{text}");
}

/// Appends items with something between them.
fn push_joined<'i>(out: &mut Vec<u8>, items: impl Iterator<Item = &'i [u8]>, between: u8) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(between);
        }
        out.extend_from_slice(item);
    }
}
