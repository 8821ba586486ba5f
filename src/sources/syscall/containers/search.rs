//! The search for one container: which files, in which order, and which of them answers what.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::files::{FILE, Root};
use super::oci::{self, Bundle, Whose};
use super::{annotations, docker, pods, runc, storage};

/// Directories of containerd: its own, those of the distributions that bring one along, and docker's.
const CONTAINERD: [&str; 5] = [
    "run/containerd",
    "run/k3s/containerd",
    "run/k0s/containerd",
    "var/snap/microk8s/common/run/containerd",
    "run/docker/containerd/daemon",
];
/// Bundles below these, one directory for each namespace.
const TASKS: [&str; 2] = ["io.containerd.runtime.v2.task", "io.containerd.runtime.v1.linux"];
/// Namespaces of containerd that are looked at.
const NAMESPACES: usize = 32;
/// Directories of what CRI-O and podman share; the first goes with a reboot.
const STORAGE: [&str; 2] = ["run/containers/storage", "var/lib/containers/storage"];
/// State of what was started by these programs without more around them.
const STATES: [(&str, &str, &str); 2] = [("runc", "run/runc", "state.json"), ("crun", "run/crun", "status")];
/// State that runc keeps for containerd, whichever directory that has, and for docker; by namespace.
const SHIM_STATES: [&str; 2] = ["run/containerd/runc", "run/docker/runtime-runc"];

pub struct Search<'a> {
    pub node: Root,
    /// State directories of containerd beside those that are always looked into.
    pub containerd: &'a [PathBuf],
    pub id: &'a str,
    pub pid: Option<u32>,
}

impl Search<'_> {
    /// Asks each runtime's files in turn. `None` if none knows the container; else whether the answer is all that the
    /// runtime is going to write.
    pub fn run(&self, draft: &mut Draft) -> Option<bool> {
        let complete = self
            .containerd(draft)
            .or_else(|| self.storage(draft))
            .or_else(|| self.docker(draft))
            .or_else(|| self.alone(draft));
        self.address(draft);
        complete
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.node.read(path, FILE)
    }

    fn bundle(&self, directory: &Path) -> Option<Bundle> {
        oci::parse(&self.read(&directory.join("config.json"))?)
    }

    fn containerd(&self, draft: &mut Draft) -> Option<bool> {
        for base in self
            .containerd
            .iter()
            .map(PathBuf::as_path)
            .chain(CONTAINERD.map(Path::new))
        {
            for tasks in TASKS.map(|tasks| base.join(tasks)) {
                let mut namespaces = self.node.list(&tasks);
                namespaces.sort_by_key(|name| name != "k8s.io");
                for namespace in namespaces.iter().take(NAMESPACES) {
                    let directory = tasks.join(namespace).join(self.id);
                    let Some(bundle) = self.bundle(&directory) else {
                        continue;
                    };
                    let moby = namespace == "moby";
                    draft.container.runtime = if moby { "docker" } else { "containerd" }.into();
                    let own = base.join("runc").join(namespace);
                    let shims = SHIM_STATES.map(|base| Path::new(base).join(namespace));
                    self.started(&[&[own], &shims[..]].concat(), draft);
                    self.take(&bundle, &directory, draft);
                    return Some(!moby || self.docker(draft).unwrap_or(false));
                }
            }
        }
        None
    }

    /// Fills in what the bundle in `directory` says.
    fn take(&self, bundle: &Bundle, directory: &Path, draft: &mut Draft) {
        bundle.fill(&Path::new("/").join(directory), draft);
        annotations::fill(&bundle.annotations, draft);
        let sandbox = self.sandbox(directory, draft);
        let of_host = |kind, link| self.of_host(bundle, sandbox.as_ref(), kind, link);
        draft.container.host_pid = of_host("pid", "pid");
        draft.container.host_network = of_host("network", "net");
        draft.container.host_ipc = of_host("ipc", "ipc");
        if let Some(sandbox) = sandbox
            && &*draft.container.runtime == "cri-o"
        {
            draft.pod().labels = annotations::sandbox_labels(&sandbox.annotations, draft);
            draft.pod().ip = annotations::sandbox_ip(&sandbox.annotations);
        }
    }

    /// The bundle of the pod's sandbox, which lies beside the container's own.
    fn sandbox(&self, directory: &Path, draft: &Draft) -> Option<Bundle> {
        let sandbox = draft.container.pod.as_ref()?.sandbox_id.as_deref()?;
        if sandbox == self.id || !super::is_id(sandbox) {
            return None;
        }
        self.bundle(Path::new(&directory.to_str()?.replace(self.id, sandbox)))
    }

    /// Whether the container shares a namespace with the host.
    fn of_host(&self, bundle: &Bundle, sandbox: Option<&Bundle>, kind: &str, link: &str) -> Option<bool> {
        let path = match bundle.namespace(kind) {
            Whose::Host => return Some(true),
            Whose::Own => return Some(false),
            Whose::Path(path) => path,
        };
        // `/proc/<pid of the sandbox>/ns/<kind>`, whose namespace may be the host's in turn.
        let Some(process) = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next()) else {
            // A file that a namespace is mounted on; runtimes do that only with those they make.
            return Some(false);
        };
        match sandbox.map(|sandbox| sandbox.namespace(kind)) {
            Some(Whose::Host) => return Some(true),
            Some(Whose::Own) => return Some(false),
            // Another container than the sandbox, perhaps: the kernel knows.
            Some(Whose::Path(path)) if !path.starts_with("/proc/") => return Some(false),
            _ => (),
        }
        let host = self.node.namespace(1, link)?;
        let theirs = process.parse().ok().and_then(|pid| self.node.namespace(pid, link));
        let theirs = theirs.or_else(|| self.node.namespace(self.pid?, link));
        theirs.map(|theirs| theirs == host)
    }

    fn started(&self, directories: &[PathBuf], draft: &mut Draft) {
        let states = directories
            .iter()
            .flat_map(|directory| ["state.json", "status"].map(|file| self.read(&directory.join(self.id).join(file))));
        let mut times = states.flatten().filter_map(|bytes| runc::state(&bytes)?.started);
        draft.container.started = draft.container.started.or_else(|| times.next());
    }

    fn docker(&self, draft: &mut Draft) -> Option<bool> {
        let directory = Path::new("var/lib/docker/containers").join(self.id);
        let settings = docker::settings(&self.read(&directory.join("config.v2.json"))?, draft)?;
        draft.container.runtime = "docker".into();
        let host = self.read(&directory.join("hostconfig.json"));
        if let Some(host) = &host {
            docker::host(host, draft);
        }
        if let Some(id) = &draft.container.image_id
            && draft.container.image_digest.is_none()
            && !settings.driver.contains(['/', '.'])
        {
            let images = PathBuf::from(format!("var/lib/docker/image/{}/repositories.json", settings.driver));
            draft.container.image_digest = self.read(&images).and_then(|bytes| docker::pulled(&bytes, id));
        }
        Some(settings.current && host.is_some())
    }

    fn storage(&self, draft: &mut Draft) -> Option<bool> {
        let userdata =
            |id: &str| STORAGE.map(|base| Path::new(base).join("overlay-containers").join(id).join("userdata"));
        let (directory, bundle) = userdata(self.id)
            .into_iter()
            .find_map(|directory| self.bundle(&directory).map(|bundle| (directory, bundle)))?;
        draft.container.runtime = annotations::manager(&bundle.annotations).into();
        self.take(&bundle, &directory, draft);
        self.started(&STATES.map(|(_, directory, _)| directory.into()), draft);
        // Containers with --rm stand in the volatile file, which older releases do not have.
        let listed = STORAGE.iter().any(|base| {
            ["containers.json", "volatile-containers.json"].iter().any(|file| {
                let path = Path::new(base).join("overlay-containers").join(file);
                self.read(&path).is_some_and(|bytes| storage::containers(&bytes, draft))
            })
        });
        if let Some(images) = self.read(&Path::new(STORAGE[1]).join("overlay-images/images.json")) {
            storage::images(&images, draft);
        }
        Some(listed || &*draft.container.runtime == "cri-o")
    }

    fn alone(&self, draft: &mut Draft) -> Option<bool> {
        for (runtime, directory, file) in STATES {
            let Some(bytes) = self.read(&Path::new(directory).join(self.id).join(file)) else {
                continue;
            };
            let state = runc::state(&bytes)?;
            draft.container.runtime = runtime.into();
            draft.container.started = state.started;
            let directory = PathBuf::from(state.bundle?);
            let bundle = self.bundle(&directory);
            if let Some(bundle) = &bundle {
                self.take(bundle, &directory, draft);
            }
            return Some(bundle.is_some());
        }
        None
    }

    /// The pod's address, which the network plug-ins leave behind for its sandbox.
    fn address(&self, draft: &mut Draft) {
        let host = draft.container.host_network == Some(true);
        if let Some(pod) = draft.container.pod.as_mut().filter(|_| !host) {
            let sandbox = pod.sandbox_id.as_deref().filter(|id| super::is_id(id));
            if pod.ip.is_none() {
                pod.ip = sandbox.and_then(|sandbox| pods::address(&self.node, sandbox));
            }
            if draft.container.ip.is_none() {
                draft.container.ip = pod.ip.clone();
            }
        }
    }
}
