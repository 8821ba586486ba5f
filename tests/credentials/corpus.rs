//! Rows of a labelled corpus, and the audit events that they become.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Row {
    pub id: String,
    pub configmap: Value,
    pub labels: Vec<Label>,
}

#[derive(Deserialize)]
pub struct Label {
    pub key: String,
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    pub credential: bool,
    #[serde(default)]
    pub item_origin: Option<String>,
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// Reads JSON lines, compressed or not.
pub fn read(path: &Path) -> Vec<Row> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = String::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text),
        false => (&bytes[..]).read_to_string(&mut text),
    }
    .expect("text");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).expect("a row")).collect()
}

impl Row {
    /// The event that a write of this ConfigMap is: create, update, merge patch, JSON patch or apply, as the id decides.
    pub fn event(&self) -> Value {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.id.as_bytes());
        // The last 16 of the 20 bytes are as many as the choices need.
        let low = u128::from_be_bytes(hash.as_ref()[4..20].try_into().expect("16 bytes"));
        let verb = ["create", "create", "update", "patch"][(low % 4) as usize];
        let mut body = self.configmap.clone();
        if verb == "patch" {
            // The digest is a number of 160 bits: what is above the lowest eight, by three.
            let third = rest_by_three(hash.as_ref());
            let maps = ["data", "binaryData"];
            body = match third {
                0 => {
                    let found = maps
                        .iter()
                        .filter_map(|m| Some(((*m).to_owned(), self.configmap.get(*m)?.clone())));
                    Value::Object(found.collect())
                }
                1 => {
                    let mut operations = Vec::new();
                    for map in maps {
                        for (key, value) in self.configmap.get(map).and_then(Value::as_object).into_iter().flatten() {
                            let key = key.replace('~', "~0").replace('/', "~1");
                            operations.push(json!({"op": "add", "path": format!("/{map}/{key}"), "value": value}));
                        }
                    }
                    Value::Array(operations)
                }
                _ => body,
            };
        }
        event(&self.id, verb, body)
    }

    pub fn labels(&self) -> BTreeMap<&str, &Label> {
        self.labels.iter().map(|label| (label.key.as_str(), label)).collect()
    }
}

/// Remainder by three of a big-endian number without its last byte.
fn rest_by_three(bytes: &[u8]) -> u32 {
    let (_, rest) = bytes.split_last().expect("bytes");
    rest.iter().fold(0, |rest, b| (rest * 256 + u32::from(*b)) % 3)
}

/// A completed write of a ConfigMap.
pub fn event(id: &str, verb: &str, body: Value) -> Value {
    let name = body
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("config")
        .to_owned();
    let namespace = body
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or("default")
        .to_owned();
    let tail = if verb == "create" {
        String::new()
    } else {
        format!("/{name}")
    };
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": id, "stage": "ResponseComplete",
        "requestURI": format!("/api/v1/namespaces/{namespace}/configmaps{tail}"), "verb": verb,
        "user": {"username": "dev@corp.io", "groups": ["system:authenticated"]},
        "sourceIPs": ["10.0.0.9"], "userAgent": "kubectl/v1.33.1",
        "objectRef": {"resource": "configmaps", "namespace": namespace, "name": name, "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": if verb == "create" { 201 } else { 200 }},
        "requestObject": body,
        "requestReceivedTimestamp": "2026-11-22T07:00:00.000000Z", "stageTimestamp": "2026-11-22T07:00:00.010000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    })
}
