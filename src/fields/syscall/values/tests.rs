//! Fields of records as the probe would write them, with processes told as facts.

use zerocopy::IntoBytes as _;

use crate::event::Source;
use crate::event::syscall::{EXE_UPPER, FileInfo, Header, Kind, PARTS, Part, ProcessInfo, Record, encode};
use crate::fields::evt::Host;
use crate::fields::syscall::calls::CALLS;
use crate::fields::syscall::view::{Run, SyscallView};
use crate::fields::{Catalog, Scratch, Value, View as _};
use crate::processes::{Container, Fact, Limits, Mount, Pod, Processes, Snapshot, User};

const BOOT: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const CGROUP: u64 = 77;
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn comm(name: &str) -> [u8; 16] {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

/// systemd 1 -> sshd 10 -> bash 20 -> cat 30 on the host, and sh 40 in a container.
fn processes() -> Processes {
    let mut processes = Processes::new(Limits {
        processes: 100,
        containers: 10,
    });
    let host = [
        (1, 0, "systemd", "/sbin/init\0"),
        (10, 1, "sshd", "sshd: root\0-D\0"),
        (20, 10, "bash", "-bash\0"),
        (30, 20, "cat", "cat\0-n\0a b\0"),
    ];
    for (pid, ppid, name, argv) in host.into_iter().chain([(40, 30, "sh", "/bin/sh\0-c\0ls\0")]) {
        let contained = pid == 40;
        let info = ProcessInfo {
            start: u64::from(pid) * SECOND,
            parent_start: u64::from(ppid) * SECOND,
            pid,
            tid: pid,
            ppid,
            sid: if pid == 1 { 1 } else { 20 },
            vsid: if pid == 1 { 1 } else { 20 },
            pgid: pid,
            vpgid: if contained { 7 } else { pid },
            vpid: if contained { 7 } else { pid },
            tty: 34816,
            loginuid: if pid == 30 { 1000 } else { u32::MAX },
            cap_effective: 1 | 1 << 21,
            exe_flags: if contained { EXE_UPPER } else { 0 },
            exe_ctime: BOOT,
            level: u32::from(contained),
            comm: comm(name),
            ..ProcessInfo::default()
        };
        let path = if contained {
            format!("/kubepods.slice/cri-containerd-{ID}.scope")
        } else {
            "/user.slice".to_owned()
        };
        processes.tell(&Fact::Process(Snapshot {
            info,
            exe: format!("/usr/bin/{name}").into_bytes().into(),
            argv: argv.as_bytes().into(),
            env: b"HOME=/root\0TERM=xterm\0".as_slice().into(),
            cwd: b"/home/x".as_slice().into(),
            cgroup: if contained { CGROUP } else { 5 },
            cgroup_path: path.into_bytes().into(),
        }));
    }
    let about = Container {
        id: ID.into(),
        runtime: "containerd".into(),
        name: Some("web".into()),
        image: Some("localhost:5000/team/web:1.2".into()),
        privileged: Some(true),
        started: Some(BOOT + 30 * SECOND),
        mounts: vec![Mount {
            source: "/etc/kubernetes".into(),
            destination: "/host".into(),
            mode: "rw".into(),
            writable: true,
            propagation: "rprivate".into(),
        }],
        labels: vec![("app".into(), "x".into()), ("tier".into(), "front".into())],
        pod: Some(Pod {
            name: "web-1".into(),
            namespace: "shop".into(),
            uid: "u-1".into(),
            sandbox_id: Some("fedcba98765432".into()),
            ip: Some("10.1.2.3".into()),
            labels: vec![("app".into(), "web".into())],
        }),
        ..Container::default()
    };
    processes.tell(&Fact::Container {
        cgroup: CGROUP,
        container: about,
    });
    let user = User {
        name: "alice".into(),
        home: "/home/alice".into(),
        shell: "/bin/zsh".into(),
    };
    processes.tell(&Fact::User {
        container: None,
        uid: 1000,
        user,
    });
    processes
}

/// A record under construction.
#[derive(Clone, Default)]
struct Event {
    head: Header,
    parts: [Vec<u8>; PARTS],
    before: Option<Box<Event>>,
}

/// A call of a process at second 100.
fn call(pid: u32, name: &str, arg: [i64; 6], result: i64) -> Event {
    let nr = CALLS.iter().find(|call| call.name == name).expect("a call").nr;
    Event {
        head: Header {
            kind: Kind::Call as u16,
            nr,
            time: 100 * SECOND,
            start: u64::from(pid) * SECOND,
            cgroup: if pid == 40 { CGROUP } else { 5 },
            result,
            arg: arg.map(|n| n as u64),
            pid,
            tid: pid,
            ppid: 20,
            uid: 1000,
            gid: 0,
            cpu: 3,
            ..Header::default()
        },
        ..Event::default()
    }
}

impl Event {
    /// Another event came before it.
    fn after(mut self, other: Event) -> Event {
        self.before = Some(Box::new(other));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(self.head, std::array::from_fn(|i| &self.parts[i][..]), &mut bytes);
        bytes
    }

    fn with(mut self, part: Part, bytes: impl AsRef<[u8]>) -> Event {
        self.parts[part as usize] = bytes.as_ref().to_vec();
        self
    }

    /// The value of each field as text; `-` for none.
    fn values(&self, fields: &[&str]) -> Vec<String> {
        let bytes = self.bytes();
        let record = Record::parse(&bytes).expect("a record");
        let mut processes = processes();
        if let Some(before) = &self.before {
            processes.apply(&Record::parse(&before.bytes()).expect("a record"));
        }
        processes.apply(&record);
        let host = Host {
            name: "node".into(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let run = Run {
            boot: BOOT,
            first: BOOT,
            before: BOOT + 98 * SECOND,
            number: 9,
        };
        let mut view = SyscallView::new(record, &processes, &host, run);
        let catalog = Catalog::of(Source::Syscall);
        let mut scratch = Scratch::default();
        let mut value = |field: &&str| {
            let (name, argument) = match field.split_once('[') {
                Some((name, rest)) => (name, Some(rest.trim_end_matches(']'))),
                None => (*field, None),
            };
            let (row, member) = catalog.find(name).unwrap_or_else(|| panic!("no field {name}"));
            let extractor = catalog
                .resolve(row, argument.or(member))
                .expect("an argument that fits");
            let value = view.extract(&extractor, &mut scratch);
            shown(value, &bytes, &scratch)
        };
        fields.iter().map(&mut value).collect()
    }

    #[track_caller]
    fn gives(&self, want: &[(&str, &str)]) {
        let fields: Vec<&str> = want.iter().map(|(field, _)| *field).collect();
        let got = self.values(&fields);
        let got: Vec<(&str, &str)> = fields.iter().copied().zip(got.iter().map(String::as_str)).collect();
        assert_eq!(got, want);
    }
}

fn shown(value: Value, event: &[u8], scratch: &Scratch) -> String {
    match value {
        Value::Absent => "-".to_owned(),
        Value::Text(text) | Value::Bytes(text) => String::from_utf8_lossy(scratch.bytes_of(event, text)).into_owned(),
        Value::Uint(n) => n.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::List(list) => {
            let items: Vec<_> = scratch.list(list).iter().map(|v| shown(*v, event, scratch)).collect();
            items.join("|")
        }
    }
}

fn regular(flags: u64) -> FileInfo {
    FileInfo {
        ino: 12,
        flags,
        dev: 8 << 20 | 1,
        mode: 0o100644,
        layer: 1,
        ..FileInfo::default()
    }
}

#[test]
fn an_open_that_succeeded() {
    call(30, "openat", [-100, 0, 0o2000101, 0o755, 0, 0], 3)
        .with(Part::Path1, "../../etc/./shadow")
        .with(Part::Base1, "/etc/shadow")
        .with(Part::Object, regular(0).as_bytes())
        .gives(&[
            ("evt.type", "openat"),
            ("evt.num", "9"),
            ("evt.deltatime.s", "2"),
            ("evt.cpu", "3"),
            ("evt.category", "file"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "3"),
            ("evt.failed", "false"),
            ("evt.is_open_read", "false"),
            ("evt.is_open_write", "true"),
            ("evt.is_open_exec", "true"),
            ("fd.num", "3"),
            ("fd.name", "/etc/shadow"),
            ("fd.nameraw", "../../etc/./shadow"),
            ("fd.directory", "/etc"),
            ("fd.filename", "shadow"),
            ("fd.type", "file"),
            ("fd.typechar", "f"),
            ("fd.dev", "2049"),
            ("fd.dev.major", "8"),
            ("fd.ino", "12"),
            ("fd.is_upper_layer", "true"),
            ("fd.containername", "host:/etc/shadow"),
            ("fd.containerdirectory", "host:/etc"),
            ("fd.sip", "-"),
            ("fd.l4proto", "-"),
            ("fs.path.name", "/etc/shadow"),
            ("fs.path.source", "-"),
            ("evt.arg.fd", "<f>/etc/shadow"),
            ("evt.arg[1]", "AT_FDCWD"),
            ("evt.arg.name", "/etc/shadow"),
            ("evt.arg.flags", "O_CREAT|O_WRONLY|O_CLOEXEC"),
            ("evt.arg.mode", "0755"),
            ("evt.arg.path", "-"),
            ("evt.rawarg.flags", "524353"),
            ("evt.rawarg.name", "../../etc/./shadow"),
            (
                "evt.args",
                "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=../../etc/./shadow(/etc/shadow) \
                 flags=524353(O_CREAT|O_WRONLY|O_CLOEXEC) mode=0755 dev=2049 ino=12 ",
            ),
        ]);
}

#[test]
fn an_open_that_failed_has_the_path_that_was_meant() {
    call(30, "openat", [5, 0, 0o2, 0, 0, 0], -2)
        .with(Part::Path1, "../b/./c")
        .with(Part::Base1, "/srv/a")
        .gives(&[
            ("evt.res", "ENOENT"),
            ("evt.failed", "true"),
            ("evt.count.error.file", "1"),
            ("evt.count.error.net", "-"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "true"),
            ("fd.num", "-2"),
            ("fd.name", "/srv/b/c"),
            ("fd.nameraw", "../b/./c"),
            ("fd.typechar", "f"),
            ("evt.arg.fd", "ENOENT"),
            ("evt.arg.dirfd", "<d>/srv/a"),
            ("evt.arg.flags", "O_RDWR"),
            ("fd.ino", "-"),
        ]);
}

#[test]
fn other_opens_and_anonymous_descriptors() {
    if let Some(creat) = CALLS.iter().find(|call| call.name == "creat") {
        call(30, creat.name, [0, 0o644, 0, 0, 0, 0], 4)
            .with(Part::Path1, "/x")
            .with(Part::Base1, "/x")
            .with(Part::Object, regular(0).as_bytes())
            .gives(&[
                ("evt.is_open_write", "true"),
                ("evt.is_open_exec", "false"),
                ("evt.arg.mode", "0644"),
            ]);
    }
    call(30, "openat2", [-100, 0, 12, 24, 0o102, 0o700], 4)
        .with(Part::Path1, "/x")
        .with(Part::Base1, "/x")
        .with(
            Part::Object,
            FileInfo {
                mode: 0o40755,
                ..regular(0)
            }
            .as_bytes(),
        )
        .gives(&[
            ("evt.arg.flags", "O_CREAT|O_RDWR"),
            ("evt.is_open_exec", "true"),
            ("fd.typechar", "d"),
            ("evt.arg.resolve", "RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH"),
            ("evt.rawarg.resolve", "12"),
            ("evt.arg[6]", "2049"),
        ]);
    call(30, "memfd_create", [0, 1, 0, 0, 0, 0], 6)
        .with(Part::Base1, "memfd:x")
        .with(Part::Object, regular(0).as_bytes())
        .gives(&[
            ("fd.typechar", "m"),
            ("evt.arg.name", "x"),
            ("evt.arg.flags", "MFD_CLOEXEC"),
            ("fd.name", "memfd:x"),
        ]);
    call(30, "dup3", [4, 1, 0, 0, 0, 0], 1)
        .with(Part::Base1, "")
        .with(
            Part::Object,
            FileInfo {
                mode: 0o10600,
                ..regular(0)
            }
            .as_bytes(),
        )
        .gives(&[("fd.type", "pipe"), ("fd.num", "1"), ("evt.arg.oldfd", "4")]);
}

#[test]
fn calls_on_paths() {
    call(30, "renameat2", [-100, 0, 7, 0, 1, 0], 0)
        .with(Part::Path1, "a")
        .with(Part::Base1, "/tmp")
        .with(Part::Path2, "b")
        .with(Part::Base2, "/dev/shm")
        .gives(&[
            ("fd.name", "-"),
            ("fd.typechar", "-"),
            ("fd.num", "-"),
            ("fs.path.name", "-"),
            ("fs.path.source", "/tmp/a"),
            ("fs.path.sourceraw", "a"),
            ("fs.path.target", "/dev/shm/b"),
            ("evt.abspath", "/dev/shm/b"),
            ("evt.abspath.src", "/tmp/a"),
            ("evt.arg.oldpath", "/tmp/a"),
            ("evt.arg.newdirfd", "<d>/dev/shm"),
            (
                "evt.args",
                "res=0 olddirfd=-100(AT_FDCWD) oldpath=a(/tmp/a) newdirfd=7(<d>/dev/shm) newpath=b(/dev/shm/b) \
                 flags=1(RENAME_NOREPLACE) ",
            ),
        ]);
    call(30, "fchmodat", [-100, 0, 0o4755, 0, 0, 0], -1)
        .with(Part::Path1, "/a/../b")
        .gives(&[
            ("evt.arg.filename", "/b"),
            (
                "evt.arg.mode",
                "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID",
            ),
            ("evt.arg.res", "EPERM"),
            ("fs.path.name", "/b"),
            ("fs.path.nameraw", "/a/../b"),
        ]);
    call(30, "symlinkat", [0, -100, 0, 0, 0, 0], 0)
        .with(Part::Path1, "../etc/shadow")
        .with(Part::Path2, "/tmp/l")
        .with(Part::Base1, "/tmp")
        .gives(&[("evt.arg.target", "../etc/shadow"), ("evt.arg.linkpath", "/tmp/l")]);
    call(30, "mount", [0, 0, 0, 0x1000, 0, 0], 0)
        .with(Part::Path1, "/dev/sda1")
        .with(Part::Path2, "/mnt")
        .with(Part::Data, "ext4")
        .gives(&[
            ("evt.arg.dev", "/dev/sda1"),
            ("evt.arg.type", "ext4"),
            ("evt.arg.flags", "BIND"),
        ]);
}

#[test]
fn numbers_have_their_names() {
    for (name, arg, field, want) in [
        ("setuid", [1000, 0, 0, 0, 0, 0], "evt.arg.uid", "alice"),
        ("setuid", [7, 0, 0, 0, 0, 0], "evt.arg.uid", "<NA>"),
        ("setresuid", [0, -1, 0, 0, 0, 0], "evt.arg.euid", "<NONE>"),
        ("ptrace", [16, 9, 0, 0, 0, 0], "evt.arg.request", "PTRACE_ATTACH"),
        ("ptrace", [16, 9, 0, 0, 0, 0], "evt.arg.pid", "9"),
        ("bpf", [5, 0, 0, 0, 0, 0], "evt.arg.cmd", "BPF_PROG_LOAD"),
        ("bpf", [99, 0, 0, 0, 0, 0], "evt.arg.cmd", "99"),
        ("socket", [17, 3, 0, 0, 0, 0], "evt.arg.domain", "AF_PACKET"),
        (
            "unshare",
            [0x1002_0000, 0, 0, 0, 0, 0],
            "evt.arg.flags",
            "CLONE_NEWNS|CLONE_NEWUSER",
        ),
        ("kill", [9, 15, 0, 0, 0, 0], "evt.arg.sig", "SIGTERM"),
    ] {
        call(30, name, arg, 0).gives(&[(field, want)]);
    }
}

fn tcp(local: [u8; 4], local_port: u16, peer: [u8; 4], peer_port: u16, state: u8) -> FileInfo {
    let wide = |ip: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&ip);
        bytes
    };
    FileInfo {
        mode: 0o140777,
        family: 2,
        socket_type: 1,
        protocol: 6,
        state,
        local_port,
        peer_port,
        local: wide(local),
        peer: wide(peer),
        ..FileInfo::default()
    }
}

/// `struct sockaddr_in`.
fn address(ip: [u8; 4], port: u16) -> Vec<u8> {
    [&2u16.to_ne_bytes()[..], &port.to_be_bytes(), &ip, &[0; 8]].concat()
}

#[test]
fn ends_of_connections() {
    let out = tcp([10, 0, 0, 1], 40_000, [1, 2, 3, 4], 443, 1);
    call(40, "connect", [3, 0, 16, 0, 0, 0], 0)
        .with(Part::Object, out.as_bytes())
        .with(Part::Address, address([1, 2, 3, 4], 443))
        .gives(&[
            ("fd.num", "3"),
            ("fd.type", "ipv4"),
            ("fd.typechar", "4"),
            ("fd.sockfamily", "ip"),
            ("fd.name", "10.0.0.1:40000->1.2.3.4:443"),
            ("fd.sip", "1.2.3.4"),
            ("fd.cip", "10.0.0.1"),
            ("fd.lip", "10.0.0.1"),
            ("fd.rport", "443"),
            ("fd.sport", "443"),
            ("fd.ip", "10.0.0.1|1.2.3.4"),
            ("fd.snet", "1.2.3.4"),
            ("fd.port", "40000|443"),
            ("fd.l4proto", "tcp"),
            ("fd.is_server", "false"),
            ("fd.connected", "true"),
            ("fd.name_changed", "true"),
            ("fd.directory", "-"),
            ("evt.arg.fd", "<4t>10.0.0.1:40000->1.2.3.4:443"),
            ("evt.arg.tuple", "10.0.0.1:40000->1.2.3.4:443"),
            ("evt.arg.addr", "1.2.3.4:443"),
            ("evt.category", "net"),
        ]);
    // A connection that was refused: the socket has forgotten whom it meant.
    call(30, "connect", [3, 0, 16, 0, 0, 0], -111)
        .with(Part::Object, tcp([0; 4], 0, [0; 4], 0, 7).as_bytes())
        .with(Part::Address, address([1, 2, 3, 4], 443))
        .gives(&[
            ("fd.sip", "1.2.3.4"),
            ("fd.connected", "false"),
            ("evt.res", "ECONNREFUSED"),
        ]);
    call(30, "accept4", [3, 0, 0, 0, 0, 0], 8)
        .with(
            Part::Object,
            tcp([10, 0, 0, 1], 50_000, [1, 2, 3, 4], 443, 1).as_bytes(),
        )
        .gives(&[
            ("fd.num", "8"),
            ("fd.name", "1.2.3.4:443->10.0.0.1:50000"),
            ("fd.cip", "1.2.3.4"),
            ("fd.sport", "50000"),
            ("fd.is_server", "true"),
        ]);
    call(30, "listen", [3, 5, 0, 0, 0, 0], 0)
        .with(Part::Object, tcp([0; 4], 80, [0; 4], 0, 10).as_bytes())
        .gives(&[
            ("fd.name", "0.0.0.0:80"),
            ("fd.sport", "80"),
            ("fd.cip", "-"),
            ("fd.port", "80"),
        ]);
    // Without a word of who began, the lower port serves.
    let low = FileInfo {
        ino: 7,
        ..tcp([10, 0, 0, 1], 22, [1, 2, 3, 4], 50_000, 1)
    };
    let shutdown = || call(30, "shutdown", [3, 2, 0, 0, 0, 0], 0).with(Part::Object, low.as_bytes());
    let connect = call(30, "connect", [3, 0, 16, 0, 0, 0], 0).with(Part::Object, low.as_bytes());
    shutdown()
        .after(connect)
        .gives(&[("fd.name", "10.0.0.1:22->1.2.3.4:50000"), ("fd.is_server", "false")]);
    shutdown().gives(&[
        ("fd.sport", "22"),
        ("fd.is_server", "true"),
        ("evt.arg.how", "SHUT_RDWR"),
    ]);
}

#[test]
fn datagrams_mapped_addresses_and_unix_sockets() {
    let udp = FileInfo {
        socket_type: 2,
        protocol: 17,
        ..tcp([0; 4], 5000, [0; 4], 0, 7)
    };
    call(30, "sendto", [3, 0, 5, 0, 0, 16], 5)
        .with(Part::Object, udp.as_bytes())
        .with(Part::Address, address([8, 8, 8, 8], 53))
        .with(Part::Data, "hello")
        .gives(&[
            ("fd.name", "0.0.0.0:5000->8.8.8.8:53"),
            ("fd.l4proto", "udp"),
            ("fd.connected", "false"),
            ("fd.name_changed", "true"),
            ("evt.buffer", "hello"),
            ("evt.buflen", "5"),
            ("evt.is_io_write", "true"),
            ("evt.io_dir", "w"),
            ("evt.category", "net"),
        ]);
    let mut mapped = FileInfo {
        family: 10,
        ..tcp([0; 4], 22, [0; 4], 50_000, 1)
    };
    mapped.local[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    mapped.peer[10..].copy_from_slice(&[0xff, 0xff, 1, 2, 3, 4]);
    call(30, "accept4", [3, 0, 0, 0, 0, 0], 8)
        .with(Part::Object, mapped.as_bytes())
        .gives(&[
            ("fd.typechar", "6"),
            ("fd.cip", "1.2.3.4"),
            ("fd.name", "1.2.3.4:50000->10.0.0.1:22"),
        ]);
    let unix = FileInfo {
        mode: 0o140777,
        family: 1,
        socket_type: 1,
        ..FileInfo::default()
    };
    let path = [&1u16.to_ne_bytes()[..], b"/run/containerd/containerd.sock\0junk"].concat();
    call(30, "connect", [3, 0, 110, 0, 0, 0], 0)
        .with(Part::Object, unix.as_bytes())
        .with(Part::Address, path)
        .gives(&[
            ("fd.typechar", "u"),
            ("fd.name", "/run/containerd/containerd.sock"),
            ("fd.sockfamily", "unix"),
            ("fd.sip", "-"),
            ("fd.l4proto", "-"),
        ]);
}

#[test]
fn processes_and_their_line() {
    call(30, "setsid", [0; 6], 30).gives(&[
        ("proc.name", "cat"),
        ("proc.exe", "cat"),
        ("proc.exepath", "/usr/bin/cat"),
        ("proc.args", "-n a b"),
        ("proc.args[0]", "-n"),
        ("proc.args[7]", "-"),
        ("proc.cmdline", "cat -n a b"),
        ("proc.exeline", "cat -n a b"),
        ("proc.cmdnargs", "2"),
        ("proc.cmdlenargs", "5"),
        ("proc.env", "HOME=/root TERM=xterm"),
        ("proc.env[TERM]", "xterm"),
        ("proc.env[NONE]", "-"),
        ("proc.aenv[HOME]", "/root"),
        ("proc.cwd", "/home/x/"),
        ("proc.pname", "bash"),
        ("proc.pexe", "-bash"),
        ("proc.pcmdline", "bash"),
        ("proc.aname", "bash|sshd|systemd"),
        ("proc.aname[0]", "cat"),
        ("proc.aname[2]", "sshd"),
        ("proc.aname[9]", "-"),
        ("proc.acmdline[2]", "sshd -D"),
        ("proc.apid", "20|10|1"),
        ("proc.aexepath[1]", "/usr/bin/bash"),
        ("proc.pid", "30"),
        ("proc.ppid", "20"),
        ("proc.vpid", "30"),
        ("proc.loginshellid", "20"),
        ("proc.duration", &(70 * SECOND).to_string()),
        ("proc.pid.ts", &(BOOT + 30 * SECOND).to_string()),
        ("proc.exe_ino.ctime_duration_proc_start", &(30 * SECOND).to_string()),
        ("thread.tid", "30"),
        ("thread.ismain", "true"),
        ("thread.cap_effective", "CAP_CHOWN CAP_SYS_ADMIN"),
        ("thread.cap_permitted", ""),
        ("user.uid", "1000"),
        ("user.name", "alice"),
        ("user.homedir", "/home/alice"),
        ("user.loginuid", "1000"),
        ("user.loginname", "alice"),
        ("group.gid", "0"),
        ("group.name", "root"),
    ]);
    call(20, "unshare", [0; 6], 0).gives(&[
        ("proc.tty", "34816"),
        ("proc.sid", "20"),
        ("proc.sname", "bash"),
        ("proc.is_sid_leader", "true"),
        ("proc.args", ""),
        ("user.loginuid", "-1"),
        ("user.loginname", "<NA>"),
    ]);
    // Of a process that nobody has told of, the record itself says a little.
    call(99, "unshare", [0; 6], 0).gives(&[
        ("proc.name", "-"),
        ("proc.aname", "-"),
        ("proc.pid", "99"),
        ("user.uid", "1000"),
    ]);
}

#[test]
fn process_events() {
    let mut exec = call(30, "execve", [0; 6], 0);
    exec.head.kind = Kind::Exec as u16;
    exec.head.nr = 0;
    let info = ProcessInfo {
        start: 30 * SECOND,
        parent_start: 20 * SECOND,
        pid: 30,
        tid: 30,
        ppid: 20,
        loginuid: u32::MAX,
        comm: comm("ls"),
        ..ProcessInfo::default()
    };
    exec.with(Part::Object, info.as_bytes())
        .with(Part::Base1, "/usr/bin/ls")
        .with(Part::Base2, "/")
        .with(Part::Data, "ls\0-l\0")
        .gives(&[
            ("evt.type", "execve"),
            ("syscall.type", "execve"),
            ("evt.category", "process"),
            ("evt.res", "SUCCESS"),
            ("proc.name", "ls"),
            ("proc.cmdline", "ls -l"),
            ("proc.cwd", "/"),
            ("proc.pname", "bash"),
            ("evt.arg.exe", "ls"),
            ("evt.arg.args", "-l"),
            ("evt.arg.filename", "/usr/bin/ls"),
            ("evt.arg.res", "0"),
            ("evt.rawarg.res", "0"),
            ("fd.name", "-"),
        ]);
    call(30, "execve", [0; 6], -13).with(Part::Path1, "/root/x").gives(&[
        ("evt.type", "execve"),
        ("evt.res", "EACCES"),
        ("evt.arg.filename", "/root/x"),
        ("proc.name", "cat"),
    ]);
    let mut exit = call(30, "execve", [0; 6], 0);
    exit.head.kind = Kind::Exit as u16;
    exit.head.arg = [0x8b, 0, 11, 1, 0, 0];
    exit.gives(&[
        ("evt.arg.status", "139"),
        ("evt.arg.ret", "0"),
        ("evt.arg.sig", "SIGSEGV"),
        ("evt.arg.core", "1"),
        ("evt.arg.reaper_tid", "-"),
        ("evt.args", "status=139 ret=0 sig=11(SIGSEGV) core=1 "),
        ("evt.type", "procexit"),
        ("syscall.type", "-"),
        ("evt.res", "-"),
        ("proc.name", "cat"),
    ]);
    let mut fork = call(20, "execve", [0; 6], 31);
    fork.head.kind = Kind::Fork as u16;
    let child = ProcessInfo {
        start: 99 * SECOND,
        pid: 31,
        ppid: 20,
        parent_start: 20 * SECOND,
        ..info
    };
    fork.with(Part::Object, child.as_bytes()).gives(&[
        ("evt.type", "clone"),
        ("evt.rawres", "31"),
        ("proc.name", "bash"),
        ("proc.pid", "20"),
    ]);
}

#[test]
fn containers_and_pods() {
    call(40, "unshare", [0; 6], 0).gives(&[
        ("container.id", "0123456789ab"),
        ("container.full_id", ID),
        ("container.name", "web"),
        ("container.type", "containerd"),
        ("container.image", "localhost:5000/team/web:1.2"),
        ("container.image.repository", "localhost:5000/team/web"),
        ("container.image.tag", "1.2"),
        ("container.image.digest", "-"),
        ("container.privileged", "true"),
        ("container.host_pid", "-"),
        ("container.duration", &(70 * SECOND).to_string()),
        ("container.mounts", "/etc/kubernetes:/host:rw:true:rprivate"),
        ("container.mount[0]", "/etc/kubernetes:/host:rw:true:rprivate"),
        ("container.mount.dest[/etc/kubernetes]", "/host"),
        ("container.mount.dest[/etc*]", "/host"),
        ("container.mount.dest[/proc*]", "-"),
        ("container.mount.source[/host]", "/etc/kubernetes"),
        ("container.mount.rdwr[0]", "true"),
        ("container.label[app]", "x"),
        ("container.labels", "app:x, tier:front"),
        ("k8s.ns.name", "shop"),
        ("k8s.pod.name", "web-1"),
        ("k8s.pod.sandbox_id", "fedcba987654"),
        ("k8s.pod.label[app]", "web"),
        ("container.ip", "10.1.2.3"),
        ("user.name", "<NA>"),
        ("proc.vpid", "7"),
        ("proc.is_vpgid_leader", "true"),
        ("proc.is_exe_upper_layer", "true"),
    ]);
    call(30, "unshare", [0; 6], 0).gives(&[
        ("container.id", "host"),
        ("container.name", "host"),
        ("container.image.repository", "-"),
        ("container.privileged", "-"),
        ("k8s.ns.name", "-"),
    ]);
}

#[test]
fn who_came_in_by_exec_says_so() {
    // bash came into the container of sh from outside, at second 100.
    let info = ProcessInfo {
        start: 99 * SECOND,
        parent_start: 30 * SECOND,
        pid: 41,
        tid: 41,
        ppid: 30,
        vpid: 9,
        tty: 34817,
        level: 1,
        comm: comm("bash"),
        ..ProcessInfo::default()
    };
    let mut entered = call(41, "setuid", [0; 6], 0);
    entered.head.kind = Kind::Exec as u16;
    entered.head.start = info.start;
    entered.head.cgroup = CGROUP;
    let entered = entered
        .with(Part::Object, info.as_bytes())
        .with(Part::Base1, "/usr/bin/bash")
        .with(Part::Data, "bash\0-i\0");
    entered.gives(&[
        ("proc.is_exec_root", "true"),
        ("proc.exec_root.pid", "41"),
        ("proc.exec_root.exepath", "/usr/bin/bash"),
        ("proc.exec_root.cmdline", "bash -i"),
        ("proc.exec_root.tty", "34817"),
        ("proc.exec_root.ts", "1700000100000000000"),
        ("proc.exec_root.duration", "0"),
    ]);
    // The container's own first process, and one of the host.
    for pid in [40, 20] {
        call(pid, "setuid", [0; 6], 0).gives(&[
            ("proc.is_exec_root", "false"),
            ("proc.exec_root.pid", "-"),
            ("proc.exec_root.cmdline", "-"),
        ]);
    }
}
