//! `ka.*` fields that are more than a look-up.

use super::object::{Object, object};
use super::{certificate, credentials, effective, pod_member, request};
use crate::credentials::inspection::Part;
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::uri::{decode, key_is, pairs};
use crate::fields::{Scratch, Value};
use crate::json::tape::unescape;
use crate::json::{Kind, Span};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Computed {
    /// The text `true`.
    Always,
    UriParam,
    TargetPodName,
    SubjectNames(Subject),
    FirstRepository,
    AnyPrivileged,
    HasHostPath,
    VolumeTypes,
    ClusterName,
    ExecCommand,
    ExecArgv,
    ExecContainer,
    ExecTty,
    ExecStdin,
    Repositories(Containers),
    Commands(Containers),
    Args(Containers),
    EffectiveUser(Containers),
    EffectiveGroup(Containers),
    HostPorts(Containers),
    Request(request::Fact),
    Pod(effective::PodFact),
    Role(effective::RoleFact),
    Binding(effective::BindingFact),
    Service(effective::ServiceFact),
    Certificate(certificate::Fact),
    Credentials(Part, credentials::Fact),
}

impl Computed {
    pub(in crate::fields) fn cost(self) -> u32 {
        match self {
            Computed::Always => 1,
            Computed::UriParam | Computed::ExecTty | Computed::ExecStdin | Computed::ExecContainer => 4,
            Computed::ExecCommand | Computed::ExecArgv | Computed::ClusterName => 5,
            Computed::Request(fact) => fact.cost(),
            Computed::Certificate(_) => 90,
            Computed::Credentials(..) => 200,
            _ => 45,
        }
    }
}

/// Kinds of a binding's subjects (rbac.authorization.k8s.io/v1 `Subject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    User,
    Group,
    ServiceAccount,
    NamespacedServiceAccount,
}

/// The three container lists of a PodSpec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Containers {
    Main,
    Init,
    Ephemeral,
}

impl Containers {
    pub const ALL: [Containers; 3] = [Containers::Main, Containers::Init, Containers::Ephemeral];

    /// The PodSpec's member name.
    pub const fn name(self) -> &'static str {
        match self {
            Containers::Main => "containers",
            Containers::Init => "initContainers",
            Containers::Ephemeral => "ephemeralContainers",
        }
    }
}

fn pod<'a>(event: &AuditEvent<'a>, tapes: &'a mut Tapes) -> Option<Object<'a>> {
    let member = pod_member(event, tapes);
    object(event, tapes, member)?.member("spec")
}

/// The value of a computed field of an event that has an auditID.
pub fn extract(
    what: Computed,
    index: Option<u32>,
    key: Option<&str>,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
) -> Value {
    let found = match what {
        Computed::Always => Some(constant("true", scratch)),
        Computed::Request(fact) => request::extract(fact, event, tapes, scratch),
        Computed::Pod(fact) => Some(effective::pod(fact, event, tapes, scratch)),
        Computed::Role(fact) => effective::role(fact, key.unwrap_or_default(), event, tapes, scratch),
        Computed::Binding(fact) => effective::binding(fact, event, tapes, scratch),
        Computed::Service(fact) => effective::service(fact, event, tapes, scratch),
        Computed::Certificate(fact) => certificate::extract(fact, event, tapes, scratch),
        Computed::Credentials(part, fact) => credentials::extract(part, fact, event, tapes, scratch),
        Computed::UriParam => uri_param(event, key.unwrap_or_default(), scratch),
        Computed::ExecCommand
        | Computed::ExecArgv
        | Computed::ExecContainer
        | Computed::ExecTty
        | Computed::ExecStdin => exec(what, event, tapes, scratch),
        Computed::ClusterName => cluster_name(event, tapes, scratch),
        Computed::TargetPodName => target_pod_name(event, tapes, scratch),
        Computed::SubjectNames(kind) => subject_names(kind, event, tapes, scratch),
        Computed::FirstRepository => pod(event, tapes)
            .and_then(|spec| spec.member("containers")?.elements(Some(0)).next()?.member("image"))
            .map(|image| repository(image, scratch)),
        Computed::AnyPrivileged => any_privileged(event, tapes, scratch),
        Computed::HasHostPath => has_host_path(key.unwrap_or_default(), event, tapes, scratch),
        Computed::VolumeTypes => volume_types(index, event, tapes, scratch),
        Computed::Repositories(list) => per_container(list, index, event, tapes, scratch, |container, _, scratch| {
            if let Some(image) = container.member("image") {
                let value = repository(image, scratch);
                scratch.items.push(value);
            }
        }),
        Computed::Commands(list) => joined(list, "command", index, event, tapes, scratch),
        Computed::Args(list) => joined(list, "args", index, event, tapes, scratch),
        Computed::EffectiveUser(list) => run_as(list, "runAsUser", index, event, tapes, scratch),
        Computed::EffectiveGroup(list) => run_as(list, "runAsGroup", index, event, tapes, scratch),
        Computed::HostPorts(list) => per_container(list, index, event, tapes, scratch, |container, _, scratch| {
            for port in container
                .member("ports")
                .into_iter()
                .flat_map(|ports| ports.elements(None))
            {
                if let Some(number) = port.member("hostPort").or_else(|| port.member("containerPort")) {
                    let value = number.value(scratch);
                    scratch.items.push(value);
                }
            }
        }),
    };
    found.unwrap_or(Value::Absent)
}

pub(super) fn constant(text: &str, scratch: &mut Scratch) -> Value {
    Value::Text(scratch.text(|out| out.extend_from_slice(text.as_bytes())))
}

/// Calls `push` with each container and its PodSpec; what it pushes becomes the list.
fn per_container(
    list: Containers,
    index: Option<u32>,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
    mut push: impl FnMut(Object<'_>, Object<'_>, &mut Scratch),
) -> Option<Value> {
    let spec = pod(event, tapes)?;
    let start = scratch.items.len();
    for container in spec.member(list.name())?.elements(index) {
        push(container, spec, scratch);
    }
    Some(scratch.list_from(start))
}

fn joined(
    list: Containers,
    member: &str,
    index: Option<u32>,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
) -> Option<Value> {
    per_container(list, index, event, tapes, scratch, |container, _, scratch| {
        let Some(words) = container.member(member) else { return };
        let text = scratch.text(|out| {
            for (i, word) in words.elements(None).enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                word.push_text(out);
            }
        });
        scratch.items.push(Value::Text(text));
    })
}

fn run_as(
    list: Containers,
    member: &str,
    index: Option<u32>,
    event: &AuditEvent<'_>,
    tapes: &mut Tapes,
    scratch: &mut Scratch,
) -> Option<Value> {
    per_container(list, index, event, tapes, scratch, |container, spec, scratch| {
        let path = ["securityContext", member];
        let value = match container.at(&path).or_else(|| spec.at(&path)) {
            Some(set) => set.value(scratch),
            None => constant("0", scratch),
        };
        scratch.items.push(value);
    })
}

/// An image without its tag and digest. The registry keeps its port: a `:` before the last `/` is no tag.
pub(super) fn repository(image: Object<'_>, scratch: &mut Scratch) -> Value {
    let mut text = scratch.text(|out| image.push_text(out));
    let bytes = &scratch.bytes[text.start as usize..];
    let end = memchr::memchr(b'@', bytes).unwrap_or(bytes.len());
    let name_start = memchr::memrchr(b'/', &bytes[..end]).map_or(0, |slash| slash + 1);
    let tag = memchr::memchr(b':', &bytes[name_start..end]).map_or(end, |colon| name_start + colon);
    text.end = text.start + tag as u32;
    Value::Text(text)
}

fn any_privileged(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let any = pod(event, tapes)?.member("containers")?.elements(None).any(|c| {
        c.at(&["securityContext", "privileged"])
            .is_some_and(|p| p.kind() == Kind::Bool && p.is("true"))
    });
    Some(constant(if any { "true" } else { "false" }, scratch))
}

fn has_host_path(wanted: &str, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let volumes = pod(event, tapes)?.member("volumes")?;
    let mut path = Vec::new();
    let any = volumes
        .elements(None)
        .filter_map(|v| v.at(&["hostPath", "path"]))
        .any(|p| {
            path.clear();
            p.push_text(&mut path);
            match wanted.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix.as_bytes()),
                None => path == wanted.as_bytes(),
            }
        });
    Some(constant(if any { "true" } else { "false" }, scratch))
}

fn volume_types(index: Option<u32>, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let volumes = pod(event, tapes)?.member("volumes")?;
    let start = scratch.items.len();
    for volume in volumes.elements(index) {
        for key in volume.tape.keys(volume.node).map(|node| Object { node, ..volume }) {
            if !key.is("name") {
                let value = key.value(scratch);
                scratch.items.push(value);
            }
        }
    }
    Some(scratch.list_from(start))
}

fn subject_names(kind: Subject, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let wanted = match kind {
        Subject::User => "User",
        Subject::Group => "Group",
        Subject::ServiceAccount | Subject::NamespacedServiceAccount => "ServiceAccount",
    };
    let subjects = object(event, tapes, Member::RequestObject)?.member("subjects")?;
    let start = scratch.items.len();
    for subject in subjects.elements(None) {
        let (Some(subject_kind), Some(name)) = (subject.member("kind"), subject.member("name")) else {
            continue;
        };
        if !subject_kind.is(wanted) {
            continue;
        }
        let value = if kind == Subject::NamespacedServiceAccount {
            let Some(namespace) = subject.member("namespace") else {
                continue;
            };
            Value::Text(scratch.text(|out| {
                namespace.push_text(out);
                out.push(b':');
                name.push_text(out);
            }))
        } else {
            name.value(scratch)
        };
        scratch.items.push(value);
    }
    Some(scratch.list_from(start))
}

fn target_pod_name(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let target = object(event, tapes, Member::ObjectRef)?;
    let plain = target.member("resource").is_some_and(|r| r.is("pods"))
        && target.member("subresource").is_none_or(|s| s.is(""));
    if !plain {
        return None;
    }
    Some(
        object(event, tapes, Member::ResponseObject)?
            .at(&["metadata", "name"])?
            .value(scratch),
    )
}

fn cluster_name(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let annotated = object(event, tapes, Member::Annotations).and_then(|a| a.member("cluster_name"));
    match annotated {
        Some(name) => Some(name.value(scratch)),
        None => event.cluster.map(|name| constant(name, scratch)),
    }
}

/// Runs `read` on the decoded request URI. The buffer is lent from the scratch memory.
pub(super) fn with_uri<T>(
    event: &AuditEvent<'_>,
    scratch: &mut Scratch,
    read: impl FnOnce(&[u8], &mut Scratch) -> T,
) -> Option<T> {
    let span = event.member(Member::RequestUri);
    let inner = Span {
        start: span.start + 1,
        end: span.end.saturating_sub(1),
    };
    if span.is_empty() || event.raw(Member::RequestUri).first() != Some(&b'"') {
        return None;
    }
    let mut uri = std::mem::take(&mut scratch.lent);
    uri.clear();
    unescape(inner.of(event.text), &mut uri);
    let result = read(&uri, scratch);
    scratch.lent = uri;
    Some(result)
}

fn uri_param(event: &AuditEvent<'_>, name: &str, scratch: &mut Scratch) -> Option<Value> {
    with_uri(event, scratch, |uri, scratch| {
        let mut value = None;
        pairs(uri, |key, raw| {
            if value.is_none() && key_is(key, name.as_bytes()) {
                value = Some(Value::Text(scratch.text(|out| decode(raw, out))));
            }
        });
        value
    })?
}

/// The parts of an exec or attach: `pods/NAME/exec`, `pods/NAME/attach`, and the same through `nodes/NAME/proxy`.
fn exec(what: Computed, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let target = object(event, tapes, Member::ObjectRef)?;
    let subresource = target.member("subresource")?;
    let proxied = target.member("resource")?.is("nodes") && subresource.is("proxy");
    let pods = target.member("resource")?.is("pods") && (subresource.is("exec") || subresource.is("attach"));
    if !pods && !proxied {
        return None;
    }
    with_uri(event, scratch, |uri, scratch| {
        let path = &uri[..memchr::memchr(b'?', uri).unwrap_or(uri.len())];
        // The kubelet's own paths: /exec/NAMESPACE/POD/CONTAINER, /run/…, /attach/….
        let kubelet_path = if proxied {
            let at = memchr::memmem::find(path, b"/proxy/")?;
            let rest = &path[at + b"/proxy/".len()..];
            let verb = rest.split(|&b| b == b'/').next()?;
            if !matches!(verb, b"exec" | b"run" | b"attach") {
                return None;
            }
            Some(rest)
        } else {
            None
        };
        match what {
            Computed::ExecContainer => match kubelet_path {
                Some(rest) => {
                    let name = rest.split(|&b| b == b'/').rfind(|part| !part.is_empty())?;
                    Some(Value::Text(scratch.text(|out| decode(name, out))))
                }
                None => parameter(uri, &[b"container"], scratch),
            },
            Computed::ExecTty => Some(flag(uri, &[b"tty"], proxied, scratch)),
            Computed::ExecStdin => Some(flag(
                uri,
                if proxied { &[b"input", b"stdin"] } else { &[b"stdin"] },
                proxied,
                scratch,
            )),
            Computed::ExecArgv => Some(argv(uri, proxied, scratch)),
            _ => command_line(uri, proxied, scratch),
        }
    })?
}

fn parameter(uri: &[u8], names: &[&[u8]], scratch: &mut Scratch) -> Option<Value> {
    let mut value = None;
    pairs(uri, |key, raw| {
        if value.is_none() && names.iter().any(|name| key_is(key, name)) {
            value = Some(Value::Text(scratch.text(|out| decode(raw, out))));
        }
    });
    value
}

/// Whether a flag is on. The API server takes the first value, and for off only `false`, `0` and no value at all; the
/// kubelet takes `1` alone for on.
fn flag(uri: &[u8], names: &[&[u8]], proxied: bool, scratch: &mut Scratch) -> Value {
    let mut on = None;
    pairs(uri, |key, raw| {
        if on.is_none() && names.iter().any(|name| key_is(key, name)) {
            let mut value = Vec::with_capacity(raw.len());
            decode(raw, &mut value);
            on = Some(match proxied {
                true => value == b"1",
                false => !value.eq_ignore_ascii_case(b"false") && value != b"0",
            });
        }
    });
    constant(if on == Some(true) { "true" } else { "false" }, scratch)
}

fn is_argument(key: &[u8], proxied: bool) -> bool {
    key_is(key, b"command") || proxied && key_is(key, b"cmd")
}

fn argv(uri: &[u8], proxied: bool, scratch: &mut Scratch) -> Value {
    let start = scratch.items.len();
    pairs(uri, |key, raw| {
        if is_argument(key, proxied) {
            let text = scratch.text(|out| decode(raw, out));
            scratch.items.push(Value::Text(text));
        }
    });
    scratch.list_from(start)
}

fn command_line(uri: &[u8], proxied: bool, scratch: &mut Scratch) -> Option<Value> {
    let mut words = 0;
    let text = scratch.text(|out| {
        pairs(uri, |key, raw| {
            if is_argument(key, proxied) {
                if words > 0 {
                    out.push(b' ');
                }
                words += 1;
                decode(raw, out);
            }
        });
    });
    (words > 0).then_some(Value::Text(text))
}
