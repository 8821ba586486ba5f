//! The documents of a file, as trees that know their places: YAML between its `---` lines, JSON values one after another.

use std::ops::Range;

use crate::engine::source::{At, Pos, Text};
use crate::engine::yaml::{self, Node, NodeKind};
use crate::json::tape::{Kind, Tape, unescape};

/// One document.
pub struct Document {
    /// Where it is, in bytes of the file.
    pub range: Range<usize>,
    /// Nothing when it cannot be read; a template, mostly.
    pub node: Option<Node>,
}

/// Deepest nesting of JSON that is read, as of YAML.
const DEPTH: usize = 100;

pub fn split(text: &str) -> Vec<Document> {
    if text.trim_start().starts_with(['{', '['])
        && let Some(documents) = json(text)
    {
        return documents;
    }
    yaml_ranges(text)
        .into_iter()
        .map(|range| Document {
            node: yaml_node(&text[range.clone()], range.start),
            range,
        })
        .collect()
}

/// A document is read by itself, so that one that is broken says nothing of the others.
fn yaml_node(text: &str, start: usize) -> Option<Node> {
    let mut nodes = yaml::parse(text, start as Pos).ok()?;
    // More than one: `...` lies between them.
    match nodes.len() {
        0 | 1 => nodes.pop(),
        _ => Some(Node {
            kind: NodeKind::Sequence(nodes),
            at: place(start, start + text.len()),
        }),
    }
}

/// Where the documents of a YAML stream are, each with the line that begins it.
fn yaml_ranges(text: &str) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let separates = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separates && at > 0 {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// All values of a text that is nothing but JSON.
fn json(text: &str) -> Option<Vec<Document>> {
    let bytes = text.as_bytes();
    let mut documents = Vec::new();
    let mut tape = Tape::default();
    let mut at = 0;
    while !text[at..].trim_start().is_empty() {
        tape.parse(bytes, at).ok()?;
        let end = end_of(&tape, tape.root()?);
        let node = json_node(&tape, bytes, tape.root()?, 0)?;
        documents.push(Document {
            range: at..end,
            node: Some(node),
        });
        at = end;
    }
    Some(documents)
}

/// Where a value ends; the span of a string leaves its quotes out.
fn end_of(tape: &Tape, index: u32) -> usize {
    let node = tape.node(index);
    node.span.end as usize + usize::from(node.kind == Kind::String)
}

fn json_node(tape: &Tape, text: &[u8], index: u32, depth: usize) -> Option<Node> {
    if depth > DEPTH {
        return None;
    }
    let node = tape.node(index);
    let children = || {
        tape.children(index)
            .map(|child| json_node(tape, text, child, depth + 1))
    };
    let kind = match node.kind {
        Kind::Array => NodeKind::Sequence(children().collect::<Option<_>>()?),
        Kind::Object => {
            let keys = tape.keys(index).map(|key| scalar(tape, text, key));
            NodeKind::Mapping(
                keys.zip(children())
                    .map(|(k, v)| Some((k, v?)))
                    .collect::<Option<_>>()?,
            )
        }
        _ => return Some(scalar(tape, text, index)),
    };
    Some(Node {
        kind,
        at: place(node.span.start as usize, node.span.end as usize),
    })
}

fn scalar(tape: &Tape, text: &[u8], index: u32) -> Node {
    let node = tape.node(index);
    let mut value = Vec::new();
    match node.escaped {
        true => unescape(node.span.of(text), &mut value),
        false => value.extend_from_slice(node.span.of(text)),
    }
    // A string of JSON is written on one line, whatever it holds.
    let value = String::from_utf8_lossy(&value);
    Node {
        kind: NodeKind::Scalar {
            text: Text::pinned(&value, node.span.start),
            quoted: node.kind == Kind::String,
        },
        at: place(node.span.start as usize, node.span.end as usize),
    }
}

fn place(start: usize, end: usize) -> At {
    At {
        start: start as Pos,
        end: end as Pos,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each document's text, and whether it was read.
    fn shown(text: &str) -> Vec<(&str, bool)> {
        split(text)
            .into_iter()
            .map(|document| (text[document.range].trim(), document.node.is_some()))
            .collect()
    }

    #[test]
    fn documents_are_found_one_by_one() {
        for (text, want) in [
            ("a: 1\n", &[("a: 1", true)][..]),
            (
                "---\na: 1\n--- # b\nb: 2\n",
                &[("---\na: 1", true), ("--- # b\nb: 2", true)],
            ),
            (
                "a: {{ x }}: y\n---\nb: 2",
                &[("a: {{ x }}: y", false), ("---\nb: 2", true)],
            ),
            ("- a\n-----BEGIN\n", &[("- a\n-----BEGIN", false)]),
            (
                "{\"a\": 1}\n{\"b\": [2]}\n",
                &[("{\"a\": 1}", true), ("{\"b\": [2]}", true)],
            ),
            ("{a: 1}\n", &[("{a: 1}", true)]),
            ("\"x\"", &[("\"x\"", true)]),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
        assert!(split(&"[".repeat(5000))[0].node.is_none());
    }

    #[test]
    fn json_is_read_as_json() {
        let text = "{\"k\":\n\t\"a\\n\\ud83d\\ude00\\/\"}";
        let documents = split(text);
        let value = documents[0]
            .node
            .as_ref()
            .and_then(|n| n.get("k"))
            .and_then(Node::scalar);
        let value = value.expect("a string");
        assert_eq!(value.as_str(), "a\n😀/");
        assert_eq!(value.whole().start as usize, text.find("a\\n").expect("there"));
    }
}
