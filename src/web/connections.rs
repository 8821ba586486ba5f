//! The connections of one listener: how many, how slow they may be, and how they end.
//!
//! A connection takes a slot before it is accepted, so that what is over the limit waits in the kernel's queue. Its head
//! and its silences are timed ([`activity`](super::activity)). On shutdown the listener closes at once, every connection
//! finishes the requests it has, and what is left after the grace period is cut.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Extensions, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt as _;

use super::activity::{Activity, Observed, Overdue};
use super::log_limit::LogLimit;
use crate::metrics::{ClosedLabels, ListenerLabels, Metrics};

/// An HTTP/1.1 head must fit into this.
const HEAD_BYTES: usize = 64 << 10;
const HEAD_LINES: usize = 100;
/// Requests of one HTTP/2 connection at once. An API server in blocking mode sends tens.
const STREAMS: u32 = 256;
/// What an HTTP/2 client may send before the body's reader asks for it. Not counted as buffered, hence small.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How connections of a listener are limited.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_connections: usize,
    /// From the connection, or from a later head's first byte, to the end of the head.
    pub head_timeout: Duration,
    /// From an answer to the next request. Longer than the 90 s after which Go's client lets go by itself, so that a
    /// request does not meet a connection that is just being closed.
    pub idle_timeout: Duration,
}

/// What is done to an accepted socket before HTTP begins.
pub trait Transport: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The stream, and what every request of the connection is told; `None` when the client is turned away.
    fn establish(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Option<(Self::Stream, Extensions)>> + Send;
}

/// HTTP without TLS.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn establish(&self, tcp: TcpStream, _peer: SocketAddr) -> Option<(TcpStream, Extensions)> {
        Some((tcp, Extensions::new()))
    }
}

/// Put into a response's extensions: this client does not keep its connection.
#[derive(Clone, Copy, Debug)]
pub struct CloseAfter;

/// A bound listener and what serves it; nothing runs yet.
pub struct Server<T> {
    /// Label in logs and metrics.
    pub name: &'static str,
    pub listener: std::net::TcpListener,
    pub transport: T,
    pub router: Router,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that did not finish within the grace period.
    pub cut: usize,
}

/// What the tasks of a server's connections share.
struct Shared<T> {
    name: &'static str,
    transport: T,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl<T: Transport> Server<T> {
    /// Serves until `shutdown` resolves, then finishes the requests under way, for at most `grace`.
    pub async fn run(self, shutdown: impl Future<Output = ()>, grace: Duration) -> std::io::Result<Drained> {
        self.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.listener)?;
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let (stop, stopped) = watch::channel(false);
        let log = LogLimit::default();
        let shared = Arc::new(Shared {
            name: self.name,
            transport: self.transport,
            router: self.router,
            limits: self.limits,
            metrics: self.metrics,
        });
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&listener, &slots) => accepted,
            };
            while let Some(ended) = connections.try_join_next() {
                report_panic(shared.name, ended);
            }
            match accepted {
                Ok((tcp, peer, slot)) => {
                    let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                    connections.spawn(async move {
                        shared.connection(tcp, peer, stopped).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    if let Some(left_out) = log.admit("accept") {
                        tracing::error!(listener = shared.name, %error, left_out, "cannot accept a connection");
                    }
                    // Out of descriptors: trying again at once would spin.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        stop.send_replace(true);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report_panic(shared.name, ended);
            }
        };
        let in_time = tokio::time::timeout(grace, all_ended).await.is_ok();
        let cut = if in_time { 0 } else { connections.len() };
        if cut > 0 {
            tracing::warn!(
                listener = shared.name,
                connections = cut,
                "connections cut at the end of the grace period"
            );
            let labels = ClosedLabels {
                listener: shared.name,
                reason: "shutdown",
            };
            shared
                .metrics
                .http_connections_closed
                .get_or_create(&labels)
                .inc_by(cut as u64);
            connections.shutdown().await;
        }
        Ok(Drained { cut })
    }
}

/// Takes a slot, then a connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
    let (tcp, peer) = listener.accept().await?;
    Ok((tcp, peer, slot))
}

fn report_panic(listener: &'static str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(listener, "a connection's task panicked; the others go on");
    }
}

impl<T: Transport> Shared<T> {
    async fn connection(&self, tcp: TcpStream, peer: SocketAddr, mut stopped: watch::Receiver<bool>) {
        let _open = Open::new(self);
        // Without this the last bytes of an answer may wait for an acknowledgement. Not worth a connection.
        let _ = tcp.set_nodelay(true);
        let established = tokio::select! {
            established = self.transport.establish(tcp, peer) => established,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        if let Some((stream, extensions)) = established {
            self.serve(stream, extensions, stopped).await;
        }
    }

    async fn serve(&self, stream: T::Stream, extensions: Extensions, mut stopped: watch::Receiver<bool>) {
        let Limits {
            head_timeout,
            idle_timeout,
            ..
        } = self.limits;
        let activity = Activity::new();
        let builder = http_builder();
        let stream = TokioIo::new(Observed::new(stream, Arc::clone(&activity)));
        let service = hyper::service::service_fn(|request| {
            answer(self.router.clone(), extensions.clone(), Arc::clone(&activity), request)
        });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut stop = pin!(stopped.wait_for(|stop| *stop));
        let mut timer = pin!(sleep_until(Instant::now() + head_timeout));
        let mut closing = None;
        let closed_for = poll_fn(|cx| {
            loop {
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if closing.is_none() && (activity.close_requested() || stop.as_mut().poll(cx).is_ready()) {
                    closing = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                let now = Instant::now();
                let due = activity.due(head_timeout, idle_timeout, closing);
                match due {
                    Some((at, Overdue::Idle)) if at <= now && closing.is_none() => {
                        self.count_closed("idle");
                        closing = Some(now);
                        connection.as_mut().graceful_shutdown();
                        continue;
                    }
                    Some((at, why)) if at <= now => return Poll::Ready(Some(why)),
                    _ => {}
                }
                // The end of a request in another task does not wake this one: look again in a while.
                let look_again = due.map_or(now + head_timeout, |(at, _)| at);
                if look_again < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(look_again);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        if closed_for == Some(Overdue::SlowHead) {
            self.count_closed("slow_head");
        }
    }

    fn count_closed(&self, reason: &'static str) {
        let labels = ClosedLabels {
            listener: self.name,
            reason,
        };
        self.metrics.http_connections_closed.get_or_create(&labels).inc();
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32);
    builder
}

/// One request through the router; the connection is busy meanwhile.
async fn answer(
    router: Router,
    extensions: Extensions,
    activity: Arc<Activity>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let version = request.version();
    let in_flight = Arc::new(activity.begin(version));
    request.extensions_mut().extend(extensions);
    request.extensions_mut().insert(Arc::clone(&in_flight));
    let mut response = router.oneshot(request).await?;
    if response.extensions().get::<CloseAfter>().is_some() {
        if version == Version::HTTP_2 {
            activity.request_close();
        } else {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    Ok(response)
}

/// Counts a connection while it is open.
struct Open<'a> {
    metrics: &'a Metrics,
    labels: ListenerLabels,
}

impl<'a> Open<'a> {
    fn new<T>(shared: &'a Shared<T>) -> Open<'a> {
        let labels = ListenerLabels { listener: shared.name };
        shared.metrics.http_connections.get_or_create(&labels).inc();
        Open {
            metrics: &shared.metrics,
            labels,
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.metrics.http_connections.get_or_create(&self.labels).dec();
    }
}
