//! Calls on descriptors that are no sockets.

use super::{Row, check};

#[test]
fn descriptors() {
    check(ROWS);
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("open s:file 0 ; read $0 b:64 64", &[
        "read: evt.rawres=5 evt.arg.data=hello evt.arg.size=64 fd.num=3 fd.name={dir}/file evt.is_io_read=true",
        "read: evt.buflen=5 evt.buffer=hello evt.io_dir=r evt.arg.fd=<f>{dir}/file evt.category=file",
    ]),
    ("open s:file 2 ; write $0 s:bytes 5", &[
        "write: evt.rawres=5 evt.arg.data=bytes fd.name={dir}/file evt.is_io_write=true evt.io_dir=w evt.arg.res=5",
    ]),
    ("write 77 s:bytes 5", &["write: evt.res=EBADF fd.num=77 fd.name=- evt.arg.data=-"]),
    ("open s:file 0 ; pread $0 b:64 2 1", &["pread: evt.arg.data=el evt.arg.pos=1 evt.arg.size=2"]),
    ("open s:file 2 ; pwrite $0 s:xyz 3 1", &["pwrite: evt.arg.data=xyz evt.arg.pos=1"]),
    ("open s:file 0 ; readv $0 v:12345 1", &["readv: evt.rawres=5 fd.name={dir}/file"]),
    ("open s:file 2 ; writev $0 v:12345 1", &["writev: evt.rawres=5 fd.name={dir}/file"]),
    ("open s:file 0 ; open s:new 0102 0600 ; sendfile $1 $0 0 5", &[
        "sendfile: evt.rawres=5 evt.rawarg.out_fd=4 evt.rawarg.in_fd=3 evt.arg.size=5 fd.name={dir}/new",
    ]),
    ("pipe b:8 ; write 4 s:abc 3 ; open s:file 2 ; splice 3 0 $2 0 3 1", &[
        "pipe: evt.res=SUCCESS",
        "splice: evt.rawres=3 evt.rawarg.fd_in=3 evt.rawarg.fd_out=5 evt.arg.size=3 evt.arg.flags=SPLICE_F_MOVE fd.type=pipe",
    ]),
    ("pipe2 b:8 02000000", &["pipe2: evt.arg.flags=O_CLOEXEC evt.res=SUCCESS"]),
    ("open s:file 0 ; dup $0", &["dup: evt.rawres=4 fd.num=4 fd.name={dir}/file evt.rawarg.oldfd=3 evt.arg.res=<f>{dir}/file"]),
    ("open s:file 0 ; dup2 $0 9", &["dup2: fd.num=9 fd.name={dir}/file evt.rawarg.oldfd=3 evt.rawarg.newfd=9"]),
    ("open s:file 0 ; dup3 $0 0 02000000", &["dup3: fd.num=0 fd.name={dir}/file evt.rawarg.newfd=0 evt.arg.flags=O_CLOEXEC"]),
    ("socket 2 1 0 ; dup2 $0 1", &["dup2: fd.num=1 fd.type=ipv4"]),
    ("dup2 77 1", &["dup2: evt.res=EBADF evt.rawarg.oldfd=77"]),
    ("open s:file 0 ; fcntl $0 0 20", &["fcntl: evt.arg.cmd=F_DUPFD evt.rawres=20 evt.arg.arg=20 fd.name={dir}/file"]),
    ("open s:file 0 ; ioctl $0 0x5401 b:64", &["ioctl: evt.res=ENOTTY evt.arg.request=21505 fd.name={dir}/file fd.num=3"]),
    ("open s:file 0 ; close $0", &["close: evt.res=SUCCESS fd.num=3"]),
    ("close 77", &["close: evt.res=EBADF fd.num=77"]),
    ("memfd_create s:hidden 1", &["memfd_create: evt.arg.name=hidden evt.arg.flags=MFD_CLOEXEC fd.type=memfd fd.num=3 evt.res=SUCCESS"]),
    ("pidfd_open p 0", &["pidfd_open: evt.arg.pid={pid} fd.num=3 fd.type=pidfd"]),
    ("open s:file 0 ; pidfd_open p 0 ; pidfd_getfd $1 $0 0", &[
        "pidfd_getfd: evt.rawarg.pid_fd=4 evt.rawarg.target_fd=3 fd.num=5 fd.name={dir}/file",
    ]),
];
