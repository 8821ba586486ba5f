//! The status server: plain HTTP on an address of its own, loopback unless told otherwise.
//!
//! - `/healthz`: 200 while the process lives;
//! - `/readyz`: 200 when every part is ready, otherwise 503; names each part and its reason, and in `notes` what is
//!   worth a look and stops nothing;
//! - `/metrics`: everything that [`Metrics`] holds;
//! - `/versions`: of saker, and of the Falco engine whose rules it runs.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::connections::{Drained, Limits, Plain, Server};
use super::readiness::{Readiness, all_ready};
use crate::config::StatusConfig;
use crate::metrics::{CONTENT_TYPE, Metrics};

const LIMITS: Limits = Limits {
    max_connections: 64,
    head_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(90),
};

/// The Falco engine whose rules language is spoken, as `major.minor.patch`.
pub const FALCO_ENGINE_VERSION: &str = "0.63.0";

/// Why the status server cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` for health and metrics: {source}; change `status.listen` or free the address")]
pub struct StatusError {
    address: SocketAddr,
    source: std::io::Error,
}

/// The status server with its port bound; nothing runs yet.
pub struct StatusServer {
    server: Server<Plain>,
    address: SocketAddr,
}

#[derive(Clone)]
struct Told {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl StatusServer {
    pub fn bind(
        config: &StatusConfig,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Result<StatusServer, StatusError> {
        let failed = |source| StatusError {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Server {
            name: "status",
            listener,
            transport: Plain,
            router: router(Arc::clone(&metrics), readiness),
            limits: LIMITS,
            metrics,
        };
        Ok(StatusServer { server, address })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves; answers under way have a second.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> std::io::Result<Drained> {
        self.server.run(shutdown, Duration::from_secs(1)).await
    }
}

/// The routes, for the server and for tests.
pub fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encoded_metrics))
        .route("/versions", get(versions))
        .with_state(Told { metrics, readiness })
}

/// Falco's body to the letter, for whoever compares it.
async fn healthz() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"status\": \"ok\"}\n").into_response()
}

async fn readyz(State(told): State<Told>) -> Response {
    let parts = told.readiness.parts();
    let ready = all_ready(&parts);
    let named: Map<String, Value> = parts
        .into_iter()
        .map(|(part, state)| {
            (
                part.to_owned(),
                Value::from(state.map_or_else(|why| why, |()| "ready".to_owned())),
            )
        })
        .collect();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = json!({"ready": ready, "parts": named});
    let notes = told.readiness.notes();
    if !notes.is_empty() {
        body["notes"] = json!(notes);
    }
    answer(code, &body)
}

async fn encoded_metrics(State(told): State<Told>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], told.metrics.encode()).into_response()
}

/// Falco's keys: `engine_version` is the minor number alone.
async fn versions() -> Response {
    let minor = FALCO_ENGINE_VERSION.split('.').nth(1);
    answer(
        StatusCode::OK,
        &json!({
            "saker_version": env!("CARGO_PKG_VERSION"),
            "engine_version": minor,
            "engine_version_semver": FALCO_ENGINE_VERSION,
        }),
    )
}

fn answer(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tower::ServiceExt as _;

    async fn get_from(router: &Router, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_path_answers() {
        let readiness = Readiness::new();
        let router = router(Arc::new(Metrics::new()), readiness.clone());
        let ok = "{\"status\": \"ok\"}\n".to_owned();
        assert_eq!(get_from(&router, "GET", "/healthz").await, (200, ok));
        readiness.set("webhook", Ok(()));
        readiness.set("rules", Err("no rules are loaded".to_owned()));
        let (code, body) = get_from(&router, "GET", "/readyz").await;
        assert_eq!(code, 503);
        assert_eq!(
            body,
            "{\"ready\":false,\"parts\":{\"rules\":\"no rules are loaded\",\"webhook\":\"ready\"}}\n"
        );
        readiness.set("rules", Ok(()));
        assert_eq!(get_from(&router, "GET", "/readyz").await.0, 200);
        let (code, body) = get_from(&router, "GET", "/metrics").await;
        assert_eq!(code, 200);
        assert!(body.contains("saker_build_info{version="), "{body}");
        let (code, body) = get_from(&router, "GET", "/versions").await;
        assert_eq!(code, 200);
        assert!(body.contains("\"engine_version\":\"63\""), "{body}");
        assert_eq!(get_from(&router, "POST", "/healthz").await.0, 405);
        assert_eq!(get_from(&router, "GET", "/").await.0, 404);
    }

    #[tokio::test]
    async fn serves_a_socket_and_drains() {
        let config = StatusConfig {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let metrics = Arc::new(Metrics::new());
        let server = StatusServer::bind(&config, metrics, Readiness::new()).unwrap();
        let address = server.local_addr();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 15];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        stop.send(()).unwrap();
        assert_eq!(running.await.unwrap().unwrap(), Drained { cut: 0 });
    }
}
