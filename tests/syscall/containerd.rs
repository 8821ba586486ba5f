//! Containers of a real containerd, at places of its own: started by its client as a kubelet would name them, and over
//! its CRI as a kubelet does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use saker::config::SyscallConfig;
use saker::event::syscall::Kind;
use serde_json::Value;

use crate::binary::Server;
use crate::containers::{have, run, stems};
use crate::harness::{Live, field, rule, turn};

pub const UID: &str = "7c1f0d3e-0a1b-4c2d-8e3f-5a6b7c8d9e0f";
const IMAGE: &str = "registry.example:5000/shop/web:3";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a container needs to say that it is known.
pub const FIELDS: &[&str] = &[
    "proc.name",
    "proc.cmdline",
    "proc.tty",
    "container.full_id",
    "container.type",
    "container.name",
    "container.image.repository",
    "container.image.tag",
    "k8s.pod.name",
    "k8s.ns.name",
    "k8s.pod.uid",
    "k8s.pod.label[app]",
    "user.name",
];

/// A control group as the kubelet names it, by container and by uid of the pod; removed with those around it, once they
/// are empty.
pub struct Group(pub String, pub String);

impl Group {
    /// Of the pod.
    pub fn pod(&self) -> String {
        format!("/saker-{}/kubepods/burstable/pod{}", self.0, self.1)
    }

    pub fn path(&self) -> String {
        format!("{}/{}", self.pod(), self.0)
    }

    /// The directory in each hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let trees = all.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
        let trees = trees.filter(|tree| tree.join("cgroup.procs").exists());
        trees.map(|tree| tree.join(&self.path()[1..])).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in self.directories() {
            // The kernel takes processes out of it a moment after they have ended.
            let end = Instant::now() + Duration::from_secs(2);
            let pod = directory.parent().unwrap();
            let leaves = std::fs::read_dir(pod).into_iter().flatten().flatten();
            for leaf in leaves.filter(|leaf| leaf.path().is_dir()) {
                while std::fs::remove_dir(leaf.path()).is_err() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            for above in directory.ancestors().skip(1).take(4) {
                let _ = std::fs::remove_dir(above);
            }
        }
    }
}

/// 64 hexadecimal digits that no other run has; the first twelve are no other container's, either.
pub fn new_id() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!("{now:016x}{:048x}", std::process::id())
}

/// The daemon, with an image of its own making.
struct Containerd {
    directory: tempfile::TempDir,
    daemon: Child,
    id: String,
    /// Goes after the daemon.
    group: Group,
}

impl Containerd {
    fn start() -> Containerd {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display().to_string();
        let config = format!(
            "version = 2\nroot = '{place}/lib'\nstate = '{place}/state'\n[grpc]\naddress = '{place}/socket'\n\
             [plugins.'io.containerd.grpc.v1.cri']\nrestrict_oom_score_adj = true\nsandbox_image = '{IMAGE}'\n\
             stream_server_port = '0'\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'native'\n"
        );
        std::fs::write(directory.path().join("config.toml"), config).unwrap();
        let daemon = Command::new("containerd")
            .args(["--config", &format!("{place}/config.toml")])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let id = new_id();
        let containerd = Containerd {
            directory,
            daemon,
            group: Group(id.clone(), UID.to_owned()),
            id,
        };
        let began = Instant::now();
        while !containerd.log().contains("successfully booted") {
            assert!(began.elapsed() < PATIENCE, "{}", containerd.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let image = containerd.image();
        containerd.ctr(&["image", "import", "--snapshotter", "native", image.to_str().unwrap()]);
        containerd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// An image with a shell and one user, as `docker save` would write it.
    fn image(&self) -> PathBuf {
        let root = self.path("image/rootfs");
        for name in ["bin", "etc", "proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in ["sh", "sleep", "true"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "captain:x:0:0::/:/bin/sh\n").unwrap();
        let at = |name: &str| self.path("image").join(name);
        run(
            "tar",
            &[
                "-C",
                root.to_str().unwrap(),
                "-cf",
                at("layer.tar").to_str().unwrap(),
                ".",
            ],
        );
        let sum = Command::new("sha256sum").arg(at("layer.tar")).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let layer = format!("sha256:{}", sum.split(' ').next().unwrap());
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sleep", "300"]},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        });
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
        std::fs::write(at("manifest.json"), manifest.to_string()).unwrap();
        let files = ["manifest.json", "config.json", "layer.tar"];
        let (archive, inside) = (at("image.tar"), self.path("image"));
        let begin = ["-C", inside.to_str().unwrap(), "-cf", archive.to_str().unwrap()];
        run("tar", &[&begin[..], &files].concat());
        archive
    }

    fn ctr(&self, arguments: &[&str]) {
        let socket = self.path("socket");
        let base = ["--address", socket.to_str().unwrap(), "--namespace", "k8s.io"];
        run("ctr", &[&base[..], arguments].concat());
    }

    /// Starts the container.
    fn run(&self) {
        let (state, path) = (self.path("state/runc"), self.group.path());
        let mut arguments = vec!["run", "--detach", "--null-io", "--snapshotter", "native", "--net-host"];
        arguments.extend(["--runc-root", state.to_str().unwrap(), "--cgroup", &path]);
        let image = format!("io.kubernetes.cri.image-name={IMAGE}");
        for annotation in [
            "io.kubernetes.cri.container-type=container",
            "io.kubernetes.cri.container-name=web",
            &image,
            "io.kubernetes.cri.sandbox-name=web-0",
            "io.kubernetes.cri.sandbox-namespace=shop",
        ] {
            arguments.extend(["--annotation", annotation]);
        }
        arguments.extend([IMAGE, &self.id, "/bin/sleep", "300"]);
        self.ctr(&arguments);
    }

    fn exec(&self, name: &str, command: &str) {
        self.ctr(&["tasks", "exec", "--exec-id", name, &self.id, "/bin/sh", "-c", command]);
    }

    fn exec_on_a_terminal(&self, name: &str, command: &str) {
        let line = format!(
            "ctr --address {} --namespace k8s.io tasks exec -t --exec-id {name} {} /bin/sh -c '{command}'",
            self.path("socket").display(),
            self.id
        );
        run("script", &["-qec", &line, "/dev/null"]);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let socket = self.path("socket");
        let base = ["--address", socket.to_str().unwrap(), "--namespace", "k8s.io"];
        let listed = Command::new("ctr").args(base).args(["tasks", "ls", "-q"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for id in listed.unwrap_or_default().split_whitespace() {
            let _ = Command::new("ctr")
                .args(base)
                .args(["tasks", "rm", "--force", id])
                .output();
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // Pods have mounts of their own below the daemon's directory.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in own.filter(|mount| Path::new(mount).starts_with(self.directory.path())) {
            let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

const PROGRAMS: &[&str] = &["containerd", "ctr", "runc", "script", "busybox", "tar", "sha256sum"];

/// Everything that is to be said of the container by each of its alerts.
#[track_caller]
fn is_known(alert: &Value, id: &str) {
    let names = [
        "container.full_id",
        "container.type",
        "container.name",
        "container.image.repository",
        "container.image.tag",
        "k8s.pod.name",
        "k8s.ns.name",
        "k8s.pod.uid",
    ];
    let want = [
        id,
        "containerd",
        "web",
        "registry.example:5000/shop/web",
        "3",
        "web-0",
        "shop",
        UID,
    ];
    assert_eq!(names.map(|name| field(alert, name)), want, "{alert:#}");
}

#[test]
fn a_container_of_containerd_is_known_from_its_first_alert() {
    let Some(_turn) = turn() else { return };
    if !have(PROGRAMS) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let containerd = Containerd::start();
    let rules = rule("inside", "evt.type = execve and container.id != host", FIELDS);
    std::fs::write(directory.join("rules.yaml"), &rules).unwrap();
    let state = containerd.path("state");
    let config = format!("syscall: {{containerd_state: ['{}']}}\n", state.display());
    std::fs::write(directory.join("saker.yaml"), config).unwrap();
    let mut server = Server::start_with(directory, &["-c", "saker.yaml"]);
    let live = Live::start_with(
        &rules,
        &SyscallConfig {
            containerd_state: vec![state],
            ..SyscallConfig::default()
        },
    );
    containerd.run();
    containerd.exec("plain", "/bin/true plain; :");
    containerd.exec_on_a_terminal("terminal", "/bin/true terminal; :");
    let own = |alert: &Value| field(alert, "container.full_id") == containerd.id;
    let mut all = vec![server.alert(own)];
    while !field(all.last().unwrap(), "proc.cmdline").contains("true terminal") {
        all.push(server.alert(own));
    }
    for alert in &all {
        is_known(alert, &containerd.id);
        assert_eq!(field(alert, "user.name"), "captain", "{alert:#}");
    }
    assert_eq!(all[0]["metadata"], Value::Null, "the first did not have to wait");
    let of = |text: &str| {
        let found = all.iter().find(|alert| field(alert, "proc.cmdline").contains(text));
        found.unwrap_or_else(|| panic!("{text}: {all:#?}"))
    };
    of("sleep 300");
    assert_eq!(field(of("true plain"), "proc.tty"), "0");
    assert_ne!(field(of("true terminal"), "proc.tty"), "0");

    let (seen, recording) = live.finish();
    assert!(seen.of("inside").any(own), "{:#?}", seen.alerts);
    let mut all = Vec::new();
    recording.play(|judge, record| {
        if let (Kind::Exec, Some(process)) = (record.kind, judge.processes.actor(record)) {
            all.push(stems(process));
        }
    });
    let root = |command: &str| {
        let found = all.iter().rfind(|stems| stems.command == command);
        found.unwrap_or_else(|| panic!("{command}: {all:#?}")).root
    };
    assert_eq!(root("/bin/sleep 300"), None);
    let (plain, tty) = root("/bin/true plain").expect("an exec");
    assert_eq!(tty, 0);
    let (terminal, tty) = root("/bin/true terminal").expect("an exec with a terminal");
    assert!(tty != 0 && plain != terminal);
}

/// Messages that a kubelet sends, as far as they are needed here.
mod kubelet {
    use std::collections::BTreeMap;

    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub struct RunPodSandbox {
        #[prost(message, optional, tag = "1")]
        pub config: Option<Pod>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Pod {
        #[prost(message, optional, tag = "1")]
        pub metadata: Option<PodMetadata>,
        #[prost(string, tag = "3")]
        pub log_directory: String,
        #[prost(btree_map = "string, string", tag = "6")]
        pub labels: BTreeMap<String, String>,
        #[prost(message, optional, tag = "8")]
        pub linux: Option<LinuxPod>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct PodMetadata {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub uid: String,
        #[prost(string, tag = "3")]
        pub namespace: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct LinuxPod {
        #[prost(string, tag = "1")]
        pub cgroup_parent: String,
        #[prost(message, optional, tag = "2")]
        pub security: Option<Security>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Security {
        #[prost(message, optional, tag = "1")]
        pub namespaces: Option<Namespaces>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Namespaces {
        #[prost(int32, tag = "1")]
        pub network: i32,
    }

    /// An id, which is the first field of several messages.
    #[derive(Clone, PartialEq, Message)]
    pub struct Id {
        #[prost(string, tag = "1")]
        pub id: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct CreateContainer {
        #[prost(string, tag = "1")]
        pub sandbox: String,
        #[prost(message, optional, tag = "2")]
        pub config: Option<Container>,
        #[prost(message, optional, tag = "3")]
        pub pod: Option<Pod>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Container {
        #[prost(message, optional, tag = "1")]
        pub metadata: Option<Id>,
        #[prost(message, optional, tag = "2")]
        pub image: Option<Id>,
        #[prost(string, repeated, tag = "3")]
        pub command: Vec<String>,
        #[prost(btree_map = "string, string", tag = "9")]
        pub labels: BTreeMap<String, String>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct ExecSync {
        #[prost(string, tag = "1")]
        pub container: String,
        #[prost(string, repeated, tag = "2")]
        pub command: Vec<String>,
        #[prost(int64, tag = "3")]
        pub timeout: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Executed {
        #[prost(int32, tag = "3")]
        pub code: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Nothing {}

    /// Labels as a kubelet gives them.
    pub fn labels(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = [
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", super::UID),
        ];
        let all = own.iter().chain(more);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }
}

/// Starts a pod with one container by the calls of a kubelet, has a command run in it, and returns both ids.
async fn pod(socket: &Path, group: &Group) -> [String; 2] {
    use kubelet::*;
    use saker::sources::syscall::cri::client::Client;

    let mut client = Client::connect(socket).await.unwrap();
    let metadata = PodMetadata {
        name: "web-0".into(),
        uid: UID.into(),
        namespace: "shop".into(),
    };
    // The host's network (NamespaceMode NODE), so that no plug-in is asked for one.
    let namespaces = Some(Namespaces { network: 2 });
    let config = Pod {
        metadata: Some(metadata),
        log_directory: String::new(),
        labels: labels(&[("app", "shop-front")]),
        linux: Some(LinuxPod {
            cgroup_parent: group.pod(),
            security: Some(Security { namespaces }),
        }),
    };
    let pod = Some(config);
    let id = |id: &str| Some(Id { id: id.into() });
    let question = RunPodSandbox { config: pod.clone() };
    let sandbox: Id = client.call("RunPodSandbox", &question).await.expect("a sandbox");
    let config = Container {
        metadata: id("web"),
        image: id(IMAGE),
        command: vec!["/bin/sleep".into(), "300".into()],
        labels: labels(&[("io.kubernetes.container.name", "web")]),
    };
    let question = CreateContainer {
        sandbox: sandbox.id.clone(),
        config: Some(config),
        pod,
    };
    let container: Id = client.call("CreateContainer", &question).await.expect("a container");
    let _: Nothing = client.call("StartContainer", &container).await.expect("it starts");
    let question = ExecSync {
        container: container.id.clone(),
        command: vec!["/bin/true".into(), "by-cri".into()],
        timeout: 10,
    };
    let done: Executed = client.call("ExecSync", &question).await.expect("it executes");
    assert_eq!(done.code, 0);
    [sandbox.id, container.id]
}

/// Starts a pod under a server with this configuration, and returns the alerts of its container and of its sandbox.
fn alerts_of_a_pod(configure: impl FnOnce(&Containerd) -> String) -> Option<[Vec<Value>; 2]> {
    if !have(PROGRAMS) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let containerd = Containerd::start();
    let rules = rule("inside", "evt.type = execve and container.id != host", FIELDS);
    std::fs::write(directory.join("rules.yaml"), &rules).unwrap();
    std::fs::write(directory.join("saker.yaml"), configure(&containerd)).unwrap();
    let mut server = Server::start_with(directory, &["-c", "saker.yaml"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let [sandbox, container] = runtime.block_on(async {
        let socket = containerd.path("socket");
        let done = tokio::time::timeout(PATIENCE, pod(&socket, &containerd.group)).await;
        done.unwrap_or_else(|_| panic!("{}", containerd.log()))
    });
    let own = |alert: &Value| [&container, &sandbox].contains(&&field(alert, "container.full_id"));
    let mut all = vec![server.alert(own)];
    while !field(all.last().unwrap(), "proc.cmdline").contains("true by-cri") {
        all.push(server.alert(own));
    }
    drop(containerd);
    let of = |id: &str| {
        let own = all.iter().filter(|alert| field(alert, "container.full_id") == id);
        own.cloned().collect::<Vec<_>>()
    };
    for alert in of(&container) {
        is_known(&alert, &container);
    }
    let both = [of(&container), of(&sandbox)];
    assert!(both.iter().all(|alerts| !alerts.is_empty()), "{all:#?}");
    Some(both)
}

#[test]
fn a_pod_of_the_cri_is_known_by_its_files() {
    let Some(_turn) = turn() else { return };
    let state = |containerd: &Containerd| {
        let state = containerd.path("state");
        format!("syscall: {{containerd_state: ['{}']}}\n", state.display())
    };
    let Some([container, sandbox]) = alerts_of_a_pod(state) else {
        return;
    };
    for alert in container.iter().chain(&sandbox) {
        assert_eq!(alert["metadata"], Value::Null, "{alert:#}");
        assert_eq!(field(alert, "k8s.pod.name"), "web-0");
    }
}

#[test]
fn a_pod_is_known_by_what_the_cri_answers() {
    let Some(_turn) = turn() else { return };
    // Where the daemon's files are is not told.
    let cri = |containerd: &Containerd| {
        format!(
            "syscall: {{cri: 'unix://{}', wait: 5s}}\n",
            containerd.path("socket").display()
        )
    };
    let Some([container, _]) = alerts_of_a_pod(cri) else {
        return;
    };
    assert_eq!(container[0]["metadata"], "late", "the answer was waited for");
    for alert in &container {
        assert_eq!(field(alert, "k8s.pod.label[app]"), "shop-front", "{alert:#}");
    }
}
