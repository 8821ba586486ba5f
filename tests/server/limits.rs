//! Clients that are slow, large, or many: the server answers, bounds what they cost, and still takes batches.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::client::Request;
use crate::harness::{Server, TO_FILE, configured, wait_for, webhook};
use crate::material::{exec, list, quiet};

const MIB: usize = 1 << 20;

/// Connections that the webhook has open.
const OPEN: &str = "saker_http_connections{listener=\"webhook\"}";

#[test]
fn slow_clients_are_cut_and_delay_nobody() {
    let more = "  head_timeout: 1s\n  body_timeout: 1s\n";
    let server = configured(&(webhook(more) + TO_FILE)).start();
    let client = server.client();
    let batch = list([exec("slow")]);
    let request = Request::batch(batch.as_bytes());
    std::thread::scope(|scope| {
        // A body in single bytes, each well within the time for a piece: the time for the whole ends it.
        let trickle = scope.spawn(|| {
            let mut connection = client.connect().unwrap();
            connection.write(request.head()).unwrap();
            for byte in request.body {
                if connection.write([*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            connection.answer().map(|answer| answer.code)
        });
        let stalled = scope.spawn(|| {
            let mut connection = client.connect().unwrap();
            connection.write(request.head()).unwrap();
            connection.write(&request.body[..request.body.len() - 1]).unwrap();
            connection.answer().unwrap().code
        });
        // A head that never ends, and a client that says nothing at all.
        let head = scope.spawn(|| {
            let mut connection = client.connect().unwrap();
            for line in ["POST /k8s-audit HTTP/1.1\r\n", "Host: saker\r\n"] {
                connection.write(line).unwrap();
            }
            connection.ended()
        });
        let silent = scope.spawn(|| client.connect().unwrap().ended());
        while !(trickle.is_finished() && stalled.is_finished() && head.is_finished() && silent.is_finished()) {
            assert_eq!(client.post(&list([quiet("prompt")])).code, 200);
        }
        assert_eq!(stalled.join().unwrap(), 408);
        assert!(head.join().unwrap() && silent.join().unwrap());
        // The answer may be lost where the client writes on after it; a 200 would be wrong.
        assert!(matches!(trickle.join().unwrap(), Ok(408) | Err(_)));
    });
    server.wait_for_metric(
        "saker_http_connections_closed_total{listener=\"webhook\",reason=\"slow_head\"}",
        2.0,
    );
    server.wait_for_metric("saker_http_requests_total{code=\"408\"}", 2.0);
    assert_eq!(client.post(&batch).accepted(), [1, 0, 1, 0]);
    assert_eq!(server.metric("saker_http_buffered_bytes"), 0.0);
}

#[test]
fn a_body_over_32_mib_is_413_and_costs_no_memory() {
    let server = configured(&(webhook("") + TO_FILE)).start();
    let client = server.client();
    assert_eq!(client.post(&list([quiet("warm")])).code, 200);
    let before = server.resident();
    let body = vec![b' '; 33 * MIB];
    // With its length announced, and in chunks of which nobody knows how many will come.
    let answer = client.send(&Request::batch(&body));
    assert_eq!(answer.code, 413);
    assert!(
        answer.json()["error"].as_str().unwrap().contains("33554432"),
        "{}",
        answer.body
    );
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 8 * 1024, "an announced body was buffered: {grown} KiB");

    let mut connection = client.connect().unwrap();
    let head = Request::batch(b"").header("Transfer-Encoding", "chunked").head();
    connection.write(head).unwrap();
    let chunk = [b"100000\r\n", &body[..MIB], b"\r\n"].concat();
    for _ in 0..33 {
        connection.write(&chunk).unwrap();
    }
    connection.write("0\r\n\r\n").unwrap();
    assert_eq!(connection.answer().unwrap().code, 413);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 80 * 1024, "33 MiB cost {grown} KiB");
    // The connection is in step: the next request of the same client is read as one.
    assert_eq!(
        connection.post(&list([exec("after")])).unwrap().accepted(),
        [1, 0, 1, 0]
    );
}

/// As the largest batch that fits: 32 MiB of white space before a list.
#[test]
fn a_body_of_32_mib_is_taken() {
    let server = configured(&(webhook("") + TO_FILE)).start();
    let batch = list([exec("large")]);
    let body = " ".repeat(32 * MIB - batch.len()) + &batch;
    assert_eq!(server.client().post(&body).accepted(), [1, 0, 1, 0]);
}

/// Each with a whole TLS handshake (no resumption) and one small batch. Neither descriptors nor memory grow.
#[test]
fn ten_thousand_tiny_connections() {
    const ALL: usize = 10_000;
    const WARM: usize = 2_000;
    let server = configured(&(webhook("") + TO_FILE)).start();
    let client = server.client();
    let body = list([quiet("tiny")]);
    let descriptors = idle_descriptors(&server);
    let began = Instant::now();
    let mut warm = 0;
    for n in 0..ALL {
        let mut connection = client.connect().unwrap();
        assert_eq!(connection.post(&body).unwrap().code, 200);
        if n == WARM {
            warm = server.resident();
        }
    }
    crate::material::told(&format!("{ALL} TLS connections in {:.1?}", began.elapsed()));
    assert_eq!(idle_descriptors(&server), descriptors);
    let grown = server.resident().saturating_sub(warm);
    assert!(grown < 8 * 1024, "{grown} KiB more after {} connections", ALL - WARM);
    assert_eq!(server.metric("saker_http_requests_total{code=\"200\"}"), ALL as f64);
    assert_eq!(client.post(&list([exec("still")])).accepted(), [1, 0, 1, 0]);
}

/// Connections that never become TLS: a port scan, a probe of a load balancer, a client that gives up.
#[test]
fn thousands_of_connections_without_a_handshake() {
    let server = configured(&(webhook("") + TO_FILE)).start();
    let descriptors = idle_descriptors(&server);
    for n in 0..5_000 {
        let mut tcp = TcpStream::connect(server.address()).unwrap();
        match n % 3 {
            0 => {}
            1 => std::io::Write::write_all(&mut tcp, b"GET / HTTP/1.0\r\n\r\n").unwrap(),
            _ => tcp.shutdown(Shutdown::Write).unwrap(),
        }
    }
    assert_eq!(idle_descriptors(&server), descriptors);
    assert!(
        server.log().len() < 64 * 1024,
        "the log is bounded: {} bytes",
        server.log().len()
    );
    assert_eq!(server.client().post(&list([exec("still")])).accepted(), [1, 0, 1, 0]);
}

/// More connections than there are slots: those beyond wait, and get their turn.
#[test]
fn connections_over_the_limit_wait() {
    let server = configured(&(webhook("  max_connections: 4\n") + TO_FILE)).start();
    let client = server.client();
    let mut first: Vec<_> = (0..4).map(|_| client.connect().unwrap()).collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.post(&list([exec("waited")])).code);
        for connection in &mut first {
            assert_eq!(connection.post(&list([quiet("x")])).unwrap().code, 200);
        }
        assert_eq!(server.metric(OPEN), 4.0);
        assert!(!waiting.is_finished());
        first.pop();
        assert_eq!(waiting.join().unwrap(), 200);
    });
}

/// Descriptors once every connection is gone.
fn idle_descriptors(server: &Server) -> usize {
    wait_for("all connections to end", || (server.metric(OPEN) == 0.0).then_some(()));
    // The last one is the status connection that was just asked.
    let mut last = 0;
    wait_for("the number of descriptors to settle", || {
        let now = server.descriptors();
        (std::mem::replace(&mut last, now) == now).then_some(now)
    })
}
