//! Syslog over real sockets of every transport.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::config::AlertFormat;
use crate::event::Priority;
use crate::outputs::testing::{alert, alert_of, ledger, refusing, soon};

fn writer(address: &str, protocol: SyslogProtocol) -> SyslogWriter {
    writer_with(address, protocol, ledger("syslog"))
}

fn writer_with(address: &str, protocol: SyslogProtocol, ledger: Arc<Ledger>) -> SyslogWriter {
    let config = SyslogConfig {
        address: address.to_owned(),
        protocol,
        format: AlertFormat::Text,
        facility: "local3".to_owned(),
    };
    SyslogWriter::new(&config, ledger).unwrap()
}

/// PRI of facility local3 and severity warning.
const PRI: &str = "<156>";

fn tag() -> String {
    format!("saker[{}]: ", std::process::id())
}

#[test]
fn addresses() {
    for (text, want) in [
        ("unix:///dev/log", Some(Address::Unix("/dev/log".into()))),
        (
            "udp://log.example.org:514",
            Some(Address::Udp("log.example.org:514".into())),
        ),
        ("tcp://10.0.0.1:6514", Some(Address::Tcp("10.0.0.1:6514".into()))),
        (
            "udp://[2001:db8::1]:514",
            Some(Address::Udp("[2001:db8::1]:514".into())),
        ),
        ("udp://2001:db8::1:514", None),
        ("tcp://[10.0.0.1]:514", None),
        ("tcp://host", None),
        ("tcp://host:0", None),
        ("tcp://host:65536", None),
        ("tcp://:514", None),
        ("tcp://host:514/path", None),
        ("unix://dev/log", None),
        ("tls://host:6514", None),
        ("/dev/log", None),
        ("", None),
    ] {
        assert_eq!(Address::parse(text).ok(), want, "{text}");
    }
}

#[test]
fn facilities() {
    for (name, want) in [
        ("kern", 0),
        ("daemon", 3),
        ("authpriv", 10),
        ("local0", 16),
        ("local7", 23),
    ] {
        assert_eq!(facility(name).unwrap(), want, "{name}");
    }
    for (name, want) in [
        ("deamon", "`deamon` is not a syslog facility: did you mean `daemon`?"),
        ("LOCAL0", "`LOCAL0` is not a syslog facility: did you mean `local0`?"),
    ] {
        assert_eq!(facility(name).unwrap_err().to_string(), want);
    }
    let listed = facility("security-log").unwrap_err().to_string();
    assert!(listed.contains("write one of kern, user"), "{listed}");
}

#[tokio::test]
async fn local_datagram() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut syslog = writer(&format!("unix://{}", path.display()), SyslogProtocol::Rfc3164);
    syslog.deliver(&alert("someone did something")).await.unwrap();
    let mut buffer = [0; 1024];
    let n = soon(server.recv(&mut buffer)).await.unwrap();
    let got = std::str::from_utf8(&buffer[..n]).unwrap();
    assert!(got.starts_with(PRI), "{got}");
    assert_eq!(
        &got[PRI.len() + "Mmm dd hh:mm:ss ".len()..],
        tag() + "someone did something"
    );
}

#[tokio::test]
async fn a_local_daemon_that_restarts_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut syslog = writer(&format!("unix://{}", path.display()), SyslogProtocol::Rfc3164);
    assert!(matches!(
        syslog.deliver(&alert("too early")).await,
        Err(DeliveryError::Again { .. })
    ));
    let first = UnixDatagram::bind(&path).unwrap();
    syslog.deliver(&alert("first")).await.unwrap();
    first.shutdown(std::net::Shutdown::Both).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = UnixDatagram::bind(&path).unwrap();
    assert!(syslog.deliver(&alert("second")).await.is_err());
    syslog.deliver(&alert("second")).await.unwrap();
    let mut buffer = [0; 1024];
    let n = soon(second.recv(&mut buffer)).await.unwrap();
    assert!(buffer[..n].ends_with(b"second"));
}

#[tokio::test]
async fn local_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let mut syslog = writer(&format!("unix://{}", path.display()), SyslogProtocol::Rfc3164);
    syslog.deliver(&alert("one")).await.unwrap();
    syslog.deliver(&alert("two")).await.unwrap();
    drop(syslog);
    let (mut stream, _) = soon(server.accept()).await.unwrap();
    let mut got = String::new();
    soon(stream.read_to_string(&mut got)).await.unwrap();
    let lines: Vec<_> = got.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].ends_with(&(tag() + "one")) && lines[1].ends_with(&(tag() + "two")),
        "{got}"
    );
}

#[tokio::test]
async fn udp_one_message_per_datagram_cut_at_the_limit() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("udp://{}", server.local_addr().unwrap());
    let books = ledger("syslog");
    let mut syslog = writer_with(&address, SyslogProtocol::Rfc5424, Arc::clone(&books));
    syslog.deliver(&alert_of(Priority::Emergency, "short")).await.unwrap();
    syslog.deliver(&alert(&"ž".repeat(MAX_UDP))).await.unwrap();

    let mut buffer = vec![0; 2 * MAX_UDP];
    let n = soon(server.recv(&mut buffer)).await.unwrap();
    let got = std::str::from_utf8(&buffer[..n]).unwrap();
    let words: Vec<_> = got.split(' ').collect();
    let pid = std::process::id().to_string();
    assert_eq!(words[0], "<152>1", "{got}");
    words[1].parse::<jiff::Timestamp>().unwrap();
    assert!(
        words[1].ends_with('Z') && words[1].len() == "2026-02-03T03:05:06.078900Z".len(),
        "{got}"
    );
    assert_eq!(&words[3..], ["saker", &pid, "alert", "-", "short"], "{got}");
    assert_eq!(books.counts.truncated.get(), 1);

    let n = soon(server.recv(&mut buffer)).await.unwrap();
    assert!(n == MAX_UDP || n == MAX_UDP - 1, "{n}");
    assert!(std::str::from_utf8(&buffer[..n]).unwrap().ends_with('ž'));
}

#[tokio::test]
async fn udp_over_ipv6() {
    let Ok(server) = UdpSocket::bind("[::1]:0").await else {
        return; // no IPv6 on this machine
    };
    let address = format!("udp://{}", server.local_addr().unwrap());
    let mut syslog = writer(&address, SyslogProtocol::Rfc3164);
    syslog.deliver(&alert("six")).await.unwrap();
    let mut buffer = [0; 1024];
    let n = soon(server.recv(&mut buffer)).await.unwrap();
    assert!(buffer[..n].ends_with((tag() + "six").as_bytes()));
}

#[tokio::test]
async fn tcp_counts_octets_of_the_new_form_and_ends_the_classic_with_a_newline() {
    for (protocol, counted) in [(SyslogProtocol::Rfc5424, true), (SyslogProtocol::Rfc3164, false)] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", server.local_addr().unwrap());
        let mut syslog = writer(&address, protocol);
        for text in ["one", "dva kočky"] {
            syslog.deliver(&alert(text)).await.unwrap();
        }
        drop(syslog);
        let (mut stream, _) = soon(server.accept()).await.unwrap();
        let mut got = String::new();
        soon(stream.read_to_string(&mut got)).await.unwrap();
        let mut messages = Vec::new();
        let mut rest = &*got;
        while !rest.is_empty() {
            let (message, tail) = if counted {
                let (length, tail) = rest.split_once(' ').unwrap();
                tail.split_at(length.parse().unwrap())
            } else {
                rest.split_once('\n').unwrap()
            };
            assert!(message.starts_with(PRI), "{message}");
            messages.push(message);
            rest = tail;
        }
        assert_eq!(messages.len(), 2, "{got}");
        assert!(
            messages[0].ends_with(" one") && messages[1].ends_with(" dva kočky"),
            "{got}"
        );
    }
}

#[tokio::test]
async fn tcp_connects_again_after_the_server_closed() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", server.local_addr().unwrap());
    let mut syslog = writer(&address, SyslogProtocol::Rfc3164);
    syslog.deliver(&alert("first")).await.unwrap();
    let (stream, _) = soon(server.accept()).await.unwrap();
    drop(stream);
    // Wait until the end of the connection is visible here, as it is after any real pause.
    match &syslog.connection {
        Some(Connection::Tcp(stream)) => soon(stream.readable()).await.unwrap(),
        _ => panic!("no connection"),
    }
    syslog.deliver(&alert("second")).await.unwrap();
    let (stream, _) = soon(server.accept()).await.unwrap();
    let mut line = String::new();
    soon(BufReader::new(stream).read_line(&mut line)).await.unwrap();
    assert!(line.ends_with("second\n"), "{line}");
}

#[tokio::test]
async fn a_refused_connection_is_worth_another_try() {
    let (_socket, address) = refusing();
    let mut syslog = writer(&format!("tcp://{address}"), SyslogProtocol::Rfc3164);
    let error = syslog.deliver(&alert("one")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Again { .. }), "{error}");
}
