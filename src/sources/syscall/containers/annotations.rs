//! What runtimes note in a bundle's annotations: name, image and pod.
//!
//! Keys: containerd's `pkg/cri/annotations`, CRI-O's `pkg/annotations` and `internal/annotations`, the kubelet's
//! labels (`io.kubernetes.container.name`, `io.kubernetes.pod.*`), podman's and nerdctl's own.

use std::collections::BTreeMap;

use super::draft::{self, Draft};

type Map = BTreeMap<String, String>;

fn get<'a>(map: &'a Map, key: &str) -> Option<&'a str> {
    map.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Who made a bundle below the directory that CRI-O and podman share.
pub fn manager(map: &Map) -> &'static str {
    match get(map, "io.container.manager") {
        Some("cri-o") => "cri-o",
        None if map.contains_key("io.kubernetes.cri-o.ContainerType") => "cri-o",
        _ => "podman",
    }
}

/// Fills in what the runtime says by its annotations. Only its own keys count: annotations of a pod, which anybody who
/// may create one chooses, can be among the others.
pub fn fill(map: &Map, draft: &mut Draft) {
    if &*draft.container.runtime == "cri-o" {
        return crio(map, draft);
    }
    if &*draft.container.runtime == "podman" {
        let privileged = get(map, "io.podman.annotations.privileged");
        if privileged.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            draft.container.privileged = Some(true);
        }
    } else {
        containerd(map, draft);
        kubelet(map, draft);
        if draft.container.name.is_none() {
            draft.container.name = get(map, "nerdctl/name").and_then(|name| draft.text(name));
        }
    }
    // ctr, nerdctl and podman give labels as annotations.
    draft.container.labels = draft.labels(map.iter().filter(|(key, _)| !reserved(key)));
}

/// Annotations that runtimes write for themselves.
fn reserved(key: &str) -> bool {
    const PREFIXES: [&str; 8] = [
        "io.kubernetes.cri.",
        "io.kubernetes.cri-o.",
        "io.container.",
        "io.podman.",
        "nerdctl/",
        "org.systemd.",
        "run.oci.",
        "org.criu.",
    ];
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn containerd(map: &Map, draft: &mut Draft) {
    let key = |name: &str| get(map, &format!("io.kubernetes.cri.{name}"));
    draft.sandbox |= key("container-type") == Some("sandbox");
    if let Some(name) = key("container-name") {
        draft.container.name = draft.text(name);
    }
    if let Some(image) = key("image-name") {
        draft.container.image_id = draft::hexadecimal(image);
        draft.container.image_digest = draft::digest(image);
        draft.container.image = draft.text(image);
    }
    pod(
        draft,
        key("sandbox-name"),
        key("sandbox-namespace"),
        key("sandbox-uid"),
        key("sandbox-id"),
    );
    // The directory holds what releases of containerd before 1.6 do not say otherwise.
    if let Some(place) = key("sandbox-log-directory").and_then(|path| path.rsplit('/').next())
        && let Some((namespace, name, uid)) = log_directory(place)
    {
        pod(draft, Some(name), Some(namespace), Some(uid), None);
    }
}

fn crio(map: &Map, draft: &mut Draft) {
    let key = |name: &str| get(map, &format!("io.kubernetes.cri-o.{name}"));
    draft.sandbox = key("ContainerType") == Some("sandbox");
    if let Some(image) = key("ImageName") {
        draft.container.image = draft.text(image);
    }
    for reference in [key("ImageRef"), key("Image")].into_iter().flatten() {
        draft.container.image_id = draft
            .container
            .image_id
            .take()
            .or_else(|| draft::hexadecimal(reference));
        draft.container.image_digest = draft.container.image_digest.take().or_else(|| draft::digest(reference));
    }
    let labels = key("Labels").and_then(|json| serde_json::from_str::<Map>(json).ok());
    let labels = labels.unwrap_or_default();
    kubelet(&labels, draft);
    pod(draft, None, None, None, key("SandboxID"));
    if draft.sandbox {
        pod(draft, key("KubeName"), key("Namespace"), None, None);
        draft.pod().labels = sandbox_labels(map, draft);
        if let Some(ip) = sandbox_ip(map) {
            draft.pod().ip = Some(ip);
        }
    } else {
        draft.container.labels = draft.labels(labels.iter());
    }
    if let Some(created) = key("Created") {
        draft.container.started = draft::time(created);
    }
}

/// Labels of the pod, from the annotations of CRI-O's sandbox.
pub fn sandbox_labels(map: &Map, draft: &mut Draft) -> Vec<(Box<str>, Box<str>)> {
    let labels = get(map, "io.kubernetes.cri-o.Labels").and_then(|json| serde_json::from_str::<Map>(json).ok());
    // The kubelet adds name, namespace and uid, which are no labels of the pod.
    let labels = labels.unwrap_or_default();
    draft.labels(labels.iter().filter(|(key, _)| !key.starts_with("io.kubernetes.")))
}

/// Address of the pod, from the annotations of CRI-O's sandbox.
pub fn sandbox_ip(map: &Map) -> Option<Box<str>> {
    let ip = get(map, "io.kubernetes.cri-o.IP.0").or_else(|| get(map, "io.kubernetes.cri-o.IP"))?;
    address(ip)
}

/// A network address without the length of its prefix.
pub fn address(text: &str) -> Option<Box<str>> {
    let address = text.split('/').next()?;
    address.parse::<std::net::IpAddr>().ok()?;
    Some(address.into())
}

/// Fills in what the kubelet's labels say, wherever the runtime keeps them.
pub fn kubelet(map: &Map, draft: &mut Draft) {
    let name = get(map, "io.kubernetes.container.name");
    if draft.container.name.is_none()
        && let Some(name) = name
    {
        draft.container.name = draft.text(name);
    }
    pod(
        draft,
        get(map, "io.kubernetes.pod.name"),
        get(map, "io.kubernetes.pod.namespace"),
        get(map, "io.kubernetes.pod.uid"),
        get(map, "io.kubernetes.sandbox.id"),
    );
}

/// Adds to the pod what is not known of it yet.
pub fn pod(draft: &mut Draft, name: Option<&str>, namespace: Option<&str>, uid: Option<&str>, sandbox: Option<&str>) {
    if name.is_none() && namespace.is_none() && uid.is_none() && sandbox.is_none() {
        return;
    }
    let [name, namespace, uid, sandbox] =
        [name, namespace, uid, sandbox].map(|value| value.and_then(|value| draft.text(value)));
    let pod = draft.pod();
    for (slot, value) in [
        (&mut pod.name, name),
        (&mut pod.namespace, namespace),
        (&mut pod.uid, uid),
    ] {
        if slot.is_empty()
            && let Some(value) = value
        {
            *slot = value;
        }
    }
    pod.sandbox_id = pod.sandbox_id.take().or(sandbox);
}

/// Namespace, name and uid of a pod, from the name of its directory below `/var/log/pods`.
pub fn log_directory(name: &str) -> Option<(&str, &str, &str)> {
    // Neither names of pods nor of namespaces can have an underscore.
    let mut parts = name.split('_');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && !found.0.is_empty() && !found.1.is_empty()).then_some(found)
}
