//! The NATS bus with a real nats-server: what is published arrives, once, whatever happens to the server.

mod access;
// Of the tests of the webhook: what is not needed here is there.
#[allow(dead_code, reason = "the tests of the webhook need more of it")]
#[path = "../server/client.rs"]
mod client;
mod container;
#[allow(dead_code, reason = "the tests of the webhook need more of it")]
#[path = "../server/harness.rs"]
mod harness;
mod live;
#[allow(dead_code, reason = "the tests of the webhook need more of it")]
#[path = "../server/material.rs"]
mod material;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use saker::bus::nats::{NatsInbox, NatsPublisher, inbox, publisher};
use saker::bus::{Inbox, Kind, Message, Publish};
use saker::config::{BusConfig, BusKind};
use server::{Server, binaries};
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(30);

fn config(server: &Server) -> BusConfig {
    BusConfig {
        kind: BusKind::Nats,
        servers: vec![server.address()],
        ..BusConfig::default()
    }
}

fn message(cluster: &str, id: &str) -> Message {
    Message {
        kind: Kind::Audit,
        cluster: Some(cluster.into()),
        pod: Some(("web".into(), "web-1.x".into())),
        id: id.into(),
        at: 1,
        body: format!(r#"{{"auditID":"{id}"}}"#).into_bytes().into(),
    }
}

/// Waits for a message as the reader does.
fn next(inbox: &mut NatsInbox, wait: Duration) -> Option<Message> {
    let end = Instant::now() + wait;
    loop {
        if let Some(message) = inbox.take() {
            return Some(message);
        }
        let left = end.checked_duration_since(Instant::now())?;
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(inbox.wake(), PollFlags::POLLIN)], timeout).expect("poll");
    }
}

/// Ids of the next `count` messages, in order.
#[track_caller]
fn ids(inbox: &mut NatsInbox, count: usize) -> Vec<String> {
    let ids: Vec<_> = (0..count)
        .map_while(|_| next(inbox, LONG))
        .map(|m| m.id.to_string())
        .collect();
    assert_eq!(ids.len(), count, "{:?} after {ids:?}", inbox.trouble());
    ids
}

#[track_caller]
fn nothing_more(inbox: &mut NatsInbox) {
    assert_eq!(next(inbox, Duration::from_millis(300)), None);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not within {LONG:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn sent(publisher: &NatsPublisher) {
    assert_eq!(publisher.drain(LONG).await, 0, "{:?}", publisher.trouble());
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

fn publish(publisher: &NatsPublisher, ids: &[String]) {
    for id in ids {
        publisher.publish(message("prod", id)).expect("room");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_gets_each_message_once() {
    for binary in binaries() {
        let server = Server::run(&binary, "");
        let config = config(&server);
        let from: Arc<NatsPublisher> = publisher(&config, Some("prod")).unwrap();
        let other_replica = publisher(&config, Some("prod")).unwrap();
        let mut first = inbox(&config, Some("prod"), "node-1").unwrap();
        let mut second = inbox(&config, Some("prod"), "node-2").unwrap();
        let mut elsewhere = inbox(&config, Some("dev.1"), "node-1").unwrap();
        let mut all = inbox(&config, None, "node-1").unwrap();

        publish(&from, &numbers(0, 100));
        sent(&from).await;
        // Again, and by another replica of the webhook.
        publish(&from, &numbers(50, 100));
        publish(&other_replica, &numbers(0, 100));
        from.publish(message("dev.1", "there")).unwrap();
        // An Audit-ID that was used before, with other contents, is another event.
        let mut forged = message("prod", "7");
        forged.body = Box::from(*b"{}");
        from.publish(forged).unwrap();
        // A message that names no cluster is of the publisher's own.
        let mut nameless = message("prod", "nameless");
        nameless.cluster = None;
        from.publish(nameless).unwrap();
        sent(&from).await;
        sent(&other_replica).await;
        assert_eq!((from.trouble(), from.dropped()), (None, 0));

        let mut expected = numbers(0, 100);
        expected.extend(["7".to_owned(), "nameless".to_owned()]);
        expected.sort();
        for node in [&mut first, &mut second] {
            // A server that was slow to acknowledge some gets these again, behind others.
            let mut got = ids(node, 102);
            got.sort();
            assert_eq!(got, expected, "{}", binary.display());
            nothing_more(node);
            assert!(node.up_since().is_some());
            assert_eq!((node.trouble(), node.discarded()), (None, 0));
        }
        assert_eq!(ids(&mut elsewhere, 1), ["there"]);
        nothing_more(&mut elsewhere);
        assert_eq!(ids(&mut all, 103).len(), 103);
        nothing_more(&mut all);

        // A node that starts again learns all that is retained.
        drop(first);
        let mut again = inbox(&config, Some("prod"), "node-1").unwrap();
        let mut got = ids(&mut again, 102);
        got.sort();
        assert_eq!(got, expected);
        nothing_more(&mut again);

        // Whole messages come as they went.
        let went = message("prod", "whole");
        from.publish(went.clone()).unwrap();
        assert_eq!(next(&mut second, LONG), Some(went));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing() {
    for binary in binaries() {
        let mut server = Server::run(&binary, "");
        let mut config = config(&server);
        // Another server, that is not there.
        config.servers.insert(0, "nats://127.0.0.1:9".to_owned());
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, Some("prod"), "node-1").unwrap();
        publish(&from, &numbers(0, 50));
        assert_eq!(ids(&mut node, 50), numbers(0, 50));
        until("the node is up", || node.up_since().is_some()).await;
        let before = node.up_since().unwrap();

        // Killed while messages are on their way.
        publish(&from, &numbers(50, 1000));
        server.kill();
        let begin = Instant::now();
        publish(&from, &numbers(1000, 3000));
        assert!(begin.elapsed() < Duration::from_millis(500), "publishing does not wait");
        until("both notice", || from.trouble().is_some() && node.up_since().is_none()).await;
        let trouble = from.trouble().unwrap();
        assert!(
            trouble.contains("not connected to NATS") && trouble.contains("messages wait"),
            "{trouble}"
        );
        assert!(node.trouble().unwrap().starts_with("not connected to NATS"));
        assert!(from.waiting() >= 2000, "{}", from.waiting());

        server.start();
        let mut came = ids(&mut node, 2950);
        nothing_more(&mut node);
        came.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(came, numbers(50, 3000), "{}", binary.display());
        sent(&from).await;
        until("no trouble is left", || {
            from.trouble().is_none() && node.up_since().is_some()
        })
        .await;
        assert!(node.up_since().unwrap() > before);
        assert_eq!((node.trouble(), from.dropped()), (None, 0));

        // Nobody publishes meanwhile: the node is up again all the same, and gets nothing twice.
        server.kill();
        until("the node notices", || node.up_since().is_none()).await;
        server.start();
        until("the node is up again", || node.up_since().is_some()).await;
        nothing_more(&mut node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_refused_and_the_rest_is_kept_for_a_server_that_comes_late() {
    for binary in binaries() {
        let mut server = Server::new(&binary, "");
        let config = config(&server);
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, None, "node-1").unwrap();
        publish(&from, &numbers(0, 10_000));
        assert!(from.publish(message("prod", "late")).is_err());
        assert_eq!(from.waiting(), 10_000);
        assert!(from.trouble().is_some());
        assert_eq!(from.drain(Duration::from_millis(100)).await, 10_000);

        server.start();
        sent(&from).await;
        // The node's reader was busy: what it has no room for stays with the server.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(ids(&mut node, 10_000), numbers(0, 10_000), "{}", binary.display());
        nothing_more(&mut node);
        from.publish(message("prod", "late")).unwrap();
        assert_eq!(ids(&mut node, 1), ["late"]);
        assert!(node.up_since().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_bounded_by_bytes_and_by_the_server() {
    for binary in binaries() {
        let server = Server::run(&binary, "max_payload: 100000");
        let config = config(&server);
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, None, "node-1").unwrap();
        let mut large = message("prod", "large");
        large.body = vec![b'x'; 200_000].into();
        from.publish(large.clone()).unwrap();
        from.publish(message("prod", "small")).unwrap();
        assert_eq!(ids(&mut node, 1), ["small"]);
        sent(&from).await;
        assert_eq!((from.dropped(), from.trouble()), (1, None));

        large.body = vec![b'x'; 65 << 20].into();
        assert!(from.publish(large).is_err());
        assert_eq!(from.waiting(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_goes_away_is_made_again() {
    for binary in binaries() {
        let server = Server::run(&binary, "");
        let config = config(&server);
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, None, "node-1").unwrap();
        publish(&from, &numbers(0, 5));
        assert_eq!(ids(&mut node, 5), numbers(0, 5));

        let admin = jetstream::new(async_nats::connect(server.address()).await.unwrap());
        let mut stream = admin.get_stream("SAKER").await.unwrap();
        let made = stream.info().await.unwrap().config.clone();
        assert_eq!(made.subjects, ["saker.>"]);
        assert_eq!(
            (made.max_age, made.max_bytes),
            (Duration::from_secs(24 * 3600), 256 << 20)
        );
        assert_eq!(made.duplicate_window, Duration::from_secs(600));

        admin.delete_stream("SAKER").await.unwrap();
        publish(&from, &numbers(5, 8));
        assert_eq!(ids(&mut node, 3), numbers(5, 8), "{}", binary.display());
        sent(&from).await;

        // One that is there stays as it is, also when it is of no use; that is said.
        admin.delete_stream("SAKER").await.unwrap();
        let narrow = jetstream::stream::Config {
            name: "SAKER".to_owned(),
            subjects: vec!["saker.dev.>".to_owned()],
            ..Default::default()
        };
        admin.create_stream(narrow).await.unwrap();
        publish(&from, &numbers(8, 9));
        until("the publisher says why", || {
            from.trouble()
                .is_some_and(|t| t.contains("does not have the subjects saker.>"))
        })
        .await;
        assert_eq!(from.waiting(), 1);

        // Somebody puts it right.
        let wide = jetstream::stream::Config {
            name: "SAKER".to_owned(),
            subjects: vec!["saker.>".to_owned()],
            ..Default::default()
        };
        admin.update_stream(wide).await.unwrap();
        sent(&from).await;
        assert_eq!(ids(&mut node, 1), ["8"]);
        until("no trouble is left", || from.trouble().is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_its_subject_says_is_discarded() {
    for binary in binaries() {
        let server = Server::run(&binary, "");
        let config = config(&server);
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, Some("prod"), "node-1").unwrap();
        until("the stream is there", || node.up_since().is_some()).await;
        let other = jetstream::new(async_nats::connect(server.address()).await.unwrap());
        let foreign = serde_json::to_vec(&message("dev", "foreign")).unwrap();
        for payload in [foreign, b"no message".to_vec()] {
            let ack = other.publish("saker.prod.web.web-1%2Ex", payload.into()).await.unwrap();
            ack.await.unwrap();
        }
        from.publish(message("prod", "good")).unwrap();
        assert_eq!(ids(&mut node, 1), ["good"]);
        assert_eq!(node.discarded(), 2);
    }
}
