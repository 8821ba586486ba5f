//! Calls on other processes and on the kernel itself.

use super::{Row, check};

#[test]
fn kernel_and_other_processes() {
    check(ROWS);
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("ptrace 0 0 0 0", &["ptrace: evt.res=SUCCESS evt.arg.request=PTRACE_TRACEME"]),
    ("ptrace 16 4194303 0 0", &["ptrace: evt.res=ESRCH evt.arg.request=PTRACE_ATTACH evt.arg.pid=4194303"]),
    ("process_vm_writev p v:hello 1 v:12345 1 0", &["process_vm_writev: evt.rawres=5 evt.arg.pid={pid}"]),
    ("process_vm_readv p v:hello 1 v:12345 1 0", &["process_vm_readv: evt.rawres=5 evt.arg.pid={pid}"]),
    ("kill p 18", &["kill: evt.res=SUCCESS evt.arg.pid=actor evt.arg.sig=SIGCONT evt.category=signal"]),
    ("kill 4194303 9", &["kill: evt.res=ESRCH evt.arg.pid=4194303 evt.arg.sig=SIGKILL"]),
    ("tkill p 18", &["tkill: evt.arg.tid=actor evt.arg.sig=SIGCONT"]),
    ("tgkill p p 18", &["tgkill: evt.arg.pid=actor evt.arg.tid={pid} evt.arg.sig=SIGCONT"]),
    // BPF_MAP_CREATE: an array of four bytes by four bytes.
    ("bpf 0 x:02000000040000000400000001000000 72", &["bpf: evt.arg.cmd=BPF_MAP_CREATE evt.rawres=3 evt.failed=false"]),
    ("bpf 5 b:128 128", &["bpf: evt.arg.cmd=BPF_PROG_LOAD evt.failed=true"]),
    ("perf_event_open x:0100000070000000 0 -1 -1 0", &["perf_event_open: evt.rawres=3"]),
    ("open s:file 0 ; finit_module $0 s:opts 1", &[
        "finit_module: evt.failed=true fd.name={dir}/file fd.num=3 evt.arg.flags=MODULE_INIT_IGNORE_MODVERSIONS",
    ]),
    ("init_module b:16 16 s:opts=1", &["init_module: evt.failed=true evt.arg.length=16 evt.arg.uargs=opts=1"]),
    ("delete_module s:saker_nosuch 04000", &["delete_module: evt.failed=true evt.arg.name=saker_nosuch evt.arg.flags=O_NONBLOCK"]),
    ("kexec_load 0 99 0 0", &["kexec_load: evt.failed=true"]),
    ("userfaultfd 02000000", &["userfaultfd: evt.arg.flags=O_CLOEXEC"]),
    ("io_uring_setup 1 b:256", &["io_uring_setup: evt.arg.entries=1"]),
    ("execve s:absent a:x,y 0", &[
        "execve: evt.res=ENOENT evt.failed=true proc.name=actor evt.arg.filename={dir}/absent proc.pid={pid}",
    ]),
    ("execve s:file a:x 0", &["execve: evt.res=EACCES evt.arg.filename={dir}/file"]),
    ("open s:sub 0200000 ; execveat $0 s:absent a:x 0 0", &["execveat: evt.res=ENOENT evt.arg.filename={dir}/sub/absent"]),
    ("thread ; open s:file 0", &["open: proc.pid={pid} thread.ismain=false fd.name={dir}/file proc.name=actor"]),
];
