//! Facts of the request itself: its real peer, its object's name, its path, whether it was a rehearsal.

use super::computed::{constant, with_uri};
use super::object::{Object, object};
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::uri::{decode, key_is, pairs};
use crate::fields::{Scratch, Value};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The last of `sourceIPs`: the others are what the client says.
    Peer,
    UriPath,
    ObjectName,
    DryRun,
    /// Admission webhooks that did not answer, and were passed over.
    FailedOpen,
}

impl Fact {
    pub(super) const fn cost(self) -> u32 {
        match self {
            Fact::Peer | Fact::UriPath | Fact::FailedOpen => 4,
            Fact::DryRun => 5,
            Fact::ObjectName => 40,
        }
    }
}

/// The value of a fact.
pub fn extract(fact: Fact, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    match fact {
        Fact::Peer => Some(
            object(event, tapes, Member::SourceIps)?
                .elements(None)
                .last()?
                .value(scratch),
        ),
        Fact::UriPath => with_uri(event, scratch, |uri, scratch| {
            let end = memchr::memchr2(b'?', b'#', uri).unwrap_or(uri.len());
            Value::Text(scratch.text(|out| {
                // In a path `+` is no blank.
                for (i, part) in uri[..end].split(|&b| b == b'+').enumerate() {
                    if i > 0 {
                        out.push(b'+');
                    }
                    decode(part, out);
                }
            }))
        }),
        Fact::FailedOpen => failed_open(event, tapes, scratch),
        Fact::ObjectName => object_name(event, tapes, scratch),
        Fact::DryRun => {
            let dry = dry_run(event, tapes, scratch);
            Some(constant(if dry { "true" } else { "false" }, scratch))
        }
    }
}

/// What the names of such annotations begin with; `validating…` or `mutation…`, and a round and an index, follow
/// (k8s.io/apiserver, pkg/admission/plugin/webhook).
const FAILED_OPEN: &[u8] = b"failed-open.";

/// Appends resource, namespace and name of the target, each behind a zero byte.
pub fn push_target(event: &AuditEvent<'_>, tapes: &mut Tapes, out: &mut Vec<u8>) {
    let target = object(event, tapes, Member::ObjectRef);
    for member in ["resource", "namespace", "name"] {
        out.push(0);
        if let Some(value) = target.and_then(|target| target.member(member)) {
            value.push_text(out);
        }
    }
}

/// Whether an event tells of a webhook that was passed over.
pub fn has_failed_open(event: &AuditEvent<'_>) -> bool {
    memchr::memmem::find(event.raw(Member::Annotations), FAILED_OPEN).is_some()
}

fn failed_open(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    if !has_failed_open(event) {
        return None;
    }
    let all = object(event, tapes, Member::Annotations)?;
    let start = scratch.items.len();
    for (key, value) in all.tape.keys(all.node).zip(all.tape.children(all.node)) {
        let at = |node| Object { node, ..all };
        if at(key).raw().starts_with(FAILED_OPEN) {
            let value = at(value).value(scratch);
            scratch.items.push(value);
        }
    }
    Some(scratch.list_from(start))
}

/// `objectRef` has no name when the API server made it up (generateName); the response then has it.
fn object_name(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let places: [(Member, &[&str]); 3] = [
        (Member::ObjectRef, &["name"]),
        (Member::ResponseObject, &["metadata", "name"]),
        (Member::RequestObject, &["metadata", "name"]),
    ];
    places
        .iter()
        .find_map(|(member, path)| Some(object(event, tapes, *member)?.at(path)?.value(scratch)))
}

/// Whether the API server stored nothing by request.
///
/// A delete with a body takes the options in it and none of the URI's, so a `dryRun=All` in the URI alone proves
/// nothing there. Connect requests (exec, proxy) know no dry run at all.
fn dry_run(event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> bool {
    let target = object(event, tapes, Member::ObjectRef);
    let subresource = target.and_then(|t| t.member("subresource"));
    let connect = ["exec", "attach", "portforward", "proxy"];
    if subresource.is_some_and(|s| connect.iter().any(|name| s.is(name))) {
        return false;
    }
    let delete = matches!(event.raw(Member::Verb), br#""delete""# | br#""deletecollection""#);
    if delete && let Some(options) = object(event, tapes, Member::RequestObject) {
        return options
            .member("dryRun")
            .is_some_and(|list| list.elements(None).any(|stage| stage.is("All")));
    }
    with_uri(event, scratch, |uri, _| {
        let mut dry = false;
        pairs(uri, |key, value| dry |= key_is(key, b"dryRun") && key_is(value, b"All"));
        dry
    })
    .unwrap_or(false)
}
