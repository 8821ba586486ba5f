//! Which container a cgroup belongs to, as its path tells.
//!
//! Runtimes put a container's id into the name of its cgroup, each in its own way, and differently for the systemd and
//! the cgroupfs driver. The hierarchy (v1, v2 or both) does not matter: the path below its root is the same. What is
//! created inside a container lies below its cgroup, so the innermost name that is a container's wins: a container in
//! a container is itself, and a service of a systemd in a container is that container.

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// 64 hexadecimal digits for all common runtimes, never fewer than 12.
    pub id: &'a str,
    /// `container.type` as far as the name of the cgroup shows it: the kubelet's cgroupfs driver does not.
    pub runtime: Option<&'static str>,
    /// Uid of the pod, as the API server writes it.
    pub pod: Option<Box<str>>,
}

/// Names in front of ids. The monitor of a container is outside of it.
const PREFIXES: &[(&str, Option<&str>)] = &[
    ("cri-containerd", Some("containerd")),
    ("nerdctl", Some("containerd")),
    ("crio", Some("cri-o")),
    ("docker", Some("docker")),
    ("libpod", Some("podman")),
    ("runc", None),
    ("crun", None),
];

/// The container that a cgroup belongs to, if any.
pub fn parse(path: &[u8]) -> Option<Found<'_>> {
    let mut rest = path;
    loop {
        let (before, name) = match rest.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (&rest[..0], rest),
        };
        let leaf = rest.len() == path.len();
        if let Some((id, runtime)) = str::from_utf8(name).ok().and_then(|name| container(name, before, leaf)) {
            return Some(Found {
                id,
                runtime,
                pod: pod(rest),
            });
        }
        if before.is_empty() {
            return None;
        }
        rest = before;
    }
}

/// The id in one name of a path.
fn container<'a>(name: &'a str, before: &[u8], leaf: bool) -> Option<(&'a str, Option<&'static str>)> {
    let scope = name.strip_suffix(".scope");
    let bare = scope.unwrap_or(name);
    // systemd's cgroup path handed to a cgroupfs driver: slice:prefix:id
    let (prefix, id) = match bare.rsplit_once(':') {
        Some((slice, id)) => (slice.rsplit(':').next().unwrap_or(slice), id),
        None => bare.rsplit_once('-').unwrap_or(("", bare)),
    };
    if !is_id(id) {
        return None;
    }
    if prefix.is_empty() {
        // Only the whole id tells a container from something else that is called by a number, unless it is a leaf:
        // runc calls the cgroup as the container is called.
        let runtime = before.ends_with(b"/docker").then_some("docker");
        return (scope.is_none() && (leaf || id.len() == 64)).then_some((id, runtime));
    }
    match PREFIXES.iter().find(|(known, _)| *known == prefix) {
        Some((_, runtime)) => Some((id, *runtime)),
        None if prefix.ends_with("conmon") => None,
        None => (scope.is_some() && id.len() == 64).then_some((id, None)),
    }
}

fn is_id(text: &str) -> bool {
    (12..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Uid of the innermost pod of a path: `pod<uid>`, or `…-pod<uid>.slice` with `_` for `-`.
fn pod(path: &[u8]) -> Option<Box<str>> {
    path.rsplit(|byte| matches!(byte, b'/' | b':')).find_map(|name| {
        let name = str::from_utf8(name).ok()?;
        let uid = match name.strip_suffix(".slice") {
            Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
            None => name.strip_prefix("pod")?.to_owned(),
        };
        // A UUID, or of a static pod the hash of its manifest.
        let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
        let fits = matches!((uid.len(), digits), (36, 32) | (32, 32))
            && uid.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        fits.then(|| uid.into_boxed_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "3f4e1c8a9b2d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7";
    const B: &str = "b1b2b3b4b5b6b7b8b9b0c1c2c3c4c5c6c7c8c9c0d1d2d3d4d5d6d7d8d9d0e1e2";
    const UID: &str = "0d1f7b6c-2a3b-4c5d-8e9f-a0b1c2d3e4f5";

    /// `A`, `B`, `U` (uid) and `V` (uid with `_`) stand for themselves between angle brackets.
    fn path(text: &str) -> String {
        text.replace("<A>", A)
            .replace("<B>", B)
            .replace("<U>", UID)
            .replace("<V>", &UID.replace('-', "_"))
    }

    #[test]
    fn runtimes_and_drivers() {
        let containerd = Some("containerd");
        for (text, id, runtime, pod) in [
            // containerd under the kubelet
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<V>.slice/cri-containerd-<A>.scope",
                A,
                containerd,
                true,
            ),
            (
                "/kubepods.slice/kubepods-pod<V>.slice/cri-containerd-<A>.scope",
                A,
                containerd,
                true,
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod<V>.slice/cri-containerd-<A>.scope",
                A,
                containerd,
                true,
            ),
            ("/kubepods/burstable/pod<U>/<A>", A, None, true),
            ("/kubepods/pod<U>/<A>", A, None, true),
            ("/k8s.io/<A>", A, None, false),
            (
                "/system.slice/containerd.service/kubepods-burstable-pod<V>.slice:cri-containerd:<A>",
                A,
                containerd,
                true,
            ),
            ("/default/<A>", A, None, false),
            ("/system.slice/nerdctl-<A>.scope", A, containerd, false),
            // CRI-O
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<V>.slice/crio-<A>.scope",
                A,
                Some("cri-o"),
                true,
            ),
            (
                "/kubepods.slice/kubepods-pod<V>.slice/crio-<A>.scope/container",
                A,
                Some("cri-o"),
                true,
            ),
            ("/kubepods/besteffort/pod<U>/crio-<A>", A, Some("cri-o"), true),
            // docker
            ("/system.slice/docker-<A>.scope", A, Some("docker"), false),
            ("/docker/<A>", A, Some("docker"), false),
            ("/docker/<A>/init.scope", A, Some("docker"), false),
            (
                "/kubepods.slice/kubepods-pod<V>.slice/docker-<A>.scope",
                A,
                Some("docker"),
                true,
            ),
            // podman
            ("/machine.slice/libpod-<A>.scope", A, Some("podman"), false),
            ("/machine.slice/libpod-<A>.scope/container", A, Some("podman"), false),
            ("/libpod_parent/libpod-<A>", A, Some("podman"), false),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<A>.scope",
                A,
                Some("podman"),
                false,
            ),
            // another prefix, as runc's systemd driver takes it
            ("/system.slice/mine-<A>.scope", A, None, false),
            // others on top
            ("/ecs/11111111-2222-3333-4444-555555555555/<A>", A, None, false),
            ("/<A>", A, None, false),
            // containers in containers: the innermost
            ("/docker/<A>/kubelet/kubepods/pod<U>/<B>", B, None, true),
            ("/system.slice/docker-<A>.scope/docker/<B>", B, Some("docker"), false),
            (
                "/kubepods.slice/kubepods-pod<V>.slice/cri-containerd-<A>.scope/system.slice/docker-<B>.scope",
                B,
                Some("docker"),
                true,
            ),
            ("/kubepods/pod<U>/<A>/system.slice/ssh.service", A, None, true),
            ("/docker/<A>/libpod_parent/libpod-conmon-<B>", A, Some("docker"), false),
            // seen from a cgroup namespace
            ("/../../pod<U>/<A>", A, None, true),
        ] {
            let text = path(text);
            let expected = Found {
                id,
                runtime,
                pod: pod.then(|| UID.into()),
            };
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn ids_of_runc_and_of_static_pods() {
        let found = parse(b"/0123456789ab").unwrap();
        assert_eq!((found.id, found.runtime, found.pod), ("0123456789ab", None, None));
        assert_eq!(
            parse(b"/system.slice/runc-0123456789ab.scope").unwrap().id,
            "0123456789ab"
        );
        let text = format!("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{A}");
        assert_eq!(
            parse(text.as_bytes()).unwrap().pod.as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
    }

    #[test]
    fn what_is_no_container() {
        for text in [
            "",
            "/",
            "/init.scope",
            "/system.slice/ssh.service",
            "/user.slice/user-1000.slice/session-3.scope",
            "/kubepods/burstable/pod<U>",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<V>.slice",
            "/machine.slice/libpod-conmon-<A>.scope",
            "/kubepods.slice/kubepods-pod<V>.slice/crio-conmon-<A>.scope",
            "/libpod_parent/conmon",
            "/system.slice/containerd.service",
            // too short, too long, not hexadecimal
            "/0123456789a",
            "/<A>0",
            "/docker/ABCDEF0123456789",
            "/docker/buildkit/mkz2v7x1qp9d",
            // a short number that is no leaf, or has a prefix that nobody knows
            "/0123456789ab/x",
            "/run-0123456789ab.scope",
            "/<A>.scope",
        ] {
            let text = path(text);
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"/docker/\xff\xfe"), None);
    }

    proptest! {
        #[test]
        fn an_id_stands_in_its_path(path in proptest::collection::vec(
            prop_oneof![
                Just("/".to_owned()), Just(":".to_owned()), Just("-".to_owned()), Just(".scope".to_owned()),
                Just(".slice".to_owned()), Just("pod".to_owned()), Just("docker".to_owned()), Just("conmon".to_owned()),
                Just(A.to_owned()), Just(UID.to_owned()), "[0-9a-f]{8,70}", any::<char>().prop_map(String::from),
            ],
            0..12,
        )) {
            let path = path.concat();
            if let Some(found) = parse(path.as_bytes()) {
                prop_assert!(path.contains(found.id));
                prop_assert!(is_id(found.id));
            }
        }

        #[test]
        fn any_bytes(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = parse(&path) {
                prop_assert!(is_id(found.id));
            }
        }
    }
}
