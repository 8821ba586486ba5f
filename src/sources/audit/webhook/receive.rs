//! One request from its head to its answer: route, admit, read, evaluate, answer.
//!
//! The answer is 200 only when evaluation is done, which means that the outputs have accepted every alert, and when the
//! bus has what the nodes need to know, unless it is away. Evaluations
//! run on the blocking pool, one per CPU; what waits for its turn holds bytes of the budget, so the queue is bounded by
//! it, and who comes to a full budget is told to come back (429) before anything is read.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Extension, Router};
use prometheus_client::metrics::family::Family;
use tokio::sync::Semaphore;

use super::admission::{self, EXEC, EXEC_KEY, Reviews};
use super::answer::{Refusal, accepted};
use super::auth::{Access, Peer};
use super::body::{Bounds, Held, check_content_type, discard, encoding};
use crate::bus::Publisher;
use crate::event::Source;
use crate::metrics::{CodeLabels, Metrics, SourceLabels};
use crate::sources::audit::pipeline::{BatchReport, Rejected};
use crate::web::activity::InFlight;
use crate::web::log_limit::{LogLimit, excerpt};

/// Evaluates one body for a cluster; blocks while it does.
pub type Evaluate = Arc<dyn Fn(&[u8], Option<&str>) -> Result<BatchReport, Rejected> + Send + Sync>;

/// What every request needs.
pub struct Receiver {
    /// Without a slash at its end; empty for the root.
    pub path: String,
    pub access: Access,
    /// Of events whose path and certificate name no cluster.
    pub default_cluster: Option<String>,
    pub bounds: Bounds,
    pub evaluate: Evaluate,
    /// One permit per evaluation that may run at once.
    pub evaluations: Arc<Semaphore>,
    /// Where evaluation sends what the nodes need to know.
    pub publisher: Publisher,
    /// The admission endpoints, where they are switched on.
    pub reviews: Option<Reviews>,
    pub metrics: Arc<Metrics>,
    pub log: LogLimit,
}

/// The routes, for the server and for tests. Every request must carry a [`Peer`].
pub fn router(receiver: Arc<Receiver>) -> Router {
    let root = if receiver.path.is_empty() { "/" } else { &receiver.path };
    let audit = Router::new().route(root, post(receive).fallback(not_post)).route(
        &format!("{}/{{cluster}}", receiver.path),
        post(receive).fallback(not_post),
    );
    let router = match receiver.reviews {
        None => audit,
        Some(_) => [(EXEC, any(admission::exec)), (EXEC_KEY, any(admission::exec_key))]
            .into_iter()
            .fold(audit, |router, (path, door)| {
                let below = [format!("{path}/"), format!("{path}/{{*cluster}}")];
                router
                    .route(path, door.clone())
                    .route(&below[0], door.clone())
                    .route(&below[1], door)
            }),
    };
    router
        .fallback(any(unknown_path))
        .layer(from_fn_with_state(Arc::clone(&receiver), count))
        .with_state(receiver)
}

/// Counts and times every answer, whichever route gave it.
async fn count(State(receiver): State<Arc<Receiver>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let code = response.status().as_u16();
    let counters: &Family<_, _> = &receiver.metrics.http_requests;
    counters.get_or_create(&CodeLabels { code }).inc();
    receiver
        .metrics
        .http_request_seconds
        .observe(began.elapsed().as_secs_f64());
    response
}

async fn unknown_path(State(receiver): State<Arc<Receiver>>, peer: Extension<Peer>, request: Request) -> Response {
    let path = if receiver.path.is_empty() { "/" } else { &receiver.path };
    let refusal = Refusal::UnknownPath(path.to_owned());
    receiver.refuse(refusal, &peer, request)
}

async fn not_post(State(receiver): State<Arc<Receiver>>, peer: Extension<Peer>, request: Request) -> Response {
    receiver.refuse(Refusal::NotPost, &peer, request)
}

async fn receive(State(receiver): State<Arc<Receiver>>, peer: Extension<Peer>, mut request: Request) -> Response {
    match receiver.take(&peer, &mut request).await {
        Ok(report) => accepted(&report),
        Err(refusal) => receiver.refuse(refusal, &peer, request),
    }
}

impl Receiver {
    async fn take(&self, peer: &Peer, request: &mut Request) -> Result<BatchReport, Refusal> {
        let cluster = self.cluster_of_path(request.uri().path())?;
        self.access.check(peer, request.headers())?;
        check_content_type(request.headers())?;
        let encoding = encoding(request.headers())?;
        let held = self.bounds.read(request.body_mut(), encoding).await?;
        let from_certificate = || self.access.cluster_of(peer).map(str::to_owned);
        let cluster = cluster
            .or_else(from_certificate)
            .or_else(|| self.default_cluster.clone());
        self.evaluate(held, cluster).await
    }

    /// The name behind the path. Not decoded: a name that has to be encoded is none.
    fn cluster_of_path(&self, path: &str) -> Result<Option<String>, Refusal> {
        let name = path
            .strip_prefix(&self.path)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or_default();
        match name {
            "" => Ok(None),
            name if is_cluster_name(name) => Ok(Some(name.to_owned())),
            _ => Err(Refusal::BadCluster),
        }
    }

    /// Evaluates off the runtime's threads. What began goes on to its end even when the client has gone.
    async fn evaluate(&self, held: Held, cluster: Option<String>) -> Result<BatchReport, Refusal> {
        // INVARIANT: the semaphore is never closed; if it were, refusing would be right.
        let turn = Arc::clone(&self.evaluations)
            .acquire_owned()
            .await
            .map_err(|_| Refusal::Failed)?;
        let evaluate = Arc::clone(&self.evaluate);
        let metrics = Arc::clone(&self.metrics);
        let evaluated = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let began = Instant::now();
            let result = evaluate(&held.bytes, cluster.as_deref());
            let labels = SourceLabels {
                source: Source::K8sAudit.name(),
            };
            metrics
                .evaluation_seconds
                .get_or_create(&labels)
                .observe(began.elapsed().as_secs_f64());
            if result.as_ref().is_ok_and(|report| report.events > 0) {
                metrics.saw_events(cluster.as_deref());
            }
            result
        });
        match evaluated.await {
            Ok(Ok(report)) => {
                if report.published > 0 {
                    self.publisher.settle().await;
                }
                Ok(report)
            }
            Ok(Err(rejected)) => Err(Refusal::from_rejected(rejected, self.bounds.retry_after)),
            Err(_panicked) => {
                self.metrics.dropped("evaluation", "panic", 1);
                Err(Refusal::Failed)
            }
        }
    }

    /// Answers at once, and reads on behind the answer what the client still sends.
    pub(super) fn refuse(&self, refusal: Refusal, peer: &Peer, request: Request) -> Response {
        let kind = refusal.kind();
        if let Some(left_out) = self.log.admit(kind) {
            let reason = refusal.to_string();
            let path = excerpt(request.uri().path());
            tracing::warn!(kind, peer = %peer.address, path, reason, left_out, "request refused");
        }
        // A client that waits for `100 Continue` sends nothing after this answer; asking for its body would be wrong.
        let waits = request.headers().contains_key(header::EXPECT);
        let arrives = !matches!(refusal, Refusal::TooSlow | Refusal::Broken);
        if arrives && !waits {
            discard_behind(request);
        }
        refusal.into_response()
    }
}

/// Reads on, behind the answer, what the client still sends.
pub(super) fn discard_behind(request: Request) {
    let (parts, body): (_, Body) = request.into_parts();
    if axum::body::HttpBody::is_end_stream(&body) {
        return;
    }
    let in_flight = parts.extensions.get::<Arc<InFlight>>().cloned();
    tokio::spawn(async move {
        discard(body).await;
        drop(in_flight);
    });
}

/// What may stand behind the path: fit for a metric's label and a log line as it is.
pub fn is_cluster_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}
