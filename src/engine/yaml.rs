//! YAML as a tree in which every scalar knows where each of its bytes was written.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};

use super::source::{At, Pos, Text};

/// A YAML node.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    pub at: At,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    Scalar {
        text: Text,
        /// Written with quotes or as a block: always a string.
        quoted: bool,
    },
    Sequence(Vec<Node>),
    /// In order; of two equal keys the first counts.
    Mapping(Vec<(Node, Node)>),
}

/// Why a text is not YAML.
#[derive(Clone, Debug)]
pub struct YamlError {
    pub message: String,
    pub at: At,
}

/// Deepest nesting that is read; rule files need about five levels.
const MAX_DEPTH: usize = 100;
/// Nodes that aliases may add; a rule file needs none.
const MAX_NODES: usize = 1_000_000;

impl Node {
    /// The scalar's text, unless the node is a collection.
    pub fn scalar(&self) -> Option<&Text> {
        match &self.kind {
            NodeKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// True for nothing at all, `~` and `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A mapping's key with its value.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        let NodeKind::Mapping(entries) = &self.kind else {
            return None;
        };
        entries
            .iter()
            .find(|(k, _)| k.scalar().is_some_and(|t| t.as_str() == key))
            .map(|(k, v)| (k, v))
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            NodeKind::Scalar { .. } => 0,
            NodeKind::Sequence(items) => items.iter().map(Node::size).sum(),
            NodeKind::Mapping(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum(),
        }
    }
}

/// Parses all documents of a file whose first byte has position `base`.
///
/// # Errors
/// The first place that is not YAML.
pub fn parse(text: &str, base: Pos) -> Result<Vec<Node>, YamlError> {
    let mut builder = Builder {
        source: text,
        base,
        documents: Vec::new(),
        open: Vec::new(),
        anchors: Vec::new(),
        nodes: 0,
    };
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => builder.event(event, &span)?,
            Err(e) => {
                let offset = e.marker().byte_offset().unwrap_or(0).min(text.len()) as Pos;
                let at = At {
                    start: base + offset,
                    end: base + offset + 1,
                };
                return Err(YamlError {
                    message: e.to_string(),
                    at,
                });
            }
        }
    }
    Ok(builder.documents)
}

/// What a text's tree does not tell: where its comments and its block scalars lie, in bytes of the text.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    pub comments: Vec<Range<usize>>,
    pub blocks: Vec<Range<usize>>,
}

/// The marks of a text that [`parse`] accepts.
pub fn marks(text: &str) -> Marks {
    let mut marks = Marks::default();
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let range = span.byte_range().unwrap_or(0..0);
        match event {
            Event::Comment(..) => marks.comments.push(range),
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => marks.blocks.push(range),
            _ => {}
        }
    }
    marks
}

struct Builder<'a> {
    source: &'a str,
    base: Pos,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

struct Open {
    node: Node,
    anchor: usize,
    key: Option<Node>,
}

impl Builder<'_> {
    fn at(&self, span: &YamlSpan) -> At {
        let range = span.byte_range().unwrap_or(0..0);
        At {
            start: self.base + range.start as Pos,
            end: self.base + range.end as Pos,
        }
    }

    fn event(&mut self, event: Event<'_>, span: &YamlSpan) -> Result<(), YamlError> {
        let at = self.at(span);
        match event {
            Event::Scalar(value, style, anchor, _) => {
                let text = self.scalar_text(&value, style, span);
                let quoted = style != ScalarStyle::Plain;
                let at = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => self.with_indicator(at),
                    _ => at,
                };
                self.add(
                    Node {
                        kind: NodeKind::Scalar { text, quoted },
                        at,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, _) => self.push(NodeKind::Sequence(Vec::new()), at, anchor),
            Event::MappingStart(_, anchor, _) => self.push(NodeKind::Mapping(Vec::new()), at, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(mut done) => {
                    done.node.at.end = at.end.max(done.node.at.start);
                    self.add(done.node, done.anchor)
                }
                None => Ok(()),
            },
            Event::Alias(id) => {
                let Some((_, node)) = self.anchors.iter().rev().find(|(anchor, _)| *anchor == id) else {
                    return Err(YamlError {
                        message: "alias of an anchor that is not complete".to_owned(),
                        at,
                    });
                };
                let node = node.clone();
                self.nodes += node.size();
                self.add(node, 0)
            }
            _ => Ok(()),
        }
    }

    /// A block with the `>` or `|` before it.
    fn with_indicator(&self, at: At) -> At {
        let content = (at.start - self.base) as usize;
        let before = self.source.get(..content).unwrap_or_default().trim_end();
        let line = before.rfind('\n').map_or(0, |n| n + 1);
        let header = &before[line..];
        let header = header.split(" #").next().unwrap_or(header).trim_end();
        let header = header.trim_end_matches(|c: char| matches!(c, '+' | '-') || c.is_ascii_digit());
        match header.ends_with(['>', '|']) {
            true => At {
                start: self.base + (line + header.len() - 1) as Pos,
                ..at
            },
            false => at,
        }
    }

    fn push(&mut self, kind: NodeKind, at: At, anchor: usize) -> Result<(), YamlError> {
        if self.open.len() == MAX_DEPTH {
            return Err(YamlError {
                message: format!("nested deeper than {MAX_DEPTH} levels"),
                at,
            });
        }
        self.open.push(Open {
            node: Node { kind, at },
            anchor,
            key: None,
        });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(YamlError {
                message: format!("more than {MAX_NODES} nodes"),
                at: node.at,
            });
        }
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.node.kind {
            NodeKind::Sequence(items) => items.push(node),
            NodeKind::Mapping(entries) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => entries.push((key, node)),
            },
            NodeKind::Scalar { .. } => {}
        }
        Ok(())
    }

    /// Finds each byte of a scalar's value in the source it was folded, unescaped or dedented from.
    fn scalar_text(&self, value: &str, style: ScalarStyle, span: &YamlSpan) -> Text {
        let range = span.byte_range().unwrap_or(0..0);
        let raw = self.source.get(range.clone()).unwrap_or_default();
        let start = self.base + range.start as Pos;
        let skip = match style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => usize::from(raw.starts_with(['"', '\''])),
            // A block's header line, where the span has it.
            _ if raw.starts_with(['|', '>']) => raw.find('\n').map_or(raw.len(), |n| n + 1),
            _ => 0,
        };
        let body = raw.get(skip..).unwrap_or_default();
        if body.starts_with(value) {
            return Text::linear(value, start + skip as Pos);
        }
        let bytes = body.as_bytes();
        let mut at = Vec::with_capacity(value.len());
        let mut cursor = 0;
        for c in value.chars() {
            let mut width = 1;
            if c == '\n' || c == ' ' {
                // Folding makes one blank of a line break and what surrounds it.
                let line_break = matches!(bytes.get(cursor), Some(b'\n' | b'\r' | b' '));
                width = usize::from(line_break);
            } else {
                while let Some(&b) = bytes.get(cursor) {
                    if style == ScalarStyle::DoubleQuoted && b == b'\\' {
                        width = match bytes.get(cursor + 1) {
                            Some(b'x') => 4,
                            Some(b'u') => 6,
                            Some(b'U') => 10,
                            Some(b'\n') => {
                                cursor += 2;
                                continue;
                            }
                            _ => 2,
                        };
                        break;
                    }
                    if body[cursor..].starts_with(c) {
                        width = c.len_utf8();
                        if style == ScalarStyle::SingleQuoted && c == '\'' {
                            width = 2;
                        }
                        break;
                    }
                    cursor += 1;
                    while !body.is_char_boundary(cursor) {
                        cursor += 1;
                    }
                }
            }
            let pos = start + (skip + cursor.min(body.len())) as Pos;
            // Bytes of one character point into it, escapes to their first byte.
            at.extend((0..c.len_utf8()).map(|i| if width == c.len_utf8() { pos + i as Pos } else { pos }));
            cursor += width;
            if c == ' ' && style == ScalarStyle::Folded || c == '\n' {
                // The indentation of the next line is no part of the value.
                let line_start = cursor > 0 && bytes.get(cursor - 1) == Some(&b'\n');
                while line_start && bytes.get(cursor) == Some(&b' ') {
                    cursor += 1;
                }
            }
        }
        let end = start + (skip + cursor.min(body.len())) as Pos;
        Text::mapped(value.to_owned(), at, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte of the value of `key` must be the byte of the source it points to.
    #[track_caller]
    fn check(source: &str, value: &str) {
        let documents = parse(source, 100).expect("yaml");
        let text = documents[0].get("k").and_then(Node::scalar).expect("scalar");
        assert_eq!(text.as_str(), value);
        for (i, b) in value.bytes().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()) {
            let pos = text.at(i, i + 1).start as usize - 100;
            assert_eq!(
                source.as_bytes()[pos],
                b,
                "byte {i} of {value:?} is at {pos} of {source:?}"
            );
        }
    }

    #[test]
    fn scalars_know_their_bytes() {
        check("k: plain text", "plain text");
        check("k: 'single ''quoted'' x'", "single 'quoted' x");
        check("k: \"double \\\"q\\\" x\"", "double \"q\" x");
        check(
            "a: b\nk: >\n  folded one\n  two\n\n  three\n",
            "folded one two\nthree\n",
        );
        check(
            "k: >-\n    ka.verb = get and\n    ka.x = y\n",
            "ka.verb = get and ka.x = y",
        );
        check(
            "k: |\n  literal one\n    indented\n  two\n",
            "literal one\n  indented\ntwo\n",
        );
        check("k: plain\n  over lines\n", "plain over lines");
        check("k: \"quoted\n  over lines\"\n", "quoted over lines");
        check("k: 'é x'", "é x");
    }

    #[test]
    fn documents_aliases_and_errors() {
        assert_eq!(parse("- a\n---\n- b\n", 0).expect("yaml").len(), 2);
        let doc = parse("a: &x [1, 2]\nb: *x\n", 0).expect("yaml");
        assert!(matches!(&doc[0].get("b").expect("b").kind, NodeKind::Sequence(items) if items.len() == 2));
        assert!(parse("a: [1", 0).is_err());
        assert!(parse(&"[".repeat(500), 0).is_err());
    }
}
