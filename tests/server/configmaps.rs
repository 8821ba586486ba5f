//! ConfigMaps that hold credentials, over the real webhook: told once, masked, and with the allow-list.

use serde_json::{Value, json};

use crate::harness::{TO_FILE, configured, webhook};
use crate::material::list;

const RULES: &str = "\
- rule: ConfigMap holds credentials
  desc: d
  condition: ka.target.resource = configmaps and ka.req.configmap.count > 0
  output: 'keys=%ka.req.configmap.keys findings=%ka.req.configmap.findings obj=%ka.req.configmap.obj raw=%jevt.obj'
  priority: WARNING
  source: k8s_audit
";

const SECRET: &str = "hunter2-hunter2";

fn write(id: &str, verb: &str, name: &str, data: Value) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": id, "stage": "ResponseComplete",
        "requestURI": format!("/api/v1/namespaces/web/configmaps/{name}"), "verb": verb,
        "user": {"username": "dev@example.com"}, "sourceIPs": ["10.0.0.9"],
        "objectRef": {"resource": "configmaps", "namespace": "web", "name": name, "apiVersion": "v1"},
        "responseStatus": {"code": 200},
        "requestObject": {"kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": id}, "data": data},
        "requestReceivedTimestamp": "2026-11-22T07:00:00.000000Z", "stageTimestamp": "2026-11-22T07:00:00.010000Z",
    })
}

#[test]
fn a_credential_is_told_once_for_each_object_and_never_shown() {
    let mut server = configured(&(webhook("") + TO_FILE)).file("rules.yaml", RULES).start();
    let password = |value: &str| json!({"app.env": format!("DB_PASSWORD={value}\n"), "color": "blue"});
    let post = |event: Value| server.client().post(&list([event])).accepted()[2];
    let raised = [
        post(write("1", "create", "a", password(SECRET))),
        // The whole object again, with something else changed.
        post(write(
            "2",
            "update",
            "a",
            json!({"app.env": format!("DB_PASSWORD={SECRET}\n"), "color": "red"}),
        )),
        post(write("3", "patch", "a", password(SECRET))),
        // Another secret, another object, and an object that was made anew.
        post(write("4", "update", "a", password("hunter3-hunter3"))),
        post(write("5", "update", "b", password(SECRET))),
        post(write("6", "create", "a", password(SECRET))),
        post(write("7", "update", "a", password(SECRET))),
        post(write("8", "update", "a", json!({"color": "blue"}))),
    ];
    assert_eq!(raised, [1, 0, 0, 1, 1, 1, 0, 0]);
    assert_eq!(server.metric("saker_repeated_credentials_total"), 3.0);
    let log = server.stop();
    let alerts = server.alerts();
    assert_eq!(alerts.len(), 4);
    for text in alerts.iter().map(Value::to_string).chain([log]) {
        assert!(!text.contains("hunter"), "{text}");
    }
    let fields = &alerts[0]["output_fields"];
    assert_eq!(
        fields["ka.req.configmap.obj"],
        r#"{"app.env":"DB_PASSWORD=***\n","color":"blue"}"#
    );
    assert_eq!(
        fields["ka.req.configmap.findings"],
        json!(["app.env line 1: Password, medium: DB_PASSWORD=***"])
    );
}

#[test]
fn what_saker_yaml_allows_is_not_told() {
    let allow = "credentials: {allow: [{namespace: web, name: known*, kind: password}]}\n";
    let mut server = configured(&(webhook("") + TO_FILE + allow))
        .file("rules.yaml", RULES)
        .start();
    let data = |name| write(name, "create", name, json!({"password": SECRET}));
    let batch = list([data("known-1"), data("other")]);
    assert_eq!(server.client().post(&batch).accepted()[2], 1);
    server.stop();
    assert!(
        server.alerts()[0]["output"]
            .as_str()
            .unwrap()
            .contains("keys=(password)")
    );
}
