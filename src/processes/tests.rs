//! Records in, state out.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::event::syscall::{Header, Kind, PARTS, Part, encode};

mod model;
mod roots;

const SHELL: Key = Key {
    pid: 7,
    start: 70_000_001,
};
const CHILD: Key = Key {
    pid: 8,
    start: 80_000_001,
};
const HOST: u64 = 1;

pub(super) struct Made {
    head: Header,
    info: Option<ProcessInfo>,
    parts: Vec<(Part, Vec<u8>)>,
}

impl Made {
    pub fn new(kind: Kind, actor: Key) -> Self {
        let head = Header {
            kind: kind as u16,
            pid: actor.pid,
            tid: actor.pid,
            start: actor.start,
            time: actor.start + 5,
            cgroup: HOST,
            ..Header::default()
        };
        Made {
            head,
            info: None,
            parts: Vec::new(),
        }
    }

    pub fn fork(parent: Key, child: Key) -> Self {
        Made::new(Kind::Fork, parent).info(|info| {
            (info.pid, info.start) = (child.pid, child.start);
            (info.ppid, info.parent_start) = (parent.pid, parent.start);
        })
    }

    pub fn exec(actor: Key, exe: &str, argv: &str) -> Self {
        let made = Made::new(Kind::Exec, actor).info(|info| (info.pid, info.start) = (actor.pid, actor.start));
        made.part(Part::Base1, exe)
            .part(Part::Data, argv)
            .part(Part::Base2, "/")
    }

    pub fn call(actor: Key, nr: nix::libc::c_long, arg: [u64; 2], result: i64) -> Self {
        Made::new(Kind::Call, actor).head(|head| {
            head.nr = nr as u16;
            head.arg[..2].copy_from_slice(&arg);
            head.result = result;
        })
    }

    pub fn head(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.head);
        self
    }

    pub fn info(mut self, change: impl FnOnce(&mut ProcessInfo)) -> Self {
        change(self.info.get_or_insert_default());
        self
    }

    pub fn part(mut self, part: Part, bytes: impl AsRef<[u8]>) -> Self {
        self.parts.push((part, bytes.as_ref().to_vec()));
        self
    }

    /// Applies and settles.
    pub fn to(self, state: &mut Processes) -> Applied {
        let mut parts: [&[u8]; PARTS] = [b""; PARTS];
        if let Some(info) = &self.info {
            parts[Part::Object as usize] = info.as_bytes();
        }
        for (part, bytes) in &self.parts {
            parts[*part as usize] = bytes;
        }
        let mut bytes = Vec::new();
        encode(self.head, parts, &mut bytes);
        let record = Record::parse(&bytes).unwrap();
        let living = state.actor(&record).is_some();
        let applied = state.apply(&record);
        assert!(
            !living || state.actor(&record).is_some(),
            "whoever acts is there until it is settled"
        );
        state.settle(&record);
        applied
    }
}

pub(super) fn exit(actor: Key, state: &mut Processes) {
    Made::new(Kind::Exit, actor).to(state);
}

/// A shell that /proc has told of.
pub(super) fn state() -> Processes {
    let mut state = Processes::new(Limits::default());
    state.tell(&Fact::Process(shell()));
    state
}

fn shell() -> Snapshot {
    let info = ProcessInfo {
        pid: 7,
        start: 70_000_000,
        vpid: 7,
        ppid: 1,
        ..ProcessInfo::default()
    };
    Snapshot {
        info,
        exe: (*b"/bin/sh").into(),
        argv: (*b"sh\0-l\0").into(),
        cwd: (*b"/root").into(),
        cgroup: HOST,
        cgroup_path: (*b"/init.scope").into(),
        ..Snapshot::default()
    }
}

fn exes(state: &Processes, key: Key) -> Vec<&str> {
    let process = state.get(key).unwrap();
    let all = std::iter::once(process).chain(state.ancestors(process));
    all.map(|process| str::from_utf8(&process.image.exe).unwrap()).collect()
}

#[test]
fn a_start_in_ticks_becomes_exact() {
    let mut state = state();
    assert_eq!(state.by_pid(7).unwrap().key.start, 70_000_000);
    assert_eq!(Made::call(SHELL, 0, [0; 2], 0).to(&mut state), Applied::Nothing);
    assert_eq!(state.by_pid(7).unwrap().key, SHELL);
    for (start, found) in [
        (70_000_000, true),
        (70_000_001, true),
        (70_000_002, false),
        (80_000_001, false),
    ] {
        assert_eq!(state.get(Key { pid: 7, start }).is_some(), found, "{start}");
    }
}

#[test]
fn children_share_until_execve_and_ancestors_outlive_their_end() {
    let mut state = state();
    let grandchild = Key {
        pid: 9,
        start: 90_000_001,
    };
    Made::fork(SHELL, CHILD).to(&mut state);
    assert!(Arc::ptr_eq(
        &state.get(CHILD).unwrap().image,
        &state.get(SHELL).unwrap().image
    ));
    // The thread that called execve is not the first one.
    Made::exec(CHILD, "/usr/bin/make", "make\0")
        .head(|head| head.arg[0] = 99)
        .to(&mut state);
    Made::fork(CHILD, grandchild).to(&mut state);
    exit(CHILD, &mut state);
    assert_eq!(exes(&state, grandchild), ["/usr/bin/make", "/usr/bin/make", "/bin/sh"]);
    assert!(state.get(CHILD).unwrap().exited.is_some());
    assert!(state.by_pid(8).is_none());
    // Its new parent is the reaper, but that is not who started it.
    let reaped = |info: &mut ProcessInfo| (info.ppid, info.parent_start) = (1, 1);
    Made::exec(grandchild, "/bin/cc", "cc\0").info(reaped).to(&mut state);
    assert_eq!(exes(&state, grandchild), ["/bin/cc", "/usr/bin/make", "/bin/sh"]);
    exit(grandchild, &mut state);
    assert_eq!(state.counts().processes, 1);
}

#[test]
fn another_process_of_the_same_id_is_another() {
    let mut state = state();
    let again = Key {
        pid: 8,
        start: 180_000_001,
    };
    Made::fork(SHELL, CHILD).to(&mut state);
    // The end of the first was lost.
    Made::fork(SHELL, again).to(&mut state);
    assert_eq!(state.by_pid(8).unwrap().key, again);
    assert!(state.get(CHILD).is_none());
    assert_eq!(Made::call(CHILD, 0, [0; 2], 0).to(&mut state), Applied::Unknown(CHILD));
    // A late fork of the first does not replace the second, nor brings it back when that has ended as well.
    Made::fork(SHELL, CHILD).to(&mut state);
    assert_eq!(state.by_pid(8).unwrap().key, again);
    exit(again, &mut state);
    Made::fork(SHELL, again).to(&mut state);
    Made::fork(SHELL, CHILD).to(&mut state);
    Made::exec(again, "/x", "x\0").to(&mut state);
    assert_eq!(state.counts().processes, 1);
}

#[test]
fn a_fork_after_the_execve_of_its_child_adds_the_parent() {
    let mut state = state();
    let early = Made::exec(CHILD, "/bin/ls", "ls\0").info(|info| (info.ppid, info.parent_start) = (1, 1));
    assert_eq!(early.to(&mut state), Applied::Unknown(Key { pid: 1, start: 1 }));
    Made::fork(SHELL, CHILD).to(&mut state);
    assert_eq!(exes(&state, CHILD), ["/bin/ls", "/bin/sh"]);
}

#[test]
fn what_was_missed_is_asked_for() {
    let mut state = Processes::new(Limits::default());
    // The parent is not known, hence nothing of the child but that it is there.
    assert_eq!(Made::fork(SHELL, CHILD).to(&mut state), Applied::Unknown(SHELL));
    state.tell(&Fact::Process(shell()));
    assert_eq!(Made::call(CHILD, 0, [0; 2], 0).to(&mut state), Applied::Unknown(CHILD));
    let mut told = shell();
    (told.info.pid, told.info.start, told.exe) = (8, 80_000_000, (*b"/bin/ls").into());
    state.tell(&Fact::Process(told.clone()));
    assert_eq!(Made::call(CHILD, 0, [0; 2], 0).to(&mut state), Applied::Nothing);
    assert_eq!(exes(&state, CHILD), ["/bin/ls", "/bin/sh"]);
    let counts = state.counts();
    assert_eq!((counts.unknown, counts.repaired), (1, 2));
    // A snapshot that was taken before its end and told after it brings nobody back.
    exit(CHILD, &mut state);
    state.tell(&Fact::Process(told));
    assert!(state.get(CHILD).is_none());
    state.tell(&Fact::Gone(SHELL));
    assert_eq!(state.counts().processes, 0);
}

#[test]
fn system_calls_change_their_process() {
    use nix::libc::{SYS_chdir, SYS_fchdir, SYS_setpgid, SYS_setsid};
    let mut state = state();
    let cwd = |state: &Processes| String::from_utf8(state.get(SHELL).unwrap().cwd.to_vec()).unwrap();
    for (nr, given, resolved, result, expected) in [
        (SYS_chdir, "etc", "/root/etc", 0, "/root/etc"),
        (SYS_chdir, "/no", "", -2, "/root/etc"),
        (SYS_chdir, "/var/./lib//x/../y/", "", 0, "/var/lib/y"),
        (SYS_chdir, "/../..", "", 0, "/"),
        (SYS_fchdir, "", "/tmp", 0, "/tmp"),
    ] {
        let call = Made::call(SHELL, nr, [0; 2], result).part(Part::Path1, given);
        call.part(Part::Base1, resolved).to(&mut state);
        assert_eq!(cwd(&state), expected, "{given}");
    }
    Made::call(SHELL, SYS_setpgid, [0, 3], 0).to(&mut state);
    assert_eq!(
        (state.by_pid(7).unwrap().info.pgid, state.by_pid(7).unwrap().info.vpgid),
        (3, 3)
    );
    Made::call(SHELL, SYS_setsid, [0; 2], 7)
        .head(|head| head.uid = 5)
        .to(&mut state);
    let info = state.by_pid(7).unwrap().info;
    assert_eq!((info.sid, info.pgid, info.vsid, info.euid), (7, 7, 7, 5));
}

#[test]
fn short_lived_processes_leave_nothing_behind() {
    let mut state = state();
    for n in 0..10_000 {
        let key = Key {
            pid: 100 + n % 50,
            start: 100_000_001 + u64::from(n) * TICK,
        };
        Made::fork(SHELL, key).to(&mut state);
        Made::exec(key, "/bin/true", "true\0").to(&mut state);
        exit(key, &mut state);
    }
    let counts = state.counts();
    assert_eq!(
        (counts.processes, counts.ended, counts.evicted, counts.unknown),
        (1, 0, 0, 0)
    );
}

#[test]
fn the_table_is_bounded() {
    for ends in [true, false] {
        let mut state = Processes::new(Limits {
            processes: 100,
            containers: 4,
        });
        state.tell(&Fact::Process(shell()));
        let mut parent = SHELL;
        for n in 0..1_000 {
            let key = Key {
                pid: 100 + n,
                start: 100_000_001 + u64::from(n) * TICK,
            };
            Made::fork(parent, key).to(&mut state);
            if ends {
                exit(parent, &mut state);
            }
            parent = key;
            assert!(state.get(key).is_some() && state.counts().processes <= 100);
        }
        assert_eq!(state.counts().evicted, 901, "one each is too many");
        assert_eq!(state.ancestors(state.get(parent).unwrap()).count(), 64);
    }
}

#[test]
fn facts_survive_json() {
    let mut snapshot = shell();
    snapshot.argv = (*b"sh\0\xff").into();
    snapshot.info.comm[..2].copy_from_slice(b"sh");
    let user = User {
        name: "a".into(),
        home: "/".into(),
        shell: "/bin/sh".into(),
    };
    for fact in [
        Fact::Process(snapshot),
        Fact::Gone(CHILD),
        Fact::Container {
            cgroup: 4,
            container: Container::default(),
        },
        Fact::User {
            container: None,
            uid: 1,
            user,
        },
        Fact::Group {
            container: Some("c".into()),
            gid: 1,
            name: "g".into(),
        },
    ] {
        let json = serde_json::to_string(&fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&json).unwrap(), fact, "{json}");
    }
}
