//! An AdmissionReview and the answer to it, text to text. The answer always allows: whatever cannot be read, somebody's
//! request waits for it.
//!
//! A review is read from its beginning and as far as it goes, because the answer counts only with the review's uid in
//! it: of a body that is too large, too slow or broken, the uid is mostly there. Where it is not, an allow with an empty
//! uid is the least harm: `v1` takes it for no answer and does what `failurePolicy` says (`Ignore`, as our
//! configurations have it), `v1beta1` does not compare uids and takes it for the allow that it is. A status code for
//! failures would be no better for the first and worse for the second.
//!
//! A patch is the one thing here that can stop a request: one that does not apply fails it, even with `Ignore`. So it
//! is made only for a command that was read whole and that `env` runs as it would have run by itself.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use crate::base64;
use crate::correlate::read::{ANNOTATION, KEY};

/// Uids of the API server have 36 characters.
const LONGEST_UID: usize = 128;

/// What could be read of a review.
#[derive(Debug, Default)]
pub struct Review {
    /// Empty where none was found.
    uid: String,
    /// Of version v1beta1.
    beta: bool,
    /// Nothing where the review is not whole, or not one.
    request: Option<Request>,
}

/// The request that waits for the answer.
#[derive(Debug)]
pub struct Request {
    /// How it leads into a pod; nothing where it does not.
    pub way: Option<Way>,
    pub namespace: String,
    /// Of the pod or node; empty for a pod whose name is still to be made.
    pub name: String,
    /// Nothing will come of it.
    pub dry_run: bool,
    /// Of an exec; empty where there is none, or it is not a list of texts.
    command: Vec<String>,
}

/// The requests that put a process into a pod, or lead to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Exec,
    Attach,
    PortForward,
    /// Through the API server to a kubelet, which can also run commands.
    NodeProxy,
    /// `kubectl debug`.
    Ephemeral,
    /// `kubectl run -it`, `kubectl debug node/…`.
    Create,
}

impl Way {
    fn of(operation: &str, resource: &Resource, sub: &str) -> Option<Way> {
        if !resource.group.is_empty() {
            return None;
        }
        match (operation, resource.resource.as_str(), sub) {
            ("CONNECT", "pods", "exec") => Some(Way::Exec),
            ("CONNECT", "pods", "attach") => Some(Way::Attach),
            ("CONNECT", "pods", "portforward") => Some(Way::PortForward),
            ("CONNECT", "nodes", "proxy") => Some(Way::NodeProxy),
            ("UPDATE", "pods", "ephemeralcontainers") => Some(Way::Ephemeral),
            ("CREATE", "pods", "") => Some(Way::Create),
            _ => None,
        }
    }
}

/// Reads as much of a review as there is; never fails.
pub fn read(body: &[u8]) -> Review {
    let mut found = Found::default();
    let mut input = serde_json::Deserializer::from_slice(body);
    let whole = Outer(&mut found).deserialize(&mut input).is_ok() && input.end().is_ok();
    let request = if whole { found.request() } else { None };
    Review {
        beta: found.version.as_deref() == Some("admission.k8s.io/v1beta1"),
        uid: found.uid.unwrap_or_default(),
        request,
    }
}

impl Review {
    /// What has to be echoed; empty where it was not found.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The request, where the review is whole and what the API server sends.
    pub fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// The JSON patch that puts `env SAKER_EXEC_ID=<uid>` before the command; nothing where that could change more than
    /// the environment.
    pub fn patch(&self) -> Option<String> {
        let request = self.request.as_ref()?;
        if request.way != Some(Way::Exec) || request.dry_run {
            return None;
        }
        let program = request.command.first()?;
        // `env` would take it for an assignment or an option. An empty one runs nothing either way. A key that somebody
        // has typed stands behind ours and counts for nothing.
        if program.is_empty() || program.contains('=') || program.starts_with('-') {
            return None;
        }
        // Two insertions rather than a new list: they leave the words as they are.
        let insert = |word: &str| json!({"op": "add", "path": "/command/0", "value": word});
        let patch = json!([insert(&format!("{KEY}={}", self.uid)), insert("env")]);
        Some(patch.to_string())
    }

    /// The answer: an allow. `taken` says that the nodes are told of the review, and lets the audit event name it.
    pub fn answer(&self, taken: bool, patch: Option<&str>) -> String {
        let mut response = json!({"uid": self.uid, "allowed": true});
        if taken {
            response["auditAnnotations"] = json!({ANNOTATION: self.uid});
        }
        if let Some(patch) = patch {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = base64::encode(patch.as_bytes()).into();
        }
        let version = if self.beta { "v1beta1" } else { "v1" };
        let answer = json!({
            "apiVersion": format!("admission.k8s.io/{version}"),
            "kind": "AdmissionReview",
            "response": response,
        });
        format!("{answer}\n")
    }
}

/// Members as they were met.
#[derive(Default)]
struct Found<'de> {
    kind: Option<String>,
    version: Option<String>,
    uid: Option<String>,
    operation: Option<String>,
    resource: Option<Resource>,
    sub_resource: String,
    namespace: String,
    name: String,
    dry_run: bool,
    object: Option<&'de RawValue>,
    /// A member that matters is not of its type.
    odd: bool,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    group: String,
    resource: String,
}

#[derive(Deserialize, Default)]
struct ExecOptions {
    command: Option<Vec<String>>,
}

impl<'de> Found<'de> {
    /// The value of a member; what may be left out may also be null.
    fn value<T: Deserialize<'de>>(&mut self, raw: &'de RawValue) -> Option<T> {
        match serde_json::from_str::<Option<T>>(raw.get()) {
            Ok(value) => value,
            Err(_) => {
                self.odd = true;
                None
            }
        }
    }

    fn top(&mut self, key: &str, raw: &'de RawValue) {
        match key {
            "kind" => self.kind = self.value(raw),
            "apiVersion" => self.version = self.value(raw),
            _ => {}
        }
    }

    fn member(&mut self, key: &str, raw: &'de RawValue) {
        match key {
            "uid" => self.uid = self.value(raw),
            "operation" => self.operation = self.value(raw),
            "resource" => self.resource = self.value(raw),
            "subResource" => self.sub_resource = self.value(raw).unwrap_or_default(),
            "namespace" => self.namespace = self.value(raw).unwrap_or_default(),
            "name" => self.name = self.value(raw).unwrap_or_default(),
            "dryRun" => self.dry_run = self.value(raw).unwrap_or_default(),
            "object" => self.object = Some(raw),
            _ => {}
        }
    }

    /// The request of a review that was read to its end.
    fn request(&mut self) -> Option<Request> {
        let known = self.kind.as_deref() == Some("AdmissionReview")
            && matches!(
                self.version.as_deref(),
                Some("admission.k8s.io/v1" | "admission.k8s.io/v1beta1")
            );
        // Stands in annotations, environments and messages as it is.
        let plain = |uid: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=LONGEST_UID).contains(&uid.len()) && uid.bytes().all(allowed)
        };
        if !known || self.odd || !self.uid.as_deref().is_some_and(plain) {
            return None;
        }
        let way = Way::of(self.operation.as_deref()?, self.resource.as_ref()?, &self.sub_resource);
        let command = match (way, self.object) {
            (Some(Way::Exec), Some(object)) => serde_json::from_str::<ExecOptions>(object.get())
                .ok()
                .and_then(|options| options.command)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        Some(Request {
            way,
            namespace: std::mem::take(&mut self.namespace),
            name: std::mem::take(&mut self.name),
            dry_run: self.dry_run,
            command,
        })
    }
}

/// Reads the outer object, and keeps what came before an error.
struct Outer<'a, 'de>(&'a mut Found<'de>);
/// Reads `request` the same way.
struct Inner<'a, 'de>(&'a mut Found<'de>);

impl<'de> DeserializeSeed<'de> for Outer<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Outer<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "request" {
                map.next_value_seed(Inner(self.0))?;
            } else {
                let raw = map.next_value()?;
                self.0.top(&key, raw);
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Inner<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Inner<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request of an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let raw = map.next_value()?;
            self.0.member(&key, raw);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "46abb456-95f3-4452-9fd9-1e808cd58141";

    fn exec(command: serde_json::Value) -> serde_json::Value {
        json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": UID,
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "subResource": "exec",
                "name": "web",
                "namespace": "prod",
                "operation": "CONNECT",
                "object": {"kind": "PodExecOptions", "command": command},
                "oldObject": null,
                "dryRun": false,
            },
        })
    }

    fn patch(review: &serde_json::Value) -> Option<String> {
        read(review.to_string().as_bytes()).patch()
    }

    #[test]
    fn a_command_is_patched_only_when_it_runs_the_same_way() {
        for command in [
            json!(["sh"]),
            json!(["/bin/sh", "-c", "a=b", ""]),
            json!(["env", "X=1", "sh"]),
            json!(["env", format!("{KEY}=x"), "sh"]),
        ] {
            let want = format!(
                r#"[{{"op":"add","path":"/command/0","value":"SAKER_EXEC_ID={UID}"}},{{"op":"add","path":"/command/0","value":"env"}}]"#
            );
            assert_eq!(patch(&exec(command.clone())), Some(want), "{command}");
        }
        for command in [
            json!(null),
            json!([]),
            json!([""]),
            json!(["A=B", "id"]),
            json!(["-i", "sh"]),
            json!("sh"),
            json!(["sh", 1]),
            json!({"0": "sh"}),
        ] {
            assert_eq!(patch(&exec(command.clone())), None, "{command}");
        }
        for (pointer, value) in [
            ("/request/dryRun", json!(true)),
            ("/request/dryRun", json!("no")),
            ("/request/operation", json!("CREATE")),
            ("/request/subResource", json!("attach")),
            ("/request/resource/resource", json!("services")),
            ("/request/resource/group", json!("apps")),
            ("/request/resource", json!(null)),
            ("/request/uid", json!("")),
            ("/request/uid", json!("a b")),
            ("/request/uid", json!(7)),
            ("/apiVersion", json!("admission.k8s.io/v2")),
            ("/kind", json!("Status")),
            ("/request/object", json!(null)),
            ("/request/object", json!([])),
        ] {
            let mut review = exec(json!(["sh"]));
            *review.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(patch(&review), None, "{pointer} {value}");
        }
    }

    #[test]
    fn the_uid_is_found_in_what_there_is() {
        let whole = exec(json!(["sh"])).to_string();
        let after = whole.find(UID).unwrap() + UID.len() + 1;
        for cut in 0..whole.len() {
            let review = read(&whole.as_bytes()[..cut]);
            assert!(review.request().is_none(), "{cut}");
            assert_eq!(review.uid(), if cut >= after { UID } else { "" }, "{cut}");
        }
        assert!(read(whole.as_bytes()).request().is_some());
        assert_eq!(read(format!("{whole}x").as_bytes()).uid(), UID);
        assert!(read(format!("{whole}x").as_bytes()).request().is_none());
        for (body, uid) in [
            (r#"{"request":{"dryRun":"odd","uid":"u-1"}}"#, "u-1"),
            (r#"{"request":{"uid":"\u00e9\n"}}"#, "é\n"),
            (r#"{"request":[{"uid":"u-1"}]}"#, ""),
            (r#"[{"request":{"uid":"u-1"}}]"#, ""),
            (r#"{"uid":"u-1"}"#, ""),
            (r#"{"request":{"object":{"uid":"u-1"}}}"#, ""),
            (r#"{"request":null}"#, ""),
            ("", ""),
            ("null", ""),
        ] {
            assert_eq!(read(body.as_bytes()).uid(), uid, "{body}");
        }
    }

    #[test]
    fn answers_are_of_the_version_that_was_asked() {
        let mut review = exec(json!(["sh"]));
        review["apiVersion"] = json!("admission.k8s.io/v1beta1");
        let review = read(review.to_string().as_bytes());
        assert!(review.request().is_some());
        assert_eq!(
            review.answer(true, None),
            format!(
                r#"{{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","response":{{"uid":"{UID}","allowed":true,"auditAnnotations":{{"exec-id":"{UID}"}}}}}}"#
            ) + "\n"
        );
        let nothing = Review::default().answer(false, None);
        assert_eq!(
            nothing,
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"","allowed":true}}"#
                .to_owned()
                + "\n"
        );
    }

    #[test]
    fn ways_into_a_pod() {
        for (operation, resource, sub, way) in [
            ("CONNECT", "pods", "exec", Some(Way::Exec)),
            ("CONNECT", "pods", "attach", Some(Way::Attach)),
            ("CONNECT", "pods", "portforward", Some(Way::PortForward)),
            ("CONNECT", "nodes", "proxy", Some(Way::NodeProxy)),
            ("UPDATE", "pods", "ephemeralcontainers", Some(Way::Ephemeral)),
            ("CREATE", "pods", "", Some(Way::Create)),
            ("CONNECT", "pods", "proxy", None),
            ("CREATE", "pods", "eviction", None),
            ("UPDATE", "pods", "", None),
            ("DELETE", "pods", "", None),
        ] {
            let mut review = exec(json!(["sh"]));
            review["request"]["operation"] = operation.into();
            review["request"]["resource"]["resource"] = resource.into();
            review["request"]["subResource"] = sub.into();
            let review = read(review.to_string().as_bytes());
            assert_eq!(review.request().unwrap().way, way, "{operation} {resource}/{sub}");
        }
    }
}
