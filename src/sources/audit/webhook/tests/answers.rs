//! Every answer, through the router.

use std::io::Write as _;
use std::sync::Mutex;

use axum::Router;
use axum::http::HeaderValue;
use tower::ServiceExt as _;

use super::*;
use crate::bus::Publisher;
use crate::sources::audit::webhook::auth::Peer;

pub(super) const TOKEN: &str = "a-token-of-this-test";

pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    clusters: Arc<Mutex<Vec<Option<String>>>>,
}

pub(super) fn fixture(path: &str, access: Access) -> Fixture {
    fixture_with(path, access, None)
}

pub(super) fn fixture_with(path: &str, access: Access, reviews: Option<Reviews>) -> Fixture {
    let metrics = Arc::new(Metrics::new());
    let clusters = Arc::default();
    let receiver = Receiver {
        path: checked_path(path).unwrap(),
        access,
        default_cluster: Some("default".to_owned()),
        bounds: Bounds {
            max_body: 1000,
            wait: Duration::from_secs(2),
            budget: Budget::new(1500, metrics.http_buffered_bytes.clone()),
            retry_after: 7,
            received: metrics.http_received_bytes.clone(),
        },
        evaluate: evaluate(&clusters),
        evaluations: Arc::new(Semaphore::new(1)),
        publisher: Publisher::default(),
        reviews,
        metrics: Arc::clone(&metrics),
        log: LogLimit::default(),
    };
    Fixture {
        router: router(Arc::new(receiver)),
        metrics,
        clusters,
    }
}

pub(super) fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = Peer {
        address: SocketAddr::from(([192, 0, 2, 1], 1234)),
        names: None,
    };
    request.extension(peer).body(body.into()).unwrap()
}

pub(super) async fn answer(fixture: &Fixture, request: Request<Body>) -> Answer {
    collected(fixture.router.clone().oneshot(request).await.unwrap()).await
}

pub(super) const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn requests_and_their_answers() {
    let fixture = fixture("/k8s-audit", Access::default());
    let large = " ".repeat(1001);
    let long_cluster = format!("/k8s-audit/{}", "a".repeat(64));
    let parameters = ("content-type", "Application/JSON; charset=utf-8");
    for (method, uri, headers, body, code, part) in [
        (
            "POST",
            "/k8s-audit",
            &[JSON][..],
            "[1,2]",
            200,
            "{\"events\":2,\"bad_items\":0,",
        ),
        ("POST", "/k8s-audit?timeout=30s", &[JSON], "[]", 200, "\"events\":0"),
        ("POST", "/k8s-audit/prod-eu.1_a", &[JSON], "[1]", 200, "\"events\":1"),
        ("POST", "/k8s-audit", &[parameters], "[1]", 200, "\"events\":1"),
        ("POST", "/k8s-audit", &[JSON], "", 400, "the body is empty"),
        ("POST", "/k8s-audit", &[JSON], " \n ", 400, "the body is empty"),
        ("POST", "/k8s-audit", &[JSON], "[1", 400, "the body is not JSON: EOF"),
        (
            "POST",
            "/k8s-audit",
            &[JSON, ("content-encoding", "gzip")],
            "[1]",
            400,
            "the body is not gzip",
        ),
        (
            "POST",
            "/",
            &[JSON],
            "[1]",
            404,
            "post to `/k8s-audit` or `/k8s-audit/CLUSTER`",
        ),
        (
            "POST",
            "/k8s-audit/a/b",
            &[JSON],
            "[1]",
            404,
            "there is nothing at this path",
        ),
        (
            "POST",
            "/k8s-audits",
            &[JSON],
            "[1]",
            404,
            "there is nothing at this path",
        ),
        (
            "POST",
            "/k8s-audit/a%20b",
            &[JSON],
            "[1]",
            404,
            "a cluster name is 1 to 63",
        ),
        (
            "POST",
            "/k8s-audit/%FF",
            &[JSON],
            "[1]",
            404,
            "a cluster name is 1 to 63",
        ),
        ("POST", &long_cluster, &[JSON], "[1]", 404, "a cluster name is 1 to 63"),
        ("GET", "/", &[], "", 404, "there is nothing at this path"),
        ("GET", "/k8s-audit", &[], "", 405, "use POST"),
        ("PUT", "/k8s-audit/prod", &[JSON], "[1]", 405, "use POST"),
        ("POST", "/k8s-audit", &[JSON], &large, 413, "larger than 1000 bytes"),
        (
            "POST",
            "/k8s-audit",
            &[],
            "[1]",
            415,
            "`Content-Type: application/json`",
        ),
        (
            "POST",
            "/k8s-audit",
            &[("content-type", "text/plain")],
            "[1]",
            415,
            "`Content-Type: application/json`",
        ),
        (
            "POST",
            "/k8s-audit",
            &[JSON, ("content-encoding", "br")],
            "[1]",
            415,
            "`Content-Encoding: gzip`",
        ),
        ("POST", "/k8s-audit", &[JSON], "\"busy\"", 429, "outputs are busy"),
        ("POST", "/k8s-audit", &[JSON], "\"panic\"", 500, "evaluation failed"),
    ] {
        let got = answer(&fixture, request(method, uri, headers, body.to_owned())).await;
        let case = format!("{method} {uri} {headers:?} {body:.20}: {got:?}");
        assert_eq!(got.code, code, "{case}");
        assert!(got.body.contains(part), "{case}");
        assert_eq!(got.body.matches('\n').count(), 1, "{case}");
        assert!(got.body.ends_with("}\n"), "{case}");
        let headers = got.response.headers();
        assert_eq!(headers["content-type"], "application/json", "{case}");
        assert_eq!(
            headers.get("allow"),
            (code == 405).then_some(&HeaderValue::from_static("POST")),
            "{case}"
        );
        assert_eq!(
            headers.get("retry-after"),
            (code == 429).then_some(&HeaderValue::from(7)),
            "{case}"
        );
        if code != 200 {
            let value: serde_json::Value = serde_json::from_str(&got.body).unwrap();
            assert_eq!(value["code"], code, "{case}");
        }
    }
    let text = fixture.metrics.encode();
    for line in [
        "saker_http_requests_total{code=\"200\"} 4",
        "saker_http_requests_total{code=\"500\"} 1",
        "saker_drops_total{stage=\"evaluation\",reason=\"panic\"} 1",
        "saker_http_buffered_bytes 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn the_root_can_be_the_path() {
    let fixture = fixture("/", Access::default());
    for (uri, code) in [("/", 200), ("/prod", 200), ("/prod/x", 404)] {
        assert_eq!(
            answer(&fixture, request("POST", uri, &[JSON], "[1]")).await.code,
            code,
            "{uri}"
        );
    }
    let want = [Some("default".to_owned()), Some("prod".to_owned())];
    assert_eq!(*fixture.clusters.lock().unwrap(), want);
}

#[tokio::test]
async fn a_stalled_body_is_408_and_a_full_budget_429() {
    let fixture = fixture("/k8s-audit", Access::default());
    // 1000 of 1500 bytes are reserved while this one waits.
    let stalled = tokio::spawn(fixture.router.clone().oneshot(request(
        "POST",
        "/k8s-audit",
        &[JSON],
        Body::new(Stalled),
    )));
    while !fixture.metrics.encode().contains("saker_http_buffered_bytes 1000") {
        assert!(!stalled.is_finished());
        tokio::task::yield_now().await;
    }
    let refused = answer(&fixture, request("POST", "/k8s-audit", &[JSON], " ".repeat(600))).await;
    assert_eq!(refused.code, 429, "{refused:?}");
    assert!(refused.body.contains("too many bytes are waiting"), "{refused:?}");
    assert_eq!(refused.response.headers()["retry-after"], "7");
    let slow = collected(stalled.await.unwrap().unwrap()).await;
    assert_eq!(slow.code, 408, "{slow:?}");
    assert!(fixture.metrics.encode().contains("saker_http_buffered_bytes 0"));
}

/// A body that announces 1000 bytes and never comes.
struct Stalled;

impl hyper::body::Body for Stalled {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(1000)
    }
}

#[tokio::test]
async fn compressed_bodies_are_limited_after_decompression() {
    let fixture = fixture("/k8s-audit", Access::default());
    for (size, code) in [(998, 200), (999, 413), (1 << 20, 413)] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"[").unwrap();
        encoder.write_all(&vec![b' '; size]).unwrap();
        encoder.write_all(b"]").unwrap();
        let body = encoder.finish().unwrap();
        let headers = [JSON, ("content-encoding", "gzip")];
        let got = answer(&fixture, request("POST", "/k8s-audit", &headers, body)).await;
        assert_eq!(got.code, code, "{size}: {got:?}");
    }
}

#[tokio::test]
async fn tokens_and_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let tokens = || Some(Arc::new(Tokens::load(file.path().to_owned()).unwrap()));
    let right = format!("Bearer {TOKEN}");
    let no_names = None;
    let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    let allowed = vec!["kube-apiserver".to_owned(), "other".to_owned()];
    for (certificate, token, allowed_names, shown, authorization, code, part) in [
        (
            false,
            true,
            vec![],
            no_names.clone(),
            Some(right.as_str()),
            200,
            "events",
        ),
        (
            false,
            true,
            vec![],
            no_names.clone(),
            None,
            401,
            "a bearer token is required",
        ),
        (
            false,
            true,
            vec![],
            no_names.clone(),
            Some("Bearer wrong"),
            401,
            "is not known",
        ),
        (true, false, vec![], names(&["anyone"]), None, 200, "events"),
        (
            true,
            false,
            vec![],
            no_names.clone(),
            None,
            401,
            "a client certificate is required",
        ),
        (
            true,
            false,
            allowed.clone(),
            names(&["x", "kube-apiserver"]),
            None,
            200,
            "events",
        ),
        (
            true,
            false,
            allowed.clone(),
            names(&["kube-apiserver2"]),
            None,
            403,
            "no name of this client certificate",
        ),
        (
            true,
            false,
            allowed,
            names(&[]),
            None,
            403,
            "no name of this client certificate",
        ),
        (
            true,
            true,
            vec![],
            names(&["anyone"]),
            Some(right.as_str()),
            200,
            "events",
        ),
        (
            true,
            true,
            vec![],
            names(&["anyone"]),
            None,
            401,
            "a bearer token is required",
        ),
        (
            true,
            true,
            vec![],
            no_names.clone(),
            Some(right.as_str()),
            401,
            "a client certificate is required",
        ),
    ] {
        let access = Access {
            certificate,
            allowed_names,
            tokens: if token { tokens() } else { None },
            ..Access::default()
        };
        let fixture = fixture("/k8s-audit", access);
        let headers: Vec<_> = [JSON]
            .into_iter()
            .chain(authorization.map(|a| ("authorization", a)))
            .collect();
        let mut request = request("POST", "/k8s-audit", &headers, "[1]");
        let case = format!("{certificate} {token} {shown:?} {authorization:?}");
        request.extensions_mut().insert(Peer {
            address: SocketAddr::from(([192, 0, 2, 1], 1234)),
            names: shown.map(Arc::from),
        });
        let got = answer(&fixture, request).await;
        assert_eq!(got.code, code, "{case}: {got:?}");
        assert!(got.body.contains(part), "{case}: {got:?}");
        let challenged = got.response.headers().contains_key("www-authenticate");
        assert_eq!(
            challenged,
            part.contains("token") || part.contains("not known"),
            "{case}"
        );
    }
}

#[tokio::test]
async fn the_path_names_the_cluster_before_the_certificate_before_the_configuration() {
    let access = Access {
        certificate: true,
        clusters: [("api-eu".to_owned(), "prod-eu".to_owned())].into(),
        ..Access::default()
    };
    let fixture = fixture("/k8s-audit", access);
    for (uri, name, want) in [
        ("/k8s-audit/prod-us", "api-eu", "prod-us"),
        ("/k8s-audit", "api-eu", "prod-eu"),
        ("/k8s-audit", "api-us", "default"),
    ] {
        let mut request = request("POST", uri, &[JSON], "[1]");
        request.extensions_mut().insert(Peer {
            address: SocketAddr::from(([192, 0, 2, 1], 1234)),
            names: Some(Arc::from([name.to_owned()])),
        });
        assert_eq!(answer(&fixture, request).await.code, 200);
        assert_eq!(fixture.clusters.lock().unwrap().pop(), Some(Some(want.to_owned())));
        let seen = format!("saker_seconds_since_last_event{{cluster=\"{want}\"}}");
        assert!(fixture.metrics.encode().contains(&seen), "{seen}");
    }
}

#[test]
fn paths_are_checked() {
    for (path, want) in [
        ("/k8s-audit", Some("/k8s-audit")),
        ("/k8s-audit/", Some("/k8s-audit")),
        ("/a/b", Some("/a/b")),
        ("/", Some("")),
        ("", None),
        ("k8s-audit", None),
        ("//", None),
        ("/a//b", None),
        ("/{x}", None),
        ("/a b", None),
        ("/a?b", None),
        ("/*", None),
    ] {
        assert_eq!(checked_path(path).ok().as_deref(), want, "{path}");
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let with = |change: fn(&mut WebhookConfig)| {
        let mut config = WebhookConfig::default();
        change(&mut config);
        check(&config).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    assert_eq!(with(|_| {}), "");
    assert_eq!(
        with(|c| c.max_body = 0),
        "`webhook.max_body` is zero; make it larger, or leave it out"
    );
    assert!(with(|c| c.max_buffered = 1).contains("is less than `webhook.max_body` (33554432)"));
    let names = |c: &mut WebhookConfig| c.tls.allowed_names.push("x".to_owned());
    assert!(with(names).contains("`webhook.tls.allowed_names` has no effect without"));
    let clusters = |c: &mut WebhookConfig| {
        c.tls.client_ca = Some("ca.crt".into());
        c.tls.clusters.insert("x".to_owned(), "a b".to_owned());
    };
    assert!(with(clusters).contains("cluster `a b` of `webhook.tls.clusters`"));
}
