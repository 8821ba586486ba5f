//! Agents, NATS and the webhook between them: the manifests fit each other, and what they configure loads.

use std::fs;

use saker::config::{BusKind, Config};
use serde_json::Value;

use crate::manifests::{find, yaml};
use crate::repository;

/// A variable that comes from a Secret or from the pod.
const REFERRED: &str = "from-elsewhere";

/// Where the node's directories are in the agent's container.
const ROOT: &str = "/host";

fn list<'v>(value: &'v Value, what: &str) -> &'v [Value] {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list: {value}"))
}

fn text<'v>(value: &'v Value, what: &str) -> &'v str {
    value.as_str().unwrap_or_else(|| panic!("{what} is no text: {value}"))
}

/// Variables as the container gets them.
fn variables(container: &Value) -> Vec<(String, String)> {
    let variable = |variable: &Value| {
        let value = variable["value"].as_str().unwrap_or(REFERRED);
        (text(&variable["name"], "name").to_owned(), value.to_owned())
    };
    list(&container["env"], "env").iter().map(variable).collect()
}

/// The configuration in a ConfigMap of `saker-config`, with the rules beside it, as a container finds it.
fn configured(file: &str, env: Vec<(String, String)>) -> Config {
    let documents = yaml(file);
    let data = |name| find(&documents, "ConfigMap", name)["data"].clone();
    let dir = tempfile::tempdir().expect("a directory");
    for (below, files) in [
        ("tls", &["ca.crt", "tls.crt", "tls.key"][..]),
        ("nats", &["ca.crt"]),
        ("rules", &[]),
        ("host", &[]),
    ] {
        fs::create_dir(dir.path().join(below)).expect("a directory");
        for name in files {
            fs::write(dir.path().join(below).join(name), "").expect("a file");
        }
    }
    for (name, rules) in data("saker-rules").as_object().expect("a mapping") {
        let rules = text(rules, name);
        assert!(serde_yaml::from_str::<Vec<Value>>(rules).is_ok(), "{name} is a list");
        fs::write(dir.path().join("rules").join(name), rules).expect("a file");
    }
    let path = dir.path().join("saker.yaml");
    let here = format!("root: {}", dir.path().join("host").display());
    let config = data("saker-config");
    let config = text(&config["saker.yaml"], "saker.yaml").replace(&format!("root: {ROOT}\n"), &format!("{here}\n"));
    fs::write(&path, config).expect("a file");
    // Variables name whole paths.
    let here = dir.path().to_str().expect("text");
    let env = env
        .into_iter()
        .map(|(name, value)| (name, value.replace("/etc/saker", here)));
    match saker::config::load(Some(&path), env) {
        Ok(config) => config,
        Err(error) => panic!("{file}: {error}"),
    }
}

fn agent() -> Value {
    find(&yaml("agent/daemonset.yaml"), "DaemonSet", "saker")["spec"]["template"]["spec"].clone()
}

fn webhook_patch() -> Value {
    yaml("webhook-nats/deployment.yaml")[0]["spec"]["template"]["spec"].clone()
}

#[test]
fn every_file_is_listed_and_has_kind_and_version() {
    for (dir, namespace) in [("agent", "saker-agents"), ("nats", "saker-system")] {
        let listed = yaml(&format!("{dir}/kustomization.yaml"));
        assert_eq!(listed[0]["namespace"], namespace);
        let files = list(&listed[0]["resources"], "resources");
        let there = fs::read_dir(repository().join("deploy").join(dir)).expect("a directory");
        assert_eq!(files.len() + 1, there.count(), "{dir}");
        for file in files {
            let name = format!("{dir}/{}", text(file, "a file"));
            for document in yaml(&name) {
                assert!(
                    document["apiVersion"].is_string() && document["kind"].is_string(),
                    "{name}"
                );
                let of = match document["kind"] == "Namespace" {
                    true => &document["metadata"]["name"],
                    false => &document["metadata"]["namespace"],
                };
                assert_eq!(of, namespace, "{name}");
            }
        }
    }
    let overlay = &yaml("webhook-nats/kustomization.yaml")[0];
    assert_eq!(overlay["resources"][0], "../webhook");
    for patch in list(&overlay["patches"], "patches") {
        let file = text(&patch["path"], "path");
        let [patch] = &yaml(&format!("webhook-nats/{file}"))[..] else {
            panic!("{file}: one document")
        };
        let (kind, name) = (text(&patch["kind"], "kind"), text(&patch["metadata"]["name"], "name"));
        find(&yaml(&format!("webhook/{file}")), kind, name);
        assert_eq!(patch["metadata"]["namespace"], "saker-system");
    }
}

#[test]
fn configurations_load_and_meet_at_one_server() {
    let pod = agent();
    let container = &pod["containers"][0];
    let of_agent = configured("agent/config.yaml", variables(container));
    let base = yaml("webhook/deployment.yaml");
    let base = &find(&base, "Deployment", "saker")["spec"]["template"]["spec"]["containers"][0];
    let patch = webhook_patch();
    assert_eq!(patch["containers"][0]["name"], base["name"]);
    let env = [variables(base), variables(&patch["containers"][0])].concat();
    let of_webhook = configured("webhook/config.yaml", env);

    assert_eq!(of_agent.cluster, of_webhook.cluster);
    assert_eq!(of_agent.bus.servers, of_webhook.bus.servers);
    for config in [&of_agent, &of_webhook] {
        assert_eq!(config.bus.kind, BusKind::Nats);
        let ca = config.bus.tls.ca.as_ref().expect("never without TLS");
        assert!(ca.ends_with("nats/ca.crt"));
        assert_eq!(config.bus.password.as_deref(), Some(REFERRED));
    }
    assert_eq!(of_agent.attribution.node.as_deref(), Some(REFERRED));
    let node = list(&container["env"], "env")
        .iter()
        .find(|variable| variable["name"] == "SAKER_ATTRIBUTION__NODE");
    assert_eq!(
        node.expect("a variable")["valueFrom"]["fieldRef"]["fieldPath"],
        "spec.nodeName"
    );
    let port = container["ports"][0]["containerPort"].as_u64();
    assert_eq!(port, Some(u64::from(of_agent.status.listen.port())));
    let patience = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(patience > of_agent.shutdown.grace.as_secs());

    // The server that both name, and who they say they are.
    let nats = yaml("nats/statefulset.yaml");
    let service = find(&nats, "Service", "saker-nats");
    let server = format!(
        "tls://saker-nats.saker-system.svc:{}",
        service["spec"]["ports"][0]["port"]
    );
    assert_eq!(of_agent.bus.servers, [server]);
    let config = yaml("nats/config.yaml");
    let conf = text(&config[0]["data"]["nats.conf"], "nats.conf");
    for (config, password) in [(&of_agent, "NODE_PASSWORD"), (&of_webhook, "PUBLISHER_PASSWORD")] {
        let user = config.bus.user.as_deref().expect("a user");
        let (_, after) = conf
            .split_once(&format!("user: {user}\n"))
            .expect("a user of nats.conf");
        assert!(
            after.trim_start().starts_with(&format!("password: ${password}\n")),
            "{user}"
        );
    }
    let cluster = of_agent.cluster.as_deref().expect("a name");
    for subject in [
        format!("\"{}.>\"", of_webhook.bus.subject),
        format!("$JS.API.STREAM.CREATE.{}", of_webhook.bus.stream),
        format!(
            "$JS.API.CONSUMER.CREATE.{}.*.{}.{cluster}.>",
            of_agent.bus.stream, of_agent.bus.subject
        ),
    ] {
        assert!(conf.contains(&subject), "{subject}");
    }
    // Who reads cannot write.
    let (_, node) = conf.split_once("user: node\n").expect("a user");
    assert!(!node.contains("\"saker.") && !node.contains("STREAM.CREATE"));
}

#[test]
fn what_is_mounted_is_there_and_read_only() {
    let nats = yaml("nats/statefulset.yaml");
    let nats = find(&nats, "StatefulSet", "saker-nats")["spec"]["template"]["spec"].clone();
    for pod in [agent(), webhook_patch(), nats.clone()] {
        let volumes: Vec<&Value> = list(&pod["volumes"], "volumes").iter().map(|v| &v["name"]).collect();
        for mount in list(&pod["containers"][0]["volumeMounts"], "volumeMounts") {
            let writable = ["/run/saker", "/data"].contains(&text(&mount["mountPath"], "mountPath"));
            assert_eq!(mount["readOnly"].as_bool().unwrap_or_default(), !writable, "{mount}");
            assert!(volumes.contains(&&mount["name"]) || mount["name"] == "data", "{mount}");
        }
    }
    // What the agent reads of the node, below its configuration's root.
    let of_agent = configured("agent/config.yaml", variables(&agent()["containers"][0]));
    assert!(of_agent.syscall.root.ends_with("host"), "the directory of the test");
    let mounts = agent()["containers"][0]["volumeMounts"].clone();
    for wanted in ["/run/containerd", "/var/log/pods", "/var/log/containers"] {
        let path = format!("{ROOT}{wanted}");
        assert!(
            list(&mounts, "mounts").iter().any(|m| m["mountPath"] == path.as_str()),
            "{path}"
        );
    }
}

#[test]
fn nobody_has_more_than_is_needed() {
    let pod = agent();
    assert_eq!(pod["hostPID"], true);
    for host in ["hostNetwork", "hostIPC"] {
        assert_eq!(pod.get(host), None);
    }
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security.get("privileged"), None);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    let documented = fs::read_to_string(repository().join("docs/syscall.md")).expect("a file");
    let added = list(&security["capabilities"]["add"], "capabilities");
    assert_eq!(added.len(), 4);
    for capability in added {
        let name = format!("`CAP_{}`", text(capability, "a capability"));
        assert!(documented.contains(&name), "{name} is not in docs/syscall.md");
    }

    let nats = yaml("nats/statefulset.yaml");
    let set = find(&nats, "StatefulSet", "saker-nats");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels, &set["spec"]["selector"]["matchLabels"]);
    assert_eq!(labels, &find(&nats, "Service", "saker-nats")["spec"]["selector"]);

    // Both sides of each way are open.
    let policy = yaml("nats/networkpolicy.yaml");
    let from = list(&policy[0]["spec"]["ingress"][0]["from"], "from").to_vec();
    for (peer, file, kind) in [
        (&from[0], "webhook/deployment.yaml", "Deployment"),
        (&from[1], "agent/daemonset.yaml", "DaemonSet"),
    ] {
        let documents = yaml(file);
        let labels = &find(&documents, kind, "saker")["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&peer["podSelector"]["matchLabels"], labels, "{file}");
    }
    for file in ["agent/networkpolicy.yaml", "webhook-nats/networkpolicy.yaml"] {
        let to = yaml(file)[0]["spec"]["egress"][0]["to"][0].clone();
        assert_eq!(&to["podSelector"]["matchLabels"], labels, "{file}");
    }
}
