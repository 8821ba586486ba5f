//! SIGTERM: no more is accepted, what was accepted reaches every output, exit code 0.

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::harness::{TO_FILE, configured, ids, wait_for, webhook};
use crate::material::{Sink, exec, execs, list, numbered, told};

/// Posts batches of five until the server is gone; notes what it acknowledged.
fn post_until_the_end(client: &Client, name: &str, acknowledged: &Mutex<Vec<String>>, batches: &AtomicUsize) {
    for connection_number in 0.. {
        let Ok(mut connection) = client.connect() else { return };
        for n in 0.. {
            let ids = numbered(&format!("{name}-{connection_number}-{n}"), 5);
            match connection.post(&execs(&ids)) {
                Ok(answer) if answer.code == 200 => {
                    acknowledged.lock().unwrap().extend(ids);
                    batches.fetch_add(1, Ordering::SeqCst);
                }
                // Busy because it stops: nothing was promised.
                Ok(answer) => assert_eq!(answer.code, 429, "{}", answer.body),
                // Cut off: an API server would send the batch again, to whoever takes over.
                Err(_) => break,
            }
        }
    }
}

#[test]
fn sigterm_under_load_loses_nothing() {
    // The second output is slow, so that there is something to deliver at the end.
    let sink = Sink::start(TcpListener::bind("127.0.0.1:0").unwrap(), Duration::from_millis(1));
    let outputs = format!(
        "outputs:\n  - {{kind: file, path: alerts.jsonl}}\n  \
         - {{kind: http, url: \"http://{}/\", queue: 1000, when_full: wait}}\n",
        sink.address
    );
    let mut server = configured(&(webhook("") + &outputs)).start();
    let client = server.client();
    let (acknowledged, batches) = (Mutex::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let (client, acknowledged, batches) = (&client, &acknowledged, &batches);
            scope.spawn(move || post_until_the_end(client, name, acknowledged, batches));
        }
        wait_for("load", || (batches.load(Ordering::SeqCst) > 300).then_some(()));
        server.signal(Signal::SIGTERM);
        let log = server.ended_well();
        assert!(!log.contains("ERROR"), "{log}");
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    told(&format!(
        "SIGTERM under load: {} events acknowledged",
        acknowledged.len()
    ));
    for (output, alerts) in [("file", server.alerts()), ("http", sink.taken())] {
        let mut raised = ids(&alerts);
        let count = raised.len();
        raised.sort();
        raised.dedup();
        assert_eq!(raised.len(), count, "{output}: an alert twice");
        // More may have been raised: answers that did not reach their client.
        let lost = acknowledged
            .iter()
            .filter(|id| raised.binary_search(id).is_err())
            .count();
        assert_eq!(lost, 0, "{output}: of {} acknowledged", acknowledged.len());
    }
}

/// A request that is under way is finished; the status server says meanwhile that no new ones should come.
#[test]
fn a_request_under_way_is_finished() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let batch = list([exec("under-way")]);
    let mut connection = server.client().connect().unwrap();
    connection
        .write(crate::client::Request::batch(batch.as_bytes()).head())
        .unwrap();
    connection.write(&batch[..10]).unwrap();
    server.wait_for_metric("saker_http_received_bytes_total", 10.0);
    server.signal(Signal::SIGTERM);
    let ready = wait_for("an end of readiness", || {
        let answer = server.get("/readyz").unwrap();
        (answer.code != 200).then_some(answer)
    });
    assert_eq!(ready.code, 503);
    assert_eq!(ready.json()["parts"]["shutdown"], "stopping");
    assert_eq!(
        server.get("/healthz").unwrap().code,
        200,
        "it lives until it has drained"
    );
    wait_for("an end of accepting", || {
        server.client().connect().is_err().then_some(())
    });
    connection.write(&batch[10..]).unwrap();
    assert_eq!(connection.answer().unwrap().accepted(), [1, 0, 1, 0]);
    server.ended_well();
    assert_eq!(ids(&server.alerts()), ["under-way"]);
}

/// An output that stays away ends the grace period, not the patience of whoever stops the process; what it lost is said.
#[test]
fn what_cannot_be_delivered_is_told() {
    // Bound and not listening: connections are refused, and nobody else can have the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let outputs = format!("outputs: [{{kind: http, url: \"{url}\"}}]\nshutdown: {{grace: 1s}}\n");
    let mut server = configured(&(webhook("") + &outputs)).start();
    assert_eq!(
        server.client().post(&execs(&numbered("lost", 3))).accepted(),
        [3, 0, 3, 0]
    );
    let log = server.stop();
    assert!(log.contains("undelivered=3"), "{log}");
}

#[test]
fn ctrl_c_stops_as_well() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    assert_eq!(server.client().post(&list([exec("one")])).code, 200);
    server.signal(Signal::SIGINT);
    server.ended_well();
    assert_eq!(ids(&server.alerts()), ["one"]);
}
