//! This very process as /proc shows it.

use super::*;
use crate::processes::Key;

#[test]
fn this_process() {
    let procfs = Procfs::new(true);
    let pid = std::process::id();
    let own = procfs.one(pid).expect("this process is there");
    assert_eq!(&*own.exe, std::env::current_exe().unwrap().as_os_str().as_bytes());
    assert_eq!(&*own.cwd, std::env::current_dir().unwrap().as_os_str().as_bytes());
    let argv: Vec<u8> = std::env::args_os()
        .flat_map(|arg| [arg.as_bytes(), b"\0"].concat())
        .collect();
    assert_eq!(&*own.argv, argv);
    assert!(own.env.starts_with(&read(Path::new("/proc/self/environ"))[..16]));
    assert_eq!(own.info.ppid, std::os::unix::process::parent_id());
    assert_eq!(own.info.euid, nix::unistd::geteuid().as_raw());
    assert!(own.info.start.is_multiple_of(TICK) && own.info.start > 0 && own.info.parent_start > 0);
    assert!(own.info.pidns != 0 && own.info.mntns != 0 && own.info.exe_ino != 0);
    assert_ne!((own.cgroup, own.cgroup_path.len()), (0, 0));
    let all = procfs.all();
    let parent = Key {
        pid: own.info.ppid,
        start: own.info.parent_start,
    };
    let at = |key: Key| all.iter().position(|snapshot| snapshot.key() == key);
    assert!(at(parent) < at(own.key()), "parents come first");
    assert!(procfs.one(u32::MAX).is_none());
}

#[test]
fn names_may_hold_anything() {
    let stat = |name: &[u8]| [b"12 (", name, b") S 1 2 3 -5 4 0 0 0 0 0 0 0 0 0 20 0 1 0 77 8 9\n"].concat();
    for name in [&b"sh"[..], b"a) S 9 9 (b", b"\xff\n ", b""] {
        let found = parse::stat(&stat(name)).unwrap();
        assert_eq!(
            (&found.comm[..name.len()], found.ppid, found.sid, found.tty, found.start),
            (name, 1, 3, -5i32 as u32, 77)
        );
    }
    assert_eq!(parse::stat(b"12 )sh( S 1"), None);
    let status =
        parse::status(b"Name:\tUid: 5\nUid:\t1\t2\t3\t4\nCapEff:\t00000000a80425fb\nNSpid:\t40\t7\nNSsid:\t40\t1\n")
            .unwrap();
    assert_eq!((status.uid, status.cap_effective), ([1, 2, 3], 0xa804_25fb));
    assert_eq!((status.level(), status.vpid(), status.vsid), (1, 7, 1));
}

#[test]
fn the_cgroup_that_counts() {
    for (text, expected) in [
        ("0::/a\n", Some((true, "/a"))),
        ("4:pids:/b\n0::/\n", Some((false, "/b"))),
        ("4:cpu,pids:/b\n0::/a\n", Some((true, "/a"))),
        ("4:pids:/b:c\n", Some((false, "/b:c"))),
        ("4:cpu:/b\n", None),
    ] {
        let expected = expected.map(|(unified, path)| (unified, path.as_bytes()));
        assert_eq!(parse::cgroup(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn mounts_of_cgroups() {
    let text = b"31 22 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n\
        40 22 0:26 /../.. /host\\040cgroup rw - cgroup2 cgroup2 rw\n\
        41 22 0:27 / /p rw - cgroup cgroup rw,pids\n42 22 0:27 / /c rw - cgroup cgroup rw,cpu\n";
    let mounts = parse::cgroup_mounts(text);
    let points: Vec<&[u8]> = mounts.iter().map(|mount| &mount.point[..]).collect();
    assert_eq!(points, [&b"/host cgroup"[..], b"/sys/fs/cgroup", b"/p"]);
    let (up, here) = (&mounts[0], &mounts[1]);
    assert_eq!(
        up.directory(b"/../../x"),
        Some((b"/host cgroup/x".to_vec(), b"/x".to_vec()))
    );
    assert_eq!(up.directory(b"/../.."), Some((b"/host cgroup".to_vec(), b"/".to_vec())));
    assert_eq!(here.directory(b"/../x"), None);
    assert_eq!(
        here.directory(b"/x"),
        Some((b"/sys/fs/cgroup/x".to_vec(), b"/x".to_vec()))
    );
}
