//! Who may post: client certificates made by `saker setup certs`, and bearer tokens.

use std::path::Path;

use crate::client::{Client, Request};
use crate::harness::{TO_FILE, configured, webhook};
use crate::material::{exec, list, quiet, setup_certs};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with_client_ca(more: &str) -> String {
    let tls = "cert: certs/server.crt, key: certs/server.key, client_ca: certs/ca.crt";
    format!("webhook:\n  tls: {{{tls}{more}}}\n{TO_FILE}")
}

#[test]
fn client_certificates() {
    let server = configured(&with_client_ca(", clusters: {kube-apiserver: prod}"))
        .prepare(|dir| setup_certs(dir, "foreign"))
        .start();
    let certs = server.dir.join("certs");
    let batch = list([exec("mtls")]);

    let bare = server.client().post(&batch);
    assert_eq!(bare.code, 401);
    assert!(
        bare.json()["error"].as_str().unwrap().contains("client certificate"),
        "{}",
        bare.body
    );

    assert_eq!(server.client_with(&certs).post(&batch).accepted(), [1, 0, 1, 0]);
    let seen = "saker_last_event_timestamp_seconds{cluster=\"prod\"}";
    assert!(server.metric(seen) > 1.7e9, "the certificate names the cluster");

    // Signed by a CA of the same name that is not ours. With TLS 1.3 the client hears of it at its first read.
    let foreign = server.client_with(&server.dir.join("foreign"));
    let refused = foreign.connect().and_then(|mut connection| connection.post(&batch));
    assert!(refused.is_err(), "{refused:?}");
    server.wait_for_metric("saker_tls_handshake_failures_total{reason=\"unknown_client_ca\"}", 1.0);
}

#[test]
fn only_allowed_names() {
    let server = configured(&with_client_ca(", allowed_names: [somebody-else]")).start();
    let answer = server.client_with(&server.dir.join("certs")).post(&list([exec("x")]));
    assert_eq!(answer.code, 403);
    assert!(
        answer.json()["error"].as_str().unwrap().contains("allowed_names"),
        "{}",
        answer.body
    );
}

#[test]
fn tokens() {
    let server = configured(&(webhook("  token_file: tokens\n") + TO_FILE))
        .file("tokens", &format!("# the API server's\n{TOKEN}\n"))
        .start();
    let client = server.client();
    let batch = list([quiet("token")]);
    let post = || Request::batch(batch.as_bytes());
    for (request, challenge) in [
        (post(), "Bearer"),
        (post().header("Authorization", &format!("Basic {TOKEN}")), "Bearer"),
        (post().token("0123456789abcdef"), "Bearer error=\"invalid_token\""),
        (post().token(&format!("{TOKEN}0")), "Bearer error=\"invalid_token\""),
    ] {
        let answer = client.send(&request);
        assert_eq!(answer.code, 401);
        assert!(
            answer.json()["error"].as_str().unwrap().contains("bearer token"),
            "{}",
            answer.body
        );
        assert_eq!(answer.header("www-authenticate"), Some(challenge));
        assert!(!answer.body.contains(TOKEN));
    }
    assert_eq!(client.send(&post().token(TOKEN)).accepted(), [1, 0, 0, 0]);
    assert!(
        !server.log().contains("0123456789"),
        "a token in the log:\n{}",
        server.log()
    );
}

#[test]
fn both_are_asked_for_where_both_are_configured() {
    let yaml = with_client_ca("").replace("outputs:", "  token_file: tokens\noutputs:");
    let server = configured(&yaml).file("tokens", TOKEN).start();
    let batch = list([quiet("both")]);
    let code = |client: &Client, token: &str| client.send(&Request::batch(batch.as_bytes()).token(token)).code;
    let (bare, known) = (server.client(), server.client_with(&server.dir.join("certs")));
    assert_eq!(code(&bare, TOKEN), 401);
    assert_eq!(code(&known, "another-token-another-token"), 401);
    assert_eq!(code(&known, TOKEN), 200);
}

/// The kubeconfig that `setup apiserver` writes points to what the server accepts.
#[test]
fn the_printed_kubeconfig_fits() {
    let server = configured(&with_client_ca("")).start();
    let url = format!("https://{}/k8s-audit", server.address());
    let made = crate::harness::saker(&server.dir)
        .args(["setup", "apiserver", "--server", &url, "--out", "made"])
        .args([
            "--ca",
            "certs/ca.crt",
            "--client-cert",
            "certs/client.crt",
            "--client-key",
            "certs/client.key",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = kubeconfig(&server.dir.join("made"));
    assert!(text.contains(&url), "{text}");
    for file in ["ca.crt", "client.crt", "client.key"] {
        assert!(text.contains(file), "{file} is not in\n{text}");
    }
}

fn kubeconfig(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|e| e == "kubeconfig"));
    std::fs::read_to_string(found.next().expect("a kubeconfig")).unwrap()
}
