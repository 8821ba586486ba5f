//! A container that runc has really started, with the kubelet's kind of cgroup path and the annotations of its pod;
//! entered with a terminal and without.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use saker::event::syscall::Kind;
use saker::processes::Process;
use serde_json::{Value, json};

use crate::containerd::{Group, UID, new_id};
use crate::harness::{Live, field, rule, turn};

/// Whether these programs are there.
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: a real container takes {missing:?}");
    }
    missing.is_empty()
}

pub fn run(program: &str, arguments: &[&str]) {
    // Pipes would stay open in the container's process; files do not keep anybody waiting.
    let errors = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(errors.reopen().unwrap()).status().unwrap();
    let said = std::fs::read_to_string(errors.path()).unwrap();
    assert!(status.success(), "{program} {arguments:?}: {said}");
}

/// A mounted file system, until it is dropped.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A running container; removed, with its control groups, in the end.
pub struct Runc {
    pub id: String,
    /// Goes after the container and before its directory.
    overlay: Option<Mount>,
    directory: tempfile::TempDir,
    /// Goes after the container.
    group: Group,
}

impl Runc {
    /// With this machine's programs only.
    pub fn new() -> Runc {
        Runc::of(UID, |_| ())
    }

    /// The same of a pod with this uid, and a configuration that may be changed.
    pub fn of(uid: &str, change: impl FnOnce(&mut Value)) -> Runc {
        let link = |root: &Path| std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        Runc::made(uid, link, change)
    }

    /// Writes its bundle: a root file system that borrows this machine's /usr and is filled further, and a configuration
    /// that may be changed.
    pub fn with(fill: impl FnOnce(&Path), change: impl FnOnce(&mut Value)) -> Runc {
        Runc::made(UID, fill, change)
    }

    fn made(uid: &str, fill: impl FnOnce(&Path), change: impl FnOnce(&mut Value)) -> Runc {
        let id = new_id();
        let runc = Runc {
            group: Group(id.clone(), uid.to_owned()),
            id,
            overlay: None,
            directory: tempfile::tempdir().unwrap(),
        };
        let root = runc.root();
        for name in ["etc", "usr", "proc", "dev", "sys", "run", "tmp"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        let users = "captain:x:0:0::/root:/bin/sh\ninside:x:4711:4711::/home/inside:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), users).unwrap();
        std::fs::write(root.join("etc/group"), "crew:x:0:\ninside:x:4711:\n").unwrap();
        fill(&root);
        run("runc", &["spec", "--bundle", runc.bundle().to_str().unwrap()]);
        let file = runc.bundle().join("config.json");
        let mut spec: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(["/bin/sleep", "300"]);
        spec["root"] = json!({"path": "rootfs", "readonly": false});
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": "web",
            "io.kubernetes.cri.image-name": "registry.example:5000/shop/web:3",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
        });
        spec["linux"]["cgroupsPath"] = runc.group.path().into();
        let mount = json!({"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]});
        spec["mounts"].as_array_mut().unwrap().push(mount);
        // Some machines do not let namespaces of the network be made.
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "network", "path": format!("/proc/{}/ns/net", std::process::id())}));
        change(&mut spec);
        std::fs::write(&file, spec.to_string()).unwrap();
        runc
    }

    pub fn bundle(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    /// Its files, as this machine sees them.
    pub fn root(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Makes its files the lower layer of its root, as those of an image are; says whether the machine allows it.
    pub fn put_on_overlay(&mut self) -> bool {
        let [root, upper, work] = [self.root(), self.bundle().join("upper"), self.bundle().join("work")];
        for layer in [&upper, &work] {
            std::fs::create_dir(layer).unwrap();
        }
        let [lower, upper, work] = [&root, &upper, &work].map(|layer| layer.display());
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let flags = nix::mount::MsFlags::empty();
        let mounted = nix::mount::mount(Some("overlay"), &root, Some("overlay"), flags, Some(layers.as_str()));
        if let Err(error) = mounted {
            eprintln!("SKIPPED: a root on overlayfs cannot be mounted here: {error}");
        }
        self.overlay = mounted.is_ok().then_some(Mount(root));
        self.overlay.is_some()
    }

    pub fn start(&self) {
        run(
            "runc",
            &["run", "--detach", "--bundle", self.bundle().to_str().unwrap(), &self.id],
        );
    }

    /// `runc exec` of a shell command.
    pub fn exec(&self, options: &[&str], command: &str) {
        run(
            "runc",
            &[&["exec"], options, &[&self.id, "/bin/sh", "-c", command]].concat(),
        );
    }

    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "-f", &self.id]).output();
    }
}

const FIELDS: &[&str] = &[
    "proc.name",
    "proc.cmdline",
    "proc.tty",
    "proc.vpid",
    "container.id",
    "container.full_id",
    "container.name",
    "container.type",
    "container.image.repository",
    "container.image.tag",
    "k8s.pod.name",
    "k8s.ns.name",
    "k8s.pod.uid",
    "user.name",
    "user.uid",
    "group.name",
    "proc.pname",
    "proc.exepath",
];

#[test]
fn a_container_is_known_from_its_first_alert() {
    let Some(_turn) = turn() else { return };
    if !have(&["runc"]) {
        return;
    }
    let container = Runc::new();
    let live = Live::start(&rule("inside", "evt.type = execve and container.id != host", FIELDS));
    container.start();
    container.exec(&[], "/bin/true by-hand");
    container.exec(&["--user", "4711:4711"], "/bin/true as-user");
    let (seen, _) = live.finish();
    let own: Vec<&Value> = seen
        .of("inside")
        .filter(|alert| field(alert, "container.id") == container.short_id())
        .collect();
    assert!(own.len() >= 4, "{:#?}", seen.alerts);
    let strays = seen
        .of("inside")
        .filter(|alert| alert["output_fields"]["container.id"].is_null());
    let strays: Vec<String> = strays.map(|alert| field(alert, "proc.cmdline")).collect();
    assert!(strays.is_empty(), "of no container: {strays:?}");
    for alert in &own {
        let is = |name: &str| field(alert, name);
        assert_eq!(is("container.full_id"), container.id);
        let names = [
            "container.name",
            "container.image.repository",
            "container.image.tag",
            "k8s.pod.name",
            "k8s.ns.name",
            "k8s.pod.uid",
        ];
        let want = ["web", "registry.example:5000/shop/web", "3", "web-0", "shop", UID];
        assert_eq!(names.map(is), want, "{}", is("proc.cmdline"));
    }
    let of = |text: &str| {
        own.iter()
            .find(|alert| field(alert, "proc.cmdline").contains(text))
            .expect(text)
    };
    assert_eq!(field(of("sleep 300"), "proc.vpid"), "1");
    let by_hand = of("true by-hand");
    assert_eq!(
        (field(by_hand, "user.name"), field(by_hand, "group.name")),
        ("captain".into(), "crew".into())
    );
    let as_user = of("true as-user");
    assert_eq!(
        (field(as_user, "user.name"), field(as_user, "user.uid")),
        ("inside".into(), "4711".into())
    );
}

#[test]
fn a_container_that_ran_before_is_known() {
    let Some(_turn) = turn() else { return };
    if !have(&["runc"]) {
        return;
    }
    let container = Runc::new();
    container.start();
    let opens = "evt.type in (open, openat) and container.id != host and fd.name = /etc/passwd";
    let fields = [FIELDS, &["fd.name"]].concat();
    let live = Live::start(&rule("inside", opens, &fields));
    container.exec(&[], "cat /etc/passwd");
    let (seen, _) = live.finish();
    let mut own = seen.of("inside").filter(|alert| field(alert, "proc.name") == "cat");
    let alert = own.next().expect("the file as the container sees it");
    let is = ["container.id", "container.name", "k8s.ns.name", "user.name"].map(|name| field(alert, name));
    assert_eq!(is, [container.short_id(), "web", "shop", "captain"]);
}

/// What a process that has executed something says of the exec into its container.
#[derive(Debug, PartialEq)]
pub struct Stems {
    pub command: String,
    pub root: Option<(u32, u32)>,
}

pub fn stems(process: &Process) -> Stems {
    let arguments: Vec<_> = process.image.arguments().map(String::from_utf8_lossy).collect();
    let root = process.exec_root.as_ref().map(|root| (root.key.pid, root.tty));
    Stems {
        command: arguments.join(" "),
        root,
    }
}

#[test]
fn what_an_exec_starts_is_known_to_stem_from_it() {
    let Some(_turn) = turn() else { return };
    if !have(&["runc", "script", "setsid"]) {
        return;
    }
    let container = Runc::new();
    let live = Live::start(&rule("inside", "evt.type = execve and container.id != host", FIELDS));
    container.start();
    container.exec(&[], "/bin/true plain");
    container.exec(
        &[],
        "(setsid /bin/sh -c '(sleep 0.2; /bin/true daemon; :) & :' &); sleep 0.1; :",
    );
    let terminal = format!("runc exec -t {} /bin/sh -c '/bin/true terminal; :'", container.id);
    run("script", &["-qec", &terminal, "/dev/null"]);
    // The daemon outlives its exec.
    std::thread::sleep(Duration::from_millis(400));
    let (seen, recording) = live.finish();
    let alert = |text: &str| {
        seen.of("inside")
            .rfind(|alert| field(alert, "proc.cmdline") == text)
            .unwrap_or_else(|| panic!("{text}: {:#?}", seen.alerts))
    };
    assert_eq!(field(alert("true plain"), "proc.tty"), "0");
    assert_ne!(field(alert("true terminal"), "proc.tty"), "0");
    let mut all = Vec::new();
    recording.play(|judge, record| {
        if let (Kind::Exec, Some(process)) = (record.kind, judge.processes.actor(record)) {
            all.push(stems(process));
        }
    });
    let of = |command: &str| {
        all.iter()
            .rfind(|stems| stems.command == command)
            .unwrap_or_else(|| panic!("{command}: {all:?}"))
    };
    let root = |command: &str| {
        of(command)
            .root
            .unwrap_or_else(|| panic!("{command} stems from no exec: {all:#?}"))
    };
    // The container's own first process does not stem from an exec.
    assert_eq!(of("/bin/sleep 300").root, None);
    let (plain, tty) = root("/bin/true plain");
    assert_eq!(tty, 0);
    let (daemon, _) = root("/bin/true daemon");
    assert_eq!(daemon, root("sleep 0.1").0);
    let (terminal, tty) = root("/bin/true terminal");
    assert_ne!(tty, 0);
    assert!(plain != daemon && daemon != terminal);
    let host = all
        .iter()
        .filter(|stems| stems.command.starts_with("runc exec") || stems.command.starts_with("script"));
    assert!(
        host.clone().count() > 0 && host.clone().all(|stems| stems.root.is_none()),
        "{:?}",
        host.collect::<Vec<_>>()
    );
}
