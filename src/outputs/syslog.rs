//! Alerts to syslog: the local socket, UDP (RFC 5426) or TCP (RFC 6587), in the classic form or RFC 5424's.
//!
//! Syslog acknowledges nothing. What a broken TCP connection had buffered, and what UDP lost, nobody can know.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use tokio::time::timeout;

use super::ledger::Ledger;
use super::worker::DeliveryError;
use crate::alert::Alert;
use crate::config::{SyslogConfig, SyslogProtocol};

mod message;
#[cfg(test)]
mod tests;

use message::{Header, Sender};

/// Largest UDP message. RFC 5426 lets receivers cut above 2 KiB; the common ones take 8 KiB unless told otherwise.
const MAX_UDP: usize = 8 * 1024;
/// Largest message elsewhere: fits a local datagram socket's default buffer several times, and an alert's JSON.
const MAX_LOCAL_OR_TCP: usize = 64 * 1024;
/// A connection that cannot be made, or takes nothing, for this long is given up and made again.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    #[error("`{0}` is not a syslog address: write `unix:///dev/log`, `udp://HOST:514` or `tcp://HOST:514`")]
    Address(String),
    #[error("`{name}` is not a syslog facility{}", suggestion(.name))]
    Facility { name: String },
}

/// Facility names by number, RFC 5424 section 6.2.1.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

fn facility(name: &str) -> Result<u8, SyslogError> {
    (0..)
        .zip(FACILITIES)
        .find_map(|(number, known)| (known == name).then_some(number))
        .ok_or_else(|| SyslogError::Facility { name: name.to_owned() })
}

fn suggestion(name: &str) -> String {
    let nearest = FACILITIES
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, &name.to_ascii_lowercase()), known))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 2 => format!(": did you mean `{known}`?"),
        _ => format!(": write one of {}", FACILITIES.join(", ")),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
}

impl Address {
    fn parse(text: &str) -> Result<Address, SyslogError> {
        let bad = || SyslogError::Address(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
            "udp" if is_host_and_port(rest) => Ok(Address::Udp(rest.to_owned())),
            "tcp" if is_host_and_port(rest) => Ok(Address::Tcp(rest.to_owned())),
            _ => Err(bad()),
        }
    }
}

/// `HOST:PORT`, an IPv6 address in brackets; names are resolved at each connection, not here.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    if !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return false;
    }
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => text.parse::<std::net::SocketAddrV6>().is_ok() && !address.is_empty(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    }
}

enum Connection {
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

pub(super) struct SyslogWriter {
    address: Address,
    config: SyslogConfig,
    facility: u8,
    sender: Sender,
    connection: Option<Connection>,
    message: Vec<u8>,
    ledger: Arc<Ledger>,
}

impl SyslogWriter {
    /// Checks the configuration; connecting is left to the first alert, because a log daemon may start later.
    pub fn new(config: &SyslogConfig, ledger: Arc<Ledger>) -> Result<SyslogWriter, SyslogError> {
        Ok(SyslogWriter {
            address: Address::parse(&config.address)?,
            facility: facility(&config.facility)?,
            config: config.clone(),
            sender: Sender::of_this_process(),
            connection: None,
            message: Vec::new(),
            ledger,
        })
    }

    /// The daemon may have been replaced: connect again with the next alert.
    pub fn reopen(&mut self) {
        self.connection = None;
    }

    pub async fn deliver(&mut self, alert: &Alert) -> Result<(), DeliveryError> {
        // A failed or timed-out send leaves the connection out: half a message may be in it.
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(open) => open,
            None => within(connect(&self.address))
                .await
                .map_err(|error| self.again("cannot connect", &error))?,
        };
        let cut = self.compose(alert, &connection);
        within(connection.send(&self.message))
            .await
            .map_err(|error| match error.raw_os_error() {
                // The socket's buffer is set smaller than our limit; no later attempt would fit either.
                Some(nix::libc::EMSGSIZE) => DeliveryError::Refused(format!("message too long: {error}")),
                _ => self.again("cannot send", &error),
            })?;
        self.connection = Some(connection);
        if cut {
            self.ledger.counts.truncated.add(1);
        }
        Ok(())
    }

    fn again(&self, what: &str, error: &io::Error) -> DeliveryError {
        DeliveryError::again(format!("`{}`: {what}: {error}", self.config.address))
    }

    /// Puts the framed message into `self.message`; true when it had to be cut.
    fn compose(&mut self, alert: &Alert, connection: &Connection) -> bool {
        let header = Header {
            sender: &self.sender,
            priority: self.facility * 8 + alert.priority as u8,
            now: jiff::Zoned::now(),
        };
        let local = matches!(self.address, Address::Unix(_));
        let header = match self.config.protocol {
            SyslogProtocol::Rfc3164 if local => header.rfc3164_local(),
            SyslogProtocol::Rfc3164 => header.rfc3164(),
            SyslogProtocol::Rfc5424 => header.rfc5424(),
        };
        let max = match self.address {
            Address::Udp(_) => MAX_UDP,
            Address::Unix(_) | Address::Tcp(_) => MAX_LOCAL_OR_TCP,
        };
        let text = super::lines::form(alert, self.config.format);
        let kept = message::cut(text, max.saturating_sub(header.len()));

        self.message.clear();
        // RFC 6587: the new form travels with its length in front, the classic form ends with a newline.
        let counted = matches!(connection, Connection::Tcp(_)) && self.config.protocol == SyslogProtocol::Rfc5424;
        if counted {
            let length = header.len() + kept.len();
            self.message.extend_from_slice(format!("{length} ").as_bytes());
        }
        self.message.extend_from_slice(header.as_bytes());
        self.message.extend_from_slice(kept.as_bytes());
        if !counted && matches!(connection, Connection::Tcp(_) | Connection::UnixStream(_)) {
            self.message.push(b'\n');
        }
        kept.len() < text.len()
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STUCK, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect(address: &Address) -> io::Result<Connection> {
    match address {
        Address::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => Ok(Connection::UnixDatagram(socket)),
                Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
                    UnixStream::connect(path).await.map(Connection::UnixStream)
                }
                Err(error) => Err(error),
            }
        }
        Address::Udp(peer) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in tokio::net::lookup_host(peer).await? {
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                match socket.connect(address).await {
                    Ok(()) => return Ok(Connection::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        Address::Tcp(peer) => {
            let stream = TcpStream::connect(peer).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::Tcp(stream))
        }
    }
}

impl Connection {
    /// A syslog server sends nothing, so anything readable that is not data is the end of the connection. Without
    /// this check the first message after a server's restart would vanish in the old connection.
    fn is_open(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Connection::Tcp(stream) => stream.try_read(&mut byte),
            Connection::UnixStream(stream) => stream.try_read(&mut byte),
            Connection::UnixDatagram(_) | Connection::Udp(_) => return true,
        };
        match read {
            Ok(n) => n > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Connection::UnixDatagram(socket) => socket.send(message).await.map(drop),
            Connection::Udp(socket) => socket.send(message).await.map(drop),
            Connection::UnixStream(stream) => stream.write_all(message).await,
            Connection::Tcp(stream) => stream.write_all(message).await,
        }
    }
}
