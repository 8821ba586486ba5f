//! The rows: every system call that the probe reads, and the events of processes.

use super::Category::*;
use super::From::{self, *};
use super::names::*;
use super::{CREAT, Call, NUMBERS, OPENAT2, Parameter, RESULT, call, p};
use crate::fields::syscall::values::{files, process as proc};
use nix::libc::*;

const RES: Parameter = p("res", Result);
const FD: Parameter = p("fd", NewFd);
const FD1: Parameter = p("fd", Fd(1));
const AT: Parameter = p("dirfd", Dir(1, 1));
const DEV: Parameter = p("dev", Device);
const INO: Parameter = p("ino", Inode);
const DATA: Parameter = p("data", Data);
const TUPLE: Parameter = p("tuple", Tuple);
const SIZE: Parameter = p("size", Uint(3));

const fn unread(name: &'static str) -> Parameter {
    p(name, Unread)
}

const fn field(name: &'static str, get: super::Get) -> Parameter {
    p(name, From::Field(get))
}

/// System calls. Those that newer architectures lack are left out there.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    // Files that are opened.
    #[cfg(target_arch = "x86_64")]
    call("open", SYS_open, File, NUMBERS.path(1, 0).open(2),
        &[FD, p("name", Path(1)), p("flags", Flags(2, OPEN)), p("mode", Octal(3)), DEV, INO]),
    #[cfg(target_arch = "x86_64")]
    call("creat", SYS_creat, File, NUMBERS.path(1, 0).open(CREAT),
        &[FD, p("name", Path(1)), p("mode", Octal(2)), DEV, INO, unread("creat_flags")]),
    call("openat", SYS_openat, File, NUMBERS.path(2, 1).open(3),
        &[FD, AT, p("name", Path(1)), p("flags", Flags(3, OPEN)), p("mode", Octal(4)), DEV, INO]),
    call("openat2", SYS_openat2, File, NUMBERS.path(2, 1).open(OPENAT2),
        &[FD, AT, p("name", Path(1)), p("flags", Flags(5, OPEN)), p("mode", Octal(6)), p("resolve", Flags(3, RESOLVE)), DEV, INO]),
    call("open_by_handle_at", SYS_open_by_handle_at, File, NUMBERS.open(3),
        &[FD, p("mountfd", Fd(1)), p("flags", Flags(3, OPEN)), p("path", Path(1)), DEV, INO]),

    // Descriptors.
    call("close", SYS_close, File, NUMBERS.fd(1), &[RES, FD1]),
    call("read", SYS_read, Reads, NUMBERS.fd(1).data(2), &[RES, DATA, FD1, SIZE]),
    call("write", SYS_write, Writes, NUMBERS.fd(1).data(2), &[RES, DATA, FD1, SIZE]),
    call("pread", SYS_pread64, Reads, NUMBERS.fd(1).data(2), &[RES, DATA, FD1, SIZE, p("pos", Uint(4))]),
    call("pwrite", SYS_pwrite64, Writes, NUMBERS.fd(1).data(2), &[RES, DATA, FD1, SIZE, p("pos", Uint(4))]),
    call("readv", SYS_readv, Reads, NUMBERS.fd(1), &[RES, unread("size"), unread("data"), FD1]),
    call("writev", SYS_writev, Writes, NUMBERS.fd(1), &[RES, unread("data"), FD1, unread("size")]),
    call("sendfile", SYS_sendfile, Writes, NUMBERS.fd(1),
        &[RES, unread("offset"), p("out_fd", Fd(1)), p("in_fd", Fd(2)), p("size", Uint(4))]),
    call("splice", SYS_splice, Other, NUMBERS.fd(1),
        &[RES, p("fd_in", Fd(1)), p("fd_out", Fd(3)), p("size", Uint(5)), p("flags", Flags(6, SPLICE))]),
    call("dup", SYS_dup, File, NUMBERS.fd(RESULT), &[p("res", NewFd), p("oldfd", Fd(1))]),
    #[cfg(target_arch = "x86_64")]
    call("dup2", SYS_dup2, File, NUMBERS.fd(RESULT), &[p("res", NewFd), p("oldfd", Fd(1)), p("newfd", Fd(2))]),
    call("dup3", SYS_dup3, File, NUMBERS.fd(RESULT),
        &[p("res", NewFd), p("oldfd", Fd(1)), p("newfd", Fd(2)), p("flags", Flags(3, DUP))]),
    call("fcntl", SYS_fcntl, File, NUMBERS.fd(1),
        &[p("res", NewFd), FD1, p("cmd", Name(2, FCNTL)), p("arg", Uint(3))]),
    call("ioctl", SYS_ioctl, File, NUMBERS.fd(1), &[RES, FD1, p("request", Uint(2)), p("argument", Uint(3))]),
    #[cfg(target_arch = "x86_64")]
    call("pipe", SYS_pipe, Ipc, NUMBERS, &[RES, unread("fd1"), unread("fd2"), unread("ino")]),
    call("pipe2", SYS_pipe2, Ipc, NUMBERS,
        &[RES, unread("fd1"), unread("fd2"), unread("ino"), p("flags", Flags(2, PIPE))]),
    call("fchmod", SYS_fchmod, File, NUMBERS.fd(1), &[RES, FD1, p("mode", Mode(2, MODE))]),
    call("fchown", SYS_fchown, File, NUMBERS.fd(1), &[RES, FD1, p("uid", Uint(2)), p("gid", Uint(3))]),
    call("ftruncate", SYS_ftruncate, File, NUMBERS.fd(1), &[]),
    call("fchdir", SYS_fchdir, File, NUMBERS.fd(1), &[RES, FD1]),

    // Sockets.
    call("socket", SYS_socket, Net, NUMBERS.fd(RESULT),
        &[FD, p("domain", Name(1, DOMAIN)), p("type", Uint(2)), p("proto", Uint(3)), p("flags", Flags(2, SOCKET))]),
    call("socketpair", SYS_socketpair, Ipc, NUMBERS,
        &[RES, unread("fd1"), unread("fd2"), unread("source"), unread("peer"), p("domain", Name(1, DOMAIN)),
            p("type", Uint(2)), p("proto", Uint(3))]),
    call("connect", SYS_connect, Net, NUMBERS.fd(1).address(2), &[RES, TUPLE, FD1, p("addr", Address)]),
    call("bind", SYS_bind, Net, NUMBERS.fd(1).address(2), &[RES, p("addr", Address), FD1]),
    call("listen", SYS_listen, Net, NUMBERS.fd(1), &[RES, FD1, p("backlog", Int(2))]),
    call("accept", SYS_accept, Net, NUMBERS.fd(RESULT),
        &[FD, TUPLE, unread("queuepct"), unread("queuelen"), unread("queuemax")]),
    call("accept4", SYS_accept4, Net, NUMBERS.fd(RESULT),
        &[FD, TUPLE, unread("queuepct"), unread("queuelen"), unread("queuemax"), p("flags", Int(4))]),
    call("shutdown", SYS_shutdown, Net, NUMBERS.fd(1), &[RES, FD1, p("how", Name(2, SHUTDOWN))]),
    call("sendto", SYS_sendto, Writes, NUMBERS.fd(1).data(2).address(5), &[RES, DATA, FD1, SIZE, TUPLE]),
    call("sendmsg", SYS_sendmsg, Writes, NUMBERS.fd(1).message(2), &[RES, DATA, FD1, unread("size"), TUPLE]),
    call("sendmmsg", SYS_sendmmsg, Writes, NUMBERS.fd(1).message(2), &[RES, FD1, unread("size"), DATA, TUPLE]),
    call("recvfrom", SYS_recvfrom, Reads, NUMBERS.fd(1).data(2).address(5), &[RES, DATA, TUPLE, FD1, SIZE]),
    call("recvmsg", SYS_recvmsg, Reads, NUMBERS.fd(1).message(2),
        &[RES, unread("size"), DATA, TUPLE, unread("msgcontrol"), FD1]),
    call("recvmmsg", SYS_recvmmsg, Reads, NUMBERS.fd(1).message(2),
        &[RES, FD1, unread("size"), DATA, TUPLE, unread("msgcontrol")]),

    // Paths.
    #[cfg(target_arch = "x86_64")]
    call("rename", SYS_rename, File, NUMBERS.path(1, 0).path(2, 0),
        &[RES, p("oldpath", Path(1)), p("newpath", Path(2))]),
    call("renameat", SYS_renameat, File, NUMBERS.path(2, 1).path(4, 3),
        &[RES, p("olddirfd", Dir(1, 1)), p("oldpath", Path(1)), p("newdirfd", Dir(3, 2)), p("newpath", Path(2))]),
    call("renameat2", SYS_renameat2, File, NUMBERS.path(2, 1).path(4, 3),
        &[RES, p("olddirfd", Dir(1, 1)), p("oldpath", Path(1)), p("newdirfd", Dir(3, 2)), p("newpath", Path(2)),
            p("flags", Flags(5, RENAME))]),
    #[cfg(target_arch = "x86_64")]
    call("unlink", SYS_unlink, File, NUMBERS.path(1, 0), &[RES, p("path", Path(1))]),
    call("unlinkat", SYS_unlinkat, File, NUMBERS.path(2, 1),
        &[RES, AT, p("name", Path(1)), p("flags", Flags(3, UNLINK))]),
    #[cfg(target_arch = "x86_64")]
    call("rmdir", SYS_rmdir, File, NUMBERS.path(1, 0), &[RES, p("path", Path(1))]),
    #[cfg(target_arch = "x86_64")]
    call("mkdir", SYS_mkdir, File, NUMBERS.path(1, 0), &[RES, p("path", Path(1)), p("mode", Octal(2))]),
    call("mkdirat", SYS_mkdirat, File, NUMBERS.path(2, 1), &[RES, AT, p("path", Path(1)), p("mode", Octal(3))]),
    #[cfg(target_arch = "x86_64")]
    call("link", SYS_link, File, NUMBERS.path(1, 0).path(2, 0), &[RES, p("oldpath", Path(1)), p("newpath", Path(2))]),
    call("linkat", SYS_linkat, File, NUMBERS.path(2, 1).path(4, 3),
        &[RES, p("olddir", Dir(1, 1)), p("oldpath", Path(1)), p("newdir", Dir(3, 2)), p("newpath", Path(2)),
            p("flags", Flags(5, LINK))]),
    #[cfg(target_arch = "x86_64")]
    call("symlink", SYS_symlink, File, NUMBERS.path(1, 0).path(2, 0),
        &[RES, p("target", RawPath(1)), p("linkpath", Path(2))]),
    call("symlinkat", SYS_symlinkat, File, NUMBERS.path(1, 0).path(3, 2),
        &[RES, p("target", RawPath(1)), p("linkdirfd", Dir(2, 2)), p("linkpath", Path(2))]),
    #[cfg(target_arch = "x86_64")]
    call("mknod", SYS_mknod, File, NUMBERS.path(1, 0),
        &[RES, p("path", Path(1)), p("mode", Mode(2, NODE_MODE)), p("dev", Uint(3))]),
    call("mknodat", SYS_mknodat, File, NUMBERS.path(2, 1),
        &[RES, AT, p("path", Path(1)), p("mode", Mode(3, NODE_MODE)), p("dev", Uint(4))]),
    #[cfg(target_arch = "x86_64")]
    call("chmod", SYS_chmod, File, NUMBERS.path(1, 0), &[RES, p("filename", Path(1)), p("mode", Mode(2, MODE))]),
    call("fchmodat", SYS_fchmodat, File, NUMBERS.path(2, 1),
        &[RES, AT, p("filename", Path(1)), p("mode", Mode(3, MODE))]),
    // Upstream gives no parameters; these are fchmodat's.
    call("fchmodat2", 452, File, NUMBERS.path(2, 1),
        &[RES, AT, p("filename", Path(1)), p("mode", Mode(3, MODE)), p("flags", Flags(4, OWNER))]),
    #[cfg(target_arch = "x86_64")]
    call("chown", SYS_chown, File, NUMBERS.path(1, 0),
        &[RES, p("path", Path(1)), p("uid", Uint(2)), p("gid", Uint(3))]),
    #[cfg(target_arch = "x86_64")]
    call("lchown", SYS_lchown, File, NUMBERS.path(1, 0),
        &[RES, p("path", Path(1)), p("uid", Uint(2)), p("gid", Uint(3))]),
    call("fchownat", SYS_fchownat, File, NUMBERS.path(2, 1),
        &[RES, AT, p("pathname", Path(1)), p("uid", Uint(3)), p("gid", Uint(4)), p("flags", Flags(5, OWNER))]),
    call("truncate", SYS_truncate, File, NUMBERS.path(1, 0), &[]),
    call("chdir", SYS_chdir, File, NUMBERS.path(1, 0), &[RES, p("path", RawPath(1))]),
    call("chroot", SYS_chroot, Process, NUMBERS.path(1, 0), &[RES, p("path", Path(1))]),
    call("pivot_root", SYS_pivot_root, Process, NUMBERS.path(1, 0).path(2, 0), &[]),
    call("mount", SYS_mount, System, NUMBERS.path(1, 0).path(2, 0).text(3),
        &[RES, p("dev", RawPath(1)), p("dir", Path(2)), p("type", Text), p("flags", Flags(4, MOUNT))]),
    call("umount2", SYS_umount2, System, NUMBERS.path(1, 0), &[RES, p("name", Path(1)), p("flags", Flags(2, UMOUNT))]),
    call("quotactl", SYS_quotactl, System, NUMBERS.path(2, 0),
        &[RES, p("special", RawPath(1)), unread("quotafilepath")]),

    // Programs that could not be started; those that could are records of their own.
    call("execve", SYS_execve, Process, NUMBERS.path(1, 0), EXEC),
    call("execveat", SYS_execveat, Process, NUMBERS.path(2, 1), EXEC),

    // Identity and rights.
    call("setuid", SYS_setuid, User, NUMBERS, &[RES, p("uid", Uid(1))]),
    call("setgid", SYS_setgid, User, NUMBERS, &[RES, p("gid", Gid(1))]),
    call("setreuid", SYS_setreuid, User, NUMBERS, &[RES, p("ruid", Uid(1)), p("euid", Uid(2))]),
    call("setregid", SYS_setregid, User, NUMBERS, &[RES, p("rgid", Gid(1)), p("egid", Gid(2))]),
    call("setresuid", SYS_setresuid, User, NUMBERS,
        &[RES, p("ruid", Uid(1)), p("euid", Uid(2)), p("suid", Uid(3))]),
    call("setresgid", SYS_setresgid, User, NUMBERS,
        &[RES, p("rgid", Gid(1)), p("egid", Gid(2)), p("sgid", Gid(3))]),
    call("setfsuid", SYS_setfsuid, User, NUMBERS, &[]),
    call("setfsgid", SYS_setfsgid, User, NUMBERS, &[]),
    call("setgroups", SYS_setgroups, User, NUMBERS, &[]),
    call("capset", SYS_capset, Process, NUMBERS.rights(),
        &[RES, field("cap_inheritable", proc::CAP_INHERITABLE), field("cap_permitted", proc::CAP_PERMITTED),
            field("cap_effective", proc::CAP_EFFECTIVE)]),
    call("setsid", SYS_setsid, Process, NUMBERS, &[RES]),
    call("setpgid", SYS_setpgid, Process, NUMBERS, &[RES, p("pid", Int(1)), p("pgid", Int(2))]),
    call("prctl", SYS_prctl, Process, NUMBERS,
        &[RES, p("option", Name(1, PRCTL)), unread("arg2_str"), p("arg2_int", Int(2))]),
    call("setns", SYS_setns, Process, NUMBERS.fd(1), &[RES, FD1, p("nstype", Flags(2, CLONE_FLAGS))]),
    call("unshare", SYS_unshare, Process, NUMBERS, &[RES, p("flags", Flags(1, CLONE_FLAGS))]),

    // Other processes.
    call("ptrace", SYS_ptrace, Process, NUMBERS,
        &[RES, p("addr", Uint(3)), p("data", Uint(4)), p("request", Name(1, PTRACE)), p("pid", Int(2))]),
    call("process_vm_readv", SYS_process_vm_readv, Ipc, NUMBERS, &[RES, p("pid", Int(1)), unread("data")]),
    call("process_vm_writev", SYS_process_vm_writev, Ipc, NUMBERS, &[RES, p("pid", Int(1)), unread("data")]),
    call("kill", SYS_kill, Signal, NUMBERS, &[RES, p("pid", Pid(1)), p("sig", Name(2, SIGNALS))]),
    call("tkill", SYS_tkill, Signal, NUMBERS, &[RES, p("tid", Pid(1)), p("sig", Name(2, SIGNALS))]),
    call("tgkill", SYS_tgkill, Signal, NUMBERS,
        &[RES, p("pid", Pid(1)), p("tid", Int(2)), p("sig", Name(3, SIGNALS))]),
    call("pidfd_open", SYS_pidfd_open, Process, NUMBERS.fd(RESULT), &[FD, p("pid", Int(1)), p("flags", Flags(2, PIPE))]),
    call("pidfd_getfd", SYS_pidfd_getfd, Process, NUMBERS.fd(RESULT),
        &[FD, p("pid_fd", Fd(1)), p("target_fd", Fd(2)), p("flags", Uint(3))]),

    // The kernel.
    call("bpf", SYS_bpf, Other, NUMBERS, &[FD, p("cmd", Name(1, BPF))]),
    call("perf_event_open", SYS_perf_event_open, Other, NUMBERS, &[]),
    call("init_module", SYS_init_module, Other, NUMBERS.text(3),
        &[RES, unread("img"), p("length", Uint(2)), p("uargs", Text)]),
    call("finit_module", SYS_finit_module, Other, NUMBERS.fd(1),
        &[RES, FD1, unread("uargs"), p("flags", Flags(3, MODULE))]),
    call("delete_module", SYS_delete_module, Other, NUMBERS.text(1),
        &[RES, p("name", Text), p("flags", Flags(2, DELETE_MODULE))]),
    call("kexec_load", SYS_kexec_load, System, NUMBERS, &[]),
    call("memfd_create", SYS_memfd_create, Memory, NUMBERS.fd(RESULT),
        &[FD, field("name", files::MEMFD_NAME), p("flags", Flags(2, MEMFD))]),
    call("userfaultfd", SYS_userfaultfd, File, NUMBERS.fd(RESULT), &[RES, p("flags", Flags(1, USERFAULTFD))]),
    call("io_uring_setup", SYS_io_uring_setup, Other, NUMBERS.fd(RESULT),
        &[RES, p("entries", Uint(1)), unread("sq_entries"), unread("cq_entries"), unread("flags"),
            unread("sq_thread_cpu"), unread("sq_thread_idle"), unread("features")]),
];

/// An execve or execveat; when it failed, the process is still what it was.
pub const EXEC: &[Parameter] = &[
    RES,
    field("exe", proc::EXE),
    field("args", proc::ARGS),
    field("tid", proc::TID),
    field("pid", proc::PID),
    field("ptid", proc::PPID),
    field("cwd", proc::CWD),
    unread("fdlimit"),
    unread("pgft_maj"),
    unread("pgft_min"),
    unread("vm_size"),
    unread("vm_rss"),
    unread("vm_swap"),
    field("comm", proc::NAME),
    unread("cgroups"),
    field("env", proc::ENV),
    field("tty", proc::TTY),
    field("vpgid", proc::VPGID),
    field("loginuid", proc::LOGINUID),
    unread("flags"),
    field("cap_inheritable", proc::CAP_INHERITABLE),
    field("cap_permitted", proc::CAP_PERMITTED),
    field("cap_effective", proc::CAP_EFFECTIVE),
    field("exe_ino", proc::EXE_INO),
    field("exe_ino_ctime", proc::EXE_CTIME),
    field("exe_ino_mtime", proc::EXE_MTIME),
    field("uid", proc::UID),
    field("trusted_exepath", proc::EXEPATH),
    field("pgid", proc::PGID),
    field("gid", proc::GID),
    field("filename", files::EXEC_NAME),
];

/// A new process, told by its parent.
pub const CLONE: &[Parameter] = &[
    RES,
    field("exe", proc::EXE),
    field("args", proc::ARGS),
    field("tid", proc::TID),
    field("pid", proc::PID),
    field("ptid", proc::PPID),
    field("cwd", proc::CWD),
    unread("fdlimit"),
    unread("pgft_maj"),
    unread("pgft_min"),
    unread("vm_size"),
    unread("vm_rss"),
    unread("vm_swap"),
    field("comm", proc::NAME),
    unread("cgroups"),
    unread("flags"),
    field("uid", proc::UID),
    field("gid", proc::GID),
    field("vtid", proc::VTID),
    field("vpid", proc::VPID),
    field("pidns_init_start_ts", proc::PIDNS_START),
];

/// The end of a process, told by its last thread; the probe takes the status apart.
pub const EXIT: &[Parameter] = &[
    p("status", Int(1)),
    p("ret", Int(2)),
    p("sig", Name(3, SIGNALS)),
    p("core", Uint(4)),
    unread("reaper_tid"),
];
