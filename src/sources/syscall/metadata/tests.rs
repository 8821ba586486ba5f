//! Containers whose files come late, or never, and what alerts of them wait for.

use std::path::Path;

use super::*;
use crate::processes::{Limits, Snapshot};

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const CGROUP: u64 = 42;

fn processes() -> Processes {
    let mut processes = Processes::new(Limits {
        processes: 16,
        containers: 16,
    });
    let mut snapshot = Snapshot {
        cgroup: CGROUP,
        cgroup_path: format!("/kubepods/pod7c1f0d3e-0a1b-4c2d-8e3f-5a6b7c8d9e0f/{ID}")
            .into_bytes()
            .into(),
        ..Snapshot::default()
    };
    snapshot.info.pid = 4;
    processes.tell(&Fact::Process(snapshot));
    assert!(matches!(processes.place(CGROUP), Place::Container { id: ID, .. }));
    processes
}

fn metadata(root: &Path, wait: Duration) -> Metadata {
    Metadata::new(&SyscallConfig {
        root: root.into(),
        wait,
        containerd_state: vec!["/data/state".into()],
        ..SyscallConfig::default()
    })
}

/// Writes what the runtime would write, at a place that is configured.
fn write_state(root: &Path) {
    let bundle = root.join(format!("data/state/io.containerd.runtime.v2.task/k8s.io/{ID}"));
    std::fs::create_dir_all(&bundle).unwrap();
    let annotations = serde_json::json!({
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.image-name": "registry.example/web:3",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    });
    let bundle_file = serde_json::json!({"ociVersion": "1.0.2", "annotations": annotations});
    std::fs::write(bundle.join("config.json"), bundle_file.to_string()).unwrap();
}

fn names(facts: &[Fact]) -> Vec<(&str, &str)> {
    let containers = facts.iter().filter_map(|fact| match fact {
        Fact::Container {
            cgroup: CGROUP,
            container,
        } => Some((container.name.as_deref()?, &*container.pod.as_ref()?.name)),
        _ => None,
    });
    containers.collect()
}

#[test]
fn what_is_there_keeps_nobody_waiting() {
    let root = tempfile::tempdir().unwrap();
    write_state(root.path());
    let mut metadata = metadata(root.path(), Duration::from_secs(60));
    let processes = processes();
    assert_eq!(names(&metadata.ask(&processes, CGROUP, 4)), [("web", "web-0")]);
    assert!(!metadata.is_pending(CGROUP));
}

#[test]
fn files_that_come_within_the_wait_end_it() {
    let root = tempfile::tempdir().unwrap();
    let mut metadata = metadata(root.path(), Duration::from_secs(60));
    let processes = processes();
    assert_eq!(metadata.ask(&processes, CGROUP, 4), []);
    assert_eq!(metadata.retry(&processes), []);
    assert!(metadata.is_pending(CGROUP) && !metadata.is_pending(CGROUP + 1));
    write_state(root.path());
    assert_eq!(names(&metadata.retry(&processes)), [("web", "web-0")]);
    assert!(!metadata.is_pending(CGROUP));
}

#[test]
fn the_wait_is_bounded_and_a_later_event_asks_again() {
    let root = tempfile::tempdir().unwrap();
    let mut metadata = metadata(root.path(), Duration::from_millis(30));
    let processes = processes();
    metadata.ask(&processes, CGROUP, 4);
    assert!(metadata.is_pending(CGROUP));
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(metadata.retry(&processes), []);
    assert!(!metadata.is_pending(CGROUP));
    write_state(root.path());
    // Not at each event: each looks at files.
    assert_eq!(metadata.again(&processes, CGROUP, 4), []);
    std::thread::sleep(AGAIN);
    assert_eq!(names(&metadata.again(&processes, CGROUP, 4)), [("web", "web-0")]);
    assert!(!metadata.is_pending(CGROUP));
    assert!(metadata.missed.is_empty() && metadata.pending.is_empty());
}

#[test]
fn what_never_comes_is_asked_for_ever_less_often() {
    let root = tempfile::tempdir().unwrap();
    let mut metadata = metadata(root.path(), Duration::ZERO);
    let processes = processes();
    metadata.ask(&processes, CGROUP, 4);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let missed = metadata.missed.get_mut(&CGROUP).expect("it is missed");
        pauses.push(missed.again.as_secs());
        missed.next = Instant::now();
        assert_eq!(metadata.again(&processes, CGROUP, 4), []);
        assert!(!metadata.is_pending(CGROUP), "later alerts do not wait");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn a_runtime_that_cannot_be_asked_is_counted_and_changes_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    write_state(root.path());
    let mut metadata = Metadata::new(&SyscallConfig {
        root: root.path().into(),
        containerd_state: vec!["/data/state".into()],
        cri: Some(root.path().join("nobody")),
        ..SyscallConfig::default()
    });
    let processes = processes();
    assert_eq!(names(&metadata.ask(&processes, CGROUP, 4)), [("web", "web-0")]);
    assert!(!metadata.is_pending(CGROUP), "files have told everything");
    let end = Instant::now() + Duration::from_secs(10);
    while metadata.unanswered == 0 {
        assert_eq!(metadata.retry(&processes), []);
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((metadata.unanswered(), metadata.unanswered()), (1, 0));
    assert!(metadata.pending.is_empty());
}
