//! What of a file is scanned: the entries of its Kubernetes objects one by one, everything else as text.

use std::ops::Range;
use std::rc::Rc;

use super::documents::{self, Document};
use crate::credentials::{LAST_APPLIED, decode};
use crate::engine::source::{At, Text};
use crate::engine::yaml::{self, Node, NodeKind};

/// A Kubernetes object, as it calls itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Object {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// A value to scan.
pub struct Part<'a> {
    /// The object that it belongs to, unless it is plain text.
    pub object: Option<&'a Rc<Object>>,
    /// What it is called in the object; empty for the object as a whole.
    pub key: &'a str,
    /// What it is called to the detector, which reads names.
    pub name: &'a str,
    pub value: &'a [u8],
    pub lines: Place<'a>,
    /// Holds again what other parts of the object hold: a secret of theirs is nothing new here.
    pub again: bool,
}

/// Where the lines of a value are in the file.
pub enum Place<'a> {
    /// One after another, the first at this byte.
    From(usize),
    /// All on the line of this byte.
    At(usize),
    /// Where the text says.
    Of(&'a Text),
}

/// Built-in kinds whose pod template is all that can hold a credential.
const WORKLOADS: &[&str] = &[
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
];
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Gives every part of a file of this name.
pub fn parts(name: &str, bytes: &[u8], give: &mut dyn FnMut(&Part)) {
    let mut walk = Walk {
        file: name,
        bytes,
        pinned: None,
        give,
    };
    for document in with_objects(bytes) {
        match &document.node {
            Some(node) if has_objects(node) => walk.node(node, "", document.range),
            _ => walk.plain(None, document.range),
        }
    }
}

/// The documents of a file in which there is an object; a file without one is one plain document.
fn with_objects(bytes: &[u8]) -> Vec<Document> {
    let mentions = |word: &str| memchr::memmem::find(bytes, word.as_bytes()).is_some();
    let text = std::str::from_utf8(bytes).ok();
    let documents = text
        .filter(|_| mentions("apiVersion") && mentions("kind"))
        .map(documents::split)
        .filter(|documents| documents.iter().any(|d| d.node.as_ref().is_some_and(has_objects)));
    documents.unwrap_or_else(|| {
        vec![Document {
            range: 0..bytes.len(),
            node: None,
        }]
    })
}

/// An object, or a sequence with one in it.
fn has_objects(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().any(has_objects),
        _ => ["apiVersion", "kind"]
            .into_iter()
            .all(|key| text_of(node, key).is_some()),
    }
}

fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::scalar).map(Text::as_str)
}

fn items(node: &Node) -> &[Node] {
    match &node.kind {
        NodeKind::Sequence(items) => items,
        _ => &[],
    }
}

/// The members of a mapping whose names are text.
fn members(node: &Node) -> impl Iterator<Item = (&Text, &Node)> {
    let entries: &[(Node, Node)] = match &node.kind {
        NodeKind::Mapping(entries) => entries,
        _ => &[],
    };
    entries
        .iter()
        .filter_map(|(key, value)| key.scalar().map(|key| (key, value)))
}

/// The members whose values are text as well.
fn texts(node: Option<&Node>) -> impl Iterator<Item = (&Text, &Text)> {
    node.into_iter()
        .flat_map(members)
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, value)| value.scalar().map(|value| (key, value)))
}

fn bytes_of(at: At) -> Range<usize> {
    at.start as usize..at.end as usize
}

/// The text of an item that has a name and a value.
fn named(item: &Node) -> Option<(&Text, &Text)> {
    let name = item.get("name").and_then(Node::scalar)?;
    let value = item.get("value").filter(|value| !value.is_null())?;
    Some((name, value.scalar()?))
}

fn words(node: &Node) -> impl Iterator<Item = &Text> {
    items(node).iter().filter_map(Node::scalar)
}

/// Words of a command as one text, since an option and its value may be two words. Each option begins a line of its own, so
/// that the line of a finding is that of its option.
fn command_line<'n>(lists: impl Iterator<Item = &'n Node>) -> Text {
    let mut line = Text::default();
    for word in lists.flat_map(words) {
        if !line.is_empty() {
            line.push_str(if word.as_str().starts_with('-') { " \\\n" } else { " " });
        }
        line.push(word);
    }
    line
}

struct Walk<'w> {
    file: &'w str,
    bytes: &'w [u8],
    /// What is walked is itself a value, written at this byte of the file.
    pinned: Option<usize>,
    give: &'w mut dyn FnMut(&Part),
}

impl Walk<'_> {
    /// An object or several; those of a list may leave out what the list says of all.
    fn node(&mut self, node: &Node, implied: &str, range: Range<usize>) {
        if let NodeKind::Sequence(items) = &node.kind {
            return items.iter().for_each(|item| self.node(item, "", bytes_of(item.at)));
        }
        let kind = text_of(node, "kind").unwrap_or(implied);
        match (kind.strip_suffix("List"), node.get("items")) {
            (Some(of), Some(list)) => {
                for item in items(list) {
                    self.node(item, of, bytes_of(item.at));
                }
            }
            _ if kind.is_empty() => self.plain(None, range),
            _ => self.object(node, kind, range),
        }
    }

    fn object(&mut self, node: &Node, kind: &str, range: Range<usize>) {
        let metadata = node.get("metadata");
        let called = |key| metadata.and_then(|m| text_of(m, key)).unwrap_or_default().to_owned();
        let object = Rc::new(Object {
            kind: kind.to_owned(),
            namespace: called("namespace"),
            name: called("name"),
        });
        let is_core = text_of(node, "apiVersion").is_none_or(|version| version == "v1");
        match kind {
            "ConfigMap" if is_core => {
                self.config_map(node, &object);
                self.annotations(metadata, &object);
            }
            // Its data is where secrets belong.
            "Secret" if is_core => self.annotations(metadata, &object),
            _ => self.templates(node, &object),
        }
        if is_core && matches!(kind, "ConfigMap" | "Secret") || WORKLOADS.contains(&kind) {
            self.last_applied(metadata, &object);
            if kind != "Secret" {
                self.comments(&object, range);
            }
        } else {
            self.plain(Some(&object), range);
        }
    }

    fn config_map(&mut self, node: &Node, object: &Rc<Object>) {
        for (key, value) in texts(node.get("data")) {
            self.text(object, key.as_str(), key.as_str(), value, false);
        }
        for (key, value) in texts(node.get("binaryData")) {
            if let Some(decoded) = decode::base64(value.as_str().as_bytes()) {
                self.value(object, key, &decoded);
            }
        }
    }

    fn annotations(&mut self, metadata: Option<&Node>, object: &Rc<Object>) {
        let annotations = metadata.and_then(|m| m.get("annotations"));
        for (key, value) in texts(annotations).filter(|(key, _)| key.as_str() != LAST_APPLIED) {
            self.text(object, key.as_str(), key.as_str(), value, false);
        }
    }

    /// The object as it was applied, which may be an older one.
    fn last_applied(&mut self, metadata: Option<&Node>, object: &Rc<Object>) {
        let annotations = metadata.and_then(|m| m.get("annotations"));
        let Some((key, value)) = texts(annotations).find(|(key, _)| key.as_str() == LAST_APPLIED) else {
            return;
        };
        let at = self.pinned.unwrap_or(key.whole().start as usize);
        match documents::split(value.as_str()).as_slice() {
            [Document { node: Some(node), .. }] if self.pinned.is_none() && has_objects(node) => {
                let mut inner = Walk {
                    file: self.file,
                    bytes: &[],
                    pinned: Some(at),
                    give: &mut *self.give,
                };
                inner.object_again(node, object);
            }
            _ if object.kind == "Secret" => {}
            _ => self.text(object, LAST_APPLIED, LAST_APPLIED, value, true),
        }
    }

    fn object_again(&mut self, node: &Node, object: &Rc<Object>) {
        match object.kind.as_str() {
            "ConfigMap" => self.config_map(node, object),
            "Secret" => {}
            _ => return self.templates(node, object),
        }
        self.annotations(node.get("metadata"), object);
    }

    /// Annotations and containers, wherever they are.
    fn templates(&mut self, node: &Node, object: &Rc<Object>) {
        for item in items(node) {
            self.templates(item, object);
        }
        for (key, value) in members(node) {
            match key.as_str() {
                "metadata" => self.annotations(Some(value), object),
                key if CONTAINERS.contains(&key) => self.container(value, object),
                _ => self.templates(value, object),
            }
        }
    }

    /// Variables, headers of probes, and commands, those of hooks and probes among them.
    fn container(&mut self, node: &Node, object: &Rc<Object>) {
        for item in items(node) {
            if let Some((name, value)) = named(item) {
                self.text(object, name.as_str(), name.as_str(), value, false);
            }
            self.container(item, object);
        }
        for (key, value) in members(node) {
            match key.as_str() {
                "command" | "args" => words(value).for_each(|word| self.command(object, word)),
                "httpHeaders" => self.headers(value, object),
                _ => self.container(value, object),
            }
        }
        let line = command_line(["command", "args"].into_iter().filter_map(|key| node.get(key)));
        self.command(object, &line);
    }

    fn command(&mut self, object: &Rc<Object>, text: &Text) {
        self.text(object, "command", "command", text, false);
    }

    /// As they are sent: what is in `Authorization` has forms of its own.
    fn headers(&mut self, node: &Node, object: &Rc<Object>) {
        for (name, value) in items(node).iter().filter_map(named) {
            let mut line = name.clone();
            line.push_str(": ");
            line.push(value);
            self.text(object, name.as_str(), "", &line, false);
        }
    }

    /// Comments between the entries, those of several lines as one text.
    fn comments(&mut self, object: &Rc<Object>, range: Range<usize>) {
        let text = self
            .bytes
            .get(range.clone())
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some(text) = text.filter(|text| text.contains('#') && !text.starts_with('{')) else {
            return;
        };
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for comment in yaml::marks(text).comments {
            match blocks.last_mut() {
                Some(block) if text[block.end..comment.start].trim().is_empty() => block.end = comment.end,
                _ => blocks.push(comment),
            }
        }
        for block in blocks {
            self.plain(Some(object), range.start + block.start..range.start + block.end);
        }
    }

    fn text(&mut self, object: &Rc<Object>, key: &str, name: &str, value: &Text, again: bool) {
        self.part(&Part {
            object: Some(object),
            key,
            name,
            value: value.as_str().as_bytes(),
            lines: Place::Of(value),
            again,
        });
    }

    /// A value that is not written as it is.
    fn value(&mut self, object: &Rc<Object>, key: &Text, value: &[u8]) {
        self.part(&Part {
            object: Some(object),
            key: key.as_str(),
            name: key.as_str(),
            value,
            lines: Place::At(key.whole().start as usize),
            again: false,
        });
    }

    fn plain(&mut self, object: Option<&Rc<Object>>, range: Range<usize>) {
        let Some(value) = self.bytes.get(range.clone()) else {
            return;
        };
        self.part(&Part {
            object,
            key: "",
            name: self.file,
            value,
            lines: Place::From(range.start),
            again: object.is_some(),
        });
    }

    fn part(&mut self, part: &Part) {
        if part.value.is_empty() {
            return;
        }
        match self.pinned {
            None => (self.give)(part),
            Some(at) => (self.give)(&Part {
                lines: Place::At(at),
                again: true,
                ..*part
            }),
        }
    }
}
