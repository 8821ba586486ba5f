//! What a request makes of an object: pods in every place that has them, roles, bindings, services.
//!
//! The request of a create or update holds the object. The request of a patch holds the patch, so there the response
//! is read, provided that the patch touches the part in question; otherwise a label put on a privileged pod would look
//! like a privileged pod. A patch that was refused has no object as response, so the patch itself is read.

use super::computed::{Containers, constant, repository};
use super::object::{Object, object};
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::{Scratch, Value};
use crate::json::Kind;

/// Facts about pods: of a Pod, of the template of a workload, and of every item of a list of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodFact {
    Images,
    Repositories,
    Privileged,
    Capabilities,
    HostPaths,
    HostPathsWithin,
    HostNamespaces,
    Seccomp,
    AppArmor,
    ProcMount,
    NodeNames,
    Tolerations,
    ServiceAccounts,
    Commands,
}

/// Facts about roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleFact {
    Verbs,
    Resources,
    Urls,
    /// Whether one rule grants the verb on the resource that the key names.
    Allows,
}

/// Facts about role bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingFact {
    Role,
    Subjects,
}

/// Facts about services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceFact {
    Type,
    ExternalIps,
}

type Parts = &'static [&'static [&'static str]];

const IN_POD: Parts = &[&["spec"]];
const IN_EPHEMERAL: Parts = &[&["spec", "ephemeralContainers"]];
const IN_POD_TEMPLATE: Parts = &[&["template", "spec"]];
const IN_WORKLOAD: Parts = &[
    &["spec", "template", "spec"],
    &["spec", "jobTemplate", "spec", "template", "spec"],
];
const IN_ROLE: Parts = &[&["rules"]];
const IN_BINDING: Parts = &[&["subjects"], &["roleRef"]];
const IN_SERVICE: Parts = &[&["spec"]];

/// Where pods are, as the path to the parent of their metadata and spec.
pub const PODS: Parts = &[
    &[],
    &["spec", "template"],
    &["spec", "jobTemplate", "spec", "template"],
    &["template"],
];

/// The member to read; nothing when a patch leaves `parts` alone.
fn member(event: &AuditEvent<'_>, tapes: &mut Tapes, parts: Parts) -> Option<Member> {
    if event.raw(Member::Verb) != br#""patch""# {
        return Some(Member::RequestObject);
    }
    let patch = object(event, tapes, Member::RequestObject)?;
    let touched = match patch.kind() {
        // RFC 6902: operations with pointers.
        Kind::Array => patch.elements(None).any(|op| {
            let mut pointer = Vec::new();
            if let Some(path) = op.member("path") {
                path.push_text(&mut pointer);
            }
            parts.iter().any(|part| overlap(&pointer, part))
        }),
        _ => parts.iter().any(|part| patch.has(part)),
    };
    if !touched {
        return None;
    }
    let result = object(event, tapes, Member::ResponseObject)
        .filter(|o| o.kind() == Kind::Object && !o.member("kind").is_some_and(|kind| kind.is("Status")));
    Some(if result.is_some() {
        Member::ResponseObject
    } else {
        Member::RequestObject
    })
}

/// Whether a JSON pointer leads into `part`, or to something that contains it.
fn overlap(pointer: &[u8], part: &[&str]) -> bool {
    pointer
        .split(|&b| b == b'/')
        .skip(1)
        .zip(part)
        .all(|(step, name)| step == name.as_bytes())
}

fn effective<'a>(event: &AuditEvent<'a>, tapes: &'a mut Tapes, parts: Parts) -> Option<Object<'a>> {
    let member = member(event, tapes, parts)?;
    object(event, tapes, member)
}

/// Calls `found` with each object: the items of a list, or the object itself.
pub fn each_item<'a>(root: Object<'a>, found: &mut dyn FnMut(Object<'a>)) {
    match root.member("items") {
        Some(items) if items.kind() == Kind::Array => items.elements(None).for_each(found),
        _ => found(root),
    }
}

/// The value of a fact about pods.
pub fn pod(fact: PodFact, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Value {
    let start = scratch.items.len();
    let Some(target) = object(event, tapes, Member::ObjectRef) else {
        return Value::Absent;
    };
    let is = |name: &str, text: &str| target.member(name).is_some_and(|v| v.is(text));
    let ephemeral = is("subresource", "ephemeralcontainers");
    let parts = match () {
        () if ephemeral => IN_EPHEMERAL,
        () if is("resource", "pods") || is("resource", "persistentvolumes") => IN_POD,
        () if is("resource", "podtemplates") => IN_POD_TEMPLATE,
        () => IN_WORKLOAD,
    };
    let Some(mut read) = member(event, tapes, parts) else {
        return Value::Absent;
    };
    // The response to a new debug container shows the older ones as well, which somebody else may have added.
    if ephemeral && object(event, tapes, Member::RequestObject).is_some_and(|patch| patch.kind() == Kind::Object) {
        read = Member::RequestObject;
    }
    let Some(root) = object(event, tapes, read) else {
        return Value::Absent;
    };
    each_item(root, &mut |item| {
        for place in PODS {
            item.each(place, &mut |parent| {
                parent.each(&["spec"], &mut |spec| {
                    pod_fact(
                        fact,
                        Pod {
                            spec,
                            parent,
                            ephemeral,
                        },
                        scratch,
                    );
                });
            });
        }
    });
    if fact == PodFact::Commands {
        return lines(start, event, scratch);
    }
    scratch.list_from(start)
}

/// Puts texts together, one a line.
fn lines(start: usize, event: &AuditEvent<'_>, scratch: &mut Scratch) -> Value {
    if scratch.items.len() == start {
        return Value::Absent;
    }
    let mut all = Vec::new();
    for item in &scratch.items[start..] {
        if let Value::Text(text) = item {
            if !all.is_empty() {
                all.push(b'\n');
            }
            all.extend_from_slice(scratch.bytes_of(event.text, *text));
        }
    }
    scratch.items.truncate(start);
    Value::Text(scratch.text(|out| out.extend_from_slice(&all)))
}

#[derive(Clone, Copy)]
struct Pod<'a> {
    spec: Object<'a>,
    /// What holds the spec and its metadata.
    parent: Object<'a>,
    /// Only the debug containers count: the rest was there before.
    ephemeral: bool,
}

impl<'a> Pod<'a> {
    fn containers(self, found: &mut dyn FnMut(Object<'a>)) {
        for list in Containers::ALL {
            if self.ephemeral && list != Containers::Ephemeral {
                continue;
            }
            self.spec
                .each(&[list.name()], &mut |l| l.elements(None).for_each(&mut *found));
        }
    }

    /// Each container's value at `path` in its securityContext, else the pod's.
    fn security(self, path: &[&str], found: &mut dyn FnMut(Object<'a>)) {
        let context = |object: Object<'a>| object.member("securityContext").and_then(|c| c.at(path));
        let default = context(self.spec);
        self.containers(&mut |container| context(container).or(default).into_iter().for_each(&mut *found));
    }
}

fn keep(object: Object<'_>, scratch: &mut Scratch) {
    let value = object.value(scratch);
    scratch.items.push(value);
}

fn pod_fact(fact: PodFact, pod: Pod<'_>, scratch: &mut Scratch) {
    // A pod's own settings say nothing about a debug container that joins it.
    let own = !pod.ephemeral;
    match fact {
        PodFact::Images => pod.containers(&mut |c| c.member("image").into_iter().for_each(|o| keep(o, scratch))),
        PodFact::Repositories => pod.containers(&mut |c| {
            if let Some(image) = c.member("image") {
                let value = repository(image, scratch);
                scratch.items.push(value);
            }
        }),
        PodFact::Privileged => {
            let host_process = ["securityContext", "windowsOptions", "hostProcess"];
            let is_true = |o: Object<'_>, path: &[&str]| o.at(path).is_some_and(|v| v.is("true"));
            let all = is_true(pod.spec, &host_process);
            pod.containers(&mut |c| {
                let on = all || is_true(c, &["securityContext", "privileged"]) || is_true(c, &host_process);
                let value = constant(if on { "true" } else { "false" }, scratch);
                scratch.items.push(value);
            });
        }
        PodFact::Capabilities => pod.containers(&mut |c| {
            let added = c.at(&["securityContext", "capabilities", "add"]);
            for capability in added.into_iter().flat_map(|list| list.elements(None)) {
                let mut name = Vec::new();
                capability.push_text(&mut name);
                name.make_ascii_uppercase();
                let text = scratch.text(|out| out.extend_from_slice(name.strip_prefix(b"CAP_").unwrap_or(&name)));
                scratch.items.push(Value::Text(text));
            }
        }),
        PodFact::HostPaths | PodFact::HostPathsWithin if own => host_paths(fact, pod.spec, scratch),
        PodFact::HostNamespaces if own => {
            for (member, name) in [("hostNetwork", "network"), ("hostPID", "pid"), ("hostIPC", "ipc")] {
                if pod.spec.member(member).is_some_and(|v| v.is("true")) {
                    let value = constant(name, scratch);
                    scratch.items.push(value);
                }
            }
        }
        PodFact::Seccomp => pod.security(&["seccompProfile", "type"], &mut |o| keep(o, scratch)),
        PodFact::AppArmor => {
            pod.security(&["appArmorProfile", "type"], &mut |o| keep(o, scratch));
            app_armor_annotations(pod.parent, scratch);
        }
        PodFact::ProcMount => pod.security(&["procMount"], &mut |o| keep(o, scratch)),
        PodFact::NodeNames if own => pod.spec.member("nodeName").into_iter().for_each(|o| keep(o, scratch)),
        PodFact::Tolerations if own => {
            let list = pod.spec.member("tolerations");
            for toleration in list.into_iter().flat_map(|list| list.elements(None)) {
                let value = match toleration.member("key").filter(|key| !key.is("")) {
                    Some(key) => key.value(scratch),
                    None => constant("*", scratch),
                };
                scratch.items.push(value);
            }
        }
        PodFact::ServiceAccounts if own => {
            let name = pod.spec.member("serviceAccountName");
            name.into_iter().for_each(|o| keep(o, scratch));
        }
        PodFact::Commands => pod.containers(&mut |c| command_line(c, scratch)),
        _ => {}
    }
}

fn command_line(container: Object<'_>, scratch: &mut Scratch) {
    let mut line = Vec::new();
    push_command_line(container, &mut line);
    if !line.is_empty() {
        let text = scratch.text(|out| out.extend_from_slice(&line));
        scratch.items.push(Value::Text(text));
    }
}

/// Appends command and arguments of a container as one line.
pub fn push_command_line(container: Object<'_>, line: &mut Vec<u8>) {
    for member in ["command", "args"] {
        for word in container
            .member(member)
            .into_iter()
            .flat_map(|list| list.elements(None))
        {
            if !line.is_empty() {
                line.push(b' ');
            }
            word.push_text(line);
        }
    }
}

/// The older notation of AppArmor profiles, which API servers still take.
fn app_armor_annotations(parent: Object<'_>, scratch: &mut Scratch) {
    let Some(annotations) = parent.at(&["metadata", "annotations"]) else {
        return;
    };
    for (key, value) in annotations
        .tape
        .keys(annotations.node)
        .zip(annotations.tape.children(annotations.node))
    {
        let at = |node| Object { node, ..annotations };
        if !at(key)
            .raw()
            .starts_with(b"container.apparmor.security.beta.kubernetes.io/")
        {
            continue;
        }
        let profile = match at(value).raw() {
            b"unconfined" => "Unconfined",
            b"runtime/default" => "RuntimeDefault",
            _ => "Localhost",
        };
        let value = constant(profile, scratch);
        scratch.items.push(value);
    }
}

/// Paths of hostPath volumes, and of a PersistentVolume that is a path of the node.
fn host_paths(fact: PodFact, spec: Object<'_>, scratch: &mut Scratch) {
    let mut found = |path: Object<'_>| {
        let mut raw = Vec::new();
        path.push_text(&mut raw);
        let whole = normalised(&raw);
        let mut end = whole.len();
        loop {
            let text = scratch.text(|out| out.extend_from_slice(&whole[..end]));
            scratch.items.push(Value::Text(text));
            // The root is above everything and would make every path look alike.
            match memchr::memrchr(b'/', &whole[..end]) {
                Some(slash) if slash > 0 && fact == PodFact::HostPathsWithin => end = slash,
                _ => break,
            }
        }
    };
    spec.each(&["volumes"], &mut |volumes| {
        for volume in volumes.elements(None) {
            volume.each(&["hostPath", "path"], &mut found);
        }
    });
    spec.each(&["hostPath", "path"], &mut found);
    spec.each(&["local", "path"], &mut found);
}

/// An absolute path without empty, `.` and `..` parts, as the node resolves it (symbolic links apart).
fn normalised(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// The value of a fact about a role.
pub fn role(
    fact: RoleFact,
    key: &str,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
) -> Option<Value> {
    let root = effective(event, tapes, IN_ROLE)?;
    let member = match fact {
        RoleFact::Verbs => "verbs",
        RoleFact::Resources => "resources",
        RoleFact::Urls => "nonResourceURLs",
        RoleFact::Allows => {
            let (verb, resource) = key.split_once(':')?;
            let mut allowed = false;
            root.each(&["rules"], &mut |rules| {
                allowed |= rules.elements(None).any(|rule| allows(rule, verb, resource))
            });
            return Some(constant(if allowed { "true" } else { "false" }, scratch));
        }
    };
    let start = scratch.items.len();
    root.each(&["rules"], &mut |rules| {
        for value in rules
            .elements(None)
            .filter_map(|rule| rule.member(member))
            .flat_map(|list| list.elements(None))
        {
            keep(value, scratch);
        }
    });
    Some(scratch.list_from(start))
}

/// RBAC's own matching: `*` stands for everything, `*/sub` for the subresource of every resource.
fn allows(rule: Object<'_>, verb: &str, resource: &str) -> bool {
    let any = |member: &str, fits: &dyn Fn(Object<'_>) -> bool| {
        rule.member(member).is_some_and(|list| list.elements(None).any(fits))
    };
    any("verbs", &|v| v.is("*") || v.is(verb))
        && any("resources", &|r| {
            let by_subresource = |subresource| r.raw().strip_prefix(b"*/").is_some_and(|s| s == subresource);
            r.is("*")
                || r.is(resource)
                || resource
                    .split_once('/')
                    .is_some_and(|(_, sub)| by_subresource(sub.as_bytes()))
        })
}

/// The value of a fact about a binding.
pub fn binding(fact: BindingFact, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let root = effective(event, tapes, IN_BINDING)?;
    if fact == BindingFact::Role {
        return Some(root.at(&["roleRef", "name"])?.value(scratch));
    }
    let start = scratch.items.len();
    root.each(&["subjects"], &mut |subjects| {
        for subject in subjects.elements(None) {
            let text = scratch.text(|out| {
                for (member, after) in [("kind", b':'), ("namespace", b'/')] {
                    if let Some(value) = subject.member(member).filter(|v| v.kind() == Kind::String) {
                        value.push_text(out);
                        out.push(after);
                    }
                }
                if let Some(name) = subject.member("name") {
                    name.push_text(out);
                }
            });
            scratch.items.push(Value::Text(text));
        }
    });
    Some(scratch.list_from(start))
}

/// The value of a fact about a service.
pub fn service(fact: ServiceFact, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let spec = effective(event, tapes, IN_SERVICE)?.member("spec")?;
    match fact {
        ServiceFact::Type => Some(spec.member("type")?.value(scratch)),
        ServiceFact::ExternalIps => {
            let start = scratch.items.len();
            for address in spec.member("externalIPs")?.elements(None) {
                keep(address, scratch);
            }
            Some(scratch.list_from(start))
        }
    }
}

#[cfg(test)]
mod tests;
