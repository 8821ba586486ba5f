//! The audit policy, judged by an interpreter of its own: the first rule that fits a request decides, as in kube-apiserver.

use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::repository;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    api_version: String,
    kind: String,
    omit_managed_fields: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a rule looks at.
#[derive(Clone, Debug, Default)]
struct Request {
    user: String,
    groups: Vec<String>,
    verb: String,
    /// Group, resource, subresource, namespace, name; `None` for a path.
    resource: Option<[String; 5]>,
    path: String,
}

impl Rule {
    fn fits(&self, request: &Request) -> bool {
        let allows = |list: &[String], value: &str| list.is_empty() || list.iter().any(|l| l == value);
        allows(&self.users, &request.user)
            && (self.user_groups.is_empty() || request.groups.iter().any(|g| self.user_groups.contains(g)))
            && allows(&self.verbs, &request.verb)
            && match &request.resource {
                Some([group, resource, subresource, namespace, name]) => {
                    self.non_resource_urls.is_empty()
                        && allows(&self.namespaces, namespace)
                        && (self.resources.is_empty()
                            || self
                                .resources
                                .iter()
                                .any(|r| r.fits(group, resource, subresource, name)))
                }
                None => {
                    self.namespaces.is_empty()
                        && self.resources.is_empty()
                        && (self.non_resource_urls.is_empty()
                            || self.non_resource_urls.iter().any(|spec| path_fits(spec, &request.path)))
                }
            }
    }
}

impl GroupResources {
    fn fits(&self, group: &str, resource: &str, subresource: &str, name: &str) -> bool {
        let full = match subresource {
            "" => resource.to_owned(),
            _ => format!("{resource}/{subresource}"),
        };
        self.group == group
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name))
            && (self.resources.is_empty()
                || self.resources.iter().any(|spec| {
                    spec == "*"
                        || *spec == full
                        || spec.strip_suffix("/*") == Some(resource)
                        || (!subresource.is_empty() && spec.strip_prefix("*/") == Some(subresource))
                }))
    }
}

fn path_fits(spec: &str, path: &str) -> bool {
    match spec.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => spec == path,
    }
}

fn policy() -> Policy {
    let text = fs::read_to_string(repository().join("deploy/apiserver/audit-policy.yaml")).expect("a file");
    serde_yaml::from_str(&text).expect("a policy")
}

impl Policy {
    fn rule(&self, request: &Request) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(request))
    }

    fn level(&self, request: &Request) -> Level {
        self.rule(request).map_or(Level::None, |rule| rule.level)
    }

    fn keeps(&self, request: &Request, stage: &str) -> bool {
        self.rule(request)
            .is_some_and(|r| r.level > Level::None && !r.omit_stages.iter().any(|s| s == stage))
    }
}

/// `user verb group/resource/subresource`, or `user verb /path`. Groups follow from the name, as Kubernetes gives them.
fn request(line: &str) -> Request {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [user, verb, target] = words[..] else {
        panic!("{line}")
    };
    let mut groups = match user {
        "system:anonymous" => vec!["system:unauthenticated".to_owned()],
        _ => vec!["system:authenticated".to_owned()],
    };
    if user.starts_with("system:node:") {
        groups.push("system:nodes".to_owned());
    }
    if let Some(rest) = user.strip_prefix("system:serviceaccount:") {
        let namespace = rest.split(':').next().unwrap_or_default();
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let mut out = Request {
        user: user.to_owned(),
        groups,
        verb: verb.to_owned(),
        ..Request::default()
    };
    if target.starts_with('/') {
        out.path = target.to_owned();
        return out;
    }
    let mut parts = target.split('/').map(str::to_owned);
    let group = parts.next().unwrap_or_default();
    let group = if group == "core" { String::new() } else { group };
    let mut next = || parts.next().unwrap_or_default();
    out.resource = Some([group, next(), next(), "default".to_owned(), "name".to_owned()]);
    out
}

#[test]
fn the_policy_is_one_that_kube_apiserver_accepts() {
    let policy = policy();
    assert_eq!(
        (policy.api_version.as_str(), policy.kind.as_str()),
        ("audit.k8s.io/v1", "Policy")
    );
    assert!(policy.omit_managed_fields);
    for rule in &policy.rules {
        let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        assert!(!about_resources || rule.non_resource_urls.is_empty(), "{rule:?}");
        for url in &rule.non_resource_urls {
            assert!(
                url.starts_with('/') && !url.trim_end_matches('*').contains('*'),
                "{url}"
            );
        }
        for group in &rule.resources {
            assert!(!group.group.contains('/'), "{}: a group has no version", group.group);
            assert!(
                group.resource_names.is_empty() || !group.resources.is_empty(),
                "{rule:?}"
            );
        }
        for stage in &rule.omit_stages {
            assert!(["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"].contains(&stage.as_str()));
        }
    }
}

#[test]
fn no_rule_is_unreachable() {
    // A later rule that an earlier one fully covers is a mistake in the order. Asked with one request for each
    // combination that a rule names.
    let policy = policy();
    for (index, rule) in policy.rules.iter().enumerate() {
        let or = |list: &[String], other: &str| match list.is_empty() {
            true => vec![other.to_owned()],
            false => list.to_vec(),
        };
        let mut reached = false;
        for user in or(&rule.users, "alice") {
            for group in or(&rule.user_groups, "system:authenticated") {
                for verb in or(&rule.verbs, "delete") {
                    let base = Request {
                        user: user.clone(),
                        groups: vec![group.clone()],
                        verb: verb.clone(),
                        ..Request::default()
                    };
                    let mut requests = Vec::new();
                    for entry in &rule.resources {
                        for resource in or(&entry.resources, "anything") {
                            let (resource, sub) = resource.split_once('/').unwrap_or((&resource, ""));
                            let parts = [entry.group.as_str(), resource, sub, "ns", "name"].map(str::to_owned);
                            requests.push(Request {
                                resource: Some(parts),
                                ..base.clone()
                            });
                        }
                    }
                    for url in or(&rule.non_resource_urls, "/other") {
                        if rule.resources.is_empty() {
                            requests.push(Request {
                                path: url.replace('*', "x"),
                                ..base.clone()
                            });
                        }
                    }
                    reached |= requests
                        .iter()
                        .any(|r| policy.rule(r).is_some_and(|found| std::ptr::eq(found, rule)));
                }
            }
        }
        assert!(reached, "rule {index} is never the first that fits: {rule:?}");
    }
}

#[test]
fn levels_are_what_the_comments_promise() {
    use Level::{Metadata, None, Request, RequestResponse};
    let policy = policy();
    let robot = "system:serviceaccount:dev:robot";
    let kcm = "system:kube-controller-manager";
    let replicaset = "system:serviceaccount:kube-system:replicaset-controller";
    for (line, want) in [
        // Ways in.
        ("alice get core/pods/exec", Metadata),
        ("alice create core/pods/exec", Metadata),
        ("system:node:n get core/pods/exec", Metadata),
        (&format!("{kcm} get core/pods/exec"), Metadata),
        (&format!("{robot} create core/pods/attach"), Metadata),
        ("alice create core/pods/portforward", Metadata),
        ("alice get core/pods/log", Metadata),
        ("alice get core/nodes/proxy", Metadata),
        ("system:node:n get core/nodes/proxy", Metadata),
        ("alice create core/services/proxy", Metadata),
        // Never contents.
        ("alice get core/secrets", Metadata),
        ("alice create core/secrets", Metadata),
        ("alice patch core/secrets", Metadata),
        ("system:node:n list core/secrets", Metadata),
        ("system:apiserver watch core/secrets", Metadata),
        (&format!("{kcm} get core/secrets"), Metadata),
        ("system:serviceaccount:kube-system:x watch core/secrets", Metadata),
        ("system:anonymous list core/secrets", Metadata),
        ("system:node:n create core/serviceaccounts/token", Metadata),
        ("alice create core/serviceaccounts/token", Metadata),
        (&format!("{robot} create authentication.k8s.io/tokenreviews"), Metadata),
        // Noise, and the same from others.
        ("system:node:n update coordination.k8s.io/leases", None),
        ("system:apiserver update coordination.k8s.io/leases", None),
        (&format!("{robot} update coordination.k8s.io/leases"), None),
        ("alice update coordination.k8s.io/leases", Metadata),
        ("system:node:n patch core/events", None),
        ("system:kube-scheduler create events.k8s.io/events", None),
        (&format!("{robot} deletecollection core/events"), Metadata),
        ("alice delete core/events", Metadata),
        ("alice list core/events", Metadata),
        (
            "system:serviceaccount:kube-system:endpoint-controller update core/endpoints",
            None,
        ),
        (&format!("{robot} update core/endpoints"), Metadata),
        ("alice patch discovery.k8s.io/endpointslices", Metadata),
        ("system:node:n patch core/nodes/status", None),
        ("alice patch core/nodes/status", Metadata),
        (&format!("{kcm} watch apps/deployments"), None),
        (&format!("{kcm} get core/pods"), None),
        (&format!("{replicaset} watch core/pods"), None),
        (&format!("{replicaset} list core/pods"), Metadata),
        ("system:node:n watch core/configmaps", None),
        ("system:node:n list rbac.authorization.k8s.io/clusterroles", Metadata),
        ("system:anonymous get /healthz", None),
        ("system:anonymous get /livez/ping", None),
        ("system:anonymous get /healthzz", Metadata),
        ("system:anonymous get /version", Metadata),
        ("system:anonymous get /", Metadata),
        ("system:anonymous get /api", Metadata),
        ("system:anonymous list core/pods", Metadata),
        ("system:anonymous get core/configmaps", Metadata),
        ("alice get /healthz", Metadata),
        ("alice get /api/v1", Metadata),
        ("alice get /metrics", Metadata),
        (
            "system:serviceaccount:kube-system:generic-garbage-collector get /apis",
            None,
        ),
        (&format!("{robot} get /apis"), Metadata),
        // Access reviews.
        (
            "system:node:n create authorization.k8s.io/subjectaccessreviews",
            RequestResponse,
        ),
        (
            &format!("{robot} create authorization.k8s.io/subjectaccessreviews"),
            Request,
        ),
        ("alice create authorization.k8s.io/selfsubjectaccessreviews", Request),
        ("alice create authorization.k8s.io/selfsubjectrulesreviews", Request),
        // What rules read.
        ("alice create core/pods", RequestResponse),
        ("alice patch core/pods", RequestResponse),
        (&format!("{replicaset} create core/pods"), RequestResponse),
        ("system:node:n create core/pods", RequestResponse),
        ("alice patch core/pods/ephemeralcontainers", RequestResponse),
        ("alice update apps/daemonsets", RequestResponse),
        ("alice create batch/cronjobs", RequestResponse),
        ("alice create core/replicationcontrollers", RequestResponse),
        ("alice create core/services", RequestResponse),
        ("alice create core/namespaces", RequestResponse),
        ("alice create core/serviceaccounts", RequestResponse),
        (
            "alice create rbac.authorization.k8s.io/clusterrolebindings",
            RequestResponse,
        ),
        ("alice patch rbac.authorization.k8s.io/roles", RequestResponse),
        ("alice create networking.k8s.io/ingresses", RequestResponse),
        ("alice create networking.k8s.io/networkpolicies", RequestResponse),
        (
            "alice create admissionregistration.k8s.io/validatingwebhookconfigurations",
            RequestResponse,
        ),
        ("alice create apiregistration.k8s.io/apiservices", RequestResponse),
        (
            "alice create certificates.k8s.io/certificatesigningrequests",
            RequestResponse,
        ),
        (
            "alice update certificates.k8s.io/certificatesigningrequests/approval",
            RequestResponse,
        ),
        ("alice create core/configmaps", Request),
        (&format!("{robot} patch core/configmaps"), Request),
        ("system:node:n create core/nodes", Request),
        ("alice create core/persistentvolumes", Request),
        ("alice create apiextensions.k8s.io/customresourcedefinitions", Request),
        ("alice delete rbac.authorization.k8s.io/clusterroles", Metadata),
        ("alice deletecollection core/pods", Metadata),
        ("alice create core/pods/eviction", Metadata),
        ("alice get core/configmaps", Metadata),
        // The pod that kubectl reads before an exec.
        ("alice get core/pods", RequestResponse),
        (&format!("{robot} get core/pods"), Metadata),
        ("alice list core/pods", Metadata),
        ("alice watch core/pods", Metadata),
        // The rest.
        ("alice create example.com/widgets", Metadata),
        ("alice impersonate core/users", Metadata),
    ] {
        assert_eq!(policy.level(&request(line)), want, "{line}");
    }
}

#[test]
fn stages_are_kept_where_they_tell_something() {
    let policy = policy();
    for sub in ["exec", "attach", "portforward", "proxy"] {
        let request = request(&format!("alice get core/pods/{sub}"));
        for stage in ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"] {
            assert!(policy.keeps(&request, stage), "{sub} {stage}");
        }
    }
    for line in [
        "alice create core/pods",
        "alice get core/secrets",
        "alice list core/nodes",
        "alice get /version",
    ] {
        let request = request(line);
        assert!(!policy.keeps(&request, "RequestReceived"), "{line}");
        for stage in ["ResponseStarted", "ResponseComplete", "Panic"] {
            assert!(policy.keeps(&request, stage), "{line} {stage}");
        }
    }
    // Who could not be authenticated has neither name nor group, and only the stage ResponseStarted.
    let nobody = Request {
        verb: "get".to_owned(),
        path: "/api".to_owned(),
        ..Request::default()
    };
    assert!(policy.keeps(&nobody, "ResponseStarted"));
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The request behind a recorded event, as the API server saw it when it chose the rule.
fn of_event(event: &Value) -> Request {
    let user = &event["user"];
    let groups = user["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let target = event.get("objectRef").filter(|o| o.get("resource").is_some());
    let uri = text(event, "requestURI");
    Request {
        user: text(user, "username"),
        groups: groups.iter().filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        verb: text(event, "verb"),
        resource: target.map(|o| ["apiGroup", "resource", "subresource", "namespace", "name"].map(|k| text(o, k))),
        path: uri.split('?').next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn recorded_events_are_kept_and_secrets_are_not_told() {
    let policy = policy();
    let dir = repository().join("../shared/audit");
    let (mut seen, mut secret, mut interactive) = (0, 0, 0);
    for name in ["audit_log.jsonl", "audit_log_system.jsonl"] {
        let Ok(recording) = fs::read_to_string(dir.join(name)) else {
            eprintln!("SKIPPED: {} is not there", dir.join(name).display());
            return;
        };
        for line in recording.lines() {
            let event: Value = serde_json::from_str(line).expect("an event");
            let request = of_event(&event);
            let level = policy.level(&request);
            let stage = text(&event, "stage");
            seen += 1;
            let Some([group, resource, subresource, ..]) = &request.resource else {
                continue;
            };
            let of = |r: &str, s: &str| resource == r && subresource == s;
            if resource == "secrets" || of("serviceaccounts", "token") || resource.starts_with("token") {
                secret += 1;
                assert_eq!(level, Level::Metadata, "{line}");
            }
            if ["exec", "attach", "portforward", "proxy"].contains(&subresource.as_str()) {
                interactive += 1;
                assert!(policy.keeps(&request, &stage), "{line}");
            }
            if of("pods", "ephemeralcontainers") || (of("pods", "") && request.verb == "create") {
                assert_eq!(level, Level::RequestResponse, "{line}");
            }
            if group == "authorization.k8s.io" {
                assert!(level >= Level::Request, "{line}");
            }
            // Whatever a person or an unknown did leaves a trace.
            if !request.user.starts_with("system:") || request.user == "system:anonymous" {
                assert!(level > Level::None, "{line}");
            }
        }
    }
    assert!(
        seen > 1000 && secret > 50 && interactive > 300,
        "{seen} {secret} {interactive}"
    );
}
