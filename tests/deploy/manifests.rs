//! The files of `deploy/`: fresh, well-formed, and loadable.

use std::fs;

use clap::Parser;
use saker::cli::setup::admission::{self, AdmissionArgs};
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

/// The address of the example manifests again. A CA nobody has: the file is refused until it is replaced.
const ADMISSION: [&str; 4] = [
    "saker setup admission",
    "--server",
    "https://10.96.0.94:9443",
    "--mutating",
];
const NO_CA: &str = "\"REPLACE_ME\" # base64 -w0 certs/ca.crt";

#[derive(Debug, Parser)]
struct AdmissionCli {
    #[command(flatten)]
    args: AdmissionArgs,
}

#[test]
fn admission_files_are_what_setup_writes() {
    let args = AdmissionCli::parse_from(ADMISSION).args;
    let mut kept = 0;
    for document in admission::documents(&args, NO_CA).expect("documents") {
        if !matches!(document.name, "admission-validating.yaml" | "admission-mutating.yaml") {
            continue;
        }
        kept += 1;
        let path = repository().join("deploy").join(document.name);
        if std::env::var_os("UPDATE_DEPLOY").is_some() {
            fs::write(&path, &document.text).expect("written");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == document.text,
            "deploy/{} is stale: UPDATE_DEPLOY=1 cargo test --test deploy",
            document.name
        );
    }
    assert_eq!(kept, 2);
}

#[test]
fn admission_webhooks_cannot_be_in_the_way() {
    for (name, kind, webhooks, path) in [
        (
            "admission-validating.yaml",
            "ValidatingWebhookConfiguration",
            3,
            "/admission/exec",
        ),
        (
            "admission-mutating.yaml",
            "MutatingWebhookConfiguration",
            1,
            "/admission/exec-key",
        ),
    ] {
        let text = fs::read_to_string(repository().join("deploy").join(name)).expect("a file");
        // Measured: the first does not compile, the others do not work, and nobody is told.
        for bad in ["request.uid", "objectSelector", "namespaceObject"] {
            assert!(!text.contains(bad), "{name} has {bad}");
        }
        let documents = yaml(name);
        let [configuration] = documents.as_slice() else {
            panic!("{name}: one document")
        };
        assert_eq!(configuration["kind"], kind);
        let list = configuration["webhooks"].as_array().expect("a list");
        assert_eq!(list.len(), webhooks);
        for webhook in list {
            assert_eq!(webhook["failurePolicy"], "Ignore", "{name}");
            assert_eq!(webhook["timeoutSeconds"], 1, "{name}");
            assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
            assert_eq!(webhook["sideEffects"], "NoneOnDryRun", "{name}");
            assert!(
                webhook["name"].as_str().expect("text").split('.').count() >= 3,
                "{name}"
            );
            let server = yaml("webhook/service.yaml");
            let (address, port) = (&server[0]["spec"]["clusterIP"], &server[0]["spec"]["ports"][0]["port"]);
            let url = format!("https://{}:{port}{path}", address.as_str().expect("text"));
            assert_eq!(webhook["clientConfig"]["url"], url.as_str(), "{name}");
            assert!(
                webhook["rules"].as_array().is_some_and(|rules| !rules.is_empty()),
                "{name}"
            );
        }
    }
    let mutating = &yaml("admission-mutating.yaml")[0]["webhooks"][0];
    assert_eq!(mutating["reinvocationPolicy"], "Never");
    assert!(
        mutating["namespaceSelector"]["matchLabels"].is_object(),
        "never for all"
    );
    let validating = &yaml("admission-validating.yaml")[0]["webhooks"];
    assert_eq!(
        validating[0].get("matchConditions"),
        None,
        "one that fails would hide an exec"
    );
    // Every member that is read is asked for first.
    let expression = |n: usize| {
        let text = validating[n]["matchConditions"][0]["expression"].as_str();
        text.expect("text").to_owned()
    };
    let condition = expression(1) + &expression(2);
    for member in [
        "object.path",
        "request.userInfo.groups",
        "request.userInfo.username",
        "object.spec",
        "object.spec.containers",
        "c.stdin",
        "c.tty",
    ] {
        let asked = condition.find(&format!("has({member})")).expect(member);
        assert_eq!(condition.find(member), Some(asked + 4), "{member}");
    }
}

pub fn yaml(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(repository().join("deploy").join(path)).expect("a file");
    match serde_yaml::from_multiple::<Value>(&text) {
        Ok(documents) => documents,
        Err(error) => panic!("{path}: {error}"),
    }
}

pub fn find<'v>(documents: &'v [Value], kind: &str, name: &str) -> &'v Value {
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
