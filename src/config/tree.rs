//! saker.yaml as a tree that remembers where each value was written, with `${VAR}` already expanded.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, StrInput};

use super::load::Problem;

/// Aliases multiply what a file says; more nodes than this is no configuration.
const MAX_NODES: usize = 100_000;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File { line: usize, column: usize },
    Variable(String),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub fn empty_map() -> Node {
        Node {
            value: Value::Map(Vec::new()),
            place: Place::File { line: 1, column: 1 },
        }
    }

    /// What to call the value in a message.
    pub fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.node),
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            Value::Null | Value::Scalar(_) => None,
        }
    }

    /// Where `path` (`webhook.tls.cert`, `outputs.0.url`) was written, or the closest thing around it.
    pub fn place_of(&self, path: &str) -> &Place {
        let mut node = self;
        for step in path.split('.') {
            match node.get(step) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        &node.place
    }

    /// Puts `node` at `path`, making the mappings on the way.
    pub fn set(&mut self, path: &[String], node: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|e| &e.key == first) {
            Some(entry) => entry.node.set(rest, node),
            None => {
                let place = node.place.clone();
                let mut inner = Node {
                    value: Value::Null,
                    place: place.clone(),
                };
                inner.set(rest, node);
                entries.push(Entry {
                    key: first.clone(),
                    place,
                    node: inner,
                });
            }
        }
    }
}

/// Parses a configuration file and expands `${VAR}` in its values.
pub(super) fn parse_file(
    text: &str,
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    Builder::new(text, Origin::File(variables), problems).document()
}

/// Parses the value of an override variable: a scalar, a flow list or a flow mapping, taken literally.
pub(super) fn parse_variable(name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    Builder::new(text, Origin::Variable(name), problems).document()
}

#[derive(Clone, Copy)]
enum Origin<'a> {
    File(&'a BTreeMap<String, String>),
    Variable(&'a str),
}

struct Builder<'a, 'p> {
    parser: Parser<'a, StrInput<'a>>,
    origin: Origin<'a>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Builder<'a, 'p> {
    fn new(text: &'a str, origin: Origin<'a>, problems: &'p mut Vec<Problem>) -> Self {
        Builder {
            parser: Parser::new_from_str(text),
            origin,
            anchors: HashMap::new(),
            nodes: 0,
            problems,
        }
    }

    fn document(mut self) -> Option<Node> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    self.problem(
                        &place,
                        "a second document begins here".to_owned(),
                        Some("put everything into one document: remove the line `---`"),
                    );
                    return None;
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, place)?),
            }
        }
        Some(root.unwrap_or_else(|| Node {
            value: Value::Null,
            place: self.place(1, 1),
        }))
    }

    /// The next event that carries data. A syntax error is reported and ends the walk.
    fn next(&mut self) -> Option<(Event<'a>, Place)> {
        loop {
            match self.parser.next_event()? {
                Ok((Event::Comment(..), _)) => {}
                Ok((event, span)) => {
                    let place = self.place(span.start.line(), span.start.col() + 1);
                    return Some((event, place));
                }
                Err(error) => {
                    let place = self.place(error.marker().line(), error.marker().col() + 1);
                    self.problem(&place, format!("not valid YAML: {}", error.info()), None);
                    return None;
                }
            }
        }
    }

    fn place(&self, line: usize, column: usize) -> Place {
        match self.origin {
            Origin::File(_) => Place::File { line, column },
            Origin::Variable(name) => Place::Variable(name.to_owned()),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place) -> Option<Node> {
        self.nodes += 1;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (self.scalar(&text, style, &place), anchor),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at)?),
                    }
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (Value::Map(self.entries()?), anchor),
            Event::Alias(id) => {
                let Some(mut node) = self.anchors.get(&id).cloned() else {
                    self.problem(&place, "this alias stands inside what it refers to".to_owned(), None);
                    return None;
                };
                self.nodes += count(&node);
                if self.nodes > MAX_NODES {
                    self.problem(&place, "aliases make this file too large".to_owned(), None);
                    return None;
                }
                node.place = place;
                return Some(node);
            }
            _ => return None,
        };
        let node = Node { value, place };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Some(node)
    }

    fn entries(&mut self) -> Option<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Some(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    self.problem(&place, "a key must be plain text".to_owned(), None);
                    return None;
                }
            };
            let (event, at) = self.next()?;
            let node = self.node(event, at)?;
            if entries.iter().any(|e| e.key == key) {
                let message = format!("`{}` is given twice", key.escape_debug());
                self.problem(&place, message, Some("keep one of the two"));
            } else {
                entries.push(Entry { key, place, node });
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: &Place) -> Value {
        let text = match self.origin {
            Origin::Variable(_) => text.to_owned(),
            Origin::File(variables) => match expand(text, variables) {
                Ok(text) => text,
                Err(error) => {
                    // Only in a plain scalar of one line is a column of the value a column of the file.
                    let at = match (place, style, text.contains('\n')) {
                        (Place::File { line, column }, ScalarStyle::Plain, false) => Place::File {
                            line: *line,
                            column: column + error.offset,
                        },
                        _ => place.clone(),
                    };
                    self.problem(&at, error.message, error.help.as_deref());
                    return Value::Null;
                }
            },
        };
        if style == ScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        Value::Scalar(text)
    }

    fn problem(&mut self, place: &Place, message: String, help: Option<&str>) {
        self.problems
            .push(Problem::new(place, message, help.map(str::to_owned)));
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|e| count(&e.node)).sum(),
    }
}

struct ExpandError {
    /// In characters, from the start of the text.
    offset: usize,
    message: String,
    help: Option<String>,
}

/// Replaces `${VAR}` and `${VAR:-default}`; `$${` stands for `${` itself.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let offset = text[..text.len() - rest.len() + start].chars().count();
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let body = &rest[start + 2..];
        let Some(end) = body.find('}') else {
            return Err(ExpandError {
                offset,
                message: "`${` has no closing `}`".to_owned(),
                help: Some("write `$${` for the two characters themselves".to_owned()),
            });
        };
        let (name, default) = match body[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&body[..end], None),
        };
        if !is_variable_name(name) {
            return Err(ExpandError {
                offset,
                message: format!("`{}` is not the name of a variable", name.escape_debug()),
                help: Some(
                    "write `${NAME}`, `${NAME:-default}`, or `$${` for the two characters themselves".to_owned(),
                ),
            });
        }
        match (variables.get(name).filter(|v| !v.is_empty()), default) {
            (Some(value), _) => out.push_str(value),
            (None, Some(default)) => out.push_str(default),
            // Set but empty is what the shell's `${NAME}` gives, too.
            (None, None) if variables.contains_key(name) => {}
            (None, None) => {
                return Err(ExpandError {
                    offset,
                    message: format!("the environment variable `{name}` is not set"),
                    help: Some(format!("set it, or give a default: `${{{name}:-value}}`")),
                });
            }
        }
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_inside_text() {
        let variables: BTreeMap<String, String> = [("HOST", "node-1"), ("EMPTY", ""), ("ODD", "${HOST}")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        for (text, want) in [
            ("plain", Ok("plain")),
            ("${HOST}", Ok("node-1")),
            ("a-${HOST}-${HOST}b", Ok("a-node-1-node-1b")),
            ("${NOPE:-x:-y}", Ok("x:-y")),
            ("${NOPE:-}", Ok("")),
            ("${EMPTY}", Ok("")),
            ("${EMPTY:-x}", Ok("x")),
            ("${ODD}", Ok("${HOST}")),
            ("$${HOST}", Ok("${HOST}")),
            ("$$${HOST}", Ok("$${HOST}")),
            ("$HOST costs 5$", Ok("$HOST costs 5$")),
            ("é${NOPE}", Err(1)),
            ("a ${HOST", Err(2)),
            ("${}", Err(0)),
            ("${A B}", Err(0)),
        ] {
            let got = expand(text, &variables);
            assert_eq!(got.as_deref().map_err(|e| e.offset), want, "{text}");
        }
    }

    #[test]
    fn values_keep_their_place() {
        let mut problems = Vec::new();
        let text = "a: &x 1\nlist:\n  - {b: 'two'}\n  - *x\n";
        let root = parse_file(text, &BTreeMap::new(), &mut problems).expect("a tree");
        assert_eq!(problems, []);
        assert_eq!(root.place_of("a"), &Place::File { line: 1, column: 7 });
        assert_eq!(root.place_of("list.0.b"), &Place::File { line: 3, column: 9 });
        assert_eq!(root.place_of("list.1"), &Place::File { line: 4, column: 5 });
        assert_eq!(root.place_of("list.0.missing"), &Place::File { line: 3, column: 5 });
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        let mut last = 'a';
        for next in 'b'..'k' {
            let items = vec![format!("*{last}"); 10].join(",");
            text.push_str(&format!("{next}: &{next} [{items}]\n"));
            last = next;
        }
        let mut problems = Vec::new();
        assert!(parse_file(&text, &BTreeMap::new(), &mut problems).is_none());
        assert_eq!(problems.len(), 1);
    }
}
