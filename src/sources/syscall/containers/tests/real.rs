//! Containers that runc and containerd have really started. Needs root and both programs; says loudly when they are
//! missing.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;
use crate::sources::syscall::containers::users::Users;

const UID: &str = "7c1f0d3e-0a1b-4c2d-8e3f-5a6b7c8d9e0f";

/// Whether containers can be started here.
fn can_run(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    let possible = missing.is_empty() && nix::unistd::geteuid().is_root() && Path::new("/usr/bin/sleep").exists();
    if !possible {
        eprintln!("SKIPPED: a real container takes root and {programs:?}; missing: {missing:?}");
    }
    possible
}

fn run(program: &str, arguments: &[&str]) {
    // Pipes would stay open in the container's process; files do not keep anybody waiting.
    let errors = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.reopen().unwrap())
        .status()
        .unwrap();
    let said = std::fs::read_to_string(errors.path()).unwrap();
    assert!(status.success(), "{program} {arguments:?}: {said}");
}

/// A root file system that borrows the programs of this machine through a mount on /usr.
fn root_files(directory: &Path) -> PathBuf {
    let root = directory.join("rootfs");
    for name in ["etc", "usr", "proc", "dev", "sys", "run"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "inside:x:4711:4711::/home/inside:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "inside:x:4711:\n").unwrap();
    root
}

/// 64 hexadecimal digits that no other run has.
fn new_id(test: u8) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{test:02x}{:030x}{now:032x}", std::process::id())
}

fn cgroup(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("0::"))
        .or(text.lines().next());
    line.unwrap().rsplit(':').next().unwrap().to_owned()
}

fn is_recent(container: &Container) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.saturating_sub(Duration::from_nanos(container.started.unwrap()));
    assert!(age < Duration::from_secs(300), "{age:?}");
}

/// Users of a container by each of the two ways into it.
fn sees_its_users(node: &Path, container: &Container, pid: u32) {
    let of_process = Container {
        root: None,
        ..container.clone()
    };
    for container in [container, &of_process] {
        let names = Users::new(node).container(container, Some(pid));
        assert_eq!(names.users.len(), 1, "{:?}", container.root);
        assert_eq!(&*names.user(4711).unwrap().name, "inside");
        assert_eq!(names.group(4711), Some("inside"));
    }
}

/// A control group as the kubelet would name it, with nothing around it that a kubelet of this machine could own.
struct Group(String);

impl Group {
    fn path(&self) -> String {
        format!("/saker-{0}/kubepods/burstable/pod{UID}/{0}", self.0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime has removed the last directory only; there is one tree for each controller, or a single one.
        let trees = std::fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        for tree in trees.chain(["/sys/fs/cgroup".into()]) {
            let path = tree.join(&self.path()[1..]);
            for directory in path.ancestors().take(5) {
                let _ = std::fs::remove_dir(directory);
            }
        }
    }
}

struct Runc {
    id: String,
    group: Group,
}

impl Drop for Runc {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "-f", &self.id]).output();
    }
}

#[test]
fn runc_alone() {
    if !can_run(&["runc"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = root_files(directory.path());
    let bundle = directory.path().to_str().unwrap();
    let id = new_id(1);
    let group = Group(id.clone());
    let container = Runc { id, group };
    run("runc", &["spec", "--bundle", bundle]);
    let config = directory.path().join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["/bin/sleep", "300"]);
    spec["root"]["path"] = "rootfs".into();
    spec["annotations"] = serde_json::json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.image-name": "registry.example:5000/shop/web:3",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "team": "a",
    });
    spec["linux"]["cgroupsPath"] = container.group.path().into();
    let mount =
        serde_json::json!({"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]});
    spec["mounts"].as_array_mut().unwrap().push(mount);
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "ipc");
    // The way of a pod with hostNetwork: the path of a process that is where the host is.
    let own = format!("/proc/{}/ns/net", std::process::id());
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(serde_json::json!({"type": "network", "path": own}));
    std::fs::write(&config, spec.to_string()).unwrap();
    run("runc", &["run", "--detach", "--bundle", bundle, &container.id]);

    let state = std::fs::read(format!("/run/runc/{}/state.json", container.id)).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let pid = state["init_process_pid"].as_u64().unwrap() as u32;
    let node = Path::new("/");
    let (found, complete, cut) = known(Lookup::new(node).find(&container.id, Some(pid), &cgroup(pid)));
    assert_eq!((complete, cut), (true, 0));
    assert_eq!((&*found.runtime, found.name.as_deref()), ("runc", Some("web")));
    assert_eq!(found.repository(), Some("registry.example:5000/shop/web"));
    assert_eq!(found.privileged, Some(false));
    assert_eq!((found.host_pid, found.host_ipc), (Some(false), Some(true)));
    // Some machines hide from root where their first process is; then this is not known.
    let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    assert_eq!(found.host_network, link("1").map(|host| Some(host) == link("self")));
    assert_eq!(found.root.as_deref(), root.to_str());
    assert_eq!(found.labels, [("team".into(), "a".into())]);
    assert!(
        found
            .mounts
            .iter()
            .any(|mount| &*mount.destination == "/usr" && !mount.writable)
    );
    let pod = found.pod.as_ref().unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-0", UID));
    is_recent(&found);
    sees_its_users(node, &found, pid);

    let id = container.id.clone();
    drop(container);
    assert_eq!(Lookup::new(node).find(&id, None, ""), Found::NotYet);
}

/// A containerd of the test's own, whose state is where the node's would be below `root`.
struct Containerd {
    root: PathBuf,
    daemon: Child,
    ids: Vec<String>,
}

impl Containerd {
    fn start(root: &Path) -> Containerd {
        let place = root.display();
        let config = format!(
            "version = 2\nroot = \"{place}/var/lib/containerd\"\nstate = \"{place}/run/containerd\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{place}/socket\"\n"
        );
        std::fs::write(root.join("containerd.toml"), config).unwrap();
        let daemon = Command::new("containerd")
            .arg("--config")
            .arg(root.join("containerd.toml"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(root.join("log")).unwrap())
            .spawn()
            .unwrap();
        let containerd = Containerd {
            root: root.into(),
            daemon,
            ids: Vec::new(),
        };
        let end = Instant::now() + Duration::from_secs(30);
        while !root.join("socket").exists() {
            let log = || std::fs::read_to_string(root.join("log"));
            assert!(Instant::now() < end, "no containerd: {:?}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        containerd
    }

    fn socket(&self) -> String {
        self.root.join("socket").display().to_string()
    }

    /// Starts a container in the namespace of Kubernetes and returns its first process.
    fn run(&mut self, id: &str, options: &[&str]) -> u32 {
        self.ids.push(id.into());
        let (socket, files) = (self.socket(), self.root.join("rootfs"));
        let state = self.root.join("run/containerd/runc").display().to_string();
        let mut arguments = vec!["--address", &socket, "--namespace", "k8s.io", "run", "--detach"];
        arguments.extend(["--null-io", "--runc-root", &state, "--rootfs", "--mount"]);
        arguments.push("type=bind,src=/usr,dst=/usr,options=rbind:ro");
        arguments.extend(options);
        arguments.extend([files.to_str().unwrap(), id, "/bin/sleep", "300"]);
        run("ctr", &arguments);
        let task = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/init.pid");
        std::fs::read_to_string(self.root.join(task)).unwrap().parse().unwrap()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let socket = self.socket();
        for id in &self.ids {
            let base = ["--address", &socket, "--namespace", "k8s.io"];
            let _ = Command::new("ctr")
                .args(base)
                .args(["task", "rm", "--force", id])
                .output();
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn containerd_tasks() {
    if !can_run(&["containerd", "ctr", "runc"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    root_files(directory.path());
    let id = new_id(2);
    // Declared before the daemon, so that it goes after it.
    let group = Group(id.clone());
    let mut containerd = Containerd::start(directory.path());
    let lookup = Lookup::new(directory.path());

    let group = group.path();
    let mut options = vec!["--cgroup", &group, "--label", "team=a"];
    for annotation in [
        "io.kubernetes.cri.container-type=container",
        "io.kubernetes.cri.container-name=web",
        "io.kubernetes.cri.image-name=docker.io/library/web:3",
        "io.kubernetes.cri.sandbox-name=web-0",
        "io.kubernetes.cri.sandbox-namespace=shop",
    ] {
        options.extend(["--annotation", annotation]);
    }
    let pid = containerd.run(&id, &options);
    let (found, complete, _) = known(lookup.find(&id, Some(pid), &cgroup(pid)));
    assert!(complete, "{found:?}");
    assert_eq!((&*found.runtime, found.name.as_deref()), ("containerd", Some("web")));
    assert_eq!((found.tag(), found.privileged), (Some("3"), Some(false)));
    assert_eq!((found.host_pid, found.host_network), (Some(false), Some(false)));
    assert!(found.labels.contains(&("team".into(), "a".into())));
    let pod = found.pod.as_ref().unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-0", UID));
    is_recent(&found);
    // Here the root is as the node has it, not below the directory that stands for the node.
    sees_its_users(Path::new("/"), &found, pid);

    let group = format!("/saker-{id}/by-hand");
    let pid = containerd.run("by-hand", &["--privileged", "--net-host", "--cgroup", &group]);
    let (found, complete, _) = known(lookup.find("by-hand", Some(pid), &cgroup(pid)));
    assert!(complete);
    assert_eq!((found.name.as_deref(), found.pod.as_ref()), (Some("by-hand"), None));
    assert_eq!((found.privileged, found.host_network), (Some(true), Some(true)));
}
