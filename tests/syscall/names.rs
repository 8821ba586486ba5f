//! Opened files that the kernel lets pass by names of their paths: none that a rule matches is dropped.

use std::process::Command;

use crate::harness::{Live, field, rule, turn};

/// Longer than the first bytes of a name that the kernel has at hand, and than a key of its table.
const LONG: &str = "a-name-that-is-longer-than-all-that-the-kernel-keeps-beside-an-entry";

#[test]
fn names_are_found_wherever_they_stand_and_however_the_file_is_opened() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let opens = "evt.type in (open, openat, creat) and fd.num>=0";
    let rules = [
        rule(
            "written",
            &format!("{opens} and evt.is_open_write=true and fd.name endswith /one"),
            &["fd.name"],
        ),
        rule(
            "read",
            &format!("{opens} and evt.is_open_read=true and fd.name endswith /two"),
            &["fd.name"],
        ),
        rule(
            "inside",
            &format!("{opens} and evt.is_open_read=true and fd.name contains /inner/"),
            &["fd.name"],
        ),
        rule(
            "folder",
            &format!("{opens} and evt.is_open_read=true and fd.directory = {root}/parent"),
            &["fd.name"],
        ),
        rule(
            "long",
            &format!("{opens} and evt.is_open_read=true and fd.filename = {LONG}"),
            &["fd.name"],
        ),
        rule(
            "end",
            &format!("{opens} and evt.is_open_write=true and fd.name = {root}/end"),
            &["fd.name"],
        ),
    ];
    let live = Live::start(&rules.concat());
    // Mounts upon each other, each at the root of the one before, so that a path leads over five of them.
    let script = format!(
        "cd {root}; mkdir inner parent; mount -t tmpfs none inner
         mkdir inner/deep inner/deep/er; echo x > inner/deep/er/file; cat inner/deep/er/file
         for i in 1 2 3 4; do mount -t tmpfs none {root}/inner; done; echo x > inner/file; cat inner/file
         echo x > one; cat one; echo x > two; cat two
         echo x > parent/some; cat parent/some; echo x > {LONG}; cat {LONG}; echo x > end
         umount inner; umount inner; umount inner; umount inner; umount inner"
    );
    let done = Command::new("unshare")
        .args(["-m", "/bin/sh", "-c", &script])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    live.wait_for("the last open", |seen| seen.of("end").next().map(|_| ()));
    let (seen, _) = live.finish();
    let paths = |rule| seen.of(rule).map(|alert| field(alert, "fd.name")).collect::<Vec<_>>();
    assert_eq!(paths("written"), [format!("{root}/one")]);
    assert_eq!(paths("read"), [format!("{root}/two")]);
    assert_eq!(
        paths("inside"),
        [format!("{root}/inner/deep/er/file"), format!("{root}/inner/file")]
    );
    assert_eq!(paths("folder"), [format!("{root}/parent/some")]);
    assert_eq!(paths("long"), [format!("{root}/{LONG}")]);
}
