//! Programs that are started, and processes that begin and end.

use super::{Row, check};

#[test]
fn programs() {
    check(ROWS);
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("execve s:{actor} a:other,sleep,0 a:A=1,B=2", &[
        "execve: evt.res=SUCCESS evt.rawres=0 evt.failed=false proc.name=actor proc.exe=other proc.args=sleep␣0 proc.pid={pid}",
        "execve: proc.cmdline=actor␣sleep␣0 proc.exeline=other␣sleep␣0 proc.exepath={actor} proc.cmdnargs=2 proc.args[1]=0",
        "execve: evt.arg.filename={actor} evt.arg.exe=other evt.arg.args=sleep␣0 evt.arg.cwd={dir}/ proc.cwd={dir}/",
        "execve: proc.pname=syscall* user.uid=0 proc.is_exe_from_memfd=false proc.is_exe_writable=true evt.category=process",
        "execve: proc.stdin.type=file",
        "procexit: proc.pid={pid} proc.name=actor proc.exe=other evt.res=-",
    ]),
    ("symlink s:{actor} s:alias ; execve s:alias a:alias,sleep,0 0", &[
        "execve: proc.name=alias proc.exepath={actor} proc.exe=alias",
    ]),
    ("open s:{actor} 010000000 ; execveat $0 s: a:x,sleep,0 0 0x1000", &[
        "execve: proc.exepath={actor} proc.exe=x evt.res=SUCCESS",
    ]),
    ("open s:{actor} 0 ; memfd_create s:hid 0 ; sendfile $1 $0 0 10000000 ; execveat $1 s: a:x,sleep,0 0 0x1000", &[
        "execve: proc.is_exe_from_memfd=true proc.exe=x evt.res=SUCCESS",
    ]),
    // A status of 7, and the end by a signal.
    ("execve s:/bin/sh a:sh,-c,exit␣7 0", &["procexit: proc.pid={pid} evt.arg.status=1792 evt.arg.ret=7 evt.arg.sig=0 evt.arg.core=0"]),
    ("kill p 9", &["procexit: proc.pid={pid} evt.arg.status=9 evt.arg.ret=0 evt.arg.sig=SIGKILL evt.rawarg.sig=9"]),
    ("setresuid 54321 54321 54321 ; execve s:/bin/true a:true 0", &[
        "execve: proc.name=true user.uid=54321 proc.is_exe_writable=false thread.cap_effective=",
    ]),
    ("fork", &["clone: proc.pid={pid} proc.name=actor evt.failed=false", "procexit: proc.pid={pid}"]),
    ("vfork", &["clone: proc.pid={pid} proc.name=actor evt.failed=false"]),
    ("chdir s:sub ; execve s:{actor} a:x 0", &["execve: proc.cwd={dir}/sub/"]),
    ("execve s:{actor} 0 0", &["execve: evt.res=SUCCESS proc.name=actor proc.args="]),
];
