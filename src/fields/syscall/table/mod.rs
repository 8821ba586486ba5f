//! The rows of the syscall source: name, type, what may stand in brackets, one line of meaning, and where the value
//! comes from. A row says why when nothing could ever fill it: rules cannot use such a field.

pub mod actor;
pub mod container;
pub mod event;
pub mod files;
pub mod process;

use super::CLASSES;
use super::Shape;
use super::view::SyscallView;
use crate::fields::{Scratch, Type, Value};

/// Finds a value, given what stands in brackets; nothing when the event has none.
pub type Get = fn(&SyscallView<'_>, Option<&str>, &mut Scratch) -> Option<Value>;

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    By(Get),
    /// Nowhere, for this reason.
    Refused(&'static str),
}

/// Name, type, shape, meaning, answer.
pub type Row = (&'static str, Type, Shape, &'static str, Answer);

/// The answer of the field with that number.
#[inline]
pub fn answer(number: u32) -> Option<Answer> {
    let (first, rows) = CLASSES.get((number / 1000) as usize)?;
    rows.get((number - first) as usize).map(|row| row.4)
}
