//! An event that matches nothing allocates nothing, once the evaluation's memory has grown to what events need.

#[path = "allocations/syscall.rs"]
mod syscall;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use saker::engine::{Options, load};
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::rulefiles;

thread_local! {
    /// Of this thread: tests run side by side.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Events of a quiet cluster, one of which makes candidates of rules that read into the request object.
fn quiet_events() -> String {
    let event = |verb: &str, resource: &str, user: &str, more: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"d9b1a7a6-3c5c-4a4e-9f5e-1f2a3b4c5d6e","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/default/{resource}/x?timeout=30s","verb":"{verb}","user":{{"username":"{user}","groups":["system:authenticated"]}},"sourceIPs":["10.0.0.1"],"userAgent":"controller/v1 \"x\"","objectRef":{{"resource":"{resource}","namespace":"default","name":"x","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":200}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z","stageTimestamp":"2026-01-02T03:04:05.100001Z","annotations":{{"authorization.k8s.io/decision":"allow"}}{more}}}"#
        ) + "\n"
    };
    let pod = r#","requestObject":{"kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","image":"registry:5000/app:1","securityContext":{"privileged":false}}]}}"#;
    let config = r#","requestObject":{"kind":"ConfigMap","data":{"colour":"blue","text":"line\nline"}}"#;
    let node = "system:kube-controller-manager";
    event("update", "leases", node, "")
        + &event("get", "pods", node, "")
        + &event("create", "pods", node, pod)
        + &event("update", "configmaps", node, config)
}

#[test]
fn a_quiet_event_allocates_nothing() {
    let loaded = load(rulefiles::builtin().collect(), &Options::default()).expect("no fields of the user's own");
    let host = Host {
        name: "node".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    let mut replay = Replay::new(loaded.rules.expect("rules without errors"), host, None, true);
    let events = quiet_events();
    replay.text(events.as_bytes());
    let quiet = replay.alerts == 0 && replay.events == 4 && replay.bad == 0;
    assert!(
        quiet,
        "the events are no quiet ones: {}",
        String::from_utf8_lossy(&replay.out)
    );
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        replay.text(events.as_bytes());
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 400 evaluations");
}
