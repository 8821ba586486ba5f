//! `config.json` of an OCI bundle, the one file that every runtime writes before the entry point runs.
//!
//! Format: Open Container Initiative, runtime specification 1.x, `config.md` and `config-linux.md`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::draft::{Draft, TEXT};

/// The parts of the file that say something about a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bundle {
    pub annotations: BTreeMap<String, String>,
    root: Root,
    mounts: Vec<OciMount>,
    process: Process,
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Root {
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OciMount {
    destination: String,
    source: String,
    r#type: String,
    options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    bounding: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Namespace>,
    masked_paths: Vec<String>,
    seccomp: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    r#type: String,
    path: String,
}

/// Capabilities that no runtime gives unasked and that a privileged container has all of. Not the full list: what the
/// runtime itself lacks it cannot give.
const PRIVILEGED: [&str; 8] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_SYS_BOOT",
    "CAP_NET_ADMIN",
    "CAP_MAC_ADMIN",
    "CAP_DAC_READ_SEARCH",
];

/// How a namespace of the bundle is another than the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The bundle has no entry for it: the process stays where the runtime is.
    Host,
    /// A new one, made for the container.
    Own,
    /// The one that this path stands for, usually of the pod's sandbox.
    Path(String),
}

/// Decodes a bundle's `config.json`.
pub fn parse(bytes: &[u8]) -> Option<Bundle> {
    serde_json::from_slice(bytes).ok()
}

impl Bundle {
    /// Fills in what the specification itself defines; annotations are for those who know whose they are. `directory`
    /// is the bundle's, which a relative root belongs to.
    pub fn fill(&self, directory: &Path, draft: &mut Draft) {
        if !self.root.path.is_empty() {
            let root = directory.join(&self.root.path);
            draft.container.root = Some(draft.bounded(&root.to_string_lossy(), TEXT));
        }
        draft.container.privileged = Some(self.privileged());
        for mount in &self.mounts {
            let has = |option: &str| mount.options.iter().any(|o| o == option);
            // Others are file systems of the kernel (proc, sysfs, tmpfs), which say nothing about the host.
            if mount.r#type != "bind" && !has("bind") && !has("rbind") {
                continue;
            }
            let propagation = mount.options.iter().find(|option| {
                matches!(
                    option.strip_prefix('r').unwrap_or(option),
                    "private" | "slave" | "shared" | "unbindable"
                )
            });
            let propagation = propagation.map_or("", |option| option.as_str());
            draft.mount(&mount.source, &mount.destination, "", !has("ro"), propagation);
        }
    }

    /// Privileged, as Kubernetes and docker have it, leaves three marks at once: all capabilities, nothing of `/proc`
    /// and `/sys` hidden, and no system call filter. Devices are no mark, since runtimes can be told to withhold them
    /// from privileged containers.
    fn privileged(&self) -> bool {
        let bounding = &self.process.capabilities.bounding;
        PRIVILEGED.iter().all(|name| bounding.iter().any(|own| own == name))
            && self.linux.masked_paths.is_empty()
            && self.linux.seccomp.is_none()
    }

    /// Whose the namespace of `kind` is: `pid`, `network`, `ipc`.
    pub fn namespace(&self, kind: &str) -> Whose {
        match self.linux.namespaces.iter().find(|entry| entry.r#type == kind) {
            None => Whose::Host,
            Some(entry) if entry.path.is_empty() => Whose::Own,
            Some(entry) => Whose::Path(entry.path.clone()),
        }
    }
}
