//! Who gets through, over real TLS, and what a reload changes.

use std::os::unix::fs::symlink;

use axum::http::Version;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SanType};

use super::*;
use crate::watch::{Group, Watcher};

#[tokio::test]
async fn both_versions_of_http_by_alpn() {
    let running = start(|_, _, _| {});
    let both = running.client();
    let answer = send(&both, running.post("/k8s-audit", "[1]")).await;
    assert_eq!((answer.code, answer.response.version()), (200, Version::HTTP_2));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(running.ca.client(None, &[]))
        .https_only()
        .enable_http1()
        .build();
    let old: HttpsClient = Client::builder(TokioExecutor::new()).build(connector);
    let answer = send(&old, running.post("/k8s-audit/prod?timeout=30s", "[1,2]")).await;
    assert_eq!((answer.code, answer.response.version()), (200, Version::HTTP_11));
    assert_eq!(
        answer.body,
        "{\"events\":2,\"bad_items\":0,\"alerts\":0,\"duplicates\":0}\n"
    );
    assert!(running.metric("saker_http_connections{listener=\"webhook\"} 2"));
    assert!(running.metric("saker_http_received_bytes_total 8"));
}

#[tokio::test]
async fn client_certificates() {
    let running = start(|config, ca, dir| {
        require_client_certificate(config, ca, dir);
        config.tls.allowed_names = vec!["spiffe://example.org/api".to_owned(), "kube-apiserver".to_owned()];
        config
            .tls
            .clusters
            .insert("kube-apiserver".to_owned(), "prod".to_owned());
    });
    let ca = &running.ca;
    let uri = SanType::URI("spiffe://example.org/api".try_into().unwrap());
    for (holder, code) in [
        (Some(ca.issue("kube-apiserver", vec![])), 200),
        (Some(ca.issue("someone", vec![uri])), 200),
        (Some(ca.issue("someone", vec![])), 403),
        // The organisation of every certificate here; it is not a name.
        (Some(ca.issue("system:masters2", vec![])), 403),
        (None, 401),
    ] {
        let client = client(ca.client(holder.as_ref(), &[]));
        assert_eq!(send(&client, running.post("/k8s-audit", "[1]")).await.code, code);
    }
    assert_eq!(running.clusters.lock().unwrap()[0].as_deref(), Some("prod"));

    let mut expired = CertificateParams::default();
    expired.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut server_only = CertificateParams::default();
    server_only
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    server_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (holder, reason) in [
        (Ca::new("stranger").issue("kube-apiserver", vec![]), "unknown_client_ca"),
        (ca.sign(expired), "expired_client_certificate"),
        (ca.sign(server_only), "bad_client_certificate"),
    ] {
        let client = client(ca.client(Some(&holder), &[]));
        let failed = client.request(running.post("/k8s-audit", "[1]")).await;
        assert!(failed.is_err(), "{reason}: {failed:?}");
        running
            .wait_for_metric(&format!("saker_tls_handshake_failures_total{{reason=\"{reason}\"}} 1"))
            .await;
    }
}

#[tokio::test]
async fn a_refused_client_does_not_keep_its_connection() {
    let running = start(require_client_certificate);
    let mut raw = running.connect().await;
    assert_eq!(raw.post("[1]").await, "HTTP/1.1 401 Unauthorized");
    assert!(raw.ended().await);
    let refused = send(&running.client(), running.post("/k8s-audit", "[1]")).await;
    assert_eq!((refused.code, refused.response.version()), (401, Version::HTTP_2));
    running
        .wait_for_metric("saker_http_connections{listener=\"webhook\"} 0")
        .await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted() {
    let running = start(|_, _, _| {});
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"POST /k8s-audit HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    running
        .wait_for_metric("saker_tls_handshake_failures_total{reason=\"not_tls\"} 1")
        .await;
    drop(TcpStream::connect(running.address).await.unwrap());
    running
        .wait_for_metric("saker_tls_handshake_failures_total{reason=\"closed\"} 1")
        .await;
    // A client that does not trust us says so.
    let stranger = client(Ca::new("stranger").client(None, &[]));
    assert!(stranger.request(running.post("/k8s-audit", "[1]")).await.is_err());
    running
        .wait_for_metric("saker_tls_handshake_failures_total{reason=\"refused_by_client\"} 1")
        .await;
}

#[tokio::test]
async fn tokens_reload_while_connections_live() {
    let running = start(|config, _, dir| {
        std::fs::write(dir.join("tokens"), "# first\nthe-first-token-of-all\n").unwrap();
        config.token_file = Some(dir.join("tokens"));
    });
    let client = running.client();
    let with = |token: &str| {
        let mut request = running.post("/k8s-audit", "[1]");
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    assert_eq!(send(&client, running.post("/k8s-audit", "[1]")).await.code, 401);
    assert_eq!(send(&client, with("the-first-token-of-all")).await.code, 200);
    std::fs::write(running.dir.path().join("tokens"), "the-second-token-of-all").unwrap();
    running.reload.reload_tokens();
    assert_eq!(send(&client, with("the-first-token-of-all")).await.code, 401);
    assert_eq!(send(&client, with("the-second-token-of-all")).await.code, 200);
    std::fs::write(running.dir.path().join("tokens"), "").unwrap();
    running.reload.reload_tokens();
    assert_eq!(
        send(&client, with("the-second-token-of-all")).await.code,
        200,
        "a bad file changes nothing"
    );
    assert!(running.metric("saker_reload_failures_total{what=\"tokens\"} 1"));
    assert!(running.metric("saker_reload_generation{what=\"tokens\"} 2"));
}

/// A secret volume: `tls.crt` → `..data/tls.crt`, and `..data` → a directory per version.
fn write_version(dir: &std::path::Path, version: &str, ca: &Ca) {
    std::fs::create_dir(dir.join(version)).unwrap();
    ca.server().write(&dir.join(version));
}

fn swap(dir: &std::path::Path, version: &str) {
    symlink(version, dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn a_swapped_certificate_is_for_new_connections() {
    let running = start(|config, ca, dir| {
        let volume = dir.join("volume");
        std::fs::create_dir(&volume).unwrap();
        write_version(&volume, "..v1", ca);
        swap(&volume, "..v1");
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), volume.join(name)).unwrap();
        }
        config.tls.cert = Some(volume.join("tls.crt"));
        config.tls.key = Some(volume.join("tls.key"));
    });
    let volume = running.dir.path().join("volume");
    let group = Group {
        name: "tls",
        paths: vec![volume.join("tls.crt"), volume.join("tls.key")],
    };
    let reload = running.reload.clone();
    let _watcher = Watcher::new(vec![group], move |_| reload.reload_tls()).unwrap();

    let mut old = running.connect().await;
    assert_eq!(old.post("[1]").await, "HTTP/1.1 200 OK");
    write_version(&volume, "..v2", &running.ca);
    swap(&volume, "..v2");
    running.wait_for_metric("saker_reload_generation{what=\"tls\"} 2").await;
    assert_eq!(old.post("[1]").await, "HTTP/1.1 200 OK", "the old connection goes on");
    let mut new = running.connect().await;
    assert_eq!(new.post("[1]").await, "HTTP/1.1 200 OK");
    assert_ne!(old.server_certificate(), new.server_certificate());

    std::fs::create_dir(volume.join("..v3")).unwrap();
    std::fs::write(volume.join("..v3/tls.crt"), "not a certificate").unwrap();
    swap(&volume, "..v3");
    running
        .wait_for_metric("saker_reload_failures_total{what=\"tls\"} 1")
        .await;
    assert_eq!(running.connect().await.server_certificate(), new.server_certificate());
    assert_eq!(old.post("[1]").await, "HTTP/1.1 200 OK");
}
