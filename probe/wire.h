/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The records that the probe writes into its ring buffer, and the tables that user space fills for it.
 * src/sources/syscall/wire.rs has the same layout; a test compares both.
 */
#ifndef SAKER_WIRE_H
#define SAKER_WIRE_H

enum wire_kind {
	WIRE_SYSCALL = 0,
	WIRE_EXEC = 1,
	WIRE_FORK = 2,
	WIRE_EXIT = 3,
	WIRE_KINDS = 4,
};

/* Parts of a record that follow the header, in this order; a part that is not there has length 0. */
enum wire_part {
	PART_PATH1 = 0,   /* a path argument as given, without NUL */
	PART_PATH2 = 1,   /* the second */
	PART_BASE1 = 2,   /* where a relative PATH1 starts, or the resolved path of the file opened, used or executed */
	PART_BASE2 = 3,   /* where a relative PATH2 starts, or the working directory after an execve */
	PART_OBJECT = 4,  /* struct wire_file or struct wire_process */
	PART_ADDRESS = 5, /* a socket address as given */
	PART_DATA = 6,    /* bytes sent or received, a further text, or the command line */
	PART_ENV = 7,     /* the environment */
	PART_CGROUP = 8,  /* path of the cgroup */
	PARTS = 9,
};

struct wire_header {
	__u32 size;       /* of the record, header included */
	__u16 kind;       /* enum wire_kind */
	__u16 nr;         /* number of the system call */
	__u64 time;       /* ns since boot */
	__u64 start;      /* when the process started, ns since boot: with pid, its identity */
	__u64 cgroup;     /* id of its cgroup */
	__s64 result;     /* as returned: below 0 a negated errno */
	__u64 arg[6];     /* as passed */
	__u32 pid;        /* thread group, in the first PID namespace */
	__u32 tid;
	__u32 ppid;       /* thread group of the real parent */
	__u32 uid;        /* effective */
	__u32 gid;        /* effective */
	__u16 cpu;
	__u16 flags;      /* WIRE_… below */
	__u16 part[PARTS];
	__u16 unused[3];
};

#define WIRE_CUT 1        /* a part is shorter than what it tells of */

/* What a file descriptor refers to. */
struct wire_file {
	__u64 ino;
	__u64 flags;      /* f_flags */
	__u32 dev;        /* as the kernel has it: major << 20 | minor */
	__u32 mode;       /* i_mode */
	__u16 family;     /* AF_…; 0: no socket */
	__u16 socket_type; /* SOCK_… */
	__u16 protocol;   /* IPPROTO_… */
	__u8 state;       /* sk_state, e.g. 1 = established, 10 = listening */
	__u8 layer;       /* overlayfs: 1 upper, 2 lower; 0 other */
	__u16 local_port; /* host byte order */
	__u16 peer_port;
	__u32 magic;      /* of the file system */
	__u8 local[16];   /* network byte order; 4 bytes for IPv4 */
	__u8 peer[16];
};

/* A process as it is after execve, or at fork. */
struct wire_process {
	__u64 start;            /* of the process that the record is about: at fork, the child */
	__u64 parent_start;
	__u64 cap_permitted;
	__u64 cap_effective;
	__u64 cap_inheritable;
	__u64 parent_cgroup;
	__u64 exe_ino;
	__u64 exe_ctime;        /* ns since the epoch */
	__u64 exe_mtime;
	__u64 pidns_start;      /* start of the PID namespace's first process */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 ruid;
	__u32 euid;
	__u32 suid;
	__u32 rgid;
	__u32 egid;
	__u32 loginuid;
	__u32 tty;              /* device number as in /proc/PID/stat; 0: none */
	__u32 sid;              /* in the first PID namespace */
	__u32 pgid;
	__u32 vpid;             /* in the process's own */
	__u32 vppid;
	__u32 vsid;
	__u32 vpgid;
	__u32 vtid;
	__u32 level;            /* depth of PID namespaces */
	__u32 parent_level;
	__u32 pidns;            /* inode numbers */
	__u32 mntns;
	__u32 exe_dev;
	__u32 exe_flags;        /* EXE_… */
	char comm[16];
	__u8 stdio[4];          /* what descriptors 0, 1 and 2 are, as fd.typechar has it; 0: closed */
};

#define EXE_UPPER 1
#define EXE_LOWER 2
#define EXE_MEMFD 4
#define EXE_WRITABLE 8

/* How a system call is read, and which of its calls are sent. Written by user space. */
struct want {
	/* A bit for each class of calls, see class_of(): sent; sent when a name of the file's path is in `names`; sent when
	 * the path as given has `..` in it. */
	__u32 send;
	__u32 named;
	__u32 dotted;
	__u8 path[2];     /* which arguments are paths, from 1; 0: none */
	__u8 dirfd[2];    /* which argument such a path is relative to; 0: the working directory */
	__u8 fd;          /* which argument is a file descriptor; 7: the result */
	__u8 address;     /* which argument is a socket address; its length is the next */
	__u8 data;        /* which argument is a buffer; its length is the next */
	__u8 text;        /* which argument is a further text, e.g. mount's file system type */
	__u8 open;        /* how flags of an open are found: 0 no open, n the argument, 8 creat, 9 openat2's structure */
	__u8 message;     /* which argument is a struct msghdr */
	__u8 rights;      /* 1: permitted, effective and inheritable capabilities go into arguments 3 to 5 */
	__u8 anywhere;    /* a bit for each kind of open: `names` has a name for it that may stand anywhere in a path */
};

/* Bits of a class. */
#define CLASS_CONTAINER 1
#define CLASS_FAILED 2
#define CLASS_KIND 4      /* times: 0 other, 1 read or IPv4, 2 write or IPv6, 3 read and write or AF_UNIX */

/* A key of `names`: a component of a path, NUL-padded; longer names are cut. Its value has four bits for each class of
 * opens that worked, by kind, host before container: where the name must stand for a rule that wants such opens. */
struct name_key {
	char name[40];
};

#define NAME_LAST 1
#define NAME_PARENT 2
#define NAME_ANY 4

/* What names with a first byte, for a kind of open, can be: a bit for each length, 63 for 63 and more. */
struct hint {
	__u64 last;       /* of the last component of a path */
	__u64 parent;     /* of the one before it */
	__u64 any;        /* of the others */
};

struct settings {
	__u32 own_pid;    /* events of this process are not sent */
	__u32 data_size;  /* bytes of a buffer that are sent */
	__u32 wake_at;    /* bytes in the ring that wake the reader */
	__u32 environment; /* whether exec carries the environment of host processes as well */
};

#endif
