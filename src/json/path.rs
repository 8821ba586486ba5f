//! Paths to values: RFC 9535 JSONPath and RFC 6901 pointers, compiled to one list of steps.

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;

use super::tape::{Kind, Tape};

/// One step of a direct walk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The member of that name.
    Name(Box<str>),
    /// The element at that index; negative counts from the end.
    Index(i64),
    /// Every element, or every member value.
    Wildcard,
    /// A pointer's token: an object's member or an array's element, as the value turns out.
    Token(Box<str>),
}

/// A compiled path. The first step is split off, because an event's top-level members are found without a tape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The top-level member; `None` means the whole event.
    pub root: Option<Box<str>>,
    pub steps: Vec<Step>,
}

/// A path of the user's or of a field table, after the crate has parsed it.
#[derive(Clone, Debug)]
pub enum Compiled {
    /// Names, indexes and wildcards: walked directly.
    Direct(Path),
    /// Filters, descendants, slices, unions: evaluated by the crate over a parsed value.
    Rich(Rich),
}

/// A parsed query of the crate's. Queries of the same text are the same.
#[derive(Clone, Debug)]
pub struct Rich {
    text: Box<str>,
    pub query: JpQuery,
}

impl PartialEq for Rich {
    fn eq(&self, other: &Rich) -> bool {
        self.text == other.text
    }
}

impl Eq for Rich {}

impl std::hash::Hash for Rich {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Why a path cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{path}` is not an RFC 9535 JSONPath: {reason}")]
    Syntax { path: String, reason: String },
}

impl Compiled {
    /// Parses an RFC 9535 JSONPath.
    ///
    /// # Errors
    /// When the text is not a JSONPath query.
    pub fn parse(text: &str) -> Result<Compiled, PathError> {
        let query = parse_json_path(text).map_err(|e| PathError::Syntax {
            path: text.to_owned(),
            // The parser's own report spans lines; its first says what is wrong.
            reason: e
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches([' ', '='])
                .to_owned(),
        })?;
        let mut steps = Vec::with_capacity(query.segments.len());
        for segment in &query.segments {
            match segment {
                Segment::Selector(Selector::Name(name)) => steps.push(Step::Name(plain_name(name).into())),
                Segment::Selector(Selector::Index(index)) => steps.push(Step::Index(*index)),
                Segment::Selector(Selector::Wildcard) => steps.push(Step::Wildcard),
                _ => return Ok(Compiled::rich(text, query)),
            }
        }
        match steps.first() {
            None => Ok(Compiled::Direct(Path { root: None, steps })),
            Some(Step::Name(name)) => {
                let root = Some(name.clone());
                steps.remove(0);
                Ok(Compiled::Direct(Path { root, steps }))
            }
            Some(_) => Ok(Compiled::rich(text, query)),
        }
    }

    fn rich(text: &str, query: JpQuery) -> Compiled {
        Compiled::Rich(Rich {
            text: text.into(),
            query,
        })
    }
}

/// The crate keeps the quotes of bracketed names.
fn plain_name(name: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(inner) = name.strip_prefix(quote).and_then(|n| n.strip_suffix(quote)) {
            return inner;
        }
    }
    name
}

/// A token of a JSON pointer as it is meant: `~1` is a slash and `~0` a tilde (RFC 6901, section 4).
pub fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

impl Path {
    /// Compiles a pointer as `jevt.value` takes it: the leading `/` is optional, `~1` and `~0` are decoded.
    pub fn pointer(text: &str) -> Path {
        if text.is_empty() {
            return Path {
                root: None,
                steps: Vec::new(),
            };
        }
        let text = text.strip_prefix('/').unwrap_or(text);
        let mut tokens = text.split('/').map(unescaped);
        let root = tokens.next().map(String::into_boxed_str);
        Path {
            root,
            steps: tokens.map(|token| Step::Token(token.into())).collect(),
        }
    }

    /// The same path with its first wildcard replaced by an index.
    pub fn with_index(&self, index: usize) -> Path {
        let mut path = self.clone();
        if let Some(step) = path.steps.iter_mut().find(|s| **s == Step::Wildcard) {
            *step = Step::Index(index as i64);
        }
        path
    }
}

/// Calls `found` with each node that `steps` lead to from `node`, in document order.
pub fn walk(tape: &Tape, text: &[u8], node: u32, steps: &[Step], found: &mut impl FnMut(u32)) {
    let mut node = node;
    for (i, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Name(name) => tape.member(text, node, name),
            Step::Index(index) => element(tape, node, *index),
            Step::Token(token) => match tape.node(node).kind {
                Kind::Object => tape.member(text, node, token),
                Kind::Array => token.parse().ok().and_then(|index| tape.element(node, index)),
                _ => None,
            },
            Step::Wildcard => {
                for child in tape.children(node) {
                    walk(tape, text, child, &steps[i + 1..], found);
                }
                return;
            }
        };
        match next {
            Some(next) => node = next,
            None => return,
        }
    }
    found(node);
}

fn element(tape: &Tape, node: u32, index: i64) -> Option<u32> {
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => tape.children(node).count().checked_sub(index.unsigned_abs() as usize)?,
    };
    tape.element(node, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(text: &str) -> Path {
        match Compiled::parse(text).expect("parses") {
            Compiled::Direct(path) => path,
            Compiled::Rich(_) => panic!("{text} is rich"),
        }
    }

    fn found(text: &str, path: &Path) -> Vec<String> {
        let mut tape = Tape::default();
        tape.parse(text.as_bytes(), 0).expect("valid");
        let root = match &path.root {
            Some(name) => tape.member(text.as_bytes(), 0, name),
            None => Some(0),
        };
        let mut out = Vec::new();
        if let Some(root) = root {
            walk(&tape, text.as_bytes(), root, &path.steps, &mut |n| {
                out.push(String::from_utf8_lossy(tape.node(n).span.of(text.as_bytes())).into_owned());
            });
        }
        out
    }

    const EVENT: &str = r#"{"spec":{"containers":[{"name":"a","ports":[1,2]},{"image":"x"},{"name":"b"}]},"annotations":{"k8s.io/x":"y"}}"#;

    #[test]
    fn json_paths_walk() {
        for (path, want) in [
            ("$.spec.containers[*].name", vec!["a", "b"]),
            ("$.spec.containers[2].name", vec!["b"]),
            ("$.spec.containers[-1].name", vec!["b"]),
            ("$.spec.containers[*].ports[*]", vec!["1", "2"]),
            ("$.annotations['k8s.io/x']", vec!["y"]),
            (r#"$.annotations["k8s.io/x"]"#, vec!["y"]),
            ("$.spec.nothing[*].name", vec![]),
        ] {
            assert_eq!(found(EVENT, &direct(path)), want, "{path}");
        }
    }

    #[test]
    fn pointers_walk() {
        for (pointer, want) in [
            ("/spec/containers/0/name", vec!["a"]),
            ("spec/containers/0/ports/1", vec!["2"]),
            ("/annotations/k8s.io~1x", vec!["y"]),
            ("/spec/containers/x", vec![]),
            ("/spec/containers/9/name", vec![]),
        ] {
            assert_eq!(found(EVENT, &Path::pointer(pointer)), want, "{pointer}");
        }
        assert_eq!(
            Path::pointer(""),
            Path {
                root: None,
                steps: vec![]
            }
        );
    }

    #[test]
    fn richer_paths_are_left_to_the_crate() {
        for path in [
            "$..name",
            "$.spec.containers[?@.name=='a']",
            "$.spec.containers[0:2]",
            "$[*]",
        ] {
            assert!(matches!(Compiled::parse(path), Ok(Compiled::Rich(_))), "{path}");
        }
        assert!(Compiled::parse("spec.containers").is_err());
    }

    #[test]
    fn an_index_takes_the_place_of_the_first_wildcard() {
        let path = direct("$.spec.containers[*].ports[*]");
        assert_eq!(found(EVENT, &path.with_index(0)), ["1", "2"]);
        assert!(found(EVENT, &path.with_index(1)).is_empty());
    }
}
