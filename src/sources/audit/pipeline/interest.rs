//! The few audit events that nodes are told of: those that lead into a pod, and what tells pods and kubelets apart.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use highway::{HighwayHash, HighwayHasher, Key};
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bus::{Kind, Message};
use crate::correlate::read;
use crate::event::Timestamp;
use crate::event::audit::{AuditEvent, Member};

/// What the reference to the object says of them, and nothing else mostly: one search for each event.
static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let words = [
        "\"exec\"",
        "\"attach\"",
        "\"ephemeralcontainers\"",
        "\"proxy\"",
        "\"subjectaccessreviews\"",
        "\"pods\"",
    ];
    AhoCorasick::new(words).ok()
});

/// The reference to the object, as far as it matters: borrowed, because it is read of many that do not.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow)]
    subresource: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The message that an event is for nodes, if it is one.
pub fn message(event: &AuditEvent<'_>, now: Timestamp) -> Option<Message> {
    let object = event.raw(Member::ObjectRef);
    if !WORDS.as_ref()?.is_match(object) {
        return None;
    }
    let object: Object<'_> = serde_json::from_slice(object).ok()?;
    let in_pod = object.resource == "pods";
    let verb = event.raw(Member::Verb).trim_ascii();
    let has = |member, word: &str| memmem::find(event.raw(member), word.as_bytes()).is_some();
    let mut body = None;
    match (&*object.resource, &*object.subresource, verb) {
        ("pods", "exec" | "attach", _) | ("nodes", "proxy", _) => {}
        ("pods", "ephemeralcontainers", _) => body = Some(bare(event)?),
        // Somebody uses a kubelet directly.
        ("subjectaccessreviews", "", b"\"create\"")
            if has(Member::User, "\"system:node:") && has(Member::RequestObject, "\"proxy\"") => {}
        // To be sat in front of.
        ("pods", "", b"\"create\"") if has(Member::RequestObject, "\"stdin\"") => body = Some(bare(event)?),
        // kubectl looks at a pod before it enters it. Controllers look all the time.
        ("pods", "", b"\"get\"") if has(Member::UserAgent, "kubectl") => body = Some(looked(event)?),
        _ => return None,
    }
    let name = match &*object.name {
        // Chosen by the API server.
        "" => created_name(event).unwrap_or_default(),
        name => name.to_owned(),
    };
    let pod = (in_pod && !name.is_empty()).then(|| (object.namespace.into(), name.into()));
    Some(Message {
        kind: Kind::Audit,
        cluster: event.cluster.map(Box::from),
        pod,
        id: identity(event),
        at: now,
        body: body.unwrap_or_else(|| event.bytes().into()),
    })
}

fn created_name(event: &AuditEvent<'_>) -> Option<String> {
    let made: Value = serde_json::from_slice(event.raw(Member::ResponseObject)).ok()?;
    Some(made.get("metadata")?.get("name")?.as_str()?.to_owned())
}

/// An event without what else is in the pods of its objects: values of variables, for instance.
fn bare(event: &AuditEvent<'_>) -> Option<Box<[u8]>> {
    let mut whole: Value = serde_json::from_slice(event.bytes()).ok()?;
    for name in ["requestObject", "responseObject"] {
        if let Some(object) = whole.get_mut(name) {
            *object = read::bare(object);
        }
    }
    Some(whole.to_string().into_bytes().into())
}

/// Of an answer that holds a whole pod, which pod it was.
fn looked(event: &AuditEvent<'_>) -> Option<Box<[u8]>> {
    let pod: Value = serde_json::from_slice(event.raw(Member::ResponseObject)).ok()?;
    let meta = pod.get("metadata")?;
    let member = |member| serde_json::from_slice::<Value>(event.raw(member)).unwrap_or_default();
    let small = json!({
        "auditID": member(Member::AuditId),
        "stage": member(Member::Stage),
        "verb": "get",
        "objectRef": member(Member::ObjectRef),
        "stageTimestamp": member(Member::StageTimestamp),
        "responseObject": {"metadata": {
            "namespace": meta.get("namespace")?, "name": meta.get("name")?, "uid": meta.get("uid")?,
        }},
    });
    Some(small.to_string().into_bytes().into())
}

/// The Audit-ID is the client's choice: what else the event says belongs to its identity.
fn identity(event: &AuditEvent<'_>) -> Box<str> {
    let mut hasher = HighwayHasher::new(Key([0x5341_4b45_5221, 7, 7, 7]));
    hasher.append(event.bytes());
    let [high, low] = hasher.finalize128();
    format!("{high:016x}{low:016x}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::audit::decode;

    fn event(object: &str, more: &str) -> String {
        format!(
            r#"{{"kind":"Event","auditID":"a","stage":"ResponseComplete","stageTimestamp":"2026-01-01T00:00:00Z","objectRef":{object}{more}}}"#
        )
    }

    #[test]
    fn the_few_that_lead_into_a_pod() {
        let pod = |subresource: &str| {
            format!(r#"{{"resource":"pods","namespace":"prod","name":"web","subresource":"{subresource}"}}"#)
        };
        let plain = r#"{"resource":"pods","namespace":"prod","name":"web"}"#;
        let reviews = r#"{"resource":"subjectaccessreviews"}"#;
        let get = r#","verb":"get","userAgent":"kubectl/v1.33","responseObject":{"metadata":{"namespace":"prod","name":"web","uid":"u"},"spec":{}}"#;
        let asked = r#","verb":"create","user":{"username":"system:node:n"},"requestObject":{"spec":{"resourceAttributes":{"subresource":"proxy"}}}"#;
        for (text, wanted) in [
            (event(&pod("exec"), r#","verb":"get""#), true),
            (event(&pod("attach"), r#","verb":"create""#), true),
            (event(&pod("ephemeralcontainers"), r#","verb":"patch""#), true),
            (event(&pod("log"), r#","verb":"get""#), false),
            (event(plain, get), true),
            (event(plain, &get.replace("kubectl", "curl")), false),
            (
                event(
                    plain,
                    r#","verb":"create","requestObject":{"spec":{"containers":[{"stdin":true}]}}"#,
                ),
                true,
            ),
            (event(plain, r#","verb":"create","requestObject":{"spec":{}}"#), false),
            (
                event(
                    r#"{"resource":"nodes","name":"n","subresource":"proxy"}"#,
                    r#","verb":"get""#,
                ),
                true,
            ),
            (event(reviews, asked), true),
            (
                event(reviews, &asked.replace("system:node:", "system:serviceaccount:")),
                false,
            ),
            (
                event(r#"{"resource":"configmaps","name":"exec"}"#, r#","verb":"get""#),
                false,
            ),
        ] {
            let mut items = Vec::new();
            decode::body(text.as_bytes(), &mut items).unwrap();
            let found = message(items[0].as_ref().unwrap(), 7);
            assert_eq!(found.is_some(), wanted, "{text}");
            if let Some(found) = found.filter(|found| found.pod.is_some()) {
                assert_eq!(found.pod, Some(("prod".into(), "web".into())));
            }
        }
    }

    #[test]
    fn values_of_variables_stay_here() {
        let pod = r#"{"kind":"Pod","metadata":{"name":"web","namespace":"prod","uid":"u","annotations":{"a":"secret"}},"spec":{"containers":[{"name":"app","stdin":true,"env":[{"name":"K","value":"secret"}]}]}}"#;
        let more = format!(r#","verb":"create","requestObject":{pod},"responseObject":{pod}"#);
        let text = event(r#"{"resource":"pods","namespace":"prod","name":"web"}"#, &more);
        let mut items = Vec::new();
        decode::body(text.as_bytes(), &mut items).unwrap();
        let found = message(items[0].as_ref().unwrap(), 7).unwrap();
        let body = String::from_utf8_lossy(&found.body);
        assert!(
            !body.contains("secret") && body.contains(r#""stdin":true"#) && body.contains(r#""uid":"u""#),
            "{body}"
        );
    }

    #[test]
    fn whoever_looks_at_a_pod_tells_which_it_was_and_no_more() {
        let text = event(
            r#"{"resource":"pods","namespace":"prod","name":"web"}"#,
            r#","verb":"get","userAgent":"kubectl/v1.33","responseObject":{"metadata":{"namespace":"prod","name":"web","uid":"u"},"spec":{"env":"secret"}}"#,
        );
        let mut items = Vec::new();
        decode::body(text.as_bytes(), &mut items).unwrap();
        let found = message(items[0].as_ref().unwrap(), 7).unwrap();
        assert!(!String::from_utf8_lossy(&found.body).contains("secret"));
        let fact = crate::correlate::read::audit(&found.body);
        assert!(matches!(fact, Some(crate::correlate::Fact::Looked(looked)) if &*looked.uid == "u"));
    }
}
