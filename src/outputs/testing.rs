//! What the tests of several outputs need: alerts, books, and an end to waiting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::counters::OutputCounters;
use super::ledger::Ledger;
use crate::alert::Alert;
use crate::event::{Priority, Source};

pub(super) fn alert(text: &str) -> Arc<Alert> {
    alert_of(Priority::Warning, text)
}

pub(super) fn alert_of(priority: Priority, text: &str) -> Arc<Alert> {
    Arc::new(Alert {
        uuid: [7; 16],
        time: 1_700_000_000_000_000_000,
        rule: "Test rule".into(),
        priority,
        source: Source::K8sAudit,
        json: serde_json::json!({ "output": text }).to_string().into(),
        text: text.into(),
    })
}

pub(super) fn ledger(name: &str) -> Arc<Ledger> {
    Arc::new(Ledger::new(OutputCounters::default().register(&name.into(), "test")))
}

/// A local address where connections are refused until the socket is told to listen. Closing a listener instead
/// would not do: a program started at that moment by another test holds a copy of it.
pub(super) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A test that waits longer than this has failed.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .expect("did not happen in time")
}

/// Waits until something that changes elsewhere is as it should be.
pub(super) async fn until(mut done: impl FnMut() -> bool) {
    soon(async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
