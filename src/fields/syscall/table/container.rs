//! Fields of the container and pod that the process runs in.

use super::Answer::{By, Refused};
use super::Row;
use crate::fields::Type::*;
use crate::fields::syscall::Shape::*;
use crate::fields::syscall::values::container;

const HEALTH: &str = "health checks of containers are not told apart from other processes";
const CNI: &str = "the network plugin is not asked; use container.ip";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("container.id", String, Plain,
        "first twelve characters of the container's id; `host` outside of containers", By(container::ID)),
    ("container.full_id", String, Plain, "the whole id", By(container::FULL_ID)),
    ("container.name", String, Plain, "name of the container", By(container::NAME)),
    ("container.image", String, Plain, "image as the runtime names it", By(container::IMAGE)),
    ("container.image.id", String, Plain, "id of the image", By(container::IMAGE_ID)),
    ("container.type", String, Plain, "runtime: docker, containerd, cri-o, podman, …", By(container::TYPE)),
    ("container.privileged", Bool, Plain, "true for a privileged container", By(container::PRIVILEGED)),
    ("container.mounts", String, Plain,
        "mounts as source:target:mode:writable:propagation, joined by blanks", By(container::MOUNTS)),
    ("container.mount", String, Key, "one mount, by index or by its source", By(container::MOUNT)),
    ("container.mount.source", String, Key,
        "source of a mount, by index or by its target", By(container::MOUNT_SOURCE)),
    ("container.mount.dest", String, Key, "target of a mount, by index or by its source", By(container::MOUNT_DEST)),
    ("container.mount.mode", String, Key, "mode of a mount, by index or by its source", By(container::MOUNT_MODE)),
    ("container.mount.rdwr", String, Key,
        "whether a mount is writable, by index or by its source", By(container::MOUNT_RDWR)),
    ("container.mount.propagation", String, Key,
        "propagation of a mount, by index or by its source", By(container::MOUNT_PROPAGATION)),
    ("container.image.repository", String, Plain, "image without tag and digest", By(container::REPOSITORY)),
    ("container.image.tag", String, Plain, "tag of the image", By(container::TAG)),
    ("container.image.digest", String, Plain, "digest of the image", By(container::IMAGE_DIGEST)),
    ("container.healthcheck", String, Plain, "command of the health check", Refused(HEALTH)),
    ("container.liveness_probe", String, Plain, "command of the liveness probe", Refused(HEALTH)),
    ("container.readiness_probe", String, Plain, "command of the readiness probe", Refused(HEALTH)),
    ("container.start_ts", AbsTime, Plain, "start of the container", By(container::STARTED)),
    ("container.duration", RelTime, Plain, "time since the container started", By(container::DURATION)),
    ("container.ip", String, Plain, "address of the container", By(container::IP)),
    ("container.cni.json", String, Plain, "result of the network plugin as JSON", Refused(CNI)),
    ("container.host_pid", Bool, Plain,
        "true when the container shares the host's PID namespace", By(container::HOST_PID)),
    ("container.host_network", Bool, Plain,
        "true when the container shares the host's network namespace", By(container::HOST_NETWORK)),
    ("container.host_ipc", Bool, Plain,
        "true when the container shares the host's IPC namespace", By(container::HOST_IPC)),
    ("container.label", String, Key, "one label of the container", By(container::LABEL)),
    ("container.labels", String, Plain, "all labels of the container as text", By(container::LABELS)),
    ("k8s.pod.name", String, Plain, "name of the pod", By(container::POD_NAME)),
    ("k8s.pod.id", String, Plain, "uid of the pod, under the name of old rules", By(container::POD_UID)),
    ("k8s.pod.uid", String, Plain, "uid of the pod", By(container::POD_UID)),
    ("k8s.pod.sandbox_id", String, Plain, "first twelve characters of the sandbox' id", By(container::SANDBOX)),
    ("k8s.pod.full_sandbox_id", String, Plain, "id of the sandbox", By(container::FULL_SANDBOX)),
    ("k8s.pod.label", String, Key, "one label of the pod", By(container::POD_LABEL)),
    ("k8s.pod.labels", String, Plain, "all labels of the pod as text", By(container::POD_LABELS)),
    ("k8s.pod.ip", String, Plain, "address of the pod", By(container::IP)),
    ("k8s.pod.cni.json", String, Plain, "result of the network plugin for the pod as JSON", Refused(CNI)),
    ("k8s.ns.name", String, Plain, "namespace of the pod", By(container::NAMESPACE)),
    ("k8s.rc.name", String, Plain, "no longer known; kept for old rules", By(container::GONE)),
    ("k8s.svc.name", String, Plain, "no longer known; kept for old rules", By(container::GONE)),
    ("k8s.rs.name", String, Plain, "no longer known; kept for old rules", By(container::GONE)),
    ("k8s.deployment.name", String, Plain, "no longer known; kept for old rules", By(container::GONE)),
];
