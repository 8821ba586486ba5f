/* SPDX-License-Identifier: GPL-2.0 OR MIT
 *
 * The probe: process events at their tracepoints, system calls when they return. What is sent, and how a system call's
 * arguments are read, stands in the map `wants`, which user space fills from what the loaded rules ask.
 */
#include "kernel.h"
#include "wire.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define MAX_SYSCALL 512
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFIFO 0010000
#define S_IFCHR 0020000
#define S_IFDIR 0040000
#define S_IFBLK 0060000
#define AT_FDCWD -100
#define OVERLAYFS_MAGIC 0x794c7630

/* Keeps the compiler from checking another copy of a value than the one that is used. */
#define BARRIER(value) asm volatile("" : "+r"(value))

#define PATH_SIZE 4096
#define ARGV_SIZE 4096
#define ENV_SIZE 4096
#define DATA_SIZE 256
#define CGROUP_SIZE 512
#define BODY_SIZE (5 * PATH_SIZE + 3 * 1024 + DATA_SIZE)

/* Map definitions as aya and libbpf read them from BTF. */
#define MAP(name, kind, keys, values, count)                                                                           \
	struct {                                                                                                       \
		int (*type)[kind];                                                                                     \
		keys *key;                                                                                             \
		values *value;                                                                                         \
		int (*max_entries)[count];                                                                             \
	} name SEC(".maps")

struct record {
	struct wire_header head;
	char body[BODY_SIZE];
};

/* A path is put together from its end: the last name first. What the steps hand on lies here as well, because the
 * verifier would tell apart every length that a path may have, if it could see it on the stack. */
struct walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;
	struct mount *root_mount;
	struct kernfs_node *node;
	__u32 at;     /* first byte of the text so far; it ends at PATH_SIZE */
	__u32 cut;
	char text[2 * PATH_SIZE];
	struct wire_process about; /* the stack has no room for it */
};

struct {
	int (*type)[MAP_RINGBUF];
	int (*max_entries)[8 << 20];
} ring SEC(".maps");
MAP(wants, MAP_ARRAY, __u32, struct want, MAX_SYSCALL);
MAP(names, MAP_HASH, struct name_key, __u32, 4096);
/* By kind of open times 256 and the first byte of a name. */
MAP(hints, MAP_ARRAY, __u32, struct hint, 4 * 256);
MAP(cgroups, MAP_LRU_HASH, __u64, __u8, 16384);
MAP(lost, MAP_PERCPU_ARRAY, __u32, __u64, WIRE_KINDS);
MAP(settings, MAP_ARRAY, __u32, struct settings, 1);
/* The second of each is the reader's own: its snapshot of all tasks may be interrupted by what other tasks do. */
MAP(records, MAP_PERCPU_ARRAY, __u32, struct record, 2);
MAP(walks, MAP_PERCPU_ARRAY, __u32, struct walk, 2);

INLINE struct settings *get_settings(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&settings, &zero);
}

INLINE __u32 scratch_index(void)
{
	struct settings *settings = get_settings();

	return settings && settings->own_pid == bpf_get_current_pid_tgid() >> 32;
}

INLINE struct record *get_record(void)
{
	__u32 index = scratch_index();
	return bpf_map_lookup_elem(&records, &index);
}

/* The cgroup that tells containers apart: the unified hierarchy's, or where that is not used (all processes are in its
 * root, which has no parent) the pids or memory controller's. */
INLINE struct kernfs_node *cgroup_of(struct task_struct *task)
{
	struct css_set *set;
	struct cgroup *cgroup;
	struct cgroup_subsys_state *css;
	struct kernfs_node *node, *parent;

	if (READ(set, task->cgroups) || READ(cgroup, set->dfl_cgrp) || READ(node, cgroup->kn))
		return 0;
	if (FIELD_EXISTS(struct kernfs_node___old, parent))
		READ(parent, ((struct kernfs_node___old *)node)->parent);
	else
		READ(parent, node->__parent);
	if (parent)
		return node;
	if (READ(css, set->subsys[ENUM_VALUE(enum cgroup_subsys_id, pids_cgrp_id)]) || !css)
		return node;
	if (READ(cgroup, css->cgroup) || READ(node, cgroup->kn))
		return 0;
	return node;
}

INLINE __u64 cgroup_id(struct task_struct *task)
{
	struct kernfs_node *node = cgroup_of(task);
	__u64 id = 0;

	if (node)
		READ(id, node->id);
	return id;
}

/* Appends bytes of kernel memory as a part; `limit` is a constant. */
#define APPEND(record, which, source, length, limit, read)                                                             \
	do {                                                                                                           \
		__u32 at_ = (record)->head.size - sizeof(struct wire_header);                                          \
		__u32 len_ = (length);                                                                                 \
		BARRIER(at_);                                                                                          \
		BARRIER(len_);                                                                                         \
		if (len_ > (limit)) {                                                                                  \
			len_ = (limit);                                                                                \
			(record)->head.flags |= WIRE_CUT;                                                              \
		}                                                                                                      \
		BARRIER(len_);                                                                                                      \
		if (at_ <= BODY_SIZE - (limit) && len_ > 0 && read(&(record)->body[at_], len_, source) == 0) {         \
			(record)->head.part[which] = len_;                                                             \
			(record)->head.size += len_;                                                                   \
		}                                                                                                      \
	} while (0)

/* Appends a text of user memory, without its NUL. */
#define APPEND_TEXT(record, which, source, limit)                                                                      \
	do {                                                                                                           \
		__u32 at_ = (record)->head.size - sizeof(struct wire_header);                                          \
		if (at_ <= BODY_SIZE - (limit)) {                                                                      \
			long got_ = bpf_probe_read_user_str(&(record)->body[at_], limit, source);                      \
			if (got_ > 1 && got_ <= (limit)) {                                                             \
				if (got_ == (limit))                                                                   \
					(record)->head.flags |= WIRE_CUT;                                              \
				(record)->head.part[which] = got_ - 1;                                                 \
				(record)->head.size += got_ - 1;                                                       \
			}                                                                                              \
		}                                                                                                      \
	} while (0)

#define MOUNT_OF(vfsmount)                                                                                             \
	((struct mount *)((char *)(vfsmount) - __builtin_preserve_field_info(((struct mount *)0)->mnt, 0)))

INLINE struct walk *get_walk(void)
{
	__u32 index = scratch_index();
	return bpf_map_lookup_elem(&walks, &index);
}

/* One name of a path; as d_path() does. */
static long walk_step(__u32 index, void *context)
{
	struct walk *walk = get_walk();
	struct dentry *dentry, *top, *parent;
	struct mount *mount, *up;
	const unsigned char *text;
	__u32 len, at;

	if (!walk)
		return 1;
	dentry = walk->dentry;
	mount = walk->mount;
	if (dentry == walk->root && mount == walk->root_mount)
		return 1;
	if (READ(top, mount->mnt.mnt_root) || READ(parent, dentry->d_parent))
		return 1;
	if (dentry == top) {
		if (READ(up, mount->mnt_parent) || up == mount || READ(walk->dentry, mount->mnt_mountpoint))
			return 1;
		walk->mount = up;
		return 0;
	}
	if (READ(len, dentry->d_name.len) || READ(text, dentry->d_name.name))
		return 1;
	if (len > 255)
		len = 255;
	at = walk->at;
	if (at < len + 1 || at > PATH_SIZE) {
		walk->cut = 1;
		return 1;
	}
	at -= len;
	if (at < PATH_SIZE && bpf_probe_read_kernel(&walk->text[at], len, text))
		return 1;
	/* Neither mounted nor below anything: memfds, pipes, deleted directories. */
	if (parent == dentry) {
		walk->at = at;
		return 1;
	}
	at -= 1;
	if (at < PATH_SIZE)
		walk->text[at] = '/';
	walk->at = at;
	walk->dentry = parent;
	return 0;
}

/* Appends what a walk has put together. */
INLINE void append_walk(struct record *record, __u32 which, struct walk *walk, const __u32 limit)
{
	__u32 at = walk->at, len = PATH_SIZE - at, to = record->head.size - sizeof(struct wire_header);

	if (walk->cut)
		record->head.flags |= WIRE_CUT;
	BARRIER(at);
	BARRIER(len);
	BARRIER(to);
	if (at >= PATH_SIZE || len == 0 || len > limit || to > BODY_SIZE - limit)
		return;
	if (bpf_probe_read_kernel(&record->body[to], len, &walk->text[at]))
		return;
	record->head.part[which] = len;
	record->head.size += len;
}

/* Appends the absolute path of a file as its process sees it. */
static NOINLINE int append_path(struct record *record, __u32 which, struct fs_struct *fs, const struct path *path)
{
	struct walk *walk = get_walk();
	struct vfsmount *mnt;

	if (!walk || READ(walk->dentry, path->dentry) || READ(mnt, path->mnt) || !mnt || which >= PARTS)
		return 0;
	walk->at = PATH_SIZE;
	walk->cut = 0;
	walk->root = 0;
	walk->root_mount = 0;
	walk->mount = MOUNT_OF(mnt);
	if (fs) {
		READ(walk->root, fs->root.dentry);
		READ(mnt, fs->root.mnt);
		walk->root_mount = MOUNT_OF(mnt);
	}
	bpf_loop(128, walk_step, 0, 0);
	if (walk->at == PATH_SIZE) {
		walk->at = PATH_SIZE - 1;
		walk->text[PATH_SIZE - 1] = '/';
	}
	append_walk(record, which, walk, PATH_SIZE);
	return 0;
}

INLINE struct fs_struct *fs_of(struct task_struct *task)
{
	struct fs_struct *fs = 0;

	READ(fs, task->fs);
	return fs;
}

INLINE struct file *file_of(struct task_struct *task, __s64 fd)
{
	struct files_struct *files = task->files;
	struct file *file = 0;
	struct fdtable *table;

	if (!files)
		return 0;
	table = files->fdt;
	if (fd < 0 || fd >= table->max_fds)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd);
	return file;
}

/* Whether an inode of overlayfs comes from the writable layer: struct ovl_inode has the upper dentry right after the
 * inode (fs/overlayfs/ovl_entry.h). */
INLINE __u8 layer_of(struct inode *inode, unsigned long magic)
{
	void *upper = 0;

	if (magic != OVERLAYFS_MAGIC)
		return 0;
	bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + TYPE_SIZE(struct inode));
	return upper ? 1 : 2;
}

INLINE __u16 swap16(__u16 n)
{
	return __builtin_bswap16(n);
}

INLINE void describe_file(struct wire_file *out, struct file *file)
{
	struct inode *inode;
	struct super_block *sb;
	struct socket *socket;
	struct sock *sk;
	unsigned long magic = 0;
	__u16 mode = 0, port;

	if (READ(inode, file->f_inode) || !inode)
		return;
	READ(out->ino, inode->i_ino);
	READ(mode, inode->i_mode);
	out->mode = mode;
	READ(out->flags, file->f_flags);
	if (!READ(sb, inode->i_sb)) {
		READ(out->dev, sb->s_dev);
		READ(magic, sb->s_magic);
		out->magic = magic;
		out->layer = layer_of(inode, magic);
	}
	if ((mode & S_IFMT) != S_IFSOCK || READ(socket, file->private_data) || READ(out->socket_type, socket->type) ||
	    READ(sk, socket->sk) || !sk)
		return;
	READ(out->family, sk->__sk_common.skc_family);
	READ(out->protocol, sk->sk_protocol);
	READ(out->state, sk->__sk_common.skc_state);
	if (out->family == AF_INET) {
		bpf_probe_read_kernel(out->local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_probe_read_kernel(out->peer, 4, &sk->__sk_common.skc_daddr);
	} else if (out->family == AF_INET6) {
		bpf_probe_read_kernel(out->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(out->peer, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		return;
	}
	READ(out->local_port, sk->__sk_common.skc_num);
	if (!READ(port, sk->__sk_common.skc_dport))
		out->peer_port = swap16(port);
}

INLINE void fill_header(struct wire_header *head, struct task_struct *task, __u16 kind)
{
	struct task_struct *leader, *parent;
	const struct cred *cred;

	__builtin_memset(head, 0, sizeof(*head));
	head->size = sizeof(*head);
	head->kind = kind;
	head->time = bpf_ktime_get_boot_ns();
	head->cpu = bpf_get_smp_processor_id();
	head->pid = task->tgid;
	head->tid = task->pid;
	leader = task->group_leader;
	parent = task->real_parent;
	READ(head->start, leader->start_boottime);
	READ(head->ppid, parent->tgid);
	cred = task->cred;
	READ(head->uid, cred->euid.val);
	READ(head->gid, cred->egid.val);
	head->cgroup = cgroup_id(task);
}

INLINE void send(struct record *record)
{
	struct settings *settings = get_settings();
	__u64 wake = RB_NO_WAKEUP;
	__u32 size = record->head.size, kind = record->head.kind;
	__u64 *count;

	if (kind == WIRE_EXEC || (settings && bpf_ringbuf_query(&ring, RB_AVAIL_DATA) >= settings->wake_at))
		wake = RB_FORCE_WAKEUP;
	if (size > sizeof(*record))
		return;
	if (bpf_ringbuf_output(&ring, record, size, wake) == 0)
		return;
	count = bpf_map_lookup_elem(&lost, &kind);
	if (count)
		*count += 1;
}

/* ---- system calls ---- */

struct call {
	struct task_struct *task;
	struct pt_regs *regs;
	long nr;
	long result;
	__u64 cgroup;
};

INLINE __u64 argument(const struct pt_regs *regs, __u32 number)
{
	__u64 value = 0;

	switch (number) {
	case 1: value = regs->di; break;
	case 2: value = regs->si; break;
	case 3: value = regs->dx; break;
	case 4: value = regs->r10; break;
	case 5: value = regs->r8; break;
	case 6: value = regs->r9; break;
	}
	return value;
}

#define O_ACCMODE 3

/* Flags of an open, wherever the call has them. */
INLINE __u64 open_flags(const struct want *want, const struct pt_regs *regs)
{
	__u64 flags = 0;

	if (want->open == 8)
		return 01101; /* O_WRONLY | O_CREAT | O_TRUNC */
	if (want->open == 9) {
		bpf_probe_read_user(&flags, sizeof(flags), (void *)regs->dx);
		return flags;
	}
	return argument(regs, want->open);
}

/* Which calls are alike for rules: see CLASS_… */
INLINE __u32 class_of(const struct want *want, struct call *call, struct file *file)
{
	__u32 class = call->result < 0 ? CLASS_FAILED : 0;
	__u32 kind = 0;

	if (want->open) {
		kind = ((open_flags(want, call->regs) & O_ACCMODE) + 1) & 3;
	} else if (file) {
		struct inode *inode;
		struct socket *socket;
		struct sock *sk;
		__u16 mode = 0, family = 0;

		if (!READ(inode, file->f_inode) && !READ(mode, inode->i_mode) && (mode & S_IFMT) == S_IFSOCK &&
		    !READ(socket, file->private_data) && !READ(sk, socket->sk) && sk)
			READ(family, sk->__sk_common.skc_family);
		kind = family == AF_INET ? 1 : family == AF_INET6 ? 2 : family == AF_UNIX ? 3 : 0;
	}
	return class + kind * CLASS_KIND;
}

/* A mount, and what is read of it at once. */
struct name_mount {
	struct mount *parent;
	struct dentry *mountpoint;
	struct dentry *top;
};

/* What is read of a struct dentry at once: the name's first byte is in it unless the name is long. */
struct name_dentry {
	char bytes[40];
};

struct name_search {
	struct dentry *dentry;
	struct mount *mount;
	struct name_mount about;
	__u32 kind;   /* of the open */
	__u32 places; /* NAME_PLACE times 1 for the host, 16 for containers, as bits of a value in `names` */
	__u32 found;
};

/* What a look at a component says. */
#define NAME_OTHER 0
#define NAME_FOUND 1
#define NAME_ROOT 2   /* there is none: the root of all mounts */

#define OFFSET(type, member) __builtin_preserve_field_info(((type *)0)->member, 0)
/* From the member of a struct dentry at which `name_dentry` begins. */
#define FROM_PARENT(offset) ((__u32)((offset) - OFFSET(struct dentry, d_parent)))

INLINE int look_at_mount(struct name_search *search, struct mount *mount)
{
	struct name_mount *about = &search->about;
	__u32 first = OFFSET(struct mount, mnt_parent);

	search->mount = mount;
	if (OFFSET(struct mount, mnt_mountpoint) == first + 8 &&
	    OFFSET(struct mount, mnt) + OFFSET(struct vfsmount, mnt_root) == first + 16)
		return bpf_probe_read_kernel(about, sizeof(*about), (char *)mount + first);
	return READ(about->parent, mount->mnt_parent) || READ(about->mountpoint, mount->mnt_mountpoint) ||
	       READ(about->top, mount->mnt.mnt_root);
}

/* Whether the component at hand is one that rules ask for; goes on to the one above. */
INLINE int name_here(struct name_search *search, const __u32 role)
{
	struct dentry *dentry = search->dentry;
	struct name_dentry raw;
	struct name_key key;
	const unsigned char *text;
	struct hint *hint;
	__u32 at, len, inlined, *roles;
	__u8 first;

	/* Over mount points, of which few are on the way. */
#pragma unroll
	for (int i = 0; i < 3; i++) {
		if (dentry != search->about.top)
			break;
		if (search->about.parent == search->mount)
			return NAME_ROOT;
		dentry = search->about.mountpoint;
		if (look_at_mount(search, search->about.parent))
			return NAME_FOUND;
	}
	if (dentry == search->about.top)
		return search->about.parent == search->mount ? NAME_ROOT : NAME_FOUND;
	if (FIELD_EXISTS(struct dentry___new, d_shortname))
		inlined = FROM_PARENT(OFFSET(struct dentry___new, d_shortname));
	else
		inlined = FROM_PARENT(OFFSET(struct dentry, d_iname));
	at = FROM_PARENT(OFFSET(struct dentry, d_name));
	if (at <= sizeof(raw) - sizeof(struct qstr)) {
		if (bpf_probe_read_kernel(&raw, sizeof(raw), (char *)dentry + OFFSET(struct dentry, d_parent)))
			return NAME_FOUND;
		search->dentry = *(struct dentry **)&raw.bytes[0];
		text = *(const unsigned char **)&raw.bytes[(at + OFFSET(struct qstr, name)) & 63];
		len = *(__u32 *)&raw.bytes[(at + OFFSET(struct qstr, len)) & 63];
	} else {
		inlined = sizeof(raw);
		if (READ(search->dentry, dentry->d_parent) || READ(text, dentry->d_name.name) ||
		    READ(len, dentry->d_name.len))
			return NAME_FOUND;
	}
	if (inlined < sizeof(raw) && text == (const unsigned char *)dentry + OFFSET(struct dentry, d_parent) + inlined)
		first = raw.bytes[inlined & 63];
	else if (bpf_probe_read_kernel(&first, 1, text))
		return NAME_FOUND;
	at = search->kind << 8 | first;
	if (len > 63)
		len = 63;
	hint = bpf_map_lookup_elem(&hints, &at);
	if (!hint || !((role == NAME_LAST ? hint->last : role == NAME_PARENT ? hint->parent : hint->any) >> len & 1))
		return NAME_OTHER;
	__builtin_memset(&key, 0, sizeof(key));
	bpf_probe_read_kernel_str(key.name, sizeof(key.name), text);
	roles = bpf_map_lookup_elem(&names, &key);
	return roles && *roles & search->places * (role | NAME_ANY) ? NAME_FOUND : NAME_OTHER;
}

static long name_step(__u32 index, struct name_search *search)
{
	struct dentry *before = search->dentry;

	search->found = name_here(search, NAME_ANY);
	return search->found != NAME_OTHER || search->dentry == before;
}

/* Whether a component of a file's path is one that rules ask for in such an open, where `bit` has the classes that it
 * may be of; in doubt it is. */
INLINE int has_name(const struct want *want, struct file *file, __u32 class, __u32 bit)
{
	struct name_search search = {};
	struct path path;
	int said;

	if (READ(path, file->f_path) || !path.mnt || look_at_mount(&search, MOUNT_OF(path.mnt)))
		return 1;
	search.dentry = path.dentry;
	search.kind = class / CLASS_KIND & 3;
	/* Classes of opens that worked, host before container; 4 bits of roles for each. */
	bit >>= search.kind * CLASS_KIND;
	search.places = ((bit & 1) | (bit & 2) << 3) << search.kind * 8;
	said = name_here(&search, NAME_LAST);
	if (said == NAME_OTHER)
		said = name_here(&search, NAME_PARENT);
	if (said != NAME_OTHER)
		return said == NAME_FOUND;
	if (!(want->anywhere >> search.kind & 1))
		return 0;
	bpf_loop(64, name_step, &search, 0);
	return search.found == NAME_FOUND;
}

#define DOTS_SIZE 256

/* Whether a path as given has `..` in its first bytes; one that is longer is taken to have them. */
INLINE int has_dots(const void *path)
{
	__u64 words[DOTS_SIZE / 8], carry = 0;
	long len = bpf_probe_read_user_str(words, sizeof(words), path);

	if (len == DOTS_SIZE)
		return 1;
	for (int i = 0; i < DOTS_SIZE / 8; i++) {
		/* A byte that is a dot becomes 0, and that the highest bit of its place. */
		__u64 word, dots;

		if (i * 8 >= len)
			return 0;
		word = words[i] ^ 0x2e2e2e2e2e2e2e2eull;
		dots = ~(((word & 0x7f7f7f7f7f7f7f7full) + 0x7f7f7f7f7f7f7f7full) | word) & 0x8080808080808080ull;
		if (dots & (dots << 8 | carry))
			return 1;
		carry = dots >> 56;
	}
	return 0;
}

/* Whether a mask has one of two bits and not the other. */
INLINE int differs(__u32 mask, __u32 both)
{
	return (mask & both) && (mask & both) != both;
}

INLINE int is_own(struct call *call)
{
	struct settings *settings = get_settings();

	return !settings || (__u32)call->task->tgid == settings->own_pid;
}

/* Decides whether a call is sent. */
INLINE int wanted(const struct want *want, struct call *call, struct file **file)
{
	__u32 class, both, bit;
	__u8 *place;

	class = class_of(want, call, *file);
	/* Most calls are of a class that no rule wants, in a container or not. */
	both = (1u << class) | (1u << (class | CLASS_CONTAINER));
	if (!((want->send | want->named | want->dotted) & both))
		return 0;
	bit = both;
	if (want->open && call->result >= 0)
		*file = file_of(call->task, call->result);
	/* Where it matters only: finding the cgroup takes as long as all the rest. */
	if (differs(want->send, both) || differs(want->named, both) || differs(want->dotted, both)) {
		call->cgroup = cgroup_id(call->task);
		place = bpf_map_lookup_elem(&cgroups, &call->cgroup);
		if (place)
			bit = *place == 2 ? 1u << (class | CLASS_CONTAINER) : 1u << class;
	}
	if (want->send & bit || (want->named & bit && (!*file || has_name(want, *file, class, bit))) ||
	    (want->dotted & bit && has_dots((void *)argument(call->regs, want->path[0]))))
		return !is_own(call);
	return 0;
}

/* Where a relative path starts. */
INLINE void append_base(struct record *record, __u32 which, struct call *call, __u32 dirfd)
{
	struct task_struct *task = call->task;
	struct fs_struct *fs;
	struct file *file;
	int fd = AT_FDCWD;

	if (dirfd)
		fd = argument(call->regs, dirfd);
	if (fd == AT_FDCWD) {
		if (!READ(fs, task->fs) && fs)
			append_path(record, which, fs_of(task), &fs->pwd);
	} else {
		file = file_of(task, fd);
		if (file)
			append_path(record, which, fs_of(task), &file->f_path);
	}
}

INLINE struct record *begin(struct call *call)
{
	struct record *record = get_record();

	if (!record)
		return 0;
	fill_header(&record->head, call->task, WIRE_SYSCALL);
	record->head.nr = call->nr;
	record->head.result = call->result;
#pragma unroll
	for (int i = 0; i < 6; i++)
		record->head.arg[i] = argument(call->regs, i + 1);
	return record;
}

INLINE int starts_at_root(const struct record *record, __u32 at)
{
	return at < BODY_SIZE && record->body[at] == '/';
}

/* Calls that open a file. */
INLINE void on_open(struct call *call, const struct want *want)
{
	struct file *file = 0;
	struct wire_file about;
	struct record *record;

	if (!wanted(want, call, &file) || !(record = begin(call)))
		return;
	if (want->path[0])
		APPEND_TEXT(record, PART_PATH1, (void *)argument(call->regs, want->path[0]), PATH_SIZE);
	if (file)
		append_path(record, PART_BASE1, fs_of(call->task), &file->f_path);
	else if (!starts_at_root(record, 0))
		append_base(record, PART_BASE1, call, want->dirfd[0]);
	if (file) {
		__builtin_memset(&about, 0, sizeof(about));
		describe_file(&about, file);
		APPEND(record, PART_OBJECT, &about, sizeof(about), sizeof(about), bpf_probe_read_kernel);
	}
	if (want->open == 9) {
		struct { __u64 flags, mode, resolve; } how = {};

		bpf_probe_read_user(&how, sizeof(how), (void *)call->regs->dx);
		/* In the place of the structure's address. */
		record->head.arg[2] = how.resolve;
		record->head.arg[4] = how.flags;
		record->head.arg[5] = how.mode;
	}
	send(record);
}

/* Calls whose arguments say all: up to two paths, numbers, a text. */
INLINE void on_paths(struct call *call, const struct want *want)
{
	struct file *none = 0;
	struct record *record;
	__u32 second;

	if (!wanted(want, call, &none) || !(record = begin(call)))
		return;
	if (want->path[0])
		APPEND_TEXT(record, PART_PATH1, (void *)argument(call->regs, want->path[0]), PATH_SIZE);
	second = record->head.size - sizeof(struct wire_header);
	if (want->path[1])
		APPEND_TEXT(record, PART_PATH2, (void *)argument(call->regs, want->path[1]), PATH_SIZE);
	if (want->path[0] && !starts_at_root(record, 0))
		append_base(record, PART_BASE1, call, want->dirfd[0]);
	if (want->path[1] && !starts_at_root(record, second))
		append_base(record, PART_BASE2, call, want->dirfd[1]);
	if (want->text)
		APPEND_TEXT(record, PART_DATA, (void *)argument(call->regs, want->text), DATA_SIZE);
	if (want->rights) {
		const struct cred *cred = call->task->cred;

		READ(record->head.arg[2], cred->cap_permitted);
		READ(record->head.arg[3], cred->cap_effective);
		READ(record->head.arg[4], cred->cap_inheritable);
	}
	send(record);
}

struct user_msghdr {
	void *name;
	int namelen;
	struct iovec { void *base; __u64 len; } *iov;
	__u64 iovlen;
};

/* Calls on a file descriptor. */
INLINE void on_fd(struct call *call, const struct want *want)
{
	__s64 fd = want->fd == 7 ? call->result : (int)argument(call->regs, want->fd);
	struct file *file = file_of(call->task, fd);
	struct settings *settings = get_settings();
	struct wire_file about;
	struct record *record;
	void *address = 0, *data = 0;
	__u64 address_len = 0, data_len = 0;

	if (!settings || !wanted(want, call, &file) || !(record = begin(call)))
		return;
	if (file) {
		append_path(record, PART_BASE1, fs_of(call->task), &file->f_path);
		__builtin_memset(&about, 0, sizeof(about));
		describe_file(&about, file);
		APPEND(record, PART_OBJECT, &about, sizeof(about), sizeof(about), bpf_probe_read_kernel);
	}
	if (want->message) {
		struct user_msghdr message = {};
		struct iovec vec = {};

		bpf_probe_read_user(&message, sizeof(message), (void *)argument(call->regs, want->message));
		address = message.name;
		address_len = message.namelen;
		if (message.iovlen && !bpf_probe_read_user(&vec, sizeof(vec), message.iov)) {
			data = vec.base;
			data_len = vec.len;
		}
		record->head.arg[4] = address_len;
	}
	if (want->address) {
		address = (void *)argument(call->regs, want->address);
		address_len = argument(call->regs, want->address + 1);
	}
	if (address) {
		/* getpeername and its like give a pointer to the length; no address is longer than this. */
		if (address_len > 128)
			address_len = 128;
		APPEND(record, PART_ADDRESS, address, address_len, 128, bpf_probe_read_user);
	}
	if (want->data) {
		data = (void *)argument(call->regs, want->data);
		data_len = argument(call->regs, want->data + 1);
	}
	if (data && call->result > 0 && settings->data_size) {
		if (data_len > call->result)
			data_len = call->result;
		if (data_len > settings->data_size)
			data_len = settings->data_size;
		APPEND(record, PART_DATA, data, data_len, DATA_SIZE, bpf_probe_read_user);
	}
	send(record);
}

/* One body, two hooks: a tracepoint of its own for each system call where there are such, or the one for all. */
#define FAMILY(name, handler)                                                                                          \
	SEC("tracepoint/" #name)                                                                                       \
	int name##_tp(struct sys_exit_context *context)                                                                \
	{                                                                                                              \
		struct task_struct *task = bpf_get_current_task_btf();                                                 \
		struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);                                       \
		struct call call = { .task = task, .regs = regs, .nr = context->id, .result = context->ret };          \
		__u32 nr = call.nr;                                                                                    \
		struct want *want = bpf_map_lookup_elem(&wants, &nr);                                                  \
		if (want)                                                                                              \
			handler(&call, want);                                                                          \
		return 0;                                                                                              \
	}                                                                                                              \
	SEC("tp_btf/sys_exit")                                                                                         \
	int name##_raw(__u64 *context)                                                                                 \
	{                                                                                                              \
		struct task_struct *task = bpf_get_current_task_btf();                                                 \
		struct pt_regs *regs = (struct pt_regs *)context[0];                                                   \
		struct call call = { .task = task, .regs = regs, .nr = regs->orig_ax, .result = context[1] };          \
		__u32 nr = call.nr;                                                                                    \
		struct want *want = bpf_map_lookup_elem(&wants, &nr);                                                  \
		if (want)                                                                                              \
			handler(&call, want);                                                                          \
		return 0;                                                                                              \
	}

FAMILY(open, on_open)
FAMILY(paths, on_paths)
FAMILY(fd, on_fd)

MAP(families, MAP_PROG_ARRAY, __u32, __u32, 3);

SEC("tp_btf/sys_exit")
int dispatch(__u64 *context)
{
	struct pt_regs *regs = (struct pt_regs *)context[0];
	__u32 nr = regs->orig_ax;
	struct want *want = bpf_map_lookup_elem(&wants, &nr);

	if (want && (want->send | want->named | want->dotted))
		bpf_tail_call(context, &families, want->open ? 0 : want->fd ? 2 : 1);
	return 0;
}

/* ---- processes ---- */

/* What a descriptor is, as fd.typechar has it. */
INLINE __u8 type_of(struct task_struct *task, int fd)
{
	struct file *file = file_of(task, fd);
	struct inode *inode;
	struct socket *socket;
	struct sock *sk;
	__u16 mode = 0, family = 0;

	if (!file || READ(inode, file->f_inode) || !inode || READ(mode, inode->i_mode))
		return 0;
	switch (mode & S_IFMT) {
	case S_IFSOCK:
		if (!READ(socket, file->private_data) && !READ(sk, socket->sk) && sk)
			READ(family, sk->__sk_common.skc_family);
		return family == AF_INET ? '4' : family == AF_INET6 ? '6' : family == AF_UNIX ? 'u' : 'o';
	case S_IFIFO:
		return 'p';
	case S_IFDIR:
		return 'd';
	case S_IFREG:
	case S_IFCHR:
	case S_IFBLK:
		return 'f';
	}
	return 'o';
}

INLINE __u32 in_namespace(struct pid *pid, __u32 level)
{
	struct upid upid = {};
	__u32 size = __builtin_preserve_type_info(*(struct upid *)0, 1);

	if (!pid || level > 32)
		return 0;
	bpf_probe_read_kernel(&upid.nr, sizeof(upid.nr), (char *)__builtin_preserve_access_index(&pid->numbers[0]) + level * size);
	return upid.nr;
}

INLINE void describe_process(struct wire_process *out, struct task_struct *task)
{
	struct task_struct *parent, *leader, *reaper;
	struct signal_struct *signal;
	struct tty_struct *tty;
	struct tty_driver *driver;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct mnt_namespace *mntns;
	struct pid_namespace *pidns = 0;
	struct pid *pid, *other;
	struct mm_struct *mm;
	struct file *exe;
	struct inode *inode;
	struct super_block *sb;
	__u32 level = 0;

	__builtin_memset(out, 0, sizeof(*out));
	READ(leader, task->group_leader);
	READ(out->start, leader->start_boottime);
	READ(out->pid, task->tgid);
	READ(out->tid, task->pid);
	READ(out->comm, task->comm);
	READ(out->loginuid, task->loginuid.val);
	if (!READ(parent, task->real_parent)) {
		struct task_struct *parent_leader;

		READ(out->ppid, parent->tgid);
		if (!READ(parent_leader, parent->group_leader))
			READ(out->parent_start, parent_leader->start_boottime);
		if (!READ(other, parent->thread_pid) && other)
			READ(out->parent_level, other->level);
		out->parent_cgroup = cgroup_id(parent);
	}
	READ(cred, task->cred);
	READ(out->ruid, cred->uid.val);
	READ(out->euid, cred->euid.val);
	READ(out->suid, cred->suid.val);
	READ(out->rgid, cred->gid.val);
	READ(out->egid, cred->egid.val);
	READ(out->cap_permitted, cred->cap_permitted);
	READ(out->cap_effective, cred->cap_effective);
	READ(out->cap_inheritable, cred->cap_inheritable);
	if (!READ(pid, task->thread_pid) && pid) {
		READ(level, pid->level);
		out->level = level;
		out->vtid = in_namespace(pid, level);
		if (level <= 32) {
			bpf_probe_read_kernel(&pidns, sizeof(pidns),
					      (char *)__builtin_preserve_access_index(&pid->numbers[0]) +
						      level * TYPE_SIZE(struct upid) +
						      __builtin_preserve_field_info(((struct upid *)0)->ns, 0));
			if (pidns) {
				READ(out->pidns, pidns->ns.inum);
				if (!READ(reaper, pidns->child_reaper) && reaper)
					READ(out->pidns_start, reaper->start_boottime);
			}
		}
	}
	if (!READ(parent, task->real_parent) && !READ(other, parent->thread_pid) && out->parent_level >= level)
		out->vppid = in_namespace(other, level);
	if (!READ(nsproxy, task->nsproxy) && nsproxy && !READ(mntns, nsproxy->mnt_ns) && mntns)
		READ(out->mntns, mntns->ns.inum);
	if (!READ(signal, task->signal)) {
		if (!READ(other, signal->pids[PIDTYPE_TGID]))
			out->vpid = in_namespace(other, level);
		if (!READ(other, signal->pids[PIDTYPE_SID])) {
			out->sid = in_namespace(other, 0);
			out->vsid = in_namespace(other, level);
		}
		if (!READ(other, signal->pids[PIDTYPE_PGID])) {
			out->pgid = in_namespace(other, 0);
			out->vpgid = in_namespace(other, level);
		}
		if (!READ(tty, signal->tty) && tty && !READ(driver, tty->driver)) {
			int major = 0, minor = 0, index = 0;

			READ(major, driver->major);
			READ(minor, driver->minor_start);
			READ(index, tty->index);
			minor += index;
			/* As new_encode_dev() does (include/linux/kdev_t.h). */
			out->tty = (minor & 0xff) | major << 8 | (minor & ~0xff) << 12;
		}
	}
	if (READ(mm, task->mm) || !mm || READ(exe, mm->exe_file) || !exe || READ(inode, exe->f_inode) || !inode)
		return;
	READ(out->exe_ino, inode->i_ino);
	if (FIELD_EXISTS(struct inode, i_mtime_sec)) {
		__u64 seconds = 0;
		__u32 nanos = 0;

		READ(seconds, inode->i_mtime_sec);
		READ(nanos, inode->i_mtime_nsec);
		out->exe_mtime = seconds * 1000000000ull + nanos;
		READ(seconds, inode->i_ctime_sec);
		READ(nanos, inode->i_ctime_nsec);
		/* The highest bit says that somebody has looked (I_CTIME_QUERIED, include/linux/fs.h). */
		out->exe_ctime = seconds * 1000000000ull + (nanos & 0x7fffffff);
	} else {
		struct timespec64 mtime = {}, ctime = {};

		if (FIELD_EXISTS(struct inode___hidden, __i_mtime)) {
			READ(mtime, ((struct inode___hidden *)inode)->__i_mtime);
			READ(ctime, ((struct inode___hidden *)inode)->__i_ctime);
		} else {
			READ(mtime, ((struct inode___timespec *)inode)->i_mtime);
			READ(ctime, ((struct inode___timespec *)inode)->i_ctime);
		}
		out->exe_mtime = mtime.tv_sec * 1000000000ull + mtime.tv_nsec;
		out->exe_ctime = ctime.tv_sec * 1000000000ull + ctime.tv_nsec;
	}
	if (!READ(sb, inode->i_sb)) {
		unsigned long magic = 0;
		__u8 layer;

		READ(magic, sb->s_magic);
		READ(out->exe_dev, sb->s_dev);
		layer = layer_of(inode, magic);
		if (layer)
			out->exe_flags |= layer == 1 ? EXE_UPPER : EXE_LOWER;
	}
	{
		__u16 mode = 0;
		__u32 owner = 0, group = 0;

		READ(mode, inode->i_mode);
		READ(owner, inode->i_uid.val);
		READ(group, inode->i_gid.val);
		if (out->euid == 0 || (owner == out->euid && mode & 0200) || (group == out->egid && mode & 0020) || mode & 0002)
			out->exe_flags |= EXE_WRITABLE;
	}
	{
		struct dentry *dentry, *up;
		char name[8] = {};
		const unsigned char *text;

		if (!READ(dentry, exe->f_path.dentry) && !READ(up, dentry->d_parent) && up == dentry &&
		    !READ(text, dentry->d_name.name) && bpf_probe_read_kernel_str(name, sizeof(name), text) > 0 &&
		    name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':')
			out->exe_flags |= EXE_MEMFD;
	}
}

static long cgroup_step(__u32 index, void *context)
{
	struct walk *walk = get_walk();
	struct kernfs_node *node, *parent;
	const char *name;
	char text[128];
	long len;
	__u32 at;

	if (!walk)
		return 1;
	node = walk->node;
	if (FIELD_EXISTS(struct kernfs_node___old, parent)) {
		if (READ(parent, ((struct kernfs_node___old *)node)->parent))
			return 1;
	} else if (READ(parent, node->__parent)) {
		return 1;
	}
	if (!parent || READ(name, node->name))
		return 1;
	len = bpf_probe_read_kernel_str(text, sizeof(text), name);
	at = walk->at;
	if (len < 2 || len > 128 || at < 129 || at > PATH_SIZE)
		return 1;
	len -= 1;
	at -= len;
	if (at < PATH_SIZE)
		bpf_probe_read_kernel(&walk->text[at], len, text);
	at -= 1;
	if (at < PATH_SIZE)
		walk->text[at] = '/';
	walk->at = at;
	walk->node = parent;
	return 0;
}

INLINE void append_cgroup(struct record *record, struct task_struct *task)
{
	struct walk *walk = get_walk();

	if (!walk || !(walk->node = cgroup_of(task)))
		return;
	walk->at = PATH_SIZE;
	walk->cut = 0;
	bpf_loop(16, cgroup_step, 0, 0);
	if (walk->at == PATH_SIZE) {
		walk->at = PATH_SIZE - 1;
		walk->text[PATH_SIZE - 1] = '/';
	}
	append_walk(record, PART_CGROUP, walk, CGROUP_SIZE);
}

/* What an execve and a snapshot tell of a process, but for its texts in user memory. */
INLINE void append_process(struct record *record, struct wire_process *about, struct task_struct *task)
{
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct file *exe;

	describe_process(about, task);
#pragma unroll
	for (int fd = 0; fd < 3; fd++)
		about->stdio[fd] = type_of(task, fd);
	if (!READ(mm, task->mm) && mm && !READ(exe, mm->exe_file) && exe)
		append_path(record, PART_BASE1, fs_of(task), &exe->f_path);
	if (!READ(fs, task->fs) && fs)
		append_path(record, PART_BASE2, fs_of(task), &fs->pwd);
	APPEND(record, PART_OBJECT, about, sizeof(*about), sizeof(*about), bpf_probe_read_kernel);
}

SEC("tp_btf/sched_process_exec")
int process_exec(__u64 *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct settings *settings = get_settings();
	struct walk *walk = get_walk();
	struct mm_struct *mm;
	struct record *record;
	unsigned long start = 0, end = 0;

	record = get_record();
	if (!record || !settings || !walk)
		return 0;
	fill_header(&record->head, task, WIRE_EXEC);
	/* The thread that had called execve; its id is gone by now. */
	record->head.arg[0] = (__u32)context[1];
	append_process(record, &walk->about, task);
	if (!READ(mm, task->mm) && mm) {
		READ(start, mm->arg_start);
		READ(end, mm->arg_end);
		if (end > start)
			APPEND(record, PART_DATA, (void *)start, end - start, ARGV_SIZE, bpf_probe_read_user);
		start = end = 0;
		READ(start, mm->env_start);
		READ(end, mm->env_end);
		if (end > start && (settings->environment || walk->about.level > 0))
			APPEND(record, PART_ENV, (void *)start, end - start, ENV_SIZE, bpf_probe_read_user);
	}
	append_cgroup(record, task);
	send(record);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int process_fork(__u64 *context)
{
	struct task_struct *parent = (struct task_struct *)context[0], *child = (struct task_struct *)context[1];
	struct wire_process about;
	struct record *record;

	/* A new thread is no new process. */
	if (child->pid != child->tgid)
		return 0;
	record = get_record();
	if (!record)
		return 0;
	fill_header(&record->head, parent, WIRE_FORK);
	record->head.result = child->pid;
	describe_process(&about, child);
#pragma unroll
	for (int fd = 0; fd < 3; fd++)
		about.stdio[fd] = type_of(parent, fd);
	APPEND(record, PART_OBJECT, &about, sizeof(about), sizeof(about), bpf_probe_read_kernel);
	send(record);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int process_exit(__u64 *context)
{
	struct task_struct *task = (struct task_struct *)context[0];
	struct signal_struct *signal = task->signal;
	struct record *record;
	int live = 1, code = 0;

	/* do_exit() has counted this thread off already: the process ends with its last one. */
	if (READ(live, signal->live.counter) || live > 0)
		return 0;
	record = get_record();
	if (!record)
		return 0;
	fill_header(&record->head, task, WIRE_EXIT);
	/* As wait(2) gives it: exit code, or signal and whether there is a core. */
	READ(code, task->exit_code);
	record->head.arg[0] = code;
	record->head.arg[1] = code >> 8 & 0xff;
	record->head.arg[2] = code & 0x7f;
	record->head.arg[3] = code >> 7 & 1;
	send(record);
	return 0;
}

/* The processes that run already, when user space reads the iterator: an execve's record each, without texts. */
SEC("iter/task")
int snapshot(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct walk *walk = get_walk();
	struct record *record;
	__u32 size;

	if (!task || task->pid != task->tgid)
		return 0;
	record = get_record();
	if (!record || !walk)
		return 0;
	fill_header(&record->head, task, WIRE_EXEC);
	append_process(record, &walk->about, task);
	append_cgroup(record, task);
	size = record->head.size;
	if (size <= sizeof(*record))
		bpf_seq_write(context->meta->seq, record, size);
	return 0;
}
