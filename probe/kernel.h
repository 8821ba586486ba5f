/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * What the probe uses of the kernel: helper functions by number (include/uapi/linux/bpf.h) and the members of kernel
 * structures that it reads. Offsets are found at load from the running kernel's BTF (CO-RE), so only names and types
 * matter here.
 */
#ifndef SAKER_KERNEL_H
#define SAKER_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define NOINLINE __attribute__((noinline))
#define CORE __attribute__((preserve_access_index))

struct seq_file;

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PROG_ARRAY = 3, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_RINGBUF = 27 };

#define HELPER(number, result, name, ...) static result (*const name)(__VA_ARGS__) = (void *)number
HELPER(1, void *, bpf_map_lookup_elem, void *map, const void *key);
HELPER(2, long, bpf_map_update_elem, void *map, const void *key, const void *value, __u64 flags);
HELPER(8, __u32, bpf_get_smp_processor_id, void);
HELPER(12, long, bpf_tail_call, void *ctx, void *map, __u32 index);
HELPER(112, long, bpf_probe_read_user, void *to, __u32 size, const void *from);
HELPER(113, long, bpf_probe_read_kernel, void *to, __u32 size, const void *from);
HELPER(114, long, bpf_probe_read_user_str, void *to, __u32 size, const void *from);
HELPER(115, long, bpf_probe_read_kernel_str, void *to, __u32 size, const void *from);
HELPER(14, __u64, bpf_get_current_pid_tgid, void);
HELPER(125, __u64, bpf_ktime_get_boot_ns, void);
HELPER(127, long, bpf_seq_write, struct seq_file *seq, const void *data, __u32 size);
HELPER(130, long, bpf_ringbuf_output, void *ring, void *data, __u64 size, __u64 flags);
HELPER(134, __u64, bpf_ringbuf_query, void *ring, __u64 what);
HELPER(158, struct task_struct *, bpf_get_current_task_btf, void);
HELPER(175, long, bpf_task_pt_regs, struct task_struct *task);
HELPER(181, long, bpf_loop, __u32 times, void *callback, void *context, __u64 flags);

enum { RB_NO_WAKEUP = 1, RB_FORCE_WAKEUP = 2, RB_AVAIL_DATA = 0 };

/* include/linux: members that are read, by the names that BTF has. */
struct kuid { __u32 val; } CORE;
struct qstr { __u32 hash, len; const unsigned char *name; } CORE;
struct super_block { __u32 s_dev; unsigned long s_magic; } CORE;
typedef struct { int counter; } atomic_t;
struct timespec64 { __s64 tv_sec; long tv_nsec; } CORE;
struct inode {
	__u16 i_mode;
	struct kuid i_uid;
	struct kuid i_gid;
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_rdev;
	__s64 i_mtime_sec;
	__s64 i_ctime_sec;
	__u32 i_mtime_nsec;
	__u32 i_ctime_nsec;
} CORE;
/* Up to Linux 6.6 and 6.10. */
struct inode___timespec { struct timespec64 i_mtime; struct timespec64 i_ctime; } CORE;
struct inode___hidden { struct timespec64 __i_mtime; struct timespec64 __i_ctime; } CORE;
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	unsigned char d_iname[40];
	struct super_block *d_sb;
} CORE;
/* Since Linux 6.13. */
struct dentry___new { union { unsigned char string[40]; } d_shortname; } CORE;
struct vfsmount { struct dentry *mnt_root; } CORE;
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; } CORE;
struct path { struct vfsmount *mnt; struct dentry *dentry; } CORE;
struct fs_struct { struct path root; struct path pwd; } CORE;
struct file { struct path f_path; struct inode *f_inode; __u32 f_flags; void *private_data; } CORE;
struct fdtable { __u32 max_fds; struct file **fd; } CORE;
struct files_struct { struct fdtable *fdt; } CORE;
struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
} CORE;
struct kernfs_node { struct kernfs_node *__parent; const char *name; __u64 id; } CORE;
struct kernfs_node___old { struct kernfs_node *parent; } CORE;
struct cgroup { struct kernfs_node *kn; } CORE;
struct cgroup_subsys_state { struct cgroup *cgroup; } CORE;
struct css_set { struct cgroup_subsys_state *subsys[12]; struct cgroup *dfl_cgrp; } CORE;
enum cgroup_subsys_id { memory_cgrp_id = 4, pids_cgrp_id = 11 };
struct ns_common { __u32 inum; } CORE;
struct pid_namespace { struct task_struct *child_reaper; __u32 level; struct ns_common ns; } CORE;
struct upid { int nr; struct pid_namespace *ns; } CORE;
struct pid { __u32 level; struct upid numbers[1]; } CORE;
struct mnt_namespace { struct ns_common ns; } CORE;
struct nsproxy { struct mnt_namespace *mnt_ns; } CORE;
struct kernel_cap { __u64 val; } CORE;
struct cred {
	struct kuid uid, gid, suid, sgid, euid, egid;
	struct kernel_cap cap_inheritable, cap_permitted, cap_effective;
} CORE;
struct tty_driver { int major; int minor_start; } CORE;
struct tty_struct { struct tty_driver *driver; int index; } CORE;
struct signal_struct { atomic_t live; struct pid *pids[4]; struct tty_struct *tty; } CORE;
enum { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID };
struct task_struct {
	int pid, tgid;
	int exit_code;
	__u64 start_boottime;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	const struct cred *cred;
	struct css_set *cgroups;
	struct pid *thread_pid;
	struct kuid loginuid;
	char comm[16];
} CORE;
struct in6_addr { __u8 bytes[16]; };
struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num;
	__u16 skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
} CORE;
struct sock { struct sock_common __sk_common; __u16 sk_type; __u16 sk_protocol; } CORE;
struct socket { short type; struct sock *sk; } CORE;
struct linux_binprm { struct file *file; const char *filename; } CORE;
struct bpf_iter_meta { struct seq_file *seq; } CORE;
/* Context of the task iterator (kernel/bpf/task_iter.c). */
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; } CORE;

/* The frame that a system call has saved (arch/x86/include/asm/ptrace.h). */
struct pt_regs { unsigned long r10, r9, r8, dx, si, di, orig_ax, ax; } CORE;

/* Context of the tracepoints syscalls:sys_exit_*. */
struct sys_exit_context { __u64 common; long id; long ret; };

#define READ(to, from) bpf_probe_read_kernel(&(to), sizeof(to), (const void *)__builtin_preserve_access_index(&(from)))
#define FIELD_EXISTS(type, member) __builtin_preserve_field_info(((type *)0)->member, 2)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
#define ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(type *)value, 1)

#endif
