//! `ka.req.configmap.*`, `ka.pod.credentials.*` and `ka.annotations.credentials.*`: credentials where they do not belong.
//!
//! The request is inspected as it came: the object of a create, update or apply, a merge patch, or the operations of a
//! JSON patch. Without it, the object of the response is. What the audit log does not show is not called clean.

use super::computed::constant;
use super::effective::{PODS, each_item, push_command_line};
use super::object::{Object, object};
use crate::credentials::decode::{self, Decoded};
use crate::credentials::inspection::{Found, Inspected, Inspector, Part};
use crate::credentials::{Finding, LAST_APPLIED};
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::{Scratch, Value};
use crate::json::path::unescaped;
use crate::json::{Kind, Tape};

/// What is told of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Names of kinds, each once.
    Kinds,
    /// Keys that hold them, each once.
    Keys,
    Count,
    MaxConfidence,
    /// One line each, masked.
    Findings,
}

/// The kind that stands for an object that the audit log does not show.
pub const NOT_INSPECTABLE: &str = "not_inspectable";

/// The value of a fact about a part.
pub fn extract(
    part: Part,
    fact: Fact,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
) -> Option<Value> {
    if tapes.inspections.get(part).is_none() {
        let inspected = inspect(part, event, tapes);
        tapes.inspections.set(part, inspected);
    }
    match tapes.inspections.get(part)? {
        Inspected::Nothing => None,
        Inspected::NotInspectable(why) => match fact {
            Fact::Kinds => {
                let start = scratch.items.len();
                let kind = constant(NOT_INSPECTABLE, scratch);
                scratch.items.push(kind);
                Some(scratch.list_from(start))
            }
            Fact::Findings => {
                let start = scratch.items.len();
                let text = scratch.text(|out| out.extend_from_slice(format!("not inspectable: {why}").as_bytes()));
                scratch.items.push(Value::Text(text));
                Some(scratch.list_from(start))
            }
            _ => None,
        },
        Inspected::Found(found) => Some(value(fact, found, scratch)),
    }
}

fn value(fact: Fact, found: &[Found], scratch: &mut Scratch) -> Value {
    let mut list = |texts: &mut dyn Iterator<Item = String>| {
        let start = scratch.items.len();
        let mut seen: Vec<String> = Vec::new();
        for text in texts {
            if !seen.contains(&text) {
                let value = scratch.text(|out| out.extend_from_slice(text.as_bytes()));
                scratch.items.push(Value::Text(value));
                seen.push(text);
            }
        }
        scratch.list_from(start)
    };
    match fact {
        Fact::Kinds => list(&mut found.iter().map(|f| f.finding.kind.to_owned())),
        Fact::Keys => list(&mut found.iter().map(|f| f.key.to_string())),
        Fact::Findings => list(&mut found.iter().map(line)),
        Fact::Count => Value::Uint(found.len() as u64),
        Fact::MaxConfidence => match found.iter().map(|f| f.finding.confidence).max() {
            Some(confidence) => constant(confidence.name(), scratch),
            None => Value::Absent,
        },
    }
}

/// `app.env line 3: AWS secret access key, high: aws_secret_access_key=***`
fn line(found: &Found) -> String {
    let Finding {
        title,
        confidence,
        line,
        excerpt,
        layers,
        ..
    } = &found.finding;
    let within = if layers.is_empty() {
        String::new()
    } else {
        format!(" in {}", layers.join(" in "))
    };
    format!(
        "{} line {line}: {title}, {}{within}: {excerpt}",
        found.key,
        confidence.name()
    )
}

fn inspect(part: Part, event: &AuditEvent<'_>, tapes: &mut Tapes) -> Inspected {
    let inspector = tapes.inspections.inspector();
    if !concerns(part, event, tapes) {
        return Inspected::Nothing;
    }
    let mut target = |member: &str| {
        let target = object(event, tapes, Member::ObjectRef).and_then(|target| target.member(member));
        let mut text = Vec::new();
        if let Some(value) = target {
            value.push_text(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let mut work = Work {
        inspector: &inspector,
        part,
        namespace: target("namespace"),
        name: target("name"),
        found: Vec::new(),
        findings: Vec::new(),
        text: Decoded::default(),
    };
    for member in [Member::RequestObject, Member::ResponseObject] {
        let Some(root) = object(event, tapes, member) else {
            continue;
        };
        match root.kind() {
            Kind::Array => root.elements(None).for_each(|operation| work.operation(operation)),
            Kind::Object if root.member("kind").is_some_and(|kind| kind.is("Status")) => continue,
            Kind::Object => each_item(root, &mut |item| work.object(item)),
            _ => continue,
        }
        return Inspected::Found(work.found);
    }
    // A delete shows nothing and changes nothing that anybody could read.
    Inspected::NotInspectable(match event.raw(Member::Level) {
        br#""Metadata""# => "the audit policy keeps metadata only",
        _ if event.raw(Member::Annotations).windows(9).any(|w| w == b"truncated") => {
            "the API server cut the object off"
        }
        _ => "the event has no object",
    })
}

/// Whether an event writes such a part at all.
fn concerns(part: Part, event: &AuditEvent<'_>, tapes: &mut Tapes) -> bool {
    if !matches!(event.raw(Member::Verb), br#""create""# | br#""update""# | br#""patch""#) {
        return false;
    }
    let Some(target) = object(event, tapes, Member::ObjectRef) else {
        return false;
    };
    if target.has(&["subresource"]) && part != Part::Pod {
        return false;
    }
    let resource = target.member("resource").map(Object::raw).unwrap_or_default();
    match part {
        Part::ConfigMap => resource == b"configmaps",
        Part::Pod => matches!(
            resource,
            b"pods"
                | b"deployments"
                | b"daemonsets"
                | b"statefulsets"
                | b"replicasets"
                | b"replicationcontrollers"
                | b"jobs"
                | b"cronjobs"
                | b"podtemplates"
        ),
        Part::Annotations => resource != b"secrets",
    }
}

struct Work<'i> {
    inspector: &'i Inspector,
    part: Part,
    /// Of the object, for the allow-list.
    namespace: String,
    name: String,
    found: Vec<Found>,
    findings: Vec<Finding>,
    /// The value at hand without its escapes; wiped when this is over.
    text: Decoded,
}

impl Work<'_> {
    /// A whole object, or a merge patch of one.
    fn object(&mut self, root: Object<'_>) {
        match self.part {
            Part::ConfigMap => {
                root.each(&["data"], &mut |data| self.entries(data, false));
                root.each(&["binaryData"], &mut |data| self.entries(data, true));
                root.each(&["metadata", "annotations"], &mut |annotations| {
                    self.last_applied(annotations)
                });
            }
            Part::Annotations => {
                for place in PODS {
                    root.each(place, &mut |parent| {
                        parent.each(&["metadata", "annotations"], &mut |annotations| {
                            self.entries(annotations, false)
                        });
                    });
                }
            }
            Part::Pod => {
                for place in PODS {
                    root.each(place, &mut |parent| parent.each(&["spec"], &mut |spec| self.pod(spec)));
                }
            }
        }
    }

    /// An operation of a JSON patch (RFC 6902).
    fn operation(&mut self, operation: Object<'_>) {
        let Some((path, value)) = operation.member("path").zip(operation.member("value")) else {
            return;
        };
        let mut pointer = Vec::new();
        path.push_text(&mut pointer);
        let pointer = String::from_utf8_lossy(&pointer);
        let steps: Vec<String> = pointer.split('/').skip(1).take(16).map(unescaped).collect();
        let names: Vec<&str> = steps.iter().map(String::as_str).collect();
        match (self.part, &names[..]) {
            (_, [] | [""]) => self.object(value),
            (Part::ConfigMap, ["data"]) => self.entries(value, false),
            (Part::ConfigMap, ["data", key]) => self.entry(key, value, false),
            (Part::ConfigMap, ["binaryData"]) => self.entries(value, true),
            (Part::ConfigMap, ["binaryData", key]) => self.entry(key, value, true),
            (Part::ConfigMap, ["metadata", "annotations"]) => self.last_applied(value),
            (Part::Annotations, [.., "metadata", "annotations"]) => self.entries(value, false),
            (Part::Annotations, [.., "metadata", "annotations", key]) => self.entry(key, value, false),
            (Part::Pod, [.., "containers" | "initContainers" | "ephemeralContainers", _]) => self.container(value),
            (Part::Pod, [.., "env", _]) => self.variable(value),
            (Part::Pod, [.., "env"]) => value.elements(None).for_each(|variable| self.variable(variable)),
            (Part::Pod, [.., "command" | "args", _]) => self.entry("args", value, false),
            (Part::Pod, [.., "spec"]) => self.pod(value),
            _ => {}
        }
    }

    fn pod(&mut self, spec: Object<'_>) {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            spec.each(&[list], &mut |list| {
                list.elements(None).for_each(|container| self.container(container))
            });
        }
    }

    fn container(&mut self, container: Object<'_>) {
        container.each(&["env"], &mut |list| {
            list.elements(None).for_each(|variable| self.variable(variable))
        });
        // Options and their values are elements of their own, so that they are read as one line.
        let mut line = Decoded::default();
        push_command_line(container, &mut line);
        let name = container.member("name").map(Object::raw).unwrap_or_default();
        let key = format!("{} args", String::from_utf8_lossy(name));
        self.scan(&key, "args", &line);
    }

    fn variable(&mut self, variable: Object<'_>) {
        if let Some((name, value)) = variable.member("name").zip(variable.member("value")) {
            let mut key = Vec::new();
            name.push_text(&mut key);
            self.entry(&String::from_utf8_lossy(&key), value, false);
        }
    }

    fn entries(&mut self, object: Object<'_>, binary: bool) {
        if object.kind() != Kind::Object {
            return;
        }
        for (key, value) in object.tape.keys(object.node).zip(object.tape.children(object.node)) {
            let at = |node| Object { node, ..object };
            let mut name = Vec::new();
            at(key).push_text(&mut name);
            if self.part == Part::Annotations && name == LAST_APPLIED.as_bytes() {
                continue;
            }
            self.entry(&String::from_utf8_lossy(&name), at(value), binary);
        }
    }

    fn entry(&mut self, key: &str, value: Object<'_>, binary: bool) {
        if value.kind() != Kind::String {
            return;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // Growing would leave a copy behind that nobody wipes.
        text.reserve_exact(value.raw().len());
        value.push_text(&mut text);
        match binary.then(|| decode::base64(&text)).flatten() {
            Some(bytes) => self.scan(key, key, &bytes),
            None => self.scan(key, key, &text),
        }
        self.text = text;
    }

    /// The object as kubectl applied it, in an annotation: a second copy of every value.
    fn last_applied(&mut self, annotations: Object<'_>) {
        annotations.each(&[LAST_APPLIED], &mut |value| {
            let mut text = Decoded::default();
            text.reserve_exact(value.raw().len());
            value.push_text(&mut text);
            let mut tape = Tape::default();
            if tape.parse(&text, 0).is_err() {
                return;
            }
            if let Some(node) = tape.root() {
                let root = Object {
                    tape: &tape,
                    text: &text,
                    node,
                };
                root.each(&["data"], &mut |data| self.entries(data, false));
                root.each(&["binaryData"], &mut |data| self.entries(data, true));
            }
        });
    }

    fn scan(&mut self, key: &str, name: &str, value: &[u8]) {
        self.inspector.detector.scan(name, value, &mut self.findings);
        for finding in self.findings.drain(..) {
            let allow = &self.inspector.allow;
            if allow.allows(&self.namespace, &self.name, key, finding.kind, None) {
                continue;
            }
            let same = |other: &Found| {
                *other.key == *key && other.finding.tag == finding.tag && other.finding.kind == finding.kind
            };
            if !self.found.iter().any(same) {
                self.found.push(Found {
                    key: key.into(),
                    finding,
                });
            }
        }
    }
}
