//! Files as containerd, CRI-O, docker and podman write them, reduced to what matters.
//!
//! Shapes: OCI runtime specification (`config.json`), containerd `pkg/cri/annotations`, CRI-O `pkg/annotations`, moby
//! `container.Container` (`config.v2.json`), containers/storage `Container` and `Image`, libcni's result cache.

use super::*;
use crate::processes::Pod;

const ID: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const SANDBOX: &str = "ffb2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const IMAGE: &str = "11b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const DIGEST: &str = "sha256:22b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const UID: &str = "0f9c1f0e-6f0a-4c6e-9a51-0a7c1e1f2d3c";
const KUBEPODS: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f9c1f0e_6f0a_4c6e_9a51_0a7c1e1f2d3c.slice/cri-containerd-a1b2.scope";

fn boxed(text: &str) -> Option<Box<str>> {
    Some(text.into())
}

fn bundle(annotations: &str, linux: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.1.0","process":{{"args":["sh"],"capabilities":{{"bounding":["CAP_CHOWN","CAP_KILL"]}}}},
        "root":{{"path":"rootfs"}},"mounts":[
          {{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]}},
          {{"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","rprivate","ro"]}},
          {{"destination":"/host","source":"/","options":["rbind","rslave","rw"]}}],
        "annotations":{annotations},"linux":{linux}}}"#
    )
}

const OWN: &str = r#"{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"network"},{"type":"mount"}],"maskedPaths":["/proc/kcore"],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}"#;

fn containerd_annotations() -> String {
    format!(
        r#"{{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"{SANDBOX}",
        "io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop",
        "io.kubernetes.cri.sandbox-uid":"{UID}","io.kubernetes.cri.container-name":"nginx",
        "io.kubernetes.cri.image-name":"docker.io/library/nginx:1.27@{DIGEST}"}}"#
    )
}

fn task(id: &str) -> String {
    format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json")
}

#[test]
fn containerd_with_kubernetes() {
    let node = Node::new();
    let linux = r#"{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/9999/ns/ipc"},{"type":"network","path":"/proc/42/ns/net"}]}"#;
    node.write(&task(ID), &bundle(&containerd_annotations(), linux));
    node.write(
        &format!("run/containerd/runc/k8s.io/{ID}/state.json"),
        r#"{"created":"2026-01-02T03:04:05.000000006Z"}"#,
    );
    let (container, complete, cut) = known(node.find(ID, KUBEPODS));
    assert_eq!((complete, cut), (true, 0));
    assert_eq!(container.runtime.as_ref(), "containerd");
    assert_eq!(container.name, boxed("nginx"));
    assert_eq!(container.repository(), Some("docker.io/library/nginx"));
    assert_eq!(container.image_digest, boxed(DIGEST));
    assert_eq!(container.started, Some(1_767_323_045_000_000_006));
    assert_eq!(
        container.root,
        Some(format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/rootfs").into())
    );
    // The sandbox of a pod with hostNetwork has the host's; what the path leads to is unknown for ipc.
    assert_eq!(
        (container.host_pid, container.host_network, container.host_ipc),
        (Some(false), Some(true), None)
    );
    assert_eq!(container.privileged, Some(false));
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .map(|m| (&*m.source, &*m.destination, m.writable, &*m.propagation))
        .collect();
    assert_eq!(
        mounts,
        [
            ("/srv/data", "/data", false, "rprivate"),
            ("/", "/host", true, "rslave")
        ]
    );
    let pod = container.pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-0", UID));
    assert_eq!(pod.sandbox_id, boxed(SANDBOX));
}

#[test]
fn the_sandbox_tells_whose_a_namespace_is() {
    // Process 9 is gone or hidden: what counts is how the sandbox itself was made.
    let shared = r#"{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/9/ns/ipc"},{"type":"network","path":"/proc/9/ns/net"}]}"#;
    let node = Node::new();
    node.write(&task(ID), &bundle(&containerd_annotations(), shared));
    node.write(
        &task(SANDBOX),
        &bundle("{}", r#"{"namespaces":[{"type":"pid"},{"type":"ipc"}]}"#),
    );
    let (container, ..) = known(node.find(ID, KUBEPODS));
    assert_eq!((container.host_network, container.host_ipc), (Some(true), Some(false)));
}

#[test]
fn the_address_of_a_pod_is_that_of_its_sandbox() {
    let node = Node::new();
    let linux = r#"{"namespaces":[{"type":"network","path":"/proc/43/ns/net"}]}"#;
    node.write(&task(ID), &bundle(&containerd_annotations(), linux));
    node.write(
        &format!("var/lib/cni/results/cbr0-{SANDBOX}-eth0"),
        r#"{"kind":"cniCacheV1","result":{"cniVersion":"1.0.0","ips":[{"address":"10.244.0.7/24","gateway":"10.244.0.1"}]}}"#,
    );
    let (container, ..) = known(node.find(ID, KUBEPODS));
    assert_eq!(container.host_network, Some(false));
    assert_eq!(container.ip, boxed("10.244.0.7"));
    assert_eq!(container.pod.unwrap().ip, boxed("10.244.0.7"));
}

#[test]
fn privileged_takes_all_marks() {
    let capabilities = r#""CAP_SYS_ADMIN","CAP_SYS_MODULE","CAP_SYS_RAWIO","CAP_SYS_PTRACE","CAP_SYS_BOOT","CAP_NET_ADMIN","CAP_MAC_ADMIN","CAP_DAC_READ_SEARCH""#;
    let all = bundle("{}", r#"{"namespaces":[{"type":"network"}]}"#).replace(r#""CAP_CHOWN""#, capabilities);
    for (text, privileged) in [
        (all.clone(), true),
        (all.replace(r#""CAP_SYS_MODULE","#, ""), false),
        (all.replace(r#""linux":{"#, r#""linux":{"seccomp":{},"#), false),
        (
            all.replace(r#""linux":{"#, r#""linux":{"maskedPaths":["/proc/keys"],"#),
            false,
        ),
    ] {
        let node = Node::new();
        node.write(&task(ID), &text);
        let (container, ..) = known(node.find(ID, "/x"));
        assert_eq!(container.privileged, Some(privileged), "{text}");
        assert_eq!((container.host_pid, container.host_network), (Some(true), Some(false)));
    }
}

fn crio(id: &str, kind: &str, labels: &str, more: &str) -> (String, String) {
    let annotations = format!(
        r#"{{"io.container.manager":"cri-o","io.kubernetes.cri-o.ContainerType":"{kind}","io.kubernetes.cri-o.SandboxID":"{SANDBOX}",
        "io.kubernetes.cri-o.Labels":{},"io.kubernetes.cri.container-name":"forged by the pod's author"{more}}}"#,
        serde_json::to_string(labels).unwrap()
    );
    (
        format!("run/containers/storage/overlay-containers/{id}/userdata/config.json"),
        bundle(&annotations, OWN),
    )
}

#[test]
fn crio_with_its_sandbox() {
    let node = Node::new();
    let labels = format!(
        r#"{{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"{UID}"}}"#
    );
    let more = format!(
        r#","io.kubernetes.cri-o.ImageName":"quay.io/shop/nginx:1.27","io.kubernetes.cri-o.ImageRef":"{IMAGE}","io.kubernetes.cri-o.Created":"2026-01-02T03:04:05Z""#
    );
    let (path, text) = crio(ID, "container", &labels, &more);
    node.write(&path, &text);
    let sandbox = r#"{"app":"web","tier":"front","io.kubernetes.pod.name":"web-0"}"#;
    let (path, text) = crio(
        SANDBOX,
        "sandbox",
        sandbox,
        r#","io.kubernetes.cri-o.IP.0":"10.85.0.9""#,
    );
    node.write(&path, &text);
    node.write(
        "var/lib/containers/storage/overlay-images/images.json",
        &format!(r#"[{{"id":"00","digest":"sha256:00"}},{{"id":"{IMAGE}","digest":"{DIGEST}"}}]"#),
    );
    let (container, complete, _) = known(node.find(ID, KUBEPODS));
    assert!(complete);
    assert_eq!(
        (&*container.runtime, container.name.as_deref()),
        ("cri-o", Some("nginx"))
    );
    assert_eq!(container.image, boxed("quay.io/shop/nginx:1.27"));
    assert_eq!(
        (container.image_id, container.image_digest),
        (boxed(IMAGE), boxed(DIGEST))
    );
    assert_eq!(container.started, Some(1_767_323_045_000_000_000));
    let expected = Pod {
        name: "web-0".into(),
        namespace: "shop".into(),
        uid: UID.into(),
        sandbox_id: boxed(SANDBOX),
        ip: boxed("10.85.0.9"),
        labels: vec![("app".into(), "web".into()), ("tier".into(), "front".into())],
    };
    assert_eq!(container.pod, Some(expected));
}

fn docker(node: &Node, running: bool) {
    node.write(
        &format!("run/containerd/io.containerd.runtime.v2.task/moby/{ID}/config.json"),
        &bundle("{}", OWN),
    );
    node.write(
        &format!("run/docker/runtime-runc/moby/{ID}/state.json"),
        r#"{"created":"2026-01-02T03:04:05Z"}"#,
    );
    let started = if running {
        "2026-01-02T03:04:06Z"
    } else {
        "2026-01-01T00:00:00Z"
    };
    node.write(
        &format!("var/lib/docker/containers/{ID}/config.v2.json"),
        &format!(
            r#"{{"State":{{"Running":{running},"StartedAt":"{started}"}},"ID":"{ID}","Driver":"overlay2","Name":"/web",
            "Image":"sha256:{IMAGE}","Config":{{"Image":"nginx:1.27","Labels":{{"com.docker.compose.service":"web"}}}},
            "NetworkSettings":{{"Networks":{{"bridge":{{"IPAddress":"172.17.0.2"}}}}}},
            "MountPoints":{{"/data":{{"Source":"/srv","Destination":"/data","RW":false,"Mode":"ro","Propagation":"rprivate"}}}}}}"#
        ),
    );
    node.write(
        &format!("var/lib/docker/containers/{ID}/hostconfig.json"),
        r#"{"NetworkMode":"bridge","PidMode":"host","IpcMode":"private","Privileged":true}"#,
    );
    node.write(
        "var/lib/docker/image/overlay2/repositories.json",
        &format!(
            r#"{{"Repositories":{{"nginx":{{"nginx:1.27":"sha256:{IMAGE}","nginx@{DIGEST}":"sha256:{IMAGE}"}}}}}}"#
        ),
    );
}

#[test]
fn docker_knows_what_was_asked_for() {
    let node = Node::new();
    docker(&node, true);
    let (container, complete, _) = known(node.find(ID, "/docker/x"));
    assert!(complete);
    assert_eq!(
        (&*container.runtime, container.name.as_deref()),
        ("docker", Some("web"))
    );
    assert_eq!(
        (container.image_id, container.image_digest),
        (boxed(IMAGE), boxed(DIGEST))
    );
    assert_eq!((container.privileged, container.host_pid), (Some(true), Some(true)));
    assert_eq!(container.ip, boxed("172.17.0.2"));
    assert_eq!(container.started, Some(1_767_323_045_000_000_000));
    assert_eq!(container.labels, [("com.docker.compose.service".into(), "web".into())]);
    let [mount] = &container.mounts[..] else {
        panic!("{:?}", container.mounts)
    };
    assert_eq!((&*mount.source, mount.writable, &*mount.mode), ("/srv", false, "ro"));
}

#[test]
fn what_docker_has_written_for_an_earlier_run_is_not_complete() {
    let node = Node::new();
    docker(&node, false);
    let (container, complete, _) = known(node.find(ID, "/docker/x"));
    assert!(!complete);
    assert_eq!((container.name, container.ip), (boxed("web"), None));
}

#[test]
fn podman_names_are_in_the_storage() {
    let node = Node::new();
    let path = format!("var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json");
    let annotations = r#"{"io.container.manager":"libpod","io.podman.annotations.privileged":"TRUE","team":"a"}"#;
    node.write(&path, &bundle(annotations, OWN));
    assert!(!known(node.find(ID, "/machine.slice/libpod-x.scope")).1);
    node.write(
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!(
            r#"[{{"id":"{ID}","names":["web"],"image":"{IMAGE}","metadata":"{{\"image-name\":\"docker.io/library/nginx:1.27\",\"name\":\"web\"}}"}}]"#
        ),
    );
    let state = format!(r#"{{"pid":1,"bundle":"/x","created":"2026-01-02T03:04:05Z","container":"{ID}"}}"#);
    node.write(&format!("run/crun/{ID}/status"), &state);
    let (container, complete, _) = known(node.find(ID, "/machine.slice/libpod-x.scope"));
    assert!(complete);
    assert_eq!(
        (&*container.runtime, container.name.as_deref()),
        ("podman", Some("web"))
    );
    assert_eq!(container.tag(), Some("1.27"));
    assert_eq!(container.image_id, boxed(IMAGE));
    assert_eq!(container.privileged, Some(true));
    assert_eq!(container.started, Some(1_767_323_045_000_000_000));
    assert_eq!(container.labels, [("team".into(), "a".into())]);
}

#[test]
fn log_directories_name_the_pod_of_an_unknown_runtime() {
    let node = Node::new();
    let cgroup = format!("/kubepods/besteffort/pod{UID}/{ID}");
    assert_eq!(node.find(ID, &cgroup), Found::NotYet);
    std::fs::create_dir_all(node.path().join(format!("var/log/pods/shop_web-0_{UID}/nginx"))).unwrap();
    std::fs::create_dir_all(node.path().join("var/log/pods/shop_other_00000000/x")).unwrap();
    let (container, complete, _) = known(node.find(ID, &cgroup));
    assert!(!complete);
    assert_eq!(container.name, boxed("nginx"));
    let pod = container.pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-0", UID));
    // With a second container the directory does not tell which is meant, but the link with the id does.
    std::fs::create_dir_all(node.path().join(format!("var/log/pods/shop_web-0_{UID}/side"))).unwrap();
    assert_eq!(known(node.find(ID, &cgroup)).0.name, None);
    node.write(&format!("var/log/containers/web-0_shop_side-{ID}.log"), "");
    assert_eq!(known(node.find(ID, &cgroup)).0.name, boxed("side"));
}

#[test]
fn uids_of_pods_are_in_the_control_group() {
    for (cgroup, uid) in [
        (KUBEPODS, Some(UID)),
        (&*format!("/kubepods/burstable/pod{UID}/{ID}"), Some(UID)),
        (&*format!("/kubepods/pod{UID}/{ID}"), Some(UID)),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0123456789abcdef0123456789abcdef.slice/crio-1.scope",
            Some("0123456789abcdef0123456789abcdef"),
        ),
        ("/system.slice/docker-a1.scope", None),
        ("/user/pod0123456789abcdef0123456789abcdef", None),
        ("/kubepods/pod../x", None),
    ] {
        assert_eq!(pods::uid(cgroup).as_deref(), uid, "{cgroup}");
    }
}

#[test]
fn what_a_container_brings_along_is_bounded() {
    let labels: Vec<String> = (0..100)
        .map(|n| format!(r#""l{n:03}":"{}""#, "é".repeat(200)))
        .collect();
    let mounts: Vec<String> = (0..200)
        .map(|n| format!(r#"{{"destination":"/m{n}","source":"/s","type":"bind"}}"#))
        .collect();
    let text = format!(
        r#"{{"annotations":{{{}}},"mounts":[{}],"linux":{{}}}}"#,
        labels.join(","),
        mounts.join(",")
    );
    let node = Node::new();
    node.write(&task(ID), &text);
    let (container, _, cut) = known(node.find(ID, "/x"));
    assert_eq!((container.labels.len(), container.mounts.len()), (64, 128));
    assert!(container.labels.iter().all(|(_, value)| value.len() == 256));
    assert_eq!(cut, 36 + 64 + 72);
    node.write(&task(ID), &" ".repeat(files::FILE as usize + 1));
    assert_eq!(node.find(ID, "/x"), Found::NotYet);
}

#[test]
fn ids_do_not_lead_elsewhere() {
    let node = Node::new();
    node.write("run/containerd/config.json", "{}");
    for id in ["", "..", "../..", "a/b", ".hidden", "a\0b", &"a".repeat(129)] {
        assert_eq!(node.find(id, ""), Found::Unknown, "{id:?}");
    }
    assert_eq!(node.find("missing", ""), Found::NotYet);
    // Half written.
    node.write(&task(ID), r#"{"ociVersion":"#);
    assert_eq!(node.find(ID, ""), Found::NotYet);
}

#[test]
fn answers_of_the_cri_add_to_files() {
    use crate::sources::syscall::containers::cri::*;

    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let status = ContainerStatus {
        metadata: Some(ContainerMetadata { name: "web".into() }),
        image: Some(ImageSpec {
            image: "registry.example/shop/web:3".into(),
        }),
        image_ref: format!("registry.example/shop/web@sha256:{IMAGE}"),
        labels: [label("io.kubernetes.pod.name", "web-0"), label("team", "a")].into(),
    };
    let sandbox = PodSandboxStatus {
        id: "f".repeat(64),
        metadata: Some(PodMetadata {
            name: "web-0".into(),
            uid: UID.into(),
            namespace: "shop".into(),
        }),
        network: Some(Network { ip: "10.1.2.3".into() }),
        labels: [label("app", "front"), label("io.kubernetes.pod.uid", UID)].into(),
    };
    let answer = Answer {
        runtime: "containerd".into(),
        container: Some(status),
        sandbox: Some(sandbox.clone()),
    };
    let node = Node::new();
    let lookup = Lookup::new(node.path());
    let cgroup = format!("/kubepods/besteffort/pod{UID}/{ID}");
    let (container, complete, cut) = known(lookup.find_with(ID, None, &cgroup, Some(&answer)));
    assert_eq!((complete, cut), (true, 0));
    assert_eq!(
        (&*container.runtime, container.name.as_deref()),
        ("containerd", Some("web"))
    );
    assert_eq!(container.image, boxed("registry.example/shop/web:3"));
    assert_eq!(container.image_digest, boxed(&format!("sha256:{IMAGE}")));
    assert!(container.labels.contains(&("team".into(), "a".into())));
    let pod = container.pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-0", UID));
    assert_eq!(
        (pod.labels, pod.ip),
        (vec![("app".into(), "front".into())], boxed("10.1.2.3"))
    );

    // The sandbox has neither a name nor an image to wait for.
    let alone = Answer {
        container: None,
        ..answer.clone()
    };
    let (container, complete, _) = known(lookup.find_with(&"f".repeat(64), None, &cgroup, Some(&alone)));
    assert_eq!((complete, container.name), (true, None));

    // What files have said stays.
    let bundle = serde_json::json!({"ociVersion": "1.0.2", "annotations": {
        "io.kubernetes.cri.container-name": "other",
        "io.kubernetes.cri.sandbox-name": "other-0",
    }});
    let place = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    node.write(&place, &bundle.to_string());
    let (container, _, _) = known(lookup.find_with(ID, None, &cgroup, Some(&answer)));
    assert_eq!(container.name, boxed("other"));
    let pod = container.pod.unwrap();
    assert_eq!((&*pod.name, &*pod.namespace, pod.labels.len()), ("other-0", "shop", 1));

    // Whatever a runtime says is bounded.
    let long = "x".repeat(1 << 16);
    let mut labels: std::collections::BTreeMap<_, _> = (0..1000).map(|i| label(&format!("{i}{long}"), &long)).collect();
    labels.insert("io.kubernetes.pod.namespace".into(), long.clone());
    let huge = Answer {
        runtime: long.clone(),
        container: Some(ContainerStatus {
            metadata: Some(ContainerMetadata { name: long.clone() }),
            labels: labels.clone(),
            ..ContainerStatus::default()
        }),
        sandbox: Some(PodSandboxStatus { labels, ..sandbox }),
    };
    let other = "e".repeat(64);
    let (container, _, cut) = known(lookup.find_with(&other, None, "", Some(&huge)));
    assert!(cut > 0);
    assert_eq!((container.name.unwrap().len(), container.labels.len()), (1024, 64));
    let pod = container.pod.unwrap();
    assert_eq!((pod.namespace.len(), pod.labels.len()), (1024, 64));
}
