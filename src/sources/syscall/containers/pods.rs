//! Pods, from what the kubelet and the network plug-ins leave on the node: log directories and addresses.

use std::path::Path;

use serde::Deserialize;

use super::annotations::{self, log_directory};
use super::draft::Draft;
use super::files::Root;

/// The uid of the pod in a cgroup's path: `…/kubepods/burstable/pod<uid>/…` with the cgroupfs driver,
/// `…/kubepods-burstable-pod<uid with underscores>.slice/…` with systemd's.
pub fn uid(cgroup: &str) -> Option<String> {
    if !cgroup.contains("kubepods") {
        return None;
    }
    cgroup.split('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = match part.strip_prefix("pod") {
            Some(uid) => uid,
            None => part.rsplit_once("-pod")?.1,
        };
        let uid = uid.replace('_', "-");
        // 36 for those the API server makes, 32 for those of files on the node.
        let digits = uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        (matches!(uid.len(), 32 | 36) && digits).then_some(uid)
    })
}

/// Fills in the pod by the names of log files, where the runtime has not said which it is.
pub fn fill(node: &Root, id: &str, uid: &str, draft: &mut Draft) {
    annotations::pod(draft, None, None, Some(uid), None);
    if draft.pod().name.is_empty() {
        let names = node.list(Path::new("var/log/pods"));
        let own = |name| log_directory(name).filter(|found| found.2 == uid);
        if let Some((namespace, name, _)) = names.iter().find_map(|name| own(name)) {
            annotations::pod(draft, Some(name), Some(namespace), None, None);
            // One directory for each container: with a single one it is clear whose it is.
            let path = format!("var/log/pods/{namespace}_{name}_{uid}");
            if let [only] = node.list(Path::new(&path)).as_slice()
                && draft.container.name.is_none()
                && !draft.sandbox
            {
                draft.container.name = draft.text(only);
            }
        }
    }
    if draft.container.name.is_none() && !draft.sandbox {
        // <pod>_<namespace>_<container>-<id>.log
        let end = format!("-{id}.log");
        let links = node.list(Path::new("var/log/containers"));
        let own = |link| log_directory(str::strip_suffix(link, &end)?);
        if let Some((pod, namespace, container)) = links.iter().find_map(|link| own(link)) {
            draft.container.name = draft.text(container);
            annotations::pod(draft, Some(pod), Some(namespace), None, None);
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cached {
    result: Added,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Added {
    ips: Vec<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    address: String,
}

/// The address of a pod, from what libcni keeps in `/var/lib/cni/results` (CNI specification, ADD success).
pub fn address(node: &Root, sandbox: &str) -> Option<Box<str>> {
    let results = Path::new("var/lib/cni/results");
    let names = node.list(results);
    // <network>-<sandbox>-<interface>; a pod's own interface is eth0 with all runtimes.
    let mut own = names.iter().filter(|name| name.contains(sandbox));
    let name = own
        .clone()
        .find(|name| name.ends_with("-eth0"))
        .or_else(|| own.next())?;
    from_result(&node.read(&results.join(name), 256 << 10)?)
}

/// The first address of a result that libcni has kept.
pub fn from_result(bytes: &[u8]) -> Option<Box<str>> {
    let cached: Cached = serde_json::from_slice(bytes).ok()?;
    annotations::address(&cached.result.ips.first()?.address)
}
