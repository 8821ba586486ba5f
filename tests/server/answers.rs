//! Every answer of the webhook, over TLS: its code, its headers, and its one line of JSON.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::client::{Answer, Request};
use crate::harness::{Server, TO_FILE, configured, webhook};
use crate::material::{exec, list, quiet};

const MIB: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn refused(answer: &Answer, code: u16, part: &str) {
    assert_eq!(answer.code, code, "{}", answer.body);
    let json = answer.json();
    assert_eq!(json["code"], code);
    let reason = json["error"].as_str().unwrap();
    assert!(reason.contains(part), "{reason:?} does not say {part:?}");
}

#[test]
fn what_is_accepted() {
    let mut server = configured(&(webhook("") + TO_FILE)).start();
    let client = server.client();
    let batch = |id: &str| list([exec(id), quiet("quiet")]);
    let taken = |request: Request<'_>| client.send(&request).accepted();

    let plain = batch("plain");
    assert_eq!(taken(Request::batch(plain.as_bytes())), [2, 0, 1, 0]);
    let parameters = batch("parameters");
    let request = Request::batch(parameters.as_bytes()).header("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(taken(request), [2, 0, 1, 0]);
    let packed = gzip(batch("packed").as_bytes());
    let request = Request::batch(&packed).header("Content-Encoding", "gzip");
    assert_eq!(taken(request), [2, 0, 1, 0]);
    let query = batch("query");
    assert_eq!(
        taken(Request::batch(query.as_bytes()).path("/k8s-audit?timeout=30s&x=%zz")),
        [2, 0, 1, 0]
    );
    let cluster = batch("cluster");
    assert_eq!(
        taken(Request::batch(cluster.as_bytes()).path("/k8s-audit/prod-1?timeout=30s")),
        [2, 0, 1, 0]
    );
    let empty = list([]);
    assert_eq!(taken(Request::batch(empty.as_bytes())), [0, 0, 0, 0]);
    let mut single = exec("single");
    single["kind"] = "Event".into();
    single["apiVersion"] = "audit.k8s.io/v1".into();
    let single = single.to_string();
    assert_eq!(taken(Request::batch(single.as_bytes())), [1, 0, 1, 0]);
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", batch("chunked").len(), batch("chunked"));
    let request = Request::batch(chunked.as_bytes()).header("Transfer-Encoding", "chunked");
    assert_eq!(taken(request), [2, 0, 1, 0]);

    server.stop();
    let alerts = server.alerts();
    let want = ["plain", "parameters", "packed", "query", "cluster", "single", "chunked"];
    assert_eq!(crate::harness::ids(&alerts), want);
    assert_eq!(alerts[0]["rule"], "Exec");
    assert_eq!(alerts[0]["priority"], "Warning");
    assert_eq!(alerts[0]["source"], "k8s_audit");
    assert_eq!(alerts[0]["tags"], json!(["first"]));
    assert_eq!(
        alerts[0]["output"],
        "06:40:00.020000000: Warning exec by alice (pod=shop agent=kubectl/v1.33.1 id=plain)"
    );
}

#[test]
fn what_is_refused_and_why() {
    let more = "  max_body: 1MiB\n  max_buffered: 1MiB\n  body_timeout: 1s\n";
    let mut server = configured(&(webhook(more) + TO_FILE)).start();
    let client = server.client();
    let batch = list([exec("never")]);
    let post = || Request::batch(batch.as_bytes());

    for (body, part) in [
        ("", "empty"),
        (" \n ", "empty"),
        ("{\"kind\":\"EventList\",\"items\":[", "not JSON"),
        ("no json", "not JSON"),
        ("{\"kind\":\"Pod\",\"items\":[]}", "another kind"),
        ("[]]", "not JSON"),
        ("\"a string\"", "another kind"),
    ] {
        refused(&client.post(body), 400, part);
    }
    refused(&client.send(&Request::batch(b"{\"kind\":\"Event\xff\"}")), 400, "UTF-8");
    let cut = &gzip(batch.as_bytes())[..50];
    refused(
        &client.send(&Request::batch(cut).header("Content-Encoding", "gzip")),
        400,
        "not gzip",
    );

    for path in ["/", "/k8s-audi", "/k8s-audit/a/b", "/metrics", "/k8s-audit/%2e"] {
        let answer = client.send(&post().path(path));
        refused(
            &answer,
            404,
            if path.ends_with('e') {
                "cluster name"
            } else {
                "nothing at this path"
            },
        );
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = client.send(&post().method(method));
        refused(&answer, 405, "POST");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    for kind in ["text/plain", "application/yaml", "application/jsonx", ""] {
        refused(
            &client.send(&post().header("Content-Type", kind)),
            415,
            "application/json",
        );
    }
    for encoding in ["br", "deflate", "gzip, gzip"] {
        refused(&client.send(&post().header("Content-Encoding", encoding)), 415, "gzip");
    }

    let large = vec![b' '; MIB + 1];
    refused(&client.send(&Request::batch(&large)), 413, "larger than 1048576 bytes");
    // What unpacks to more than fits is noticed while it unpacks.
    let bomb = gzip(&vec![b' '; 64 * MIB]);
    refused(
        &client.send(&Request::batch(&bomb).header("Content-Encoding", "gzip")),
        413,
        "larger",
    );

    let mut slow = client.connect().unwrap();
    slow.write(post().head() + "{\"kind\":").unwrap();
    let answer = slow.answer().unwrap();
    refused(&answer, 408, "in time");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(slow.ended());

    server.stop();
    assert_eq!(server.alerts().len(), 0);
}

/// While one body holds all the memory there is for bodies, the next is told to come back.
#[test]
fn no_room_is_429() {
    let more = "  max_body: 1MiB\n  max_buffered: 1MiB\n  retry_after: 7\n";
    let mut server = configured(&(webhook(more) + TO_FILE)).start();
    let client = server.client();
    let batch = list([exec("later")]);

    let large = batch.clone() + &" ".repeat(MIB - batch.len());
    let mut holder = client.connect().unwrap();
    let head = Request::batch(large.as_bytes()).head();
    holder.write(head).unwrap();
    server.wait_for_metric("saker_http_buffered_bytes", MIB as f64);

    let answer = client.post(&batch);
    refused(&answer, 429, "try again later");
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(
        answer.header("connection"),
        None,
        "a client that comes back keeps its connection"
    );

    holder.write(&large).unwrap();
    assert_eq!(holder.answer().unwrap().accepted(), [1, 0, 1, 0]);
    assert_eq!(client.post(&batch).accepted(), [1, 0, 0, 1]);
    assert_eq!(server.metric("saker_http_buffered_bytes"), 0.0);
    server.stop();
    assert_eq!(crate::harness::ids(&server.alerts()), ["later"]);
}

/// Each answer is counted by its code.
#[test]
fn answers_are_counted() {
    let server: Server = configured(&webhook("")).start();
    let client = server.client();
    client.post(&list([quiet("one")]));
    client.post("no json");
    client.post("no json");
    assert_eq!(server.metric("saker_http_requests_total{code=\"200\"}"), 1.0);
    assert_eq!(server.metric("saker_http_requests_total{code=\"400\"}"), 2.0);
    assert!(server.log().contains("request refused"), "{}", server.log());
}
