//! A container of a pod that runc has really started, entered as a runtime enters it for `kubectl exec`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// What a live run lacks here, if anything.
pub fn missing() -> Option<String> {
    let root = nix::unistd::geteuid().is_root();
    let types = Path::new("/sys/kernel/btf/vmlinux").exists();
    let runc = Command::new("runc").arg("--version").output().is_ok();
    (!root || !types || !runc).then(|| {
        format!("it takes root (here: {root}), /sys/kernel/btf/vmlinux (here: {types}) and runc (here: {runc})")
    })
}

/// Removed in the end, with all that runs in it and its control groups.
pub struct Container {
    id: String,
    directory: tempfile::TempDir,
}

impl Container {
    /// Starts the container `app` of a pod in the namespace `prod`; its programs are this machine's.
    pub fn start(pod: &str) -> Container {
        let container = Container {
            id: random() + &random(),
            directory: tempfile::tempdir().expect("a directory"),
        };
        let bundle = container.bundle();
        let root = bundle.join("rootfs");
        for name in ["etc", "usr", "proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(name)).expect("a directory");
        }
        for name in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).expect("a link");
        }
        let written = Command::new("runc").arg("spec").current_dir(&bundle).status();
        assert!(written.is_ok_and(|status| status.success()), "runc spec");
        let file = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(["/bin/sleep", "600"]);
        spec["root"] = json!({"path": "rootfs", "readonly": false});
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.image-name": "registry.example.com/web:1",
            "io.kubernetes.cri.sandbox-namespace": "prod",
            "io.kubernetes.cri.sandbox-name": pod,
        });
        spec["linux"]["cgroupsPath"] = container.group().into();
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]}));
        // Some machines do not let namespaces of the network be made.
        let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        std::fs::write(&file, spec.to_string()).expect("a file");
        let started = quiet("runc")
            .args(["run", "--detach", "--bundle"])
            .arg(&bundle)
            .arg(&container.id)
            .status();
        assert!(started.is_ok_and(|status| status.success()), "runc run");
        container
    }

    fn bundle(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("a path")
    }

    /// As the kubelet names it.
    fn group(&self) -> String {
        let uid = "7c1f0d3e-0a1b-4c2d-8e3f-5a6b7c8d9e0f";
        format!("/saker-{id}/kubepods/burstable/pod{uid}/{id}", id = self.id)
    }

    /// Runs a command in it, without a terminal, and does not wait for its end.
    pub fn exec(&self, command: &[&str]) -> Child {
        let mut runc = quiet("runc");
        runc.arg("exec").arg(&self.id).args(command);
        runc.spawn().expect("runc exec")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = quiet("runc").args(["delete", "-f", &self.id]).status();
        let group = self.group();
        let trees = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for tree in trees.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]) {
            let all = Path::new(&group[1..]).ancestors();
            for group in all.filter(|group| !group.as_os_str().is_empty()) {
                let _ = std::fs::remove_dir(tree.join(group));
            }
        }
    }
}

/// What it starts would keep pipes open.
fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// 32 hexadecimal digits.
fn random() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a random number");
    uuid.trim().replace('-', "")
}

/// An audit event of an exec into the container, as an API server posts it.
pub fn audit_event(id: &str, stage: &str, user: &str, pod: &str, command: &[&str], received: jiff::Timestamp) -> Value {
    let arguments: Vec<String> = command
        .iter()
        .map(|argument| format!("command={}", argument.replace('/', "%2F")))
        .collect();
    let mut event = json!({
        "level": "Metadata",
        "auditID": id,
        "stage": stage,
        "requestURI": format!(
            "/api/v1/namespaces/prod/pods/{pod}/exec?{}&container=app&stderr=true&stdout=true",
            arguments.join("&")
        ),
        "verb": "get",
        "user": {"username": user, "groups": ["dev", "system:authenticated"]},
        "sourceIPs": ["192.0.2.7"],
        "userAgent": "kubectl/v1.33.1",
        "objectRef": {"resource": "pods", "namespace": "prod", "name": pod, "apiVersion": "v1", "subresource": "exec"},
        "requestReceivedTimestamp": received.to_string(),
        "stageTimestamp": match stage {
            "ResponseComplete" => jiff::Timestamp::now(),
            _ => received,
        }.to_string(),
    });
    if stage != "RequestReceived" {
        event["responseStatus"] = json!({"metadata": {}, "code": 101});
    }
    event
}
