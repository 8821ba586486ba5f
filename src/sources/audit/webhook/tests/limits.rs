//! Large, slow, many, and the end: what a client can ask for and what it gets.

use super::*;

const MIB: usize = 1 << 20;

/// Sends everything before it reads, as simple clients do.
#[tokio::test]
async fn a_body_over_the_limit_is_answered_although_the_client_reads_late() {
    let running = start(|_, _, _| {});
    let head = "POST /k8s-audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let zeros = vec![b' '; MIB];

    let mut raw = running.connect().await;
    raw.write(format!("{head}Content-Length: {}\r\n\r\n", 33 * MIB)).await;
    for _ in 0..33 {
        raw.write(&zeros).await;
    }
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("the body is larger than 33554432 bytes"), "{answer}");
    assert_eq!(raw.post("[1]").await, "HTTP/1.1 200 OK", "the connection is still good");

    raw.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    for _ in 0..33 {
        raw.write(format!("{MIB:x}\r\n")).await;
        raw.write(&zeros).await;
        raw.write("\r\n").await;
    }
    raw.write("0\r\n\r\n").await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(raw.post("[1]").await, "HTTP/1.1 200 OK", "the connection is still good");
    assert!(running.metric("saker_http_buffered_bytes 0"));
}

#[tokio::test]
async fn a_body_over_the_limit_over_http2_and_one_at_the_limit() {
    let running = start(|_, _, _| {});
    let client = running.client();
    let known = running.post("/k8s-audit", vec![b' '; 33 * MIB]);
    assert_eq!(send(&client, known).await.code, 413);
    let unknown = running.post("/k8s-audit", chunked(33 * 16, vec![b' '; MIB / 16]));
    assert_eq!(send(&client, unknown).await.code, 413);
    let mut at_limit = vec![b' '; 32 * MIB];
    at_limit[0] = b'[';
    at_limit[1] = b']';
    assert_eq!(send(&client, running.post("/k8s-audit", at_limit)).await.code, 200);
}

#[tokio::test]
async fn a_client_that_asks_first_sends_nothing() {
    let running = start(|_, _, _| {});
    let head = "POST /k8s-audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
    let mut raw = running.connect().await;
    raw.write(format!("{head}Content-Length: {}\r\n\r\n", 33 * MIB)).await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let mut raw = running.connect().await;
    raw.write(format!("{head}Content-Length: 3\r\n\r\n")).await;
    let mut line = [0; 25];
    raw.0.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    raw.write("[1]").await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_slow_body_is_408_and_the_connection_ends() {
    let running = start(|config, _, _| config.body_timeout = Duration::from_millis(200));
    let mut raw = running.connect().await;
    raw.write("POST /k8s-audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1")
        .await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(raw.ended().await);
}

#[tokio::test]
async fn a_slow_head_ends_the_connection_but_a_pause_between_requests_does_not() {
    let head_timeout = Duration::from_secs(1);
    let running = start(|config, _, _| config.head_timeout = head_timeout);
    let slow_heads =
        |n: u32| format!("saker_http_connections_closed_total{{listener=\"webhook\",reason=\"slow_head\"}} {n}");
    let mut silent = running.connect().await;
    let mut begun = running.connect().await;
    begun.write("POST /k8s-audit HTTP/1.1\r\nHo").await;
    assert!(silent.ended().await);
    assert!(begun.ended().await);
    running.wait_for_metric(&slow_heads(2)).await;

    let mut kept = running.connect().await;
    assert_eq!(kept.post("[1]").await, "HTTP/1.1 200 OK");
    tokio::time::sleep(head_timeout * 2).await;
    assert_eq!(
        kept.post("[1]").await,
        "HTTP/1.1 200 OK",
        "it only waited for its next batch"
    );
    kept.write("POST /k8s-audit HTTP/1.1\r\nHo").await;
    assert!(kept.ended().await);
    running.wait_for_metric(&slow_heads(3)).await;
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let running = start(|_, _, _| {});
    let mut raw = running.connect().await;
    raw.write("POST /k8s-audit HTTP/1.1\r\nHost: x\r\n").await;
    let line = format!("X: {}\r\n", "x".repeat(8000));
    let mut refused = false;
    for _ in 0..100 {
        if raw.0.write_all(line.as_bytes()).await.is_err() {
            refused = true;
            break;
        }
    }
    let answer = raw.answer().await;
    assert!(
        refused || answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(),
        "{answer}"
    );
    assert_eq!(running.connect().await.post("[1]").await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_full_budget_is_429_and_room_comes_back() {
    let (evaluation, begun, go) = gated();
    let running = start_with(Some(evaluation), PATIENCE, |config, _, _| {
        config.max_body = 1000;
        config.max_buffered = 1000;
        config.retry_after = 3;
    });
    let client = running.client();
    let first = tokio::spawn({
        let (client, request) = (client.clone(), running.post("/k8s-audit", vec![b'1'; 999]));
        async move { send(&client, request).await.code }
    });
    tokio::task::spawn_blocking(move || begun.recv_timeout(PATIENCE))
        .await
        .unwrap()
        .unwrap();
    let refused = send(&client, running.post("/k8s-audit", "[1]")).await;
    assert_eq!(refused.code, 429);
    assert_eq!(refused.response.headers()["retry-after"], "3");
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap(), 200);
    go.send(()).unwrap();
    assert_eq!(send(&client, running.post("/k8s-audit", "[1]")).await.code, 200);
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let running = start(|config, _, _| config.max_connections = 1);
    let mut first = running.connect().await;
    assert_eq!(first.post("[1]").await, "HTTP/1.1 200 OK");
    let mut second = Box::pin(running.connect());
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut second)
        .await
        .is_err();
    assert!(waits, "the second connection was served beside the first");
    drop(first);
    let mut second = tokio::time::timeout(PATIENCE, second).await.unwrap();
    assert_eq!(second.post("[1]").await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn many_connections_one_after_another() {
    let running = start(|config, _, _| config.max_connections = 4);
    for _ in 0..200 {
        assert_eq!(running.connect().await.post("[1]").await, "HTTP/1.1 200 OK");
    }
    running
        .wait_for_metric("saker_http_connections{listener=\"webhook\"} 0")
        .await;
    assert!(running.metric("saker_http_requests_total{code=\"200\"} 200"));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let running = start(|_, _, _| {});
    let client = running.client();
    assert_eq!(send(&client, running.post("/k8s-audit", "\"panic\"")).await.code, 500);
    assert_eq!(send(&client, running.post("/k8s-audit", "[1]")).await.code, 200);
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way() {
    let (evaluation, begun, go) = gated();
    let running = start_with(Some(evaluation), PATIENCE, |_, _, _| {});
    let mut idle = running.connect().await;
    let mut raw = running.connect().await;
    let client = running.client();
    let over_h1 = tokio::spawn(async move { (raw.post("[1]").await, raw.ended().await) });
    let over_h2 = tokio::spawn({
        let request = running.post("/k8s-audit", "[1]");
        async move { send(&client, request).await.code }
    });
    // Both have sent their requests; at least one of them is being evaluated.
    running.wait_for_metric("saker_http_received_bytes_total 6").await;
    tokio::task::spawn_blocking(move || begun.recv_timeout(PATIENCE))
        .await
        .unwrap()
        .unwrap();
    running.stop.send(()).unwrap();
    assert!(idle.ended().await, "a connection without a request ends at once");
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("new connections are refused");
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(over_h1.await.unwrap(), ("HTTP/1.1 200 OK".to_owned(), true));
    assert_eq!(over_h2.await.unwrap(), 200);
    assert_eq!(running.task.await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn shutdown_is_bounded_by_its_grace() {
    let (evaluation, begun, go) = gated();
    let running = start_with(Some(evaluation), Duration::from_millis(200), |_, _, _| {});
    let mut raw = running.connect().await;
    let cut = tokio::spawn(async move { raw.post("[1]").await });
    tokio::task::spawn_blocking(move || begun.recv_timeout(PATIENCE))
        .await
        .unwrap()
        .unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(running.task.await.unwrap().unwrap(), Drained { cut: 1 });
    assert_eq!(cut.await.unwrap(), "");
    go.send(()).unwrap();
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let files = Ca::new("test").server().write(dir.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = WebhookConfig {
        listen: taken.local_addr().unwrap(),
        ..WebhookConfig::default()
    };
    config.tls.cert = Some(files.cert);
    config.tls.key = Some(files.key);
    let (evaluation, _, _) = gated();
    let bound = Webhook::bind(
        &config,
        None,
        evaluation,
        Publisher::default(),
        Arc::new(Metrics::new()),
    );
    let error = bound.err().unwrap().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on `{}`: ", config.listen)),
        "{error}"
    );
    assert!(
        error.ends_with("change `webhook.listen` or free the address"),
        "{error}"
    );
}
