//! Sockets on the loopback: TCP and UDP over IPv4 and IPv6, and Unix sockets.

use super::{Row, check};

#[test]
fn sockets() {
    check(ROWS);
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("socket 2 02000001 6", &[
        "socket: evt.res=SUCCESS fd.num=3 evt.arg.domain=AF_INET evt.arg.proto=6 fd.type=ipv4 fd.l4proto=tcp evt.category=net",
    ]),
    ("socket 10 2 0", &["socket: evt.arg.domain=AF_INET6 evt.arg.type=2 fd.type=ipv6 fd.l4proto=udp fd.sockfamily=ip"]),
    ("socket 16 3 0", &["socket: evt.arg.domain=AF_NETLINK fd.type=netlink"]),
    ("socket 17 3 0", &["socket: evt.arg.domain=AF_PACKET fd.num=3"]),
    ("socket 999 1 0", &["socket: evt.res=EAFNOSUPPORT"]),
    ("socket 2 1 0 ; bind $0 4:{port} 16 ; listen $0 5 ; socket 2 1 0 ; connect $3 4:{port} 16 ; accept $0 0 0", &[
        "bind: evt.res=SUCCESS evt.arg.addr=127.0.0.1:{port} fd.sport={port} fd.sip=127.0.0.1 fd.lport={port} fd.lip=127.0.0.1",
        "bind: fd.is_server=true fd.name=127.0.0.1:{port} fd.l4proto=tcp fd.type=ipv4 fd.rip=- fd.cip=-",
        "listen: evt.arg.backlog=5 fd.lport={port} fd.is_server=true fd.name=127.0.0.1:{port} fd.num=3",
        "connect: evt.res=SUCCESS fd.num=4 fd.name=127.0.0.1:*->127.0.0.1:{port} evt.arg.tuple=127.0.0.1:*->127.0.0.1:{port}",
        "connect: fd.sip=127.0.0.1 fd.sport={port} fd.rip=127.0.0.1 fd.rport={port} fd.cip=127.0.0.1 fd.lip=127.0.0.1",
        "connect: fd.is_server=false fd.connected=true fd.typechar=4 fd.sockfamily=ip evt.arg.addr=127.0.0.1:{port}",
        "accept: evt.rawres=5 fd.num=5 fd.name=127.0.0.1:*->127.0.0.1:{port} fd.sport={port} fd.lport={port}",
        "accept: fd.is_server=true fd.cip=127.0.0.1 fd.l4proto=tcp evt.arg.fd=<4t>127.0.0.1:*->127.0.0.1:{port}",
    ]),
    ("socket 2 1 0 ; connect $0 4:{port} 16", &[
        "connect: evt.res=ECONNREFUSED fd.sip=127.0.0.1 fd.sport={port} fd.rport={port} fd.name=*->127.0.0.1:{port}",
    ]),
    // 192.0.2.1, without waiting.
    ("socket 2 04001 0 ; connect $0 x:02000050c0000201 16", &["connect: fd.sip=192.0.2.1 fd.sport=80 fd.rip=192.0.2.1"]),
    ("socket 10 1 0 ; bind $0 6:{port} 28 ; listen $0 5 ; socket 10 1 0 ; connect $3 6:{port} 28 ; accept4 $0 0 0 02000000", &[
        "bind: evt.arg.addr=::1:{port} fd.sip=::1 fd.sport={port} fd.type=ipv6",
        "connect: evt.res=SUCCESS fd.sip=::1 fd.sport={port} fd.rip=::1 fd.name=::1:*->::1:{port} fd.typechar=6 fd.l4proto=tcp",
        "accept4: fd.num=5 fd.sip=::1 fd.sport={port} fd.is_server=true fd.name=::1:*->::1:{port}",
    ]),
    ("socket 2 1 0 ; bind $0 4:{port} 16 ; listen $0 5 ; socket 2 2 0 ; connect $3 4:{port} 16", &[
        "connect: fd.l4proto=udp fd.sport={port} fd.connected=true fd.name=127.0.0.1:*->127.0.0.1:{port}",
    ]),
    // IPv4 through an IPv6 socket is shown as IPv4: ::ffff:127.0.0.1.
    ("socket 10 2 0 ; connect $0 x:0a0000350000000000000000000000000000ffff7f00000100000000 28", &[
        "connect: evt.res=SUCCESS fd.sip=127.0.0.1 fd.sport=53",
    ]),
    ("socket 2 2 0 ; sendto $0 s:hello 5 0 4:{port} 16", &[
        "sendto: evt.rawres=5 evt.arg.data=hello fd.l4proto=udp fd.sip=127.0.0.1 fd.sport={port} fd.name=*->127.0.0.1:{port}",
        "sendto: fd.name_changed=true evt.is_io_write=true evt.arg.tuple=*->127.0.0.1:{port} evt.category=net evt.arg.size=5",
    ]),
    ("socket 10 2 0 ; sendto $0 s:hello 5 0 6:{port} 28", &["sendto: evt.rawres=5 fd.sip=::1 fd.sport={port} fd.type=ipv6"]),
    ("socket 2 2 0 ; sendmsg $0 m:hello@4:{port} 0", &[
        "sendmsg: evt.rawres=5 evt.arg.data=hello fd.sip=127.0.0.1 fd.sport={port} fd.l4proto=udp",
    ]),
    ("socket 10 2 0 ; sendmsg $0 m:hello@6:{port} 0", &["sendmsg: evt.rawres=5 fd.sip=::1 fd.sport={port}"]),
    ("socket 2 2 0 ; bind $0 4:{port} 16 ; socket 2 2 0 ; sendto $2 s:hello 5 0 4:{port} 16 ; recvfrom $0 b:16 16 0 0 0", &[
        "recvfrom: evt.rawres=5 evt.arg.data=hello fd.num=3 fd.lport={port} fd.l4proto=udp evt.is_io_read=true",
    ]),
    ("socket 2 1 0 ; bind $0 4:{port} 16 ; listen $0 5 ; socket 2 1 0 ; connect $3 4:{port} 16 ; accept $0 0 0 ; \
      sendto $5 s:answer 6 0 0 0 ; recvfrom $3 b:16 16 0 0 0 ; shutdown $3 2", &[
        "sendto: evt.rawres=6 evt.arg.data=answer fd.sport={port} fd.cip=127.0.0.1 fd.connected=true",
        "recvfrom: evt.arg.data=answer fd.sport={port} fd.rport={port}",
        "shutdown: evt.arg.how=SHUT_RDWR fd.num=4",
    ]),
    ("socket 1 1 0 ; bind $0 u:{dir}/sock 110 ; listen $0 1 ; socket 1 1 0 ; connect $3 u:{dir}/sock 110 ; accept $0 0 0", &[
        "bind: evt.res=SUCCESS fd.type=unix evt.arg.addr={dir}/sock fd.name={dir}/sock",
        "connect: evt.res=SUCCESS fd.type=unix fd.typechar=u fd.name={dir}/sock fd.sockfamily=unix evt.arg.addr={dir}/sock",
        "accept: evt.rawres=5 fd.type=unix fd.num=5 fd.sip=-",
    ]),
    ("socket 1 1 0 ; connect $0 u:{dir}/absent 110", &["connect: evt.res=ENOENT fd.name={dir}/absent"]),
    ("socket 1 2 0 ; bind $0 u:@saker-{port} 110", &["bind: evt.res=SUCCESS evt.arg.addr=@saker-{port} fd.name=@saker-{port}"]),
    ("socket 1 2 0 ; bind $0 u:{dir}/sock 110 ; socket 1 2 0 ; sendto $2 s:log 3 0 u:{dir}/sock 110", &[
        "sendto: evt.rawres=3 fd.type=unix fd.name={dir}/sock evt.arg.data=log",
    ]),
    ("socketpair 1 1 0 b:8", &["socketpair: evt.res=SUCCESS evt.arg.domain=AF_UNIX evt.arg.type=1"]),
];
