//! Fields of the two ends of a connection.
//!
//! Which end is the client: the one that connects. `connect` and `send…` make the process the client, `accept`, `bind`
//! and `listen` the server; other calls on a socket follow the `connect` or `accept` that made its connection. Where none
//! was seen, the end with the lower port is taken for the server's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, SOCK_RAW};

use super::{push, written};
use crate::event::syscall::{FileInfo, Part};
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};

/// `TCP_ESTABLISHED` and `TCP_LISTEN` (include/net/tcp_states.h); connected UDP sockets are established as well.
const ESTABLISHED: u8 = 1;
const LISTENING: u8 = 10;

/// An address with its port.
pub type End = (IpAddr, u16);

/// A socket of an internet family.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub local: End,
    /// Nobody for a listening or fresh socket.
    pub peer: Option<End>,
    /// The process is the server's end.
    pub serves: bool,
}

impl Ends {
    pub fn client(&self) -> Option<End> {
        if self.serves { self.peer } else { Some(self.local) }
    }

    pub fn server(&self) -> Option<End> {
        if self.serves { Some(self.local) } else { self.peer }
    }
}

/// IPv4 addresses in IPv6's clothes are shown as what they are.
fn address(family: u16, bytes: &[u8; 16]) -> IpAddr {
    if i32::from(family) == AF_INET {
        return Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into();
    }
    Ipv6Addr::from(*bytes).to_canonical()
}

/// An address as a call gives it, `struct sockaddr_in` or `sockaddr_in6`.
pub fn given(bytes: &[u8]) -> Option<End> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip = match i32::from(family) {
        AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?).into(),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?).to_canonical(),
        _ => return None,
    };
    Some((ip, port))
}

/// The path of a `struct sockaddr_un`; an abstract one begins with `@`.
pub fn push_unix(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let path = bytes.get(2..).filter(|_| i32::from(family) == AF_UNIX)?;
    let (abstract_name, path) = match path.split_first() {
        Some((0, rest)) => (true, rest),
        _ => (false, path),
    };
    let name = path.split(|b| *b == 0).next().unwrap_or_default();
    if name.is_empty() {
        return None;
    }
    if abstract_name {
        out.push(b'@');
    }
    out.extend_from_slice(name);
    Some(())
}

/// True for a descriptor that is a socket of IPv4 or IPv6.
fn is_internet(file: &FileInfo) -> bool {
    matches!(i32::from(file.family), AF_INET | AF_INET6)
}

pub fn push_end(out: &mut Vec<u8>, (ip, port): End) {
    push(out, format_args!("{ip}:{port}"));
}

/// `client->server`, or one end when there is no other.
pub fn push_tuple(out: &mut Vec<u8>, ends: &Ends) {
    match (ends.client(), ends.server()) {
        (Some(client), Some(server)) => {
            push_end(out, client);
            out.extend_from_slice(b"->");
            push_end(out, server);
        }
        (Some(one), None) | (None, Some(one)) => push_end(out, one),
        (None, None) => {}
    }
}

/// What one letter says of the protocol: `t`, `u`, `i`, `r`.
pub fn protocol(file: &FileInfo) -> Option<&'static str> {
    if !is_internet(file) {
        return None;
    }
    match (i32::from(file.socket_type), file.protocol) {
        (_, 1 | 58) => Some("icmp"),
        (SOCK_RAW, _) => Some("raw"),
        (_, 6) => Some("tcp"),
        (_, 17) => Some("udp"),
        _ => None,
    }
}

impl SyscallView<'_> {
    /// Both ends of the socket that the call is about.
    pub fn ends(&self) -> Option<Ends> {
        let file = self.record.file().filter(is_internet)?;
        let name = self.call?.name;
        let told = given(self.record.part(Part::Address));
        let kept = (address(file.family, &file.peer), file.peer_port);
        let has_peer = kept.1 != 0 || !kept.0.is_unspecified();
        // A call that names an address means that one: the socket may have none, or another one yet.
        let peer = match name {
            "bind" | "listen" => None,
            "connect" => told.or(has_peer.then_some(kept)),
            _ if has_peer => Some(kept),
            _ => told,
        };
        let mut local = (address(file.family, &file.local), file.local_port);
        if let ("bind", Some(told)) = (name, told) {
            local = told;
        }
        let serves = match name {
            "accept" | "accept4" | "bind" | "listen" => true,
            "connect" => false,
            _ if file.state == LISTENING => true,
            "sendto" | "sendmsg" | "sendmmsg" if told.is_some() => false,
            _ => (self.processes.serves(file.ino))
                .unwrap_or_else(|| peer.is_some_and(|peer| local.1 != 0 && local.1 < peer.1)),
        };
        Some(Ends { local, peer, serves })
    }

    /// Whether the socket's name is this event's doing: one that has no peer of its own got an address.
    fn names_peer(&self) -> bool {
        let call = self.call.map_or("", |call| call.name);
        let sends = matches!(
            call,
            "sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg"
        );
        let named = given(self.record.part(Part::Address)).is_some();
        let connected = self.record.file().is_some_and(|file| file.state == ESTABLISHED);
        named && (call == "connect" || sends && !connected)
    }
}

fn ip(end: Option<End>) -> Option<Value> {
    end.map(|(ip, _)| Value::Ip(ip))
}

fn port(end: Option<End>) -> Option<Value> {
    end.map(|(_, port)| Value::Uint(port.into()))
}

fn both(view: &SyscallView<'_>, scratch: &mut Scratch, value: fn(Option<End>) -> Option<Value>) -> Option<Value> {
    let ends = view.ends()?;
    let start = scratch.items.len();
    scratch
        .items
        .extend([value(ends.client()), value(ends.server())].into_iter().flatten());
    Some(scratch.list_from(start))
}

pub const IPS: Get = |v, _, s| both(v, s, ip);
pub const CLIENT_IP: Get = |v, _, _| ip(v.ends()?.client());
pub const SERVER_IP: Get = |v, _, _| ip(v.ends()?.server());
pub const LOCAL_IP: Get = |v, _, _| ip(Some(v.ends()?.local));
pub const REMOTE_IP: Get = |v, _, _| ip(v.ends()?.peer);
pub const PORTS: Get = |v, _, s| both(v, s, port);
pub const CLIENT_PORT: Get = |v, _, _| port(v.ends()?.client());
pub const SERVER_PORT: Get = |v, _, _| port(v.ends()?.server());
pub const LOCAL_PORT: Get = |v, _, _| port(Some(v.ends()?.local));
pub const REMOTE_PORT: Get = |v, _, _| port(v.ends()?.peer);
pub const IS_SERVER: Get = |v, _, _| Some(Value::Bool(v.ends()?.serves));
pub const L4PROTO: Get = |v, _, s| super::text(s, protocol(&v.record.file()?)?.as_bytes());
pub const FAMILY: Get = |v, _, s| {
    let family = match i32::from(v.record.file()?.family) {
        AF_INET | AF_INET6 => "ip",
        AF_UNIX => "unix",
        _ => return None,
    };
    super::text(s, family.as_bytes())
};
pub const CONNECTED: Get = |v, _, _| {
    let file = v.record.file().filter(is_internet)?;
    Some(Value::Bool(file.state == ESTABLISHED))
};
pub const NAME_CHANGED: Get = |v, _, _| v.record.file().map(|_| Value::Bool(v.names_peer()));
/// Names of addresses are not looked up: an event would have to wait for the answer.
pub const UNNAMED: Get = |_, _, _| None;

/// The tuple or path of a socket.
pub fn push_name(view: &SyscallView<'_>, file: &FileInfo, out: &mut Vec<u8>) -> Option<()> {
    match i32::from(file.family) {
        AF_INET | AF_INET6 => push_tuple(out, &view.ends()?),
        AF_UNIX => push_unix(view.record.part(Part::Address), out)?,
        AF_NETLINK => {}
        _ => return None,
    }
    Some(())
}

pub fn tuple(view: &SyscallView<'_>, scratch: &mut Scratch) -> Option<Value> {
    let file = view.record.file().filter(|file| file.family != 0)?;
    written(scratch, |out| push_name(view, &file, out))
}
