//! Calls that open files, and calls that name them.

use super::{Row, check};

#[test]
fn opens() {
    check(OPENS);
}

#[test]
fn paths() {
    check(PATHS);
}

#[rustfmt::skip]
const OPENS: &[Row] = &[
    ("open s:file 0", &[
        "open: evt.res=SUCCESS evt.rawres=3 evt.failed=false evt.category=file evt.dir=< syscall.type=open",
        "open: fd.num=3 fd.name={dir}/file fd.nameraw=file fd.directory={dir} fd.filename=file fd.type=file fd.typechar=f",
        "open: evt.arg.fd=<f>{dir}/file evt.arg.name={dir}/file evt.arg.flags=O_RDONLY evt.rawarg.flags=0",
        "open: evt.is_open_read=true evt.is_open_write=false evt.is_open_exec=false",
        "open: fs.path.name={dir}/file fs.path.nameraw=file fs.path.source=-",
        "open: proc.name=actor proc.pid={pid} proc.cwd={dir}/ proc.pname=syscall* thread.ismain=true",
        "open: user.uid=0 user.name=root group.gid=0 container.id=host",
    ]),
    ("open s:{dir}/file 2", &["open: fd.name={dir}/file evt.is_open_read=true evt.is_open_write=true evt.arg.flags=O_RDWR"]),
    ("open s:new 0101 0755", &[
        "open: fd.name={dir}/new evt.arg.flags=O_CREAT|O_WRONLY evt.arg.mode=0755 evt.is_open_exec=true",
        "open: evt.is_open_read=false evt.is_open_write=true",
    ]),
    ("open s:absent 0", &[
        "open: evt.res=ENOENT evt.rawres=-2 evt.failed=true fd.num=-2 fd.name={dir}/absent fd.nameraw=absent",
        "open: evt.arg.fd=ENOENT evt.arg.name={dir}/absent fs.path.name={dir}/absent fd.directory={dir}",
    ]),
    ("open s:sub/../absent 0", &["open: evt.res=ENOENT fd.name={dir}/absent fd.nameraw=sub/../absent"]),
    ("open s:/etc/../nosuch/./file 0", &["open: fd.name=/nosuch/file fs.path.nameraw=/etc/../nosuch/./file"]),
    ("open s:sub/../file 0", &["open: fd.name={dir}/file fd.nameraw=sub/../file fs.path.name={dir}/file"]),
    ("open s:link 0", &["open: fd.name={dir}/sub/inner fd.nameraw=link fd.filename=inner"]),
    ("open s:{dir}/dirlink/inner 0", &["open: fd.name={dir}/sub/inner fd.nameraw={dir}/dirlink/inner"]),
    ("open s:/proc/self/status 0", &["open: fd.name=/proc/{pid}/status"]),
    ("open s:sub 0200000", &["open: fd.type=directory fd.typechar=d fd.name={dir}/sub fd.directory={dir}*"]),
    ("open s:/dev/null 1", &["open: fd.name=/dev/null fd.type=file"]),
    ("open 0 0", &["open: evt.res=EFAULT"]),
    ("creat s:new 0640", &[
        "creat: evt.res=SUCCESS fd.name={dir}/new evt.arg.name={dir}/new evt.arg.mode=0640 evt.is_open_write=true",
        "creat: evt.is_open_read=false fd.num=3",
    ]),
    ("creat s:absent/new 0640", &["creat: evt.res=ENOENT fd.name={dir}/absent/new evt.failed=true"]),
    ("openat -100 s:dirlink/inner 02000000", &[
        "openat: evt.arg.dirfd=AT_FDCWD evt.rawarg.dirfd=-100 fd.name={dir}/sub/inner evt.arg.name={dir}/sub/inner",
        "openat: evt.arg.flags=O_RDONLY|O_CLOEXEC fd.nameraw=dirlink/inner",
    ]),
    ("open s:sub 0200000 ; openat $0 s:inner 0", &["openat: fd.num=4 fd.name={dir}/sub/inner evt.rawarg.dirfd=3"]),
    ("open s:sub 0200000 ; openat $0 s:../absent 0", &[
        "openat: evt.res=ENOENT fd.name={dir}/absent evt.arg.dirfd=<d>{dir}/sub evt.arg.name={dir}/absent",
    ]),
    ("open s:sub 0200000 ; openat $0 s:/etc/hostname.absent 0", &["openat: fd.name=/etc/hostname.absent"]),
    ("openat -100 s:. 020200002 0600", &["openat: evt.arg.flags=*O_TMPFILE* evt.is_open_write=true"]),
    // struct open_how: O_CREAT | O_RDWR, 0644, and RESOLVE_NO_SYMLINKS or nothing.
    ("openat2 -100 s:new x:4200000000000000a4010000000000000000000000000000 24", &[
        "openat2: evt.res=SUCCESS fd.name={dir}/new evt.arg.flags=O_CREAT|O_RDWR evt.arg.mode=0644",
        "openat2: evt.is_open_read=true evt.is_open_write=true evt.arg.dirfd=AT_FDCWD evt.arg.name={dir}/new",
    ]),
    ("openat2 -100 s:link x:000000000000000000000000000000000400000000000000 24", &[
        "openat2: evt.res=ELOOP fd.name={dir}/link evt.is_open_read=true evt.arg.resolve=RESOLVE_NO_SYMLINKS evt.rawarg.resolve=4",
    ]),
    ("open_by_handle_at -100 x:0800000001000000 0", &["open_by_handle_at: evt.failed=true"]),
];

#[rustfmt::skip]
const PATHS: &[Row] = &[
    ("rename s:file s:sub/moved", &[
        "rename: evt.res=SUCCESS fs.path.source={dir}/file fs.path.sourceraw=file fs.path.target={dir}/sub/moved",
        "rename: fs.path.targetraw=sub/moved fs.path.name=- evt.arg.oldpath={dir}/file evt.arg.newpath={dir}/sub/moved",
        "rename: evt.abspath={dir}/sub/moved evt.abspath.src={dir}/file evt.abspath.dst={dir}/sub/moved",
    ]),
    ("rename s:absent s:moved", &["rename: evt.res=ENOENT fs.path.source={dir}/absent fs.path.target={dir}/moved"]),
    ("open s:sub 0200000 ; renameat $0 s:inner -100 s:moved", &[
        "renameat: fs.path.source={dir}/sub/inner fs.path.target={dir}/moved evt.arg.olddirfd=<d>{dir}/sub",
        "renameat: evt.arg.newdirfd=AT_FDCWD evt.arg.oldpath={dir}/sub/inner evt.arg.newpath={dir}/moved",
    ]),
    ("renameat2 -100 s:file -100 s:link 1", &["renameat2: evt.res=EEXIST evt.arg.flags=RENAME_NOREPLACE fs.path.target={dir}/link"]),
    ("unlink s:sub/inner", &["unlink: evt.res=SUCCESS fs.path.name={dir}/sub/inner evt.arg.path={dir}/sub/inner fs.path.nameraw=sub/inner"]),
    ("unlink s:sub", &["unlink: evt.res=EISDIR fs.path.name={dir}/sub"]),
    ("open s:sub 0200000 ; unlinkat $0 s:inner 0", &["unlinkat: fs.path.name={dir}/sub/inner evt.arg.dirfd=<d>{dir}/sub evt.arg.name={dir}/sub/inner"]),
    ("unlinkat -100 s:sub 0x200", &["unlinkat: evt.res=ENOTEMPTY evt.arg.flags=AT_REMOVEDIR"]),
    ("rmdir s:sub", &["rmdir: evt.res=ENOTEMPTY fs.path.name={dir}/sub evt.arg.path={dir}/sub"]),
    ("mkdir s:sub/new 0700", &["mkdir: evt.res=SUCCESS fs.path.name={dir}/sub/new evt.arg.mode=0700 evt.arg.path={dir}/sub/new"]),
    ("mkdirat -100 s:sub/../new 0755", &["mkdirat: fs.path.name={dir}/new fs.path.nameraw=sub/../new evt.arg.mode=0755"]),
    ("link s:file s:hard", &["link: fs.path.source={dir}/file fs.path.target={dir}/hard evt.arg.oldpath={dir}/file evt.arg.newpath={dir}/hard"]),
    ("linkat -100 s:link -100 s:hard 0x400", &[
        "linkat: evt.arg.flags=AT_SYMLINK_FOLLOW fs.path.target={dir}/hard evt.arg.olddir=AT_FDCWD evt.arg.newpath={dir}/hard",
    ]),
    ("symlink s:/etc/shadow s:soft", &[
        "symlink: evt.arg.target=/etc/shadow evt.arg.linkpath={dir}/soft fs.path.target={dir}/soft fs.path.source=/etc/shadow",
    ]),
    // The target of a link is relative to the link, which nobody has to resolve: as given.
    ("symlink s:../x s:sub/soft", &["symlink: evt.arg.target=../x evt.arg.linkpath={dir}/sub/soft fs.path.sourceraw=../x"]),
    ("open s:sub 0200000 ; symlinkat s:/etc $0 s:soft", &[
        "symlinkat: evt.arg.target=/etc evt.arg.linkdirfd=<d>{dir}/sub evt.arg.linkpath={dir}/sub/soft",
    ]),
    ("mknod s:pipe 010600 0", &["mknod: evt.res=SUCCESS fs.path.name={dir}/pipe evt.arg.path={dir}/pipe evt.arg.mode=*S_IFIFO* evt.rawarg.mode=4480"]),
    ("mknodat -100 s:node 020600 0x103", &["mknodat: evt.res=SUCCESS fs.path.name={dir}/node evt.arg.mode=*S_IFCHR* evt.arg.dev=259"]),
    ("chmod s:file 04755", &["chmod: fs.path.name={dir}/file evt.arg.filename={dir}/file evt.arg.mode=*S_ISUID* evt.rawarg.mode=2541"]),
    ("fchmodat -100 s:file 0100", &["fchmodat: fs.path.name={dir}/file evt.arg.mode=S_IXUSR"]),
    ("fchmodat2 -100 s:link 0100 0x100", &["fchmodat2: fs.path.name={dir}/link evt.arg.flags=AT_SYMLINK_NOFOLLOW"]),
    ("open s:file 0 ; fchmod $0 02000", &["fchmod: fs.path.name={dir}/file fd.name={dir}/file evt.arg.mode=S_ISGID evt.arg.fd=<f>{dir}/file"]),
    ("chown s:file 1000 1001", &["chown: fs.path.name={dir}/file evt.arg.path={dir}/file evt.arg.uid=1000 evt.arg.gid=1001"]),
    ("lchown s:link 1000 1001", &["lchown: evt.arg.path={dir}/link evt.arg.uid=1000"]),
    ("fchownat -100 s:link 1000 1001 0x100", &["fchownat: evt.arg.pathname={dir}/link evt.arg.flags=AT_SYMLINK_NOFOLLOW evt.arg.gid=1001"]),
    ("open s:file 0 ; fchown $0 7 8", &["fchown: fd.name={dir}/file evt.arg.uid=7 evt.arg.gid=8 fs.path.name={dir}/file"]),
    ("truncate s:file 2", &["truncate: evt.res=SUCCESS fs.path.name={dir}/file fs.path.nameraw=file"]),
    ("open s:file 2 ; ftruncate $0 2", &["ftruncate: evt.res=SUCCESS fd.name={dir}/file fs.path.name={dir}/file"]),
    ("chdir s:sub", &["chdir: evt.arg.path=sub fs.path.name={dir}/sub proc.cwd={dir}/sub/"]),
    ("chdir s:sub ; open s:inner 0", &["open: fd.name={dir}/sub/inner proc.cwd={dir}/sub/"]),
    ("chdir s:sub ; open s:absent 0", &["open: fd.name={dir}/sub/absent"]),
    ("chdir s:/usr/../etc", &["chdir: fs.path.name=/etc proc.cwd=/etc/"]),
    ("chdir s:dirlink", &["chdir: proc.cwd={dir}/sub/"]),
    ("chdir s:absent", &["chdir: evt.res=ENOENT fs.path.name={dir}/absent proc.cwd={dir}/"]),
    ("open s:sub 0200000 ; fchdir $0", &["fchdir: fd.name={dir}/sub fs.path.name={dir}/sub proc.cwd={dir}/sub/"]),
    ("chroot s:sub", &["chroot: evt.res=SUCCESS evt.arg.path={dir}/sub fs.path.name={dir}/sub"]),
    ("chroot s:absent", &["chroot: evt.res=ENOENT evt.arg.path={dir}/absent"]),
    ("unshare 0x20000 ; mount s:none s:/ 0 0x44000 0 ; mount s:tmpfs s:sub s:tmpfs 6 0 ; umount2 s:sub 2", &[
        "mount: evt.res=SUCCESS evt.arg.dev=tmpfs evt.arg.dir={dir}/sub evt.arg.type=tmpfs evt.arg.flags=NOSUID|NODEV",
        "umount2: evt.res=SUCCESS evt.arg.name={dir}/sub evt.arg.flags=DETACH fs.path.name={dir}/sub",
        "unshare: evt.res=SUCCESS evt.arg.flags=CLONE_NEWNS",
    ]),
    // A file below a mount of the process's own has its path there.
    ("unshare 0x20000 ; mount s:none s:/ 0 0x44000 0 ; mount s:tmpfs s:sub s:tmpfs 0 0 ; open s:sub/new 0102 0600", &[
        "open: fd.name={dir}/sub/new evt.res=SUCCESS",
    ]),
    ("unshare 0x20000 ; mount s:none s:/ 0 0x44000 0 ; mount s:{dir}/sub s:{dir}/sub 0 0x1000 0 ; \
      mkdir s:{dir}/sub/old 0700 ; pivot_root s:{dir}/sub s:{dir}/sub/old ; chdir s:/ ; open s:inner 0", &[
        "pivot_root: evt.res=SUCCESS fs.path.source={dir}/sub fs.path.target={dir}/sub/old",
        "open: fd.name=/inner proc.cwd=/",
    ]),
    ("chroot s:sub ; chdir s:/ ; open s:/inner 0", &["open: fd.name=/inner"]),
    ("quotactl 0x80000100 s:/dev/nosuch 0 0", &["quotactl: evt.failed=true evt.arg.special=/dev/nosuch"]),
];
