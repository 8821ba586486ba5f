//! Names of the syscall source's events and of their parameters.

use crate::fields::Type::{self, *};

/// True for a name that `evt.type` may have.
pub fn is_event(name: &str) -> bool {
    EVENTS.binary_search(&name).is_ok()
}

/// The type in which `evt.rawarg` gives a parameter, by the event that has it first.
pub fn parameter(name: &str) -> Option<Type> {
    let at = PARAMETERS.binary_search_by_key(&name, |(n, _)| n).ok()?;
    Some(PARAMETERS[at].1)
}

/// Every event's name, sorted.
#[rustfmt::skip]
pub const EVENTS: &[&str] = &[
    "_newselect", "_sysctl", "accept", "accept4", "access", "acct", "add_key", "adjtimex", "alarm", "arch_prctl",
    "asyncevent", "bdflush", "bind", "bpf", "brk", "cachestat", "capget", "capset", "chdir", "chmod", "chown",
    "chroot", "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "clock_settime", "clone", "clone3",
    "close", "close_range", "connect", "container", "copy_file_range", "cpu_hotplug", "creat", "create_module",
    "delete_module", "drop", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat",
    "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fallocate", "fanotify_init", "fanotify_mark",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr",
    "file_getattr", "file_setattr", "finit_module", "flistxattr", "flock", "fork", "fremovexattr", "fsconfig",
    "fsetxattr", "fsmount", "fsopen", "fspick", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync",
    "ftruncate", "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "futimesat", "get_kernel_syms",
    "get_mempolicy", "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid",
    "geteuid", "getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid", "getpmsg",
    "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid",
    "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getxattr", "getxattrat", "groupadded",
    "groupdeleted", "idle", "infra", "init_module", "inotify_add_watch", "inotify_init", "inotify_init1",
    "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "ioctl", "ioperm", "iopl", "ioprio_get", "ioprio_set",
    "ipc", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "lchown", "lgetxattr", "link", "linkat", "listen", "listmount", "listns", "listxattr",
    "listxattrat", "llistxattr", "llseek", "lookup_dcookie", "lremovexattr", "lseek", "lsetxattr",
    "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "lstat", "lstat64", "madvise", "map_shadow_stack",
    "mbind", "membarrier", "memfd_create", "memfd_secret", "migrate_pages", "mincore", "mkdir", "mkdirat", "mknod",
    "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "modify_ldt", "mount", "mount_setattr", "move_mount",
    "move_pages", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
    "mremap", "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "multiplexer", "munlock", "munlockall",
    "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "nfsservctl", "nice", "notification", "oldfstat",
    "oldlstat", "oldolduname", "oldstat", "olduname", "open", "open_by_handle_at", "open_tree", "open_tree_attr",
    "openat", "openat2", "page_fault", "pause", "pciconfig_iobase", "pciconfig_read", "pciconfig_write",
    "perf_event_open", "personality", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pivot_root",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "pluginevent", "poll", "ppoll", "prctl", "pread", "preadv", "preadv2",
    "prlimit", "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev", "procexit", "procinfo",
    "pselect6", "ptrace", "pwrite", "pwritev", "pwritev2", "query_module", "quotactl", "quotactl_fd", "read",
    "readahead", "readdir", "readlink", "readlinkat", "readv", "reboot", "recv", "recvfrom", "recvmmsg", "recvmsg",
    "remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2", "request_key",
    "restart_syscall", "riscv_flush_icache", "riscv_hwprobe", "rmdir", "rseq", "rseq_slice_yield", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_tgsigqueueinfo", "rtas", "s390_guarded_storage", "s390_pci_mmio_read", "s390_pci_mmio_write",
    "s390_runtime_instr", "s390_sthyi", "scapevent", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select",
    "semctl", "semget", "semop", "semtimedop", "send", "sendfile", "sendmmsg", "sendmsg", "sendto", "set_mempolicy",
    "set_mempolicy_home_node", "set_robust_list", "set_thread_area", "set_tid_address", "setdomainname", "setfsgid",
    "setfsuid", "setgid", "setgroups", "sethostname", "setitimer", "setns", "setpgid", "setpriority", "setregid",
    "setresgid", "setresuid", "setreuid", "setrlimit", "setsid", "setsockopt", "settimeofday", "setuid", "setxattr",
    "setxattrat", "sgetmask", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaction", "sigaltstack", "signal",
    "signaldeliver", "signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn", "sigsuspend", "socket",
    "socketcall", "socketpair", "splice", "spu_create", "spu_run", "ssetmask", "stat", "stat64", "statfs", "statfs64",
    "statmount", "statx", "stime", "subpage_prot", "swapcontext", "swapoff", "swapon", "switch", "switch_endian",
    "symlink", "symlinkat", "sync", "sync_file_range", "sync_file_range2", "syncfs", "sys_debug_setcontext", "sysfs",
    "sysinfo", "syslog", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "timerfd", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times", "tkill", "truncate",
    "umask", "umount", "umount2", "uname", "unlink", "unlinkat", "unshare", "uprobe", "uretprobe", "uselib",
    "useradded", "userdeleted", "userfaultfd", "ustat", "utime", "utimensat", "utimes", "vfork", "vhangup", "vm86",
    "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
];

/// Every parameter's name, sorted, with its type.
#[rustfmt::skip]
pub const PARAMETERS: &[(&str, Type)] = &[
    ("ID", Uint), ("action", Uint), ("addr", Bytes), ("arg", Uint), ("arg2", Bytes), ("arg2_int", Int),
    ("arg2_str", String), ("arg3", Bytes), ("arg4", Bytes), ("arg5", Bytes), ("args", Bytes), ("argument", Uint),
    ("aux", Int), ("backlog", Int), ("cap_effective", Uint), ("cap_inheritable", Uint), ("cap_permitted", Uint),
    ("cgroups", Bytes), ("clockid", Uint), ("cmd", Uint), ("comm", String), ("container_id", String), ("core", Uint),
    ("cpu", Uint), ("cpu_sys", Uint), ("cpu_usr", Uint), ("cq_entries", Uint), ("creat_flags", Uint), ("cur", Int),
    ("cwd", String), ("data", Bytes), ("desc", String), ("description", String), ("dev", Uint), ("dir", FsPath),
    ("dirfd", Int), ("domain", Uint), ("dpid", Int), ("dqb_bhardlimit", Uint), ("dqb_bsoftlimit", Uint),
    ("dqb_btime", RelTime), ("dqb_curspace", Uint), ("dqb_ihardlimit", Uint), ("dqb_isoftlimit", Uint),
    ("dqb_itime", RelTime), ("dqi_bgrace", RelTime), ("dqi_flags", Uint), ("dqi_igrace", RelTime), ("egid", Uint),
    ("entries", Uint), ("env", Bytes), ("error", Uint), ("euid", Uint), ("event_data", Bytes), ("event_type", Uint),
    ("exe", String), ("exe_ino", Uint), ("exe_ino_ctime", AbsTime), ("exe_ino_mtime", AbsTime), ("fd", Int),
    ("fd1", Int), ("fd2", Int), ("fd_in", Int), ("fd_out", Int), ("fdin", Int), ("fdlimit", Int), ("fdout", Int),
    ("fds", Bytes), ("features", Uint), ("filename", FsPath), ("first", Uint), ("flags", Uint), ("gid", Uint),
    ("home", String), ("how", Uint), ("id", Uint), ("img", Bytes), ("in_fd", Int), ("initval", Uint), ("ino", Uint),
    ("interval", RelTime), ("ip", Uint), ("json", String), ("key", Int), ("last", Uint), ("len", Uint),
    ("length", Uint), ("level", Uint), ("linkdirfd", Int), ("linkpath", FsPath), ("loginuid", Uint), ("mask", Uint),
    ("max", Int), ("maxevents", Int), ("min_complete", Uint), ("mode", Uint), ("mountfd", Int), ("msgcontrol", Bytes),
    ("name", FsPath), ("nativeID", Uint), ("newcur", Int), ("newdir", Int), ("newdirfd", Int), ("newfd", Int),
    ("newmax", Int), ("newpath", FsPath), ("next", Int), ("nr_args", Uint), ("nsems", Int), ("nsops", Uint),
    ("nstype", Uint), ("offin", Uint), ("offout", Uint), ("offset", Uint), ("oldcur", Int), ("olddir", Int),
    ("olddirfd", Int), ("oldfd", Int), ("oldmax", Int), ("oldpath", FsPath), ("op", Uint), ("opcode", Uint),
    ("operation", Uint), ("option", Uint), ("optlen", Uint), ("optname", Uint), ("out_fd", Int), ("path", FsPath),
    ("pathname", FsPath), ("peer", Uint), ("pgft_maj", Uint), ("pgft_min", Uint), ("pgid", Int), ("pgoffset", Uint),
    ("pid", Int), ("pid_fd", Int), ("pidns_init_start_ts", Uint), ("plugin_id", Uint), ("pos", Uint), ("prot", Uint),
    ("proto", Uint), ("ptid", Int), ("queuelen", Uint), ("queuemax", Uint), ("queuepct", Uint), ("quota_fmt", Uint),
    ("quota_fmt_out", Uint), ("quotafilepath", String), ("ratio", Uint), ("reaper_tid", Int), ("request", Uint),
    ("res", Int), ("resolve", Uint), ("resource", Uint), ("ret", Int), ("rgid", Uint), ("ruid", Uint),
    ("scope", String), ("sem_flg_0", Uint), ("sem_flg_1", Uint), ("sem_num_0", Uint), ("sem_num_1", Uint),
    ("sem_op_0", Int), ("sem_op_1", Int), ("semflg", Uint), ("semid", Int), ("semnum", Int), ("sgid", Uint),
    ("shell", String), ("sig", Uint), ("sigmask", Uint), ("size", Uint), ("source", Uint), ("special", String),
    ("spid", Int), ("sq_entries", Uint), ("sq_thread_cpu", Uint), ("sq_thread_idle", Uint), ("status", Int),
    ("suid", Uint), ("target", String), ("target_fd", Int), ("tid", Int), ("timeout", Int), ("to_submit", Uint),
    ("trusted_exepath", FsPath), ("tty", Uint), ("tuple", Bytes), ("type", Uint), ("uargs", String), ("uid", Uint),
    ("val", Bytes), ("value_bytebuf", Bytes), ("value_charbuf", String), ("vm_rss", Uint), ("vm_size", Uint),
    ("vm_swap", Uint), ("vpgid", Int), ("vpid", Int), ("vtid", Int), ("whence", Uint),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(EVENTS.is_sorted());
        assert!(PARAMETERS.is_sorted_by_key(|(name, _)| *name));
        assert!(is_event("execve") && is_event("pluginevent") && !is_event("nosuchcall"));
        assert_eq!(parameter("mode"), Some(Uint));
        assert_eq!(parameter("res"), Some(Int));
        assert_eq!(parameter("nosuch"), None);
    }
}
