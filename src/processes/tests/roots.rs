//! Containers, and who has come into them.

use super::*;

const ID: &str = "3f4e1c8a9b2d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7";
const POD: u64 = 50;
const INIT: Key = Key {
    pid: 20,
    start: 200_000_001,
};
const ENTERED: Key = Key {
    pid: 30,
    start: 300_000_001,
};

/// An execve inside of the container, `level` PID namespaces deep, started from one `parent_level` deep.
fn inside(key: Key, exe: &str, argv: &str, vpid: u32, parent_level: u32, level: u32) -> Made {
    let made = Made::exec(key, exe, argv).head(|head| head.cgroup = POD).info(|info| {
        (info.vpid, info.parent_level, info.level) = (vpid, parent_level, level);
        (info.pidns, info.pidns_start) = (100 + level, INIT.start * u64::from(level));
        info.tty = 0x8800;
    });
    made.part(Part::Cgroup, format!("/kubepods/pod/{ID}"))
}

/// A container whose first process runs; its PID namespace is one deeper, or with `hostPID` the host's.
fn running(level: u32) -> Processes {
    let mut state = state();
    Made::fork(SHELL, INIT).to(&mut state);
    let vpid = if level == 0 { INIT.pid } else { 1 };
    let applied = inside(INIT, "/app", "app\0", vpid, 0, level).to(&mut state);
    assert_eq!(applied, Applied::NewContainer { cgroup: POD });
    state
}

fn root(applied: Applied) -> Arc<ExecRoot> {
    match applied {
        Applied::ExecRoot(root) => root,
        other => panic!("{other:?}"),
    }
}

#[test]
fn places() {
    let mut state = running(1);
    assert_eq!(state.place(POD), Place::Container { id: ID, about: None });
    assert_eq!(state.place(HOST), Place::Host);
    assert_eq!(state.place(51), Place::Unknown);
    let container = Container {
        id: ID.into(),
        runtime: "containerd".into(),
        ..Container::default()
    };
    state.tell(&Fact::Container {
        cgroup: POD,
        container: container.clone(),
    });
    assert_eq!(state.container(POD), Some(&container));
    let user = |name: &str| User {
        name: name.into(),
        ..User::default()
    };
    state.tell(&Fact::User {
        container: Some(ID.into()),
        uid: 5,
        user: user("app"),
    });
    state.tell(&Fact::User {
        container: None,
        uid: 5,
        user: user("games"),
    });
    state.tell(&Fact::Group {
        container: None,
        gid: 5,
        name: "tty".into(),
    });
    assert_eq!(state.user(POD, 5).unwrap().name.as_ref(), "app");
    assert_eq!(state.user(HOST, 5).unwrap().name.as_ref(), "games");
    assert_eq!(
        (state.group(POD, 5), state.group(HOST, 5), state.user(51, 5)),
        (None, Some("tty"), None)
    );
}

#[test]
fn whoever_moves_into_an_unknown_cgroup_is_asked_for_once() {
    let mut state = state();
    let call = || Made::call(SHELL, 0, [0; 2], 0).head(|head| head.cgroup = 77);
    assert_eq!(call().to(&mut state), Applied::Unknown(SHELL));
    assert_eq!(call().to(&mut state), Applied::Nothing);
    let mut told = shell();
    (told.cgroup, told.cgroup_path) = (77, format!("/docker/{ID}").into_bytes().into());
    assert_eq!(state.tell(&Fact::Process(told)), Applied::NewContainer { cgroup: 77 });
    assert!(matches!(state.place(77), Place::Container { .. }));
}

#[test]
fn an_exec_into_a_container_marks_all_that_stems_from_it() {
    for level in [1, 0] {
        let mut state = running(level);
        assert!(state.get(INIT).unwrap().exec_root.is_none());
        Made::fork(SHELL, ENTERED).to(&mut state);
        let found = root(inside(ENTERED, "/bin/sh", "sh\0", 9, 0, level).to(&mut state));
        assert_eq!((found.key, found.tty, found.cgroup), (ENTERED, 0x8800, POD));
        assert_eq!((&*found.image.exe, found.since), (&b"/bin/sh"[..], ENTERED.start + 5));
        // Its next execve still has the runtime as parent.
        assert_eq!(
            inside(ENTERED, "/bin/bash", "bash\0", 9, 0, level).to(&mut state),
            Applied::Nothing
        );
        // Double fork: the parents end, the reaper takes over, which lives outside of a container with the host's ids.
        let (middle, last) = (
            Key {
                pid: 31,
                start: 310_000_001,
            },
            Key {
                pid: 32,
                start: 320_000_001,
            },
        );
        Made::fork(ENTERED, middle)
            .head(|head| head.cgroup = POD)
            .to(&mut state);
        Made::fork(middle, last).head(|head| head.cgroup = POD).to(&mut state);
        exit(middle, &mut state);
        exit(ENTERED, &mut state);
        Made::call(last, nix::libc::SYS_setsid, [0; 2], 11)
            .head(|head| head.cgroup = POD)
            .to(&mut state);
        let reaped = inside(last, "/bin/nc", "nc\0", 11, 0, level).info(|info| info.ppid = 7);
        assert_eq!(reaped.to(&mut state), Applied::Nothing, "level {level}");
        assert_eq!(state.get(last).unwrap().exec_root.as_ref(), Some(&found));
    }
}

#[test]
fn what_the_container_starts_is_no_root() {
    for level in [1, 0] {
        let mut state = running(level);
        let child = Key {
            pid: 40,
            start: 400_000_001,
        };
        Made::fork(INIT, child).head(|head| head.cgroup = POD).to(&mut state);
        assert_eq!(
            inside(child, "/bin/sh", "sh\0", 2, level, level).to(&mut state),
            Applied::Nothing
        );
        // A PID namespace of its own, made inside, is no way in.
        let nested = Key {
            pid: 41,
            start: 410_000_001,
        };
        Made::fork(child, nested).head(|head| head.cgroup = POD).to(&mut state);
        assert_eq!(
            inside(nested, "/bin/sh", "sh\0", 3, level, level + 1).to(&mut state),
            Applied::Nothing
        );
        // Nor is an execve of the first process.
        assert_eq!(
            inside(INIT, "/other", "other\0", if level == 0 { 20 } else { 1 }, 0, level).to(&mut state),
            Applied::Nothing
        );
        assert!(state.living().all(|process| process.exec_root.is_none()));
    }
}

#[test]
fn the_runtime_itself_is_not_what_was_asked_for() {
    use crate::event::syscall::EXE_MEMFD;
    for (exe, flags) in [("/usr/sbin/runc", 0), ("memfd:runc_cloned:/proc/self/exe", EXE_MEMFD)] {
        let mut state = running(1);
        Made::fork(SHELL, ENTERED).to(&mut state);
        let init = || {
            inside(ENTERED, exe, "runc\0init\0", 9, 0, 1).info(|info| {
                info.exe_flags = flags;
                info.comm[..11].copy_from_slice(b"runc:[2:INI");
            })
        };
        assert_eq!(init().to(&mut state), Applied::Nothing);
        let found = root(inside(ENTERED, "/bin/ls", "ls\0", 9, 0, 1).to(&mut state));
        assert_eq!(&*found.image.exe, b"/bin/ls");
        // Somebody's own runc that forks instead gains nothing.
        let (own, child) = (
            Key {
                pid: 33,
                start: 330_000_001,
            },
            Key {
                pid: 34,
                start: 340_000_001,
            },
        );
        Made::fork(SHELL, own).to(&mut state);
        inside(own, exe, "runc\0init\0", 12, 0, 1)
            .info(|info| info.exe_flags = flags)
            .to(&mut state);
        let found = root(Made::fork(own, child).head(|head| head.cgroup = POD).to(&mut state));
        assert_eq!(found.key, own);
        assert_eq!(state.get(child).unwrap().exec_root.as_ref(), Some(&found));
    }
}

#[test]
fn nsenter_is_a_root_in_the_cgroup_of_the_host() {
    let mut state = running(1);
    Made::fork(SHELL, ENTERED).to(&mut state);
    let made = inside(ENTERED, "/bin/sh", "sh\0", 9, 0, 1).head(|head| head.cgroup = HOST);
    let found = root(made.to(&mut state));
    assert_eq!((found.key, found.cgroup), (ENTERED, POD));
    // A namespace that is no container's is none.
    let other = Key {
        pid: 35,
        start: 350_000_001,
    };
    Made::fork(SHELL, other).to(&mut state);
    let made = inside(other, "/bin/sh", "sh\0", 1, 0, 1).head(|head| head.cgroup = HOST);
    assert_eq!(made.info(|info| info.pidns = 999).to(&mut state), Applied::Nothing);
}

#[test]
fn cgroups_without_processes_make_room() {
    let mut state = Processes::new(Limits {
        processes: 100,
        containers: 4,
    });
    for n in 0..200u32 {
        let key = Key {
            pid: 100 + n,
            start: 100_000_001 + u64::from(n) * TICK,
        };
        let made = Made::exec(key, "/app", "app\0").head(|head| head.cgroup = 1_000 + u64::from(n));
        made.part(Part::Cgroup, format!("/docker/{n:064x}")).to(&mut state);
        assert!(
            matches!(state.place(1_000 + u64::from(n)), Place::Container { .. }),
            "{n}"
        );
        assert!(state.counts().containers <= 4);
        exit(key, &mut state);
    }
    assert_eq!(state.counts().refused, 0);
}
