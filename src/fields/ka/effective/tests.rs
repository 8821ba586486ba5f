//! What each fact says of small objects, by every way that an object gets in.

use super::super::Computed::{self, Binding, Pod, Request, Role, Service};
use super::super::{computed, request};
use super::BindingFact::{Role as BoundRole, Subjects};
use super::PodFact::*;
use super::RoleFact::{Allows, Resources, Verbs};
use super::ServiceFact::{ExternalIps, Type};
use super::*;
use crate::json::scan::Scanner;

/// The value as `a|b` of a list, or as text; `-` when absent.
fn value_with(what: Computed, key: Option<&str>, event: &str) -> String {
    let event = AuditEvent::scan(event.as_bytes(), &mut Scanner::new(event.as_bytes(), 0)).expect("json");
    let (mut tapes, mut scratch) = (Tapes::default(), Scratch::default());
    tapes.begin();
    let value = computed::extract(what, None, key, &event, &mut tapes, &mut scratch);
    let text = |value: Value| match value {
        Value::Text(t) => String::from_utf8_lossy(scratch.bytes_of(event.text, t)).into_owned(),
        other => format!("{other:?}"),
    };
    match value {
        Value::Absent => "-".to_owned(),
        Value::List(list) => scratch
            .list(list)
            .iter()
            .map(|v| text(*v))
            .collect::<Vec<_>>()
            .join("|"),
        value => text(value),
    }
}

fn value(what: Computed, event: &str) -> String {
    value_with(what, None, event)
}

fn write(verb: &str, resource: &str, request: &str, response: &str) -> String {
    format!(
        r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}"}},"requestObject":{request},"responseObject":{response}}}"#
    )
}

fn create(resource: &str, request: &str) -> String {
    write("create", resource, request, "{}")
}

#[test]
fn pods_are_found_in_every_place() {
    let spec = r#"{"hostPID":true,"containers":[{"image":"r:5000/a:1"}],"initContainers":[{"image":"b@sha256:0"}]}"#;
    for (resource, object) in [
        ("pods", format!(r#"{{"spec":{spec}}}"#)),
        ("pods", format!(r#"{{"kind":"PodList","items":[{{"spec":{spec}}}]}}"#)),
        ("deployments", format!(r#"{{"spec":{{"template":{{"spec":{spec}}}}}}}"#)),
        (
            "cronjobs",
            format!(r#"{{"spec":{{"jobTemplate":{{"spec":{{"template":{{"spec":{spec}}}}}}}}}}}"#),
        ),
        ("podtemplates", format!(r#"{{"template":{{"spec":{spec}}}}}"#)),
    ] {
        let event = create(resource, &object);
        assert_eq!(value(Pod(Repositories), &event), "r:5000/a|b", "{event}");
        assert_eq!(value(Pod(HostNamespaces), &event), "pid", "{event}");
    }
}

#[test]
fn facts_of_a_pod() {
    for (fact, spec, want) in [
        (
            Privileged,
            r#"{"containers":[{},{"securityContext":{"privileged":true}}]}"#,
            "false|true",
        ),
        (
            Privileged,
            r#"{"securityContext":{"windowsOptions":{"hostProcess":true}},"containers":[{}]}"#,
            "true",
        ),
        (
            Capabilities,
            r#"{"ephemeralContainers":[{"securityContext":{"capabilities":{"add":["cap_sys_admin","NET_RAW"]}}}]}"#,
            "SYS_ADMIN|NET_RAW",
        ),
        (
            HostPaths,
            r#"{"volumes":[{"hostPath":{"path":"//x/../etc/./"}},{"hostPath":{"path":"/.."}}]}"#,
            "/etc|/",
        ),
        (
            HostPathsWithin,
            r#"{"volumes":[{"emptyDir":{}},{"hostPath":{"path":"/etc/kubernetes/pki"}},{"hostPath":{"path":"/"}}]}"#,
            "/etc/kubernetes/pki|/etc/kubernetes|/etc|/",
        ),
        (
            HostPaths,
            r#"{"local":{"path":"/var/lib/kubelet/"}}"#,
            "/var/lib/kubelet",
        ),
        (
            Seccomp,
            r#"{"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},
               "containers":[{},{"securityContext":{"seccompProfile":{"type":"Unconfined"}}}]}"#,
            "RuntimeDefault|Unconfined",
        ),
        (
            ProcMount,
            r#"{"containers":[{"securityContext":{"procMount":"Unmasked"}}]}"#,
            "Unmasked",
        ),
        (NodeNames, r#"{"nodeName":"cp-1"}"#, "cp-1"),
        (
            Tolerations,
            r#"{"tolerations":[{"operator":"Exists"},{"key":"a"}]}"#,
            "*|a",
        ),
        (ServiceAccounts, r#"{"serviceAccountName":"x"}"#, "x"),
        (
            Commands,
            r#"{"containers":[{"command":["sh","-c"],"args":["a \"b\""]},{},{"args":["x"]}]}"#,
            "sh -c a \"b\"\nx",
        ),
        (HostNamespaces, r#"{"hostNetwork":false}"#, "-"),
    ] {
        assert_eq!(
            value(Pod(fact), &create("pods", &format!(r#"{{"spec":{spec}}}"#))),
            want,
            "{spec}"
        );
    }
    let annotated = r#"{"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/c":"unconfined"}},
        "spec":{"containers":[{"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}}}]}}"#;
    assert_eq!(
        value(Pod(AppArmor), &create("pods", annotated)),
        "RuntimeDefault|Unconfined"
    );
}

#[test]
fn a_patch_counts_where_it_touches_the_part() {
    let result = r#"{"kind":"Deployment","spec":{"template":{"spec":{"hostPID":true}}}}"#;
    let refused = r#"{"kind":"Status","code":403}"#;
    for (patch, response, want) in [
        (r#"{"metadata":{"labels":{"a":"b"}}}"#, result, "-"),
        (r#"{"spec":{"replicas":3}}"#, result, "-"),
        (r#"{"spec":{"template":{"metadata":{"annotations":{}}}}}"#, result, "-"),
        (r#"{"spec":{"template":{"spec":{"hostPID":null}}}}"#, result, "pid"),
        (r#"{"spec":{},"spec":{"template":{"spec":{}}}}"#, result, "pid"),
        (r#"{"sp\u0065c":{"template":{"spec":{}}}}"#, result, "pid"),
        (
            r#"[{"op":"add","path":"/spec/template/spec/hostPID","value":true}]"#,
            result,
            "pid",
        ),
        (r#"[{"op":"replace","path":"/spec","value":{}}]"#, result, "pid"),
        (r#"[{"op":"replace","path":"","value":{}}]"#, result, "pid"),
        (r#"[{"op":"add","path":"/metadata/labels/a","value":"b"}]"#, result, "-"),
        (r#"{"spec":{"template":{"spec":{"hostIPC":true}}}}"#, refused, "ipc"),
    ] {
        let event = write("patch", "deployments", patch, response);
        assert_eq!(value(Pod(HostNamespaces), &event), want, "{patch}");
    }
}

#[test]
fn of_debug_containers_only_the_new_ones_count() {
    let event = r#"{"verb":"patch","objectRef":{"resource":"pods","subresource":"ephemeralcontainers"},
        "requestObject":{"spec":{"ephemeralContainers":[{"image":"new"}]}},
        "responseObject":{"kind":"Pod","spec":{"hostPID":true,"containers":[{"image":"main"}],
          "ephemeralContainers":[{"image":"old"},{"image":"new"}]}}}"#;
    assert_eq!(value(Pod(Images), event), "new");
    assert_eq!(value(Pod(HostNamespaces), event), "-");
    let json_patch = event.replace(
        r#"{"spec":{"ephemeralContainers":[{"image":"new"}]}}"#,
        r#"[{"op":"add","path":"/spec/ephemeralContainers/-","value":{"image":"new"}}]"#,
    );
    assert_eq!(value(Pod(Images), &json_patch), "old|new");
}

#[test]
fn roles_grant_by_rule() {
    let role = r#"{"rules":[{"verbs":["get"],"resources":["secrets"]},{"verbs":["create"],"resources":["*/exec","events"]},
        {"verbs":["*"],"resources":["configmaps"]}]}"#;
    let event = create("clusterroles", role);
    assert_eq!(value(Role(Verbs), &event), "get|create|*");
    assert_eq!(value(Role(Resources), &event), "secrets|*/exec|events|configmaps");
    for (key, want) in [
        ("get:secrets", "true"),
        ("create:secrets", "false"),
        ("create:pods/exec", "true"),
        ("create:pods", "false"),
        ("delete:configmaps", "true"),
        ("no colon", "-"),
    ] {
        assert_eq!(value_with(Role(Allows), Some(key), &event), want, "{key}");
    }
    let patch = r#"[{"op":"add","path":"/rules/0/verbs/-","value":"get"}]"#;
    assert_eq!(
        value(Role(Verbs), &write("patch", "roles", patch, role)),
        "get|create|*"
    );
    assert_eq!(
        value(Role(Verbs), &write("patch", "roles", r#"{"metadata":{}}"#, role)),
        "-"
    );
}

#[test]
fn bindings_and_services() {
    let binding = r#"{"roleRef":{"name":"admin"},"subjects":[{"kind":"User","name":"eve"},
        {"kind":"ServiceAccount","namespace":"dev","name":"robot"}]}"#;
    let event = create("rolebindings", binding);
    assert_eq!(value(Binding(BoundRole), &event), "admin");
    assert_eq!(value(Binding(Subjects), &event), "User:eve|ServiceAccount:dev/robot");
    let service = r#"{"spec":{"type":"NodePort","externalIPs":["203.0.113.1"]}}"#;
    let event = write("patch", "services", r#"{"spec":{"type":"NodePort"}}"#, service);
    assert_eq!(value(Service(Type), &event), "NodePort");
    assert_eq!(value(Service(ExternalIps), &event), "203.0.113.1");
    assert_eq!(
        value(
            Service(Type),
            &write("patch", "services", r#"{"metadata":{}}"#, service)
        ),
        "-"
    );
}

#[test]
fn facts_of_the_request() {
    use request::Fact::*;
    for (fact, event, want) in [
        (Peer, r#"{"sourceIPs":["203.0.113.7","127.0.0.1"]}"#, "127.0.0.1"),
        (Peer, r#"{"sourceIPs":[]}"#, "-"),
        (UriPath, r#"{"requestURI":"/a%2fb+c/%65xec?c=/d"}"#, "/a/b+c/exec"),
        (
            ObjectName,
            r#"{"objectRef":{"name":"a"},"responseObject":{"metadata":{"name":"b"}}}"#,
            "a",
        ),
        (
            ObjectName,
            r#"{"objectRef":{},"responseObject":{"metadata":{"name":"b"}}}"#,
            "b",
        ),
        (DryRun, r#"{"verb":"create","requestURI":"/x?dryRun=All"}"#, "true"),
        (DryRun, r#"{"verb":"create","requestURI":"/x?dryrun=All"}"#, "false"),
        (DryRun, r#"{"verb":"delete","requestURI":"/x?dryRun=All"}"#, "true"),
        (
            DryRun,
            r#"{"verb":"delete","requestURI":"/x?dryRun=All","requestObject":{}}"#,
            "false",
        ),
        (
            DryRun,
            r#"{"verb":"delete","requestURI":"/x","requestObject":{"dryRun":["All"]}}"#,
            "true",
        ),
        (
            DryRun,
            r#"{"verb":"get","requestURI":"/x?dryRun=All","objectRef":{"subresource":"exec"}}"#,
            "false",
        ),
    ] {
        assert_eq!(value(Request(fact), event), want, "{event}");
    }
}

#[test]
fn flags_are_read_as_the_servers_read_them() {
    for (resource, subresource, uri, want) in [
        ("pods", "exec", "/x?tty=true", "true"),
        ("pods", "exec", "/x?tty=TRUE", "true"),
        ("pods", "exec", "/x?tty=yes", "true"),
        ("pods", "exec", "/x?tty=", "true"),
        ("pods", "exec", "/x?tty=1&tty=0", "true"),
        ("pods", "exec", "/x?tty=%46alse&tty=true", "false"),
        ("pods", "exec", "/x?tty=0", "false"),
        ("pods", "exec", "/x", "false"),
        ("nodes", "proxy", "/api/v1/nodes/n/proxy/exec/ns/pod/c?tty=1", "true"),
        (
            "nodes",
            "proxy",
            "/api/v1/nodes/n/proxy/exec/ns/pod/c?tty=true",
            "false",
        ),
    ] {
        let event = format!(
            r#"{{"requestURI":"{uri}","objectRef":{{"resource":"{resource}","subresource":"{subresource}"}}}}"#
        );
        assert_eq!(value(Computed::ExecTty, &event), want, "{uri}");
    }
}
