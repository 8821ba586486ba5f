//! /healthz, /readyz, /versions and /metrics of a running server.

use std::io::Write;
use std::net::TcpStream;

use saker::metrics::METRICS;

use crate::client::Request;
use crate::harness::{TO_FILE, configured, webhook};
use crate::material::{exec, list, quiet};

#[test]
fn health() {
    let server = configured(&(webhook("") + TO_FILE)).start();
    assert_eq!(server.get("/healthz").unwrap().body, "{\"status\": \"ok\"}\n");
    let ready = server.get("/readyz").unwrap();
    assert_eq!((ready.code, &ready.json()["ready"]), (200, &true.into()));
    assert_eq!(ready.json()["parts"]["webhook"], "ready");
    let versions = server.get("/versions").unwrap();
    assert_eq!(versions.json()["saker_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(server.get("/nothing").unwrap().code, 404);
}

#[test]
fn the_status_server_can_be_left_out_of_the_webhooks_way() {
    // Plain HTTP on the webhook's port, and the webhook's path on the status port: neither answers for the other.
    let server = configured(&(webhook("") + TO_FILE)).start();
    assert_eq!(server.get("/k8s-audit").unwrap().code, 404);
    assert_eq!(
        server
            .client()
            .send(&Request::batch(b"").method("GET").path("/metrics"))
            .code,
        404
    );
}

/// Every documented family exists after traffic that touches everything there is to count.
#[test]
fn every_documented_metric() {
    let more = "  head_timeout: 1s\n  token_file: tokens\n";
    const TOKEN: &str = "0123456789abcdef";
    let server = configured(&(webhook(more) + TO_FILE)).file("tokens", TOKEN).start();
    let batch = list([exec("x"), quiet("y"), 7.into()]);
    for _ in 0..2 {
        let answer = server
            .client()
            .send(&Request::batch(batch.as_bytes()).token(TOKEN).path("/k8s-audit/prod"));
        assert_eq!(answer.code, 200);
    }
    let review = Request::batch(b"{}").path("/admission/exec");
    assert_eq!(server.client().send(&review).code, 200);
    let mut not_tls = TcpStream::connect(server.address()).unwrap();
    not_tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.wait_for_metric("saker_tls_handshake_failures_total{reason=\"not_tls\"}", 1.0);
    assert!(server.client().connect().unwrap().ended());
    std::fs::write(server.dir.join("tokens"), "short").unwrap();
    server.wait_for_metric("saker_reload_failures_total{what=\"tokens\"}", 1.0);
    server.wait_for_metric("saker_output_delivered_total{output=\"file\"}", 1.0);

    let text = server.get("/metrics").unwrap();
    assert_eq!(
        text.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(text.body.ends_with("# EOF\n"));
    let exposed: Vec<&str> = text
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    for metric in METRICS {
        let name = metric.exposed_name();
        let family = name.strip_suffix("_total").unwrap_or(&name);
        assert!(
            exposed.iter().any(|line| line.split(' ').next() == Some(family)),
            "{name} is documented and not exposed"
        );
        assert!(
            text.body.lines().any(|line| line.starts_with(&name)),
            "{name} has no sample"
        );
    }
    assert_eq!(exposed.len(), METRICS.len());
    for (name, value) in [
        ("saker_events_total{source=\"k8s_audit\",outcome=\"ok\"}", 4.0),
        ("saker_events_total{source=\"k8s_audit\",outcome=\"bad\"}", 2.0),
        (
            "saker_rule_matches_total{rule=\"Exec\",priority=\"Warning\",source=\"k8s_audit\"}",
            2.0,
        ),
        ("saker_alerts_total{source=\"k8s_audit\",priority=\"Warning\"}", 1.0),
        ("saker_duplicate_alerts_total{source=\"k8s_audit\"}", 1.0),
        ("saker_drops_total{stage=\"dead_letter\",reason=\"no_file\"}", 1.0),
        ("saker_output_queue_depth{output=\"file\"}", 0.0),
        ("saker_output_queue_capacity{output=\"file\"}", 10_000.0),
    ] {
        assert_eq!(server.metric(name), value, "{name}");
    }
    let expiry = server.metric("saker_tls_certificate_expiry_timestamp_seconds{certificate=\"server\"}");
    assert!(expiry > 1.7e9, "{expiry}");
}
