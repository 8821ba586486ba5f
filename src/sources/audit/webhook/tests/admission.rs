//! The admission endpoints through the router: what is answered, what the nodes are told, what is counted.

use serde_json::{Value, json};

use super::answers::{Fixture, JSON, TOKEN, answer, fixture, fixture_with, request};
use super::*;
use crate::bus::{Full, Kind, Message, Publish};
use crate::metrics::OutcomeLabels;

const UID: &str = "46abb456-95f3-4452-9fd9-1e808cd58141";

/// Keeps what is published.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Message>>);

impl Publish for Kept {
    fn publish(&self, message: Message) -> Result<(), Full> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
}

fn listening(key: bool, access: Access) -> (Fixture, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let publisher = Publisher::new(Arc::clone(&kept) as Arc<dyn Publish>);
    let fixture = fixture_with("/k8s-audit", access, Some(Reviews::new(key, publisher)));
    (fixture, kept)
}

fn review(resource: &str, sub: &str, operation: &str) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "resource": {"group": "", "version": "v1", "resource": resource},
            "subResource": sub,
            "name": "web",
            "namespace": "prod",
            "operation": operation,
            "userInfo": {"username": "bob@example.com"},
            "object": {"command": ["sh"]},
            "dryRun": false,
        },
    })
}

fn exec() -> String {
    review("pods", "exec", "CONNECT").to_string()
}

impl Fixture {
    /// How often each outcome was counted, in alphabetical order.
    fn outcomes(&self) -> String {
        let counted = |outcome| {
            let count = self
                .metrics
                .admission_reviews
                .get_or_create(&OutcomeLabels { outcome })
                .get();
            (count > 0).then(|| format!("{outcome}={count}"))
        };
        let all = [
            "malformed",
            "other",
            "overloaded",
            "patched",
            "published",
            "unauthenticated",
            "unheard",
        ];
        all.into_iter().filter_map(counted).collect::<Vec<_>>().join(" ")
    }

    /// The `response` of the answer, which must be 200 and an allow.
    async fn allowed(&self, asked: Request<Body>) -> Value {
        let answer = answer(self, asked).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        let review: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(review["kind"], "AdmissionReview");
        assert_eq!(review["response"]["allowed"], true);
        review["response"].clone()
    }
}

#[tokio::test]
async fn nodes_are_told_of_what_leads_into_a_pod() {
    for (resource, sub, operation, pod, told) in [
        ("pods", "exec", "CONNECT", true, true),
        ("pods", "attach", "CONNECT", true, true),
        // No process comes of these, or none that a review could name.
        ("pods", "portforward", "CONNECT", true, false),
        ("pods", "ephemeralcontainers", "UPDATE", true, false),
        ("pods", "", "CREATE", true, false),
        ("nodes", "proxy", "CONNECT", false, false),
        ("pods", "eviction", "CREATE", true, false),
    ] {
        let (fixture, kept) = listening(false, Access::default());
        let body = review(resource, sub, operation).to_string();
        let response = fixture
            .allowed(request("POST", "/admission/exec?timeout=1s", &[JSON], body.clone()))
            .await;
        let kept = kept.0.lock().unwrap();
        assert_eq!(response["uid"], UID);
        if !told {
            assert!(kept.is_empty());
            assert_eq!(response.get("auditAnnotations"), None);
            assert_eq!(fixture.outcomes(), "other=1");
            continue;
        }
        assert_eq!(response["auditAnnotations"], json!({"exec-id": UID}));
        assert_eq!(response.get("patch"), None);
        let [message] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((message.kind, &*message.id), (Kind::Review, UID));
        assert_eq!(message.cluster.as_deref(), Some("default"));
        assert_eq!(
            message.pod,
            pod.then(|| ("prod".into(), "web".into())),
            "{resource}/{sub}"
        );
        let whole = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        assert_eq!(whole(&message.body), whole(body.as_bytes()));
        assert!(message.at > 1_700_000_000_000_000_000);
        assert_eq!(fixture.outcomes(), "published=1");
    }
}

#[tokio::test]
async fn the_path_names_the_cluster() {
    for (path, cluster) in [
        ("/admission/exec", Some("default")),
        ("/admission/exec/", Some("default")),
        ("/admission/exec/prod", Some("prod")),
        ("/admission/exec-key/prod-2", Some("prod-2")),
        ("/admission/exec/a%20b", None),
        ("/admission/exec/a/b", None),
    ] {
        let (fixture, kept) = listening(false, Access::default());
        let response = fixture.allowed(request("POST", path, &[JSON], exec())).await;
        assert_eq!(response["uid"], UID, "{path}");
        let kept = kept.0.lock().unwrap();
        let told = kept
            .first()
            .map(|message| message.cluster.as_deref().unwrap_or_default());
        assert_eq!(told, cluster, "{path}");
    }
}

#[tokio::test]
async fn dry_runs_are_nobodys_business() {
    let (fixture, kept) = listening(true, Access::default());
    let mut body = review("pods", "exec", "CONNECT");
    body["request"]["dryRun"] = true.into();
    let response = fixture
        .allowed(request("POST", "/admission/exec-key", &[JSON], body.to_string()))
        .await;
    assert_eq!(response, json!({"uid": UID, "allowed": true}));
    assert!(kept.0.lock().unwrap().is_empty());
    assert_eq!(fixture.outcomes(), "other=1");
}

#[tokio::test]
async fn commands_get_a_key_only_where_that_is_asked_for() {
    for (key, path, patched) in [
        (true, "/admission/exec-key", true),
        (true, "/admission/exec-key/prod", true),
        (true, "/admission/exec", false),
        (false, "/admission/exec-key", false),
    ] {
        let (fixture, kept) = listening(key, Access::default());
        let response = fixture.allowed(request("POST", path, &[JSON], exec())).await;
        assert_eq!(response["auditAnnotations"]["exec-id"], UID);
        assert_eq!(response.get("patch").is_some(), patched, "{path}");
        assert_eq!(response.get("patchType").is_some(), patched, "{path}");
        assert_eq!(kept.0.lock().unwrap().len(), 1);
        let outcomes = if patched {
            "patched=1 published=1"
        } else {
            "published=1"
        };
        assert_eq!(fixture.outcomes(), outcomes, "{path}");
    }
}

#[tokio::test]
async fn reviews_without_the_credentials_of_audit_posts_do_not_count() {
    let tokens = || {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TOKEN).unwrap();
        Some(Arc::new(Tokens::load(file.path().to_owned()).unwrap()))
    };
    let bearer = format!("Bearer {TOKEN}");
    let access = |certificate, token: bool| Access {
        certificate,
        tokens: if token { tokens() } else { None },
        ..Access::default()
    };
    for (access, header, outcome) in [
        (access(true, false), bearer.as_str(), "unauthenticated=1"),
        (access(false, true), "Bearer another-token-of-more", "unauthenticated=1"),
        (access(true, true), bearer.as_str(), "unauthenticated=1"),
        (access(false, true), bearer.as_str(), "patched=1 published=1"),
    ] {
        let (fixture, kept) = listening(true, access);
        let headers = [JSON, ("authorization", header)];
        let response = fixture
            .allowed(request("POST", "/admission/exec-key", &headers, exec()))
            .await;
        assert_eq!(response["uid"], UID);
        let counts = outcome != "unauthenticated=1";
        assert_eq!(response.get("patch").is_some(), counts);
        assert_eq!(response.get("auditAnnotations").is_some(), counts);
        assert_eq!(kept.0.lock().unwrap().len(), usize::from(counts));
        assert_eq!(fixture.outcomes(), outcome);
        let audit = answer(&fixture, request("POST", "/k8s-audit", &[JSON], "[]")).await;
        assert_eq!(audit.code, 401, "audit posts are refused as before");
    }
}

#[tokio::test]
async fn whatever_comes_is_allowed_and_told_to_nobody() {
    let large = exec().replace("\"sh\"", &format!("\"{}\"", "x".repeat(3 << 20)));
    let cut = &exec()[..150];
    assert!(cut.contains(UID));
    let gzip = ("content-encoding", "gzip");
    for (method, headers, body, uid) in [
        ("POST", &[JSON][..], large.as_str(), UID),
        ("POST", &[JSON], cut, UID),
        ("POST", &[("content-type", "text/plain")], &exec(), UID),
        ("POST", &[], &exec(), UID),
        ("POST", &[JSON, gzip], &exec(), UID),
        ("PUT", &[JSON], &exec(), UID),
        ("GET", &[JSON], "", ""),
        ("POST", &[JSON], "", ""),
        ("POST", &[JSON], "nonsense", ""),
        ("POST", &[JSON], "{\"kind\":\"EventList\",\"items\":[]}", ""),
        ("POST", &[JSON], "{\"request\":{\"uid\":\"x y\"}}", "x y"),
    ] {
        let (fixture, kept) = listening(true, Access::default());
        let asked = request(method, "/admission/exec-key", headers, body.to_owned());
        let response = fixture.allowed(asked).await;
        let beginning = &body[..body.len().min(80)];
        assert_eq!(response, json!({"uid": uid, "allowed": true}), "{method} {beginning}");
        assert!(kept.0.lock().unwrap().is_empty());
        assert_eq!(fixture.outcomes(), "malformed=1", "{method} {beginning}");
    }
}

#[tokio::test]
async fn large_reviews_are_answered_early_and_cost_no_connection() {
    let large = exec().replace("\"sh\"", &format!("\"{}\"", "x".repeat(4 << 20)));
    let running = start(|_, _, _| {});
    let client = running.client();
    for body in [large.clone(), exec()] {
        let response = client.request(running.post("/admission/exec", body)).await.unwrap();
        assert_eq!(response.version(), axum::http::Version::HTTP_2);
        let answer: Value = serde_json::from_str(&collected(response).await.body).unwrap();
        assert_eq!(answer["response"]["uid"], UID);
    }
    // Sends everything before it reads, as simple clients do.
    let mut raw = running.connect().await;
    let head = "POST /admission/exec HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    raw.write(format!("{head}Content-Length: {}\r\n\r\n{large}", large.len()))
        .await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(UID), "{answer}");
    assert_eq!(raw.post("[1]").await, "HTTP/1.1 200 OK", "the connection is still good");
    assert!(running.metric("saker_http_buffered_bytes 0"));
}

#[tokio::test]
async fn they_can_be_switched_off_and_need_their_path() {
    let fixture = fixture("/k8s-audit", Access::default());
    let there = answer(&fixture, request("POST", "/admission/exec", &[JSON], exec())).await;
    assert_eq!(there.code, 404);

    for (path, enabled, taken) in [
        ("/admission", true, true),
        ("/admission/exec", true, true),
        ("/admission/exec", false, false),
        ("/admissions", true, false),
        ("/", true, false),
    ] {
        let mut config = WebhookConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: path.to_owned(),
            ..WebhookConfig::default()
        };
        config.admission.enabled = enabled;
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new("test"));
        let files = ca.server().write(dir.path());
        (config.tls.cert, config.tls.key) = (Some(files.cert), Some(files.key));
        let evaluation = evaluate(&Arc::default());
        let bound = Webhook::bind(
            &config,
            None,
            evaluation,
            Publisher::default(),
            Arc::new(Metrics::new()),
        );
        let clash = matches!(bound, Err(WebhookError::PathTaken(_)));
        assert_eq!((clash, bound.is_ok()), (taken, !taken), "{path}");
    }
}
