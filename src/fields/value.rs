//! A field's value for one event, and the memory that values live in.

use std::net::IpAddr;

/// Which buffer a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The event's own bytes.
    Event,
    /// The scratch buffer: text that had to be put together.
    Scratch,
}

/// A run of bytes. It stays valid until the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub start: u32,
    pub end: u32,
    pub place: Place,
}

/// A run of values in [`Scratch::items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    pub start: u32,
    pub end: u32,
}

/// What a field is in one event. Copying it copies no text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// The event has no such value; every comparison with it is false.
    Absent,
    Text(Text),
    Bytes(Text),
    Uint(u64),
    Int(i64),
    Double(f64),
    Bool(bool),
    Ip(IpAddr),
    List(List),
}

impl Value {
    pub fn is_absent(self) -> bool {
        matches!(self, Value::Absent)
    }
}

/// Memory for values that are not plain parts of the event. It is emptied, not freed, between events.
#[derive(Debug, Default)]
pub struct Scratch {
    pub bytes: Vec<u8>,
    pub items: Vec<Value>,
    /// A buffer lent to one extraction at a time.
    pub(super) lent: Vec<u8>,
}

impl Scratch {
    /// Forgets the values of the event before.
    #[inline]
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    /// Writes a text.
    pub fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Text {
        let start = self.bytes.len() as u32;
        write(&mut self.bytes);
        Text {
            start,
            end: self.bytes.len() as u32,
            place: Place::Scratch,
        }
    }

    /// Makes a list of the items pushed since there were `start` of them; an empty list is absent.
    pub fn list_from(&mut self, start: usize) -> Value {
        if self.items.len() == start {
            return Value::Absent;
        }
        Value::List(List {
            start: start as u32,
            end: self.items.len() as u32,
        })
    }

    /// The elements of a list.
    pub fn list(&self, list: List) -> &[Value] {
        self.items
            .get(list.start as usize..list.end as usize)
            .unwrap_or_default()
    }

    /// The bytes of a text.
    #[inline]
    pub fn bytes_of<'a>(&'a self, event: &'a [u8], text: Text) -> &'a [u8] {
        let buffer = match text.place {
            Place::Event => event,
            Place::Scratch => &self.bytes,
        };
        buffer.get(text.start as usize..text.end as usize).unwrap_or_default()
    }
}
