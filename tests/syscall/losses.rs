//! A ring that is too small while the reader waits: losses are counted and told, and it goes on afterwards. Rules that
//! change change what is attached.

use std::path::Path;
use std::process::Command;

use saker::config::SyscallConfig;

use crate::actor;
use crate::harness::{Live, field, rule, turn};

#[test]
fn losses_are_told_and_end() {
    let Some(_turn) = turn() else { return };
    let config = SyscallConfig {
        ring: 64 << 10,
        ..SyscallConfig::default()
    };
    let live = Live::start_with(
        &rule("kill", "evt.type = kill", &["proc.pid", "proc.name", "evt.arg.sig"]),
        &config,
    );
    live.hold(true);
    const SENT: usize = 5_000;
    let kills = format!("i=0; while [ $i -lt {SENT} ]; do kill -0 $$; i=$((i+1)); done");
    let mut flood = Command::new("/bin/sh").args(["-c", &kills]).spawn().unwrap();
    let pid = flood.id();
    flood.wait().unwrap();
    live.hold(false);
    let told = live.wait_for("the alert of losses", |seen| {
        seen.of("Saker lost events").next().cloned()
    });
    assert!(field(&told, "call").parse::<u64>().unwrap_or(0) > 0, "{told}");
    // What happens now is seen again.
    let directory = Path::new("/tmp");
    let after = actor::run("kill p 18", directory).unwrap();
    live.wait_for("the event after the losses", |seen| {
        seen.of("kill")
            .any(|alert| alert["output_fields"]["proc.pid"] == after)
            .then_some(())
    });
    let (seen, _) = live.finish();
    let kept = seen
        .of("kill")
        .filter(|alert| alert["output_fields"]["proc.pid"] == pid)
        .count();
    assert!(kept > 100 && kept < SENT, "{kept}");
    // Every one is either seen or counted; others may have sent signals as well.
    let counted = kept + seen.lost[0] as usize;
    assert!(
        (SENT..SENT + 200).contains(&counted),
        "{kept} seen, lost {:?}",
        seen.lost
    );
}

/// How many hooks of system calls this process holds, as the kernel tells of its descriptors.
fn attached() -> usize {
    let files = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts.filter(|text| text.contains("link_type:\tperf")).count()
}

#[test]
fn other_rules_attach_other_calls() {
    let Some(_turn) = turn() else { return };
    let kill = rule("kill", "evt.type = kill", &["proc.pid"]);
    let users = rule("user", "evt.type in (setuid, setgid)", &["proc.pid", "evt.rawarg.uid"]);
    let script = "kill p 18 ; setuid 54321";
    let live = Live::start(&kill);
    let directory = Path::new("/tmp");
    let own = |alert: &serde_json::Value, pid: u32| alert["output_fields"]["proc.pid"] == pid;
    let before = actor::run(script, directory).unwrap();
    live.wait_for("a signal", |seen| {
        seen.of("kill").any(|alert| own(alert, before)).then_some(())
    });
    assert_eq!(attached(), 1);
    live.reload(&users);
    let after = actor::run(script, directory).unwrap();
    live.wait_for("a change of user", |seen| {
        seen.of("user").any(|alert| own(alert, after)).then_some(())
    });
    assert_eq!(attached(), 2);
    let (seen, _) = live.finish();
    assert!(!seen.of("user").any(|alert| own(alert, before)));
    assert!(!seen.of("kill").any(|alert| own(alert, after)));
    assert_eq!(attached(), 0);
}
