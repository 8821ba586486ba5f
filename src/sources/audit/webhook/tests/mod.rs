//! The webhook over its router and over real TLS.

mod admission;
mod answers;
mod clients;
mod limits;

use std::convert::Infallible;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::sources::audit::pipeline::{BatchReport, Rejected};
use crate::sources::audit::tls::testing::Ca;

/// Longer than anything here takes, so that a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the items of a list; some first words make it fail in each of its ways. Notes the cluster.
fn evaluate(clusters: &Arc<Mutex<Vec<Option<String>>>>) -> Evaluate {
    let clusters = Arc::clone(clusters);
    Arc::new(move |body, cluster| {
        clusters.lock().unwrap().push(cluster.map(str::to_owned));
        match body {
            b"\"panic\"" => panic!("an evaluation that panics on purpose"),
            b"\"busy\"" => return Err(Rejected::Busy),
            _ => {}
        }
        let items: Vec<serde_json::Value> =
            serde_json::from_slice(body).map_err(|e| Rejected::Unreadable(format!("the body is not JSON: {e}")))?;
        Ok(BatchReport {
            events: items.len() as u64,
            ..BatchReport::default()
        })
    })
}

/// An evaluation that says when it begins and waits to be let go.
fn gated() -> (Evaluate, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let goes = Mutex::new(goes);
    let evaluate: Evaluate = Arc::new(move |_, _| {
        // An error means that the test looks no more, or is over.
        let _ = begun.send(());
        let _ = goes.lock().unwrap().recv_timeout(PATIENCE);
        Ok(BatchReport {
            events: 1,
            ..BatchReport::default()
        })
    });
    (evaluate, begins, go)
}

/// A webhook that runs, with what a test may want of it.
struct Running {
    address: SocketAddr,
    ca: Ca,
    metrics: Arc<Metrics>,
    reload: Reload,
    clusters: Arc<Mutex<Vec<Option<String>>>>,
    dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<Drained>>,
}

fn start(configure: impl FnOnce(&mut WebhookConfig, &Ca, &std::path::Path)) -> Running {
    start_with(None, PATIENCE, configure)
}

fn start_with(
    evaluation: Option<Evaluate>,
    grace: Duration,
    configure: impl FnOnce(&mut WebhookConfig, &Ca, &std::path::Path),
) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("test");
    let files = ca.server().write(dir.path());
    let mut config = WebhookConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..WebhookConfig::default()
    };
    config.tls.cert = Some(files.cert);
    config.tls.key = Some(files.key);
    configure(&mut config, &ca, dir.path());
    let metrics = Arc::new(Metrics::new());
    let clusters = Arc::default();
    let evaluation = evaluation.unwrap_or_else(|| evaluate(&clusters));
    let webhook = Webhook::bind(
        &config,
        Some("default".to_owned()),
        evaluation,
        Publisher::default(),
        Arc::clone(&metrics),
    )
    .unwrap();
    let (address, reload) = (webhook.local_addr(), webhook.reload_handle());
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        // An error means that the test is over; then the server is as well.
        let _ = stopped.await;
    };
    Running {
        address,
        ca,
        metrics,
        reload,
        clusters,
        dir,
        stop,
        task: tokio::spawn(webhook.run(shutdown, grace)),
    }
}

fn require_client_certificate(config: &mut WebhookConfig, ca: &Ca, dir: &std::path::Path) {
    let path = dir.join("client-ca.crt");
    std::fs::write(&path, ca.pem()).unwrap();
    config.tls.client_ca = Some(path);
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Body>;

fn client(config: ClientConfig) -> HttpsClient {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_all_versions()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// What came back, for comparison.
#[derive(Debug)]
struct Answer {
    code: u16,
    body: String,
    response: Response<()>,
}

async fn collected<B>(response: Response<B>) -> Answer
where
    B: hyper::body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status.as_u16(),
        body: String::from_utf8(bytes.to_vec()).unwrap(),
        response: Response::from_parts(parts, ()),
    }
}

impl Running {
    fn client(&self) -> HttpsClient {
        client(self.ca.client(None, &[]))
    }

    fn post(&self, path: &str, body: impl Into<Body>) -> Request<Body> {
        let uri = format!("https://{}{path}", self.address);
        let request = Request::post(uri).header("content-type", "application/json");
        request.body(body.into()).unwrap()
    }

    /// A TLS connection of HTTP/1.1 to write to by hand.
    async fn connect(&self) -> Raw {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.ca.client(None, &[b"http/1.1"])));
        let name = ServerName::from(self.address.ip());
        Raw(connector.connect(name, tcp).await.unwrap())
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|l| l == line)
    }

    async fn wait_for_metric(&self, line: &str) {
        let seen = async {
            while !self.metric(line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, seen).await;
        assert!(
            in_time.is_ok(),
            "`{line}` did not come; there is\n{}",
            self.metrics.encode()
        );
    }
}

async fn send(client: &HttpsClient, request: Request<Body>) -> Answer {
    let response = tokio::time::timeout(PATIENCE, client.request(request)).await;
    collected(response.expect("an answer in time").expect("an answer")).await
}

/// A connection written to by hand.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// A small post on this connection, and the status line of its answer.
    async fn post(&mut self, body: &str) -> String {
        let head = "POST /k8s-audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        self.write(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        self.answer().await.lines().next().unwrap_or_default().to_owned()
    }

    /// One whole answer; empty at the end of the connection.
    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        let read = async {
            while self.0.read(&mut byte).await.unwrap_or(0) == 1 {
                text.push(byte[0]);
                // Every answer is a head and one line.
                if text.ends_with(b"}\n") {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer or an end in time");
        String::from_utf8(text).unwrap()
    }

    /// Whether the server has ended the connection.
    async fn ended(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut byte)).await;
        !matches!(read.expect("an end in time"), Ok(1))
    }

    fn server_certificate(&self) -> Vec<u8> {
        let (_, session) = self.0.get_ref();
        session.peer_certificates().unwrap()[0].to_vec()
    }
}

/// A body that comes in pieces of unknown number: chunked over HTTP/1.1.
fn chunked(pieces: usize, piece: Vec<u8>) -> Body {
    let piece = axum::body::Bytes::from(piece);
    Body::new(Pieces { left: pieces, piece })
}

struct Pieces {
    left: usize,
    piece: axum::body::Bytes,
}

impl hyper::body::Body for Pieces {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return std::task::Poll::Ready(None);
        };
        self.left = left;
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(self.piece.clone()))))
    }
}
