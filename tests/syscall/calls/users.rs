//! Identity, rights and namespaces.

use super::{Row, check};

#[test]
fn identity_and_rights() {
    check(ROWS);
}

#[test]
fn rights_that_were_given_up() {
    check(CAPSET);
}

#[rustfmt::skip]
const CAPSET: &[Row] = &[
    // Only CAP_CHOWN and CAP_DAC_OVERRIDE (bits 0 and 1) permitted, the first effective, none inheritable.
    ("capset x:2205082000000000 x:010000000300000000000000000000000000000000000000", &[
        "capset: evt.res=SUCCESS evt.arg.cap_effective=CAP_CHOWN evt.arg.cap_permitted=CAP_CHOWN␣CAP_DAC_OVERRIDE",
        "capset: evt.arg.cap_inheritable= thread.cap_effective=CAP_CHOWN",
    ]),
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("setuid 54321", &["setuid: evt.res=SUCCESS evt.rawarg.uid=54321 user.uid=54321 user.name=<NA> evt.category=user"]),
    ("setuid 54321 ; setuid 0", &["setuid: evt.res=EPERM evt.arg.uid=root user.uid=54321"]),
    ("setgid 54321", &["setgid: evt.rawarg.gid=54321 group.gid=54321 user.uid=0"]),
    ("setreuid -1 54321", &["setreuid: evt.arg.ruid=<NONE> evt.rawarg.euid=54321 user.uid=54321"]),
    ("setregid 0 54321", &["setregid: evt.arg.rgid=root evt.rawarg.egid=54321 group.gid=54321"]),
    ("setresuid 1 2 3", &["setresuid: evt.rawarg.ruid=1 evt.rawarg.euid=2 evt.rawarg.suid=3 user.uid=2"]),
    ("setresgid 1 2 3", &["setresgid: evt.rawarg.rgid=1 evt.rawarg.egid=2 evt.rawarg.sgid=3 group.gid=2"]),
    ("setfsuid 54321", &["setfsuid: evt.rawres=0"]),
    ("setfsgid 54321", &["setfsgid: evt.rawres=0"]),
    ("setgroups 0 0", &["setgroups: evt.res=SUCCESS"]),
    ("setsid", &["setsid: evt.rawres={pid} proc.is_sid_leader=true proc.sid={pid} proc.pgid={pid}"]),
    ("setpgid 0 0", &["setpgid: evt.arg.pid=0 evt.arg.pgid=0 proc.pgid={pid} proc.is_pgid_leader=true"]),
    ("prctl 15 s:renamed", &["prctl: evt.arg.option=PR_SET_NAME evt.res=SUCCESS"]),
    ("prctl 38 1 0 0 0", &["prctl: evt.arg.option=PR_SET_NO_NEW_PRIVS evt.arg.arg2_int=1"]),
    ("open s:/proc/self/ns/uts 0 ; setns $0 0x04000000", &["setns: evt.res=SUCCESS evt.arg.nstype=CLONE_NEWUTS fd.num=3"]),
    ("unshare 0x24000000", &["unshare: evt.arg.flags=CLONE_NEWPID|CLONE_NEWUTS"]),
    ("unshare 0x10000000", &["unshare: evt.arg.flags=CLONE_NEWUSER"]),
];
