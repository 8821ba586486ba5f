//! Finds where a JSON document ends, without building it: strings, escapes, brackets and the order of commas and colons.
//!
//! It is only used for documents that span lines. It knows the grammar's skeleton and not only the brackets, because the
//! place where a line cut off in its middle runs into the next one is nearly always an impossible sequence
//! (`"level":"Meta` newline, or `1` followed by `{`), and noticing that early keeps one broken line from swallowing others.

use memchr::memchr3;

/// Deeper documents are taken as broken. Kubernetes objects stay below 100; the limit bounds what a hostile file can cost.
const MAX_DEPTH: usize = 512;

/// What is known after looking at some more bytes of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The document is complete; it ends before this offset of the bytes just given.
    End(usize),
    /// All bytes were read and the document goes on.
    More,
    /// These bytes cannot be the document's continuation.
    Broken,
}

/// The scanner's state between two reads, so that no byte is looked at twice.
#[derive(Clone, Debug)]
pub struct Boundary {
    expect: Expect,
    depth: usize,
    /// One bit per level: set for an object, clear for an array.
    objects: [u64; MAX_DEPTH / 64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The opening bracket of the whole document.
    Document,
    Value,
    /// After `[`: a value or `]`.
    ValueOrEnd,
    /// After `{`: a key or `}`.
    KeyOrEnd,
    Key,
    Colon,
    /// After a value inside a container: `,` or the closing bracket.
    CommaOrEnd,
    InString {
        key: bool,
    },
    InEscape {
        key: bool,
    },
    /// Inside a number or one of `true`, `false`, `null`.
    InScalar,
}

impl Boundary {
    /// Starts before a document, which must be an object or an array.
    pub fn new() -> Self {
        Boundary {
            expect: Expect::Document,
            depth: 0,
            objects: [0; MAX_DEPTH / 64],
        }
    }

    /// Looks at the bytes that follow those of the previous call.
    pub fn advance(&mut self, bytes: &[u8]) -> Seen {
        let mut at = 0;
        while at < bytes.len() {
            match self.expect {
                Expect::InString { key } => match memchr3(b'"', b'\\', b'\n', &bytes[at..]) {
                    None => return Seen::More,
                    Some(found) => {
                        at += found + 1;
                        self.expect = match bytes[at - 1] {
                            b'"' if key => Expect::Colon,
                            b'"' => Expect::CommaOrEnd,
                            b'\\' => Expect::InEscape { key },
                            // A raw newline ends every string that was cut off.
                            _ => return Seen::Broken,
                        };
                    }
                },
                Expect::InEscape { key } => {
                    if bytes[at] == b'\n' {
                        return Seen::Broken;
                    }
                    at += 1;
                    self.expect = Expect::InString { key };
                }
                Expect::InScalar => {
                    if bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'-' | b'+') {
                        at += 1;
                    } else {
                        self.expect = Expect::CommaOrEnd;
                    }
                }
                expect => {
                    let byte = bytes[at];
                    at += 1;
                    if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                        continue;
                    }
                    match self.token(expect, byte) {
                        Some(next) => self.expect = next,
                        None => return Seen::Broken,
                    }
                    if self.depth == 0 {
                        return Seen::End(at);
                    }
                }
            }
        }
        Seen::More
    }

    /// What may follow `byte`, if `byte` may stand here.
    fn token(&mut self, expect: Expect, byte: u8) -> Option<Expect> {
        use Expect::{Colon, CommaOrEnd, Document, InScalar, InString, Key, KeyOrEnd, Value, ValueOrEnd};
        match (expect, byte) {
            (Document | Value | ValueOrEnd, b'{') => self.open(true).then_some(KeyOrEnd),
            (Document | Value | ValueOrEnd, b'[') => self.open(false).then_some(ValueOrEnd),
            (Value | ValueOrEnd, b'"') => Some(InString { key: false }),
            (Value | ValueOrEnd, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Some(InScalar),
            (KeyOrEnd | Key, b'"') => Some(InString { key: true }),
            (Colon, b':') => Some(Value),
            (CommaOrEnd, b',') => Some(if self.in_object() { Key } else { Value }),
            (KeyOrEnd, b'}') | (ValueOrEnd, b']') => Some(self.close()),
            (CommaOrEnd, b'}') if self.in_object() => Some(self.close()),
            (CommaOrEnd, b']') if !self.in_object() => Some(self.close()),
            _ => None,
        }
    }

    fn open(&mut self, object: bool) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        let bit = 1 << (self.depth % 64);
        if object {
            self.objects[self.depth / 64] |= bit;
        } else {
            self.objects[self.depth / 64] &= !bit;
        }
        self.depth += 1;
        true
    }

    fn close(&mut self) -> Expect {
        self.depth = self.depth.saturating_sub(1);
        Expect::CommaOrEnd
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects[(self.depth - 1) / 64] >> ((self.depth - 1) % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Seen) {
        assert_eq!(Boundary::new().advance(text.as_bytes()), expected, "{text} at once");
        // Byte by byte must agree, whatever the split.
        let mut boundary = Boundary::new();
        let mut seen = Seen::More;
        for (index, byte) in text.bytes().enumerate() {
            seen = match boundary.advance(&[byte]) {
                Seen::End(n) => Seen::End(index + n),
                other => other,
            };
            if seen != Seen::More {
                break;
            }
        }
        assert_eq!(seen, expected, "{text} byte by byte");
    }

    #[test]
    fn complete_documents_end_at_their_bracket() {
        for text in [
            "{}",
            "[]",
            "[{}]",
            r#"{"a":[1,-2.5e+3,true,null,"x"],"b":{"c":{}}}"#,
            r#"{"a":"}]\"{\\"}"#,
            "{\n  \"a\" : [\r\n\t1 ,\n 2\n ]\n}",
            r#"[[[[]]],{"k":[]}]"#,
        ] {
            check(text, Seen::End(text.len()));
            check(&format!("{text}{text}"), Seen::End(text.len()));
            check(&format!("{text}garbage"), Seen::End(text.len()));
        }
    }

    #[test]
    fn beginnings_want_more() {
        let text = r#"{"a":[1,-2.5e3,true,"x\"y\\"],"b":{"c":{}}}"#;
        for cut in 1..text.len() {
            check(&text[..cut], Seen::More);
        }
    }

    #[test]
    fn impossible_sequences_are_broken() {
        for text in [
            "{\"kind\":\"Eve\n",
            "{\"kind\":\"Eve\\\n",
            "{\"a\":1\n{\"b\":2}",
            "{\"a\":{\"b\":1\n{\"c\":2}",
            "{\"a\":1,\n{\"b\":2}",
            "{\"a\":[\n{\"b\":2}\n{\"c\":3}",
            "{]",
            "[}",
            "{\"a\"]",
            "{\"a\":1]",
            "[1}",
            "{,}",
            "[1 2]",
            "{\"a\":}",
            "{a:1}",
            "x",
            "\"text\"",
        ] {
            check(text, Seen::Broken);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        check(&fits, Seen::End(fits.len()));
        check(&"[".repeat(MAX_DEPTH + 1), Seen::Broken);
        let objects = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        check(&objects, Seen::End(objects.len()));
    }
}
