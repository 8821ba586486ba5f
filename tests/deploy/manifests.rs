//! The files of `deploy/`: fresh, well-formed, and loadable.

use std::fs;

use clap::Parser;
use saker::cli::setup::apiserver::{ApiserverArgs, documents};
use serde_json::Value;

use crate::repository;

/// The address and name that the example manifests use.
const CALL: [&str; 5] = [
    "saker setup apiserver",
    "--server",
    "https://10.96.0.94:9443/k8s-audit",
    "--server-name",
    "saker.saker-system.svc",
];

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: ApiserverArgs,
}

#[test]
fn apiserver_files_are_what_setup_writes() {
    let dir = repository().join("deploy/apiserver");
    let update = std::env::var_os("UPDATE_DEPLOY").is_some();
    let mut names = Vec::new();
    for document in documents(&Cli::parse_from(CALL).args).expect("documents") {
        let path = dir.join(document.name);
        if update {
            fs::write(&path, &document.text).expect("written");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == document.text,
            "deploy/apiserver/{} is stale: UPDATE_DEPLOY=1 cargo test --test deploy",
            document.name
        );
        names.push(document.name.to_owned());
    }
    let mut there: Vec<_> = fs::read_dir(&dir)
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    names.sort();
    assert_eq!(there, names);
}

fn yaml(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(repository().join("deploy").join(path)).expect("a file");
    match serde_yaml::from_multiple::<Value>(&text) {
        Ok(documents) => documents,
        Err(error) => panic!("{path}: {error}"),
    }
}

fn find<'v>(documents: &'v [Value], kind: &str, name: &str) -> &'v Value {
    let found = documents
        .iter()
        .find(|d| d["kind"] == kind && d["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn every_document_has_kind_and_version() {
    let listed = yaml("webhook/kustomization.yaml");
    let files = listed[0]["resources"].as_array().expect("a list");
    assert_eq!(
        files.len() + 1,
        fs::read_dir(repository().join("deploy/webhook"))
            .expect("a directory")
            .count()
    );
    for file in files {
        let name = file.as_str().expect("a name");
        for document in yaml(&format!("webhook/{name}")) {
            assert!(
                document["apiVersion"].is_string() && document["kind"].is_string(),
                "{name}"
            );
            if document["kind"] != "Namespace" {
                assert_eq!(document["metadata"]["namespace"], "saker-system", "{name}");
            }
        }
    }
}

#[test]
fn apiserver_files_agree_with_each_other() {
    let kubeadm = &yaml("apiserver/kubeadm.yaml")[0];
    let from_kubeadm: Vec<String> = kubeadm["apiServer"]["extraArgs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|a| {
            format!(
                "{}={}",
                a["name"].as_str().expect("text"),
                a["value"].as_str().expect("text")
            )
        })
        .collect();
    let k3s = &yaml("apiserver/k3s.yaml")[0];
    let from_k3s: Vec<&str> = k3s["kube-apiserver-arg"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|a| a.as_str().expect("text"))
        .collect();
    let flags = fs::read_to_string(repository().join("deploy/apiserver/kube-apiserver.flags")).expect("a file");
    let from_process: Vec<&str> = flags.lines().filter_map(|l| l.strip_prefix("--")).collect();
    assert_eq!(from_kubeadm, from_k3s);
    assert_eq!(from_kubeadm, from_process);

    let kubeconfig = &yaml("apiserver/audit-webhook.kubeconfig")[0];
    assert_eq!(kubeconfig["current-context"], kubeconfig["contexts"][0]["name"]);
    assert_eq!(
        kubeconfig["contexts"][0]["context"]["cluster"],
        kubeconfig["clusters"][0]["name"]
    );
    assert_eq!(
        kubeconfig["contexts"][0]["context"]["user"],
        kubeconfig["users"][0]["name"]
    );
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().expect("text");
    let service = &yaml("webhook/service.yaml")[0];
    let address = service["spec"]["clusterIP"].as_str().expect("text");
    assert!(
        server.starts_with(&format!("https://{address}:{}/", service["spec"]["ports"][0]["port"])),
        "{server}"
    );
}

#[test]
fn the_configuration_in_the_config_map_loads() {
    let documents = yaml("webhook/config.yaml");
    let text = find(&documents, "ConfigMap", "saker-config")["data"]["saker.yaml"]
        .as_str()
        .expect("text");
    let rules = find(&documents, "ConfigMap", "saker-rules")["data"]
        .as_object()
        .expect("a mapping");
    // The directory as the Deployment's volumes make it.
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("rules")).expect("a directory");
    fs::create_dir(dir.path().join("tls")).expect("a directory");
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        fs::write(dir.path().join("tls").join(name), "").expect("a file");
    }
    for (name, text) in rules {
        let text = text.as_str().expect("text");
        assert!(serde_yaml::from_str::<Vec<Value>>(text).is_ok(), "{name} is a list");
        fs::write(dir.path().join("rules").join(name), text).expect("a file");
    }
    let path = dir.path().join("saker.yaml");
    fs::write(&path, text).expect("a file");
    let documents = yaml("webhook/deployment.yaml");
    let pod = &find(&documents, "Deployment", "saker")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let variable = |v: &Value| ["name", "value"].map(|key| v[key].as_str().expect("text").to_owned());
    let env = container["env"].as_array().expect("a list").iter().map(variable);
    let config = match saker::config::load(Some(&path), env.map(|[name, value]| (name, value))) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(config.cluster.as_deref(), Some("kubernetes"));
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["mountPath"])
        .collect();
    assert_eq!(mounts, ["/etc/saker", "/etc/saker/rules", "/etc/saker/tls"]);
    let ports: Vec<_> = container["ports"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["containerPort"].as_u64())
        .collect();
    assert_eq!(
        ports,
        [config.webhook.listen.port(), config.status.listen.port()].map(|p| Some(u64::from(p)))
    );
    let patience = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(patience > config.shutdown.grace.as_secs());
}

#[test]
fn the_pod_is_restricted() {
    let documents = yaml("webhook/deployment.yaml");
    assert_eq!(
        find(&documents, "ServiceAccount", "saker")["automountServiceAccountToken"],
        false
    );
    let deployment = find(&documents, "Deployment", "saker");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(selector, &deployment["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(
        selector,
        &find(&documents, "PodDisruptionBudget", "saker")["spec"]["selector"]["matchLabels"]
    );
    assert_eq!(selector, &yaml("webhook/service.yaml")[0]["spec"]["selector"]);
}
