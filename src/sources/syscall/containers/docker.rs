//! What docker keeps of a container: `config.v2.json`, `hostconfig.json`, and the images' `repositories.json`.
//!
//! Formats: moby's `container.Container`, `container.HostConfig` and `image` reference store, as written below
//! `/var/lib/docker`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::annotations;
use super::draft::{self, Draft};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Settings {
    state: State,
    config: Config,
    image: String,
    name: String,
    driver: String,
    image_manifest: Option<Manifest>,
    network_settings: NetworkSettings,
    mount_points: Option<BTreeMap<String, MountPoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct State {
    running: bool,
    started_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    digest: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Network>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountPoint {
    source: String,
    destination: String,
    #[serde(rename = "RW")]
    writable: bool,
    mode: String,
    propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Host {
    privileged: bool,
    network_mode: String,
    pid_mode: String,
    ipc_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Repositories {
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

/// What the settings say beside the container itself.
pub struct Told {
    /// The storage driver, below whose name the images are found.
    pub driver: String,
    /// The file has been written since the container was started; before, addresses are those of its last run.
    pub current: bool,
}

/// Fills in `config.v2.json`.
pub fn settings(bytes: &[u8], draft: &mut Draft) -> Option<Told> {
    let settings: Settings = serde_json::from_slice(bytes).ok()?;
    let labels = settings.config.labels.unwrap_or_default();
    draft.container.name = draft.text(settings.name.trim_start_matches('/'));
    draft.container.image = draft.text(&settings.config.image);
    draft.container.image_id = draft::hexadecimal(&settings.image);
    let manifest = settings.image_manifest.unwrap_or_default().digest;
    draft.container.image_digest =
        draft::digest(&settings.config.image).or_else(|| draft::digest(&format!("@{manifest}")));
    let started = draft::time(&settings.state.started_at);
    let current = settings.state.running && started >= draft.container.started;
    if current {
        draft.container.started = draft.container.started.or(started);
        let networks = settings.network_settings.networks.unwrap_or_default();
        draft.container.ip = networks
            .values()
            .flatten()
            .find_map(|network| annotations::address(&network.address));
    }
    // The bundle has these as well, but also the files that docker itself mounts (/etc/hosts and the like).
    if let Some(mounts) = settings.mount_points {
        draft.container.mounts.clear();
        for mount in mounts.values() {
            draft.mount(
                &mount.source,
                &mount.destination,
                &mount.mode,
                mount.writable,
                &mount.propagation,
            );
        }
    }
    // Kubernetes with cri-dockerd: the names are labels, and the container's own name is made up of them.
    draft.sandbox |= labels
        .get("io.kubernetes.docker.type")
        .is_some_and(|kind| kind == "podsandbox");
    if labels.contains_key("io.kubernetes.pod.name") {
        draft.container.name = None;
        annotations::kubelet(&labels, draft);
    }
    draft.container.labels = draft.labels(labels.iter());
    Some(Told {
        driver: settings.driver,
        current,
    })
}

/// Fills in `hostconfig.json`, which knows what was asked for and not only what came of it.
pub fn host(bytes: &[u8], draft: &mut Draft) {
    let Ok(host) = serde_json::from_slice::<Host>(bytes) else {
        return;
    };
    draft.container.privileged = Some(host.privileged);
    for (mode, slot) in [
        (&host.network_mode, &mut draft.container.host_network),
        (&host.pid_mode, &mut draft.container.host_pid),
        (&host.ipc_mode, &mut draft.container.host_ipc),
    ] {
        // With `container:<id>` it depends on that one; the bundle's path has answered.
        if !mode.starts_with("container:") {
            *slot = Some(mode == "host");
        }
    }
}

/// The digest under which an image was pulled, from `repositories.json`.
pub fn pulled(bytes: &[u8], image_id: &str) -> Option<Box<str>> {
    let repositories: Repositories = serde_json::from_slice(bytes).ok()?;
    repositories
        .repositories
        .values()
        .flatten()
        .filter(|(_, id)| id.strip_prefix("sha256:") == Some(image_id))
        .find_map(|(reference, _)| draft::digest(reference))
}
