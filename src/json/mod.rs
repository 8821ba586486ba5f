//! JSON as bytes: a validating scanner that only finds where values end, a tape for the parts that are read,
//! and paths compiled to a direct walk over that tape.
//!
//! Most of an audit event is never looked at. So the first pass checks the grammar and remembers spans, and
//! a part becomes a tape when the first rule reads into it. Text stays where it is: values are spans of the
//! input, unescaped only where an escape occurs.

pub mod path;
pub mod scan;
pub mod tape;

pub use path::Path;
pub use scan::{JsonError, Scanner};
pub use tape::{Kind, Tape};

/// A half-open range of bytes of the event's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The bytes of `text` that the span covers; empty when it does not fit.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}
