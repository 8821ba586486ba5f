//! Audit events and admission reviews as JSON, to facts. What leads into no pod is nothing.

use std::collections::BTreeMap;

use highway::{HighwayHash, HighwayHasher, Key};
use serde::Deserialize;

use super::fact::{Access, Entry, Fact, Looked, Person, PodName, RequestId, Review, Stage, Target, Via};
use crate::event::Timestamp;
use crate::event::time::parse_rfc3339;
use crate::fields::uri;

/// The variable that a mutating review of ours puts before a command: `env SAKER_EXEC_ID=<uid> …`.
pub const KEY: &str = "SAKER_EXEC_ID";
/// The name under which reviews of ours come back as annotations: `<webhook>/exec-id`.
pub const ANNOTATION: &str = "exec-id";
/// Where the API server writes what a mutating webhook has changed: `…/round_0_index_0`, from level Request on.
const PATCH: &str = "patch.webhook.admission.k8s.io/";
/// The key of the security-profiles-operator, in the environment and as an annotation under its own name.
pub const OPERATOR_KEY: &str = "SPO_EXEC_REQUEST_UID";

/// What every JSON object of the API may leave out.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct User {
    username: String,
    groups: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: Option<u16>,
}

/// `audit.k8s.io/v1` Event, as far as it matters here.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(rename = "sourceIPs")]
    source_ips: Vec<String>,
    user_agent: Option<String>,
    object_ref: ObjectRef,
    response_status: Status,
    request_received_timestamp: String,
    stage_timestamp: String,
    annotations: BTreeMap<String, String>,
    verb: String,
    request_object: Option<serde_json::Value>,
    response_object: Option<serde_json::Value>,
}

/// What an audit event tells: an entry, a question of a kubelet, or what a pod was.
pub fn audit(text: &[u8]) -> Option<Fact> {
    let event: Event = serde_json::from_slice(text).ok()?;
    let object = &event.object_ref;
    match (
        object.resource.as_str(),
        object.subresource.as_str(),
        event.verb.as_str(),
    ) {
        ("subjectaccessreviews", "", _) => access(&event).map(|access| Fact::Access(Box::new(access))),
        ("pods", "", "get") => looked(&event).map(|looked| Fact::Looked(Box::new(looked))),
        _ => entry_of(event).map(|entry| Fact::Entry(Box::new(entry))),
    }
}

/// The entry that an audit event is, if it leads into a pod.
pub fn entry(text: &[u8]) -> Option<Entry> {
    entry_of(serde_json::from_slice(text).ok()?)
}

/// The kubelet asks with `SubjectAccessReview` (k8s.io/api, authorization/v1) for `nodes/proxy` of its own node when
/// somebody comes to its port.
fn access(event: &Event) -> Option<Access> {
    let node = event.user.username.strip_prefix("system:node:")?;
    let spec = event.request_object.as_ref()?.get("spec")?;
    let asked = |name: &str| spec.get("resourceAttributes")?.get(name)?.as_str();
    let denied = event
        .response_object
        .as_ref()
        .and_then(|o| o.get("status")?.get("allowed")?.as_bool())
        == Some(false);
    (asked("resource") == Some("nodes") && asked("subresource") == Some("proxy") && !denied).then_some(())?;
    Some(Access {
        at: parse_rfc3339(event.request_received_timestamp.as_bytes())?,
        node: node.into(),
        user: spec.get("user")?.as_str()?.into(),
    })
}

fn looked(event: &Event) -> Option<Looked> {
    let meta = event.response_object.as_ref()?.get("metadata")?;
    let text = |name: &str| meta.get(name)?.as_str();
    Some(Looked {
        pod: PodName {
            namespace: text("namespace")?.into(),
            name: text("name")?.into(),
        },
        uid: text("uid")?.into(),
        at: parse_rfc3339(event.stage_timestamp.as_bytes())?,
    })
}

fn entry_of(event: Event) -> Option<Entry> {
    let stage = match event.stage.as_str() {
        "RequestReceived" => Stage::RequestReceived,
        "ResponseStarted" => Stage::ResponseStarted,
        "ResponseComplete" => Stage::ResponseComplete,
        _ => return None,
    };
    let object = &event.object_ref;
    let target = match (object.resource.as_str(), object.subresource.as_str()) {
        ("pods", "exec") => streaming(&event, Via::Exec),
        ("pods", "attach") => streaming(&event, Via::Attach),
        ("pods", "ephemeralcontainers") => debug(object, event.request_object.as_ref()?)?,
        ("nodes", "proxy") => kubelet(event.request_uri.as_bytes())?,
        ("pods", "") if event.verb == "create" => created(&event)?,
        _ => return None,
    };
    let made = |object: &serde_json::Value| Some(object.get("metadata")?.get("uid")?.as_str()?.into());
    let uid = match target.via {
        Via::Debug | Via::Run => event.response_object.as_ref().and_then(made),
        _ => None,
    };
    let impersonated = event.impersonated_user.is_some();
    let acting = event.impersonated_user.unwrap_or_default();
    let mut hasher = HighwayHasher::new(Key([0x5341_4b45_5221, 6, 6, 6]));
    for part in [
        &event.audit_id,
        &event.request_received_timestamp,
        &event.request_uri,
        &event.user.username,
    ] {
        hasher.append(&(part.len() as u64).to_le_bytes());
        hasher.append(part.as_bytes());
    }
    let [high, low] = hasher.finalize128();
    let real = event.user;
    let person = match impersonated {
        false => Person {
            user: real.username.into(),
            groups: boxed(real.groups),
            impersonator: None,
        },
        true => Person {
            user: acting.username.into(),
            groups: boxed(acting.groups),
            impersonator: Some(real.username.into()),
        },
    };
    let mut reviews: Vec<Box<str>> = Vec::new();
    for (name, value) in &event.annotations {
        let own = name.rsplit('/').next().unwrap_or_default();
        if own == ANNOTATION || own == OPERATOR_KEY {
            reviews.push(value.as_str().into());
        } else if name.starts_with(PATCH) {
            reviews.extend(key_in(value));
        }
    }
    Some(Entry {
        id: RequestId(u128::from(high) << 64 | u128::from(low)),
        audit_id: event.audit_id.into(),
        stage,
        received: parse_rfc3339(event.request_received_timestamp.as_bytes())?,
        at: parse_rfc3339(event.stage_timestamp.as_bytes())?,
        target,
        person,
        source_ips: boxed(event.source_ips),
        user_agent: event.user_agent.map(String::into_boxed_str),
        code: event.response_status.code,
        reviews,
        uid,
    })
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

/// The value of our key somewhere in the text of a patch: what follows `SAKER_EXEC_ID=` up to a quote.
fn key_in(patch: &str) -> Option<Box<str>> {
    let (_, rest) = patch.split_once(KEY)?;
    let value = rest.strip_prefix('=')?;
    let end = value.find(|c: char| !c.is_ascii_alphanumeric() && c != '-')?;
    (end > 0).then(|| value[..end].into())
}

fn is_true(value: &str) -> bool {
    // As the API server reads booleans of a query (k8s.io/apimachinery, conversion of `[]string` to bool).
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

fn streaming(event: &Event, via: Via) -> Target {
    let mut target = Target {
        via,
        pod: PodName {
            namespace: event.object_ref.namespace.as_str().into(),
            name: event.object_ref.name.as_str().into(),
        },
        container: None,
        argv: Vec::new(),
        tty: false,
    };
    uri::pairs(event.request_uri.as_bytes(), |key, value| {
        let mut decoded = Vec::new();
        uri::decode(value, &mut decoded);
        let text = String::from_utf8_lossy(&decoded).into_owned();
        if uri::key_is(key, b"command") {
            target.argv.push(text.into());
        } else if uri::key_is(key, b"container") && target.container.is_none() {
            target.container = (!text.is_empty()).then(|| text.into());
        } else if uri::key_is(key, b"tty") {
            target.tty = is_true(&text);
        }
    });
    target
}

/// The container that a patch of `pods/ephemeralcontainers` adds: the last one it names.
fn debug(object: &ObjectRef, patch: &serde_json::Value) -> Option<Target> {
    let containers = patch.get("spec")?.get("ephemeralContainers")?.as_array()?;
    let added = containers.last()?;
    Some(Target {
        via: Via::Debug,
        pod: PodName {
            namespace: object.namespace.as_str().into(),
            name: object.name.as_str().into(),
        },
        container: added.get("name").and_then(|n| n.as_str()).map(Box::from),
        argv: arguments(added),
        tty: added
            .get("tty")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or_default(),
    })
}

/// A pod with a container that somebody wants to sit in front of. The name is in the answer where the API server chose
/// it, so that the first stage tells nothing then.
fn created(event: &Event) -> Option<Target> {
    let mut dry = false;
    uri::pairs(event.request_uri.as_bytes(), |key, value| {
        dry |= uri::key_is(key, b"dryRun") && uri::key_is(value, b"All");
    });
    if dry {
        return None;
    }
    let asked = event.request_object.as_ref()?;
    let name = |object: &serde_json::Value| Some(object.get("metadata")?.get("name")?.as_str()?.to_owned());
    let object = &event.object_ref;
    let own = Some(object.name.clone()).filter(|name| !name.is_empty());
    let name = own
        .or_else(|| name(asked))
        .or_else(|| name(event.response_object.as_ref()?))?;
    spec_of(asked, &object.namespace, &name)
}

/// What a pod's specification says of a container with standard input, if it has one.
fn spec_of(pod: &serde_json::Value, namespace: &str, name: &str) -> Option<Target> {
    let containers = pod.get("spec")?.get("containers")?.as_array()?;
    let flag = |container: &serde_json::Value, name: &str| {
        container.get(name).and_then(serde_json::Value::as_bool) == Some(true)
    };
    let container = containers.iter().find(|container| flag(container, "stdin"))?;
    Some(Target {
        // `kubectl debug node/…` makes a pod of this name.
        via: if name.starts_with("node-debugger-") {
            Via::Debug
        } else {
            Via::Run
        },
        pod: PodName {
            namespace: namespace.into(),
            name: name.into(),
        },
        container: container.get("name").and_then(|n| n.as_str()).map(Box::from),
        argv: arguments(container),
        tty: flag(container, "tty"),
    })
}

fn arguments(container: &serde_json::Value) -> Vec<Box<str>> {
    let lists = ["command", "args"]
        .into_iter()
        .filter_map(|name| container.get(name)?.as_array());
    lists
        .flatten()
        .filter_map(|argument| argument.as_str())
        .map(Box::from)
        .collect()
}

/// `/api/v1/nodes/NODE/proxy/run/NAMESPACE/POD[/UID]/CONTAINER?cmd=…`: the kubelet splits `cmd` at blanks
/// (k8s.io/kubernetes, pkg/kubelet/server `getRun`).
fn kubelet(request: &[u8]) -> Option<Target> {
    let path = request.split(|b| *b == b'?').next()?;
    let (_, path) = std::str::from_utf8(path).ok()?.split_once("/proxy/")?;
    let mut names = path.trim_start_matches('/').split('/').filter(|name| !name.is_empty());
    if names.next()? != "run" {
        return None;
    }
    let names: Vec<&str> = names.collect();
    let (namespace, pod, container) = match names[..] {
        [namespace, pod, container] | [namespace, pod, _, container] => (namespace, pod, container),
        _ => return None,
    };
    let mut argv = Vec::new();
    uri::pairs(request, |key, value| {
        if uri::key_is(key, b"cmd") && argv.is_empty() {
            let mut decoded = Vec::new();
            uri::decode(value, &mut decoded);
            let text = String::from_utf8_lossy(&decoded).into_owned();
            argv = text.split(' ').map(Box::from).collect();
        }
    });
    Some(Target {
        via: Via::Kubelet,
        pod: PodName {
            namespace: namespace.into(),
            name: pod.into(),
        },
        container: Some(container.into()),
        argv,
        tty: false,
    })
}

#[derive(Deserialize)]
struct AdmissionReview {
    request: Request,
}

/// `admission.k8s.io/v1` AdmissionRequest, as far as it matters here.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    uid: String,
    resource: Resource,
    sub_resource: String,
    operation: String,
    name: String,
    namespace: String,
    user_info: User,
    object: serde_json::Value,
    old_object: serde_json::Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resource {
    resource: String,
}

/// `PodExecOptions`, `PodAttachOptions`; false flags are absent, and no command is null.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    command: Option<Vec<String>>,
    container: String,
    tty: bool,
}

/// The review in a request to an admission endpoint, if it is one of leading into a pod. Of `nodes/proxy` it has no
/// command, so that those wait for the audit event.
pub fn review(body: &[u8], at: Timestamp) -> Option<Review> {
    let AdmissionReview { request } = serde_json::from_slice(body).ok()?;
    let (resource, subresource) = (request.resource.resource.as_str(), request.sub_resource.as_str());
    let mut key = None;
    let target = match (resource, subresource, request.operation.as_str()) {
        ("pods", "exec", _) => options(&request, Via::Exec, &mut key)?,
        ("pods", "attach", _) => options(&request, Via::Attach, &mut key)?,
        ("pods", "ephemeralcontainers", _) => added(&request)?,
        ("pods", "", "CREATE") => spec_of(&request.object, &request.namespace, &name_of(&request)?)?,
        _ => return None,
    };
    Some(Review {
        uid: request.uid.into(),
        at,
        target,
        person: Person {
            user: request.user_info.username.into(),
            groups: boxed(request.user_info.groups),
            impersonator: None,
        },
        key,
    })
}

/// Empty where the API server is still to choose one: nothing can be tied to that.
fn name_of(request: &Request) -> Option<String> {
    let inner = || Some(request.object.get("metadata")?.get("name")?.as_str()?.to_owned());
    Some(request.name.clone())
        .filter(|name| !name.is_empty())
        .or_else(inner)
}

fn options(request: &Request, via: Via, key: &mut Option<Box<str>>) -> Option<Target> {
    let options = Options::deserialize(&request.object).ok()?;
    let mut argv = boxed(options.command.unwrap_or_default());
    *key = take_key(&mut argv);
    Some(Target {
        via,
        pod: PodName {
            namespace: request.namespace.as_str().into(),
            name: request.name.as_str().into(),
        },
        container: (!options.container.is_empty()).then(|| options.container.into()),
        argv,
        tty: options.tty,
    })
}

/// The container that the pod has and had not.
fn added(request: &Request) -> Option<Target> {
    let list = |pod: &serde_json::Value| -> Option<Vec<serde_json::Value>> {
        pod.get("spec")?.get("ephemeralContainers")?.as_array().cloned()
    };
    let before = list(&request.old_object).unwrap_or_default();
    let name = |container: &serde_json::Value| container.get("name").cloned();
    let mut new = list(&request.object)?;
    new.retain(|container| before.iter().all(|old| name(old) != name(container)));
    let container = new.last()?;
    Some(Target {
        via: Via::Debug,
        pod: PodName {
            namespace: request.namespace.as_str().into(),
            name: name_of(request)?.into(),
        },
        container: container.get("name").and_then(|n| n.as_str()).map(Box::from),
        argv: arguments(container),
        tty: container
            .get("tty")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or_default(),
    })
}

/// A review as nodes need it: without what else is in a pod. Nothing for one that leads nowhere.
pub fn essence(body: &[u8]) -> Option<Box<[u8]>> {
    review(body, 0)?;
    let mut value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let request = value.get_mut("request")?;
    for name in ["object", "oldObject"] {
        if let Some(object) = request.get_mut(name) {
            *object = bare(object);
        }
    }
    Some(value.to_string().into_bytes().into())
}

/// What is read of a pod, or of a patch of one; options of exec and attach stay whole.
pub fn bare(object: &serde_json::Value) -> serde_json::Value {
    use serde_json::{Map, Value};
    let only = |object: &Value, names: &[&str]| -> Value {
        let chosen = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), object.get(name)?.clone())));
        Value::Object(chosen.collect::<Map<_, _>>())
    };
    let Some(spec) = object.get("spec") else {
        return match object.get("metadata") {
            Some(_) => only(object, &["kind", "apiVersion"]),
            None => object.clone(),
        };
    };
    let mut inner = Map::new();
    for list in ["containers", "ephemeralContainers"] {
        if let Some(Value::Array(containers)) = spec.get(list) {
            let bare = |container| only(container, &["name", "stdin", "tty", "command", "args"]);
            inner.insert(list.to_owned(), containers.iter().map(bare).collect());
        }
    }
    let mut out = only(object, &["kind", "apiVersion"]);
    out["spec"] = Value::Object(inner);
    if let Some(meta) = object.get("metadata") {
        out["metadata"] = only(meta, &["name", "namespace", "uid"]);
    }
    out
}

/// Takes `env SAKER_EXEC_ID=<uid>` off the beginning of a command.
pub fn take_key(argv: &mut Vec<Box<str>>) -> Option<Box<str>> {
    let value = argv.get(1)?.strip_prefix(KEY)?.strip_prefix('=')?;
    if &*argv[0] != "env" || argv.len() < 3 {
        return None;
    }
    let value = value.into();
    argv.drain(..2);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_paths() {
        let run = |uri: &str| kubelet(uri.as_bytes()).map(|t| (t.pod.name, t.container, t.argv));
        assert_eq!(
            run("/api/v1/nodes/n/proxy/run/prod/caps/main?cmd=/bin/sleep%201.11"),
            Some((
                "caps".into(),
                Some("main".into()),
                vec!["/bin/sleep".into(), "1.11".into()]
            ))
        );
        assert_eq!(run("/api/v1/nodes/n/proxy/metrics"), None);
        assert_eq!(run("/api/v1/nodes/n/proxy/run/prod"), None);
    }

    #[test]
    fn keys_come_off_the_beginning_only() {
        let cases: [(&[&str], Option<&str>, usize); 5] = [
            (&["env", "SAKER_EXEC_ID=u-1", "sh"], Some("u-1"), 1),
            // Typed by the user behind ours, or without a command.
            (
                &["env", "SAKER_EXEC_ID=u-1", "env", "SAKER_EXEC_ID=u-2", "sh"],
                Some("u-1"),
                3,
            ),
            (&["env", "SAKER_EXEC_ID=u-1"], None, 2),
            (&["env", "X=1", "SAKER_EXEC_ID=u-1", "sh"], None, 4),
            (&["sh"], None, 1),
        ];
        for (argv, key, left) in cases {
            let mut argv: Vec<Box<str>> = argv.iter().map(|a| Box::from(*a)).collect();
            assert_eq!(take_key(&mut argv).as_deref(), key);
            assert_eq!(argv.len(), left);
        }
    }
}
