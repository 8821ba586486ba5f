//! A parsed value as one flat array of nodes, reused from event to event.

use super::Span;
use super::scan::{JsonError, Scanner};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// One value, or one member name. Children follow their container; an object's children alternate name and value.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub kind: Kind,
    /// A string with at least one escape sequence.
    pub escaped: bool,
    /// A string's span leaves its quotes out.
    pub span: Span,
    /// Index of the node after this one and all it contains.
    pub next: u32,
}

/// No container: the root.
const NONE: u32 = u32::MAX;

/// The nodes of one value, the root first.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    open: Vec<u32>,
}

impl Tape {
    /// Replaces what the tape holds by the value that starts at `pos`.
    pub fn parse(&mut self, text: &[u8], pos: usize) -> Result<(), JsonError> {
        self.nodes.clear();
        self.open.clear();
        let mut scanner = Scanner::new(text, pos);
        scanner.skip_whitespace();
        // The innermost container and its kind stay at hand; those around it wait on the stack.
        let (mut container, mut object) = (NONE, false);
        'value: loop {
            let start = scanner.pos() as u32;
            match scanner.peek() {
                b'"' => {
                    let escaped = scanner.string()?;
                    self.push(Kind::String, escaped, start + 1, scanner.pos() as u32 - 1);
                }
                open @ (b'{' | b'[') => {
                    scanner.advance();
                    scanner.skip_whitespace();
                    let kind = if open == b'{' { Kind::Object } else { Kind::Array };
                    self.push(kind, false, start, start);
                    if scanner.peek() == open + 2 {
                        scanner.advance();
                        self.close(self.nodes.len() - 1, scanner.pos());
                    } else {
                        if self.open.len() == super::scan::MAX_DEPTH {
                            return Err(JsonError {
                                at: scanner.pos(),
                                what: "nested too deep",
                            });
                        }
                        self.open.push(container);
                        container = self.nodes.len() as u32 - 1;
                        object = kind == Kind::Object;
                        if object {
                            self.key(&mut scanner)?;
                        }
                        continue 'value;
                    }
                }
                first => {
                    scanner.scalar()?;
                    let kind = match first {
                        b'n' => Kind::Null,
                        b't' | b'f' => Kind::Bool,
                        _ => Kind::Number,
                    };
                    self.push(kind, false, start, scanner.pos() as u32);
                }
            }
            loop {
                if container == NONE {
                    return Ok(());
                }
                scanner.skip_whitespace();
                match scanner.peek() {
                    b',' => {
                        scanner.advance();
                        if object {
                            scanner.skip_whitespace();
                            self.key(&mut scanner)?;
                        } else {
                            scanner.skip_whitespace();
                        }
                        continue 'value;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => {
                        return Err(JsonError {
                            at: scanner.pos(),
                            what: "`,` or the end of an object or array is due",
                        });
                    }
                }
                scanner.advance();
                self.close(container as usize, scanner.pos());
                container = self.open.pop().unwrap_or(NONE);
                object = container != NONE && self.nodes[container as usize].kind == Kind::Object;
            }
        }
    }

    #[inline(always)]
    fn key(&mut self, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
        let start = scanner.pos() as u32;
        if scanner.peek() != b'"' {
            return Err(JsonError {
                at: scanner.pos(),
                what: "a member's name is due",
            });
        }
        let escaped = scanner.string()?;
        self.push(Kind::String, escaped, start + 1, scanner.pos() as u32 - 1);
        scanner.colon()
    }

    #[inline(always)]
    fn push(&mut self, kind: Kind, escaped: bool, start: u32, end: u32) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node {
            kind,
            escaped,
            span: Span { start, end },
            next,
        });
    }

    fn close(&mut self, index: usize, end: usize) {
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[index];
        node.span.end = end as u32;
        node.next = next;
    }

    /// Forgets the value; nothing is found in an empty tape.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// Index of the root, unless the tape is empty.
    pub fn root(&self) -> Option<u32> {
        (!self.nodes.is_empty()).then_some(0)
    }

    #[inline]
    pub fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// The value of the first member called `name`.
    pub fn member(&self, text: &[u8], object: u32, name: &str) -> Option<u32> {
        let node = self.node(object);
        if node.kind != Kind::Object {
            return None;
        }
        let mut key = object + 1;
        while key < node.next {
            let member = self.node(key);
            let raw = member.span.of(text);
            if if member.escaped {
                unescaped_equals(raw, name)
            } else {
                raw == name.as_bytes()
            } {
                return Some(key + 1);
            }
            key = self.node(key + 1).next;
        }
        None
    }

    /// The element at `index` of an array.
    pub fn element(&self, array: u32, index: usize) -> Option<u32> {
        self.children(array)
            .filter(|_| self.node(array).kind == Kind::Array)
            .nth(index)
    }

    /// The values in a container: elements of an array, member values of an object.
    pub fn children(&self, container: u32) -> impl Iterator<Item = u32> + '_ {
        let node = self.node(container);
        let (end, step) = match node.kind {
            Kind::Array => (node.next, 0),
            Kind::Object => (node.next, 1),
            _ => (0, 0),
        };
        let mut at = container + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let child = at + step;
            at = self.node(child).next;
            Some(child)
        })
    }

    /// The member names of an object, as nodes.
    pub fn keys(&self, object: u32) -> impl Iterator<Item = u32> + '_ {
        let object_node = self.node(object);
        let end = if object_node.kind == Kind::Object {
            object_node.next
        } else {
            0
        };
        let mut at = object + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let key = at;
            at = self.node(key + 1).next;
            Some(key)
        })
    }
}

/// Appends the text that a string's raw form stands for. The raw form must have passed the scanner.
///
/// A surrogate without its other half becomes U+FFFD, as Go's and JavaScript's decoders have it.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while let Some(plain) = memchr::memchr(b'\\', raw.get(i..).unwrap_or_default()) {
        out.extend_from_slice(&raw[i..i + plain]);
        i += plain + 1;
        let code = raw.get(i).copied().unwrap_or(b'\\');
        i += 1;
        match code {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let high = hex4(raw, i);
                i += 4;
                let mut point = high;
                if (0xD800..0xDC00).contains(&high) && raw.get(i..i + 2) == Some(b"\\u") {
                    let low = hex4(raw, i + 2);
                    if (0xDC00..0xE000).contains(&low) {
                        point = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                        i += 6;
                    }
                }
                let c = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(raw.get(i..).unwrap_or_default());
}

fn hex4(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4)
        .unwrap_or_default()
        .iter()
        .fold(0, |n, &b| n << 4 | (b as char).to_digit(16).unwrap_or(0))
}

fn unescaped_equals(raw: &[u8], name: &str) -> bool {
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, &mut text);
    text == name.as_bytes()
}

/// Appends JSON text without its insignificant white space. The text must have passed the scanner.
pub fn compact(raw: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while i < raw.len() {
        match raw[i] {
            b' ' | b'\n' | b'\r' | b'\t' => i += 1,
            b'"' => {
                let start = i;
                let mut scanner = Scanner::new(raw, i);
                i = match scanner.string() {
                    Ok(_) => scanner.pos(),
                    Err(_) => raw.len(),
                };
                out.extend_from_slice(&raw[start..i]);
            }
            byte => {
                out.push(byte);
                i += 1;
            }
        }
    }
}

/// True when [`compact`] would change nothing.
pub fn is_compact(raw: &[u8]) -> bool {
    let mut i = 0;
    while let Some(at) = memchr::memchr3(b' ', b'\n', b'"', raw.get(i..).unwrap_or_default()) {
        i += at;
        if raw[i] != b'"' {
            return false;
        }
        let mut scanner = Scanner::new(raw, i);
        if scanner.string().is_err() {
            return false;
        }
        i = scanner.pos();
    }
    // Strings cannot hold raw tabs or returns, so any of those is white space between tokens.
    memchr::memchr2(b'\t', b'\r', raw).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Tape {
        let mut tape = Tape::default();
        tape.parse(text.as_bytes(), 0).expect("valid");
        tape
    }

    #[test]
    fn members_and_elements_are_found() {
        let text = r#"{"a": {"b": [1, {"c": "x"}]}, "\u0061": 2, "d": null}"#;
        let tape = parse(text);
        let a = tape.member(text.as_bytes(), 0, "a").expect("a");
        let b = tape.member(text.as_bytes(), a, "b").expect("b");
        assert_eq!(tape.children(b).count(), 2);
        let second = tape.element(b, 1).expect("element");
        let c = tape.member(text.as_bytes(), second, "c").expect("c");
        assert_eq!(tape.node(c).span.of(text.as_bytes()), b"x");
        assert_eq!(tape.keys(0).count(), 3);
        assert!(tape.member(text.as_bytes(), 0, "z").is_none());
        assert!(tape.element(b, 2).is_none());
    }

    #[test]
    fn escaped_names_are_found() {
        let text = r#"{"\u0061/\"": 2}"#;
        let tape = parse(text);
        assert!(tape.member(text.as_bytes(), 0, "a/\"").is_some());
    }

    #[test]
    fn unescape_table() {
        for (raw, want) in [
            ("plain", "plain"),
            (r"a\n\t\\\/\b", "a\n\t\\/\u{8}"),
            (r"\u00e9\ud83d\ude00", "é😀"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00x", "\u{fffd}x"),
            (r"\ud83dA", "\u{fffd}A"),
        ] {
            let mut out = Vec::new();
            unescape(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).expect("utf-8"), want, "{raw}");
        }
    }

    #[test]
    fn compact_keeps_strings() {
        let text = "{ \"a b\" : [ 1 , \"c\\\" d\" ] \n}";
        let mut out = Vec::new();
        compact(text.as_bytes(), &mut out);
        assert_eq!(out, br#"{"a b":[1,"c\" d"]}"#);
        assert!(!is_compact(text.as_bytes()));
        assert!(is_compact(&out));
        assert!(!is_compact(b"{\t}"));
    }
}
