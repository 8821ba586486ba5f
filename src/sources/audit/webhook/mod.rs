//! The HTTPS webhook that the API server posts to.
//!
//! - [`receive`]: one request, from its head to its answer;
//! - [`admission`] and [`review`]: the same for the reviews of those who are about to enter a pod;
//! - [`auth`]: who may post; [`body`] and [`budget`]: how much and how slowly; [`answer`]: what each failure is called;
//! - this file: configuration to bound port ([`Webhook::bind`]), to running server ([`Webhook::run`]), to drained.

pub mod admission;
pub mod answer;
pub mod auth;
pub mod body;
pub mod budget;
mod handshake;
pub mod receive;
pub mod review;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::admission::Reviews;
use self::auth::{Access, TokenError, Tokens};
use self::body::Bounds;
use self::budget::Budget;
use self::handshake::Tls;
pub use self::receive::{Evaluate, Receiver, router};
use super::tls::{ServerTls, TlsError, TlsFiles};
use crate::bus::Publisher;
use crate::config::WebhookConfig;
use crate::metrics::Metrics;
use crate::web::connections::{Drained, Limits, Server};
use crate::web::log_limit::LogLimit;

/// Longer than the 90 s after which an idle client in Go lets go by itself.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);
/// The expiry of certificates is looked at this often.
const EXPIRY_LOOK: Duration = Duration::from_secs(12 * 3600);

/// Why the webhook cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("`webhook.path` is `{0}`; write an absolute path of letters, digits, `/`, `.`, `_`, `-` and `~`")]
    BadPath(String),
    #[error("`webhook.path` is `{0}`, and `/admission` belongs to the admission endpoints; choose another path")]
    PathTaken(String),
    #[error("`webhook.max_buffered` ({max_buffered}) is less than `webhook.max_body` ({max_body}); make it larger")]
    NoRoomForOne { max_buffered: u64, max_body: u64 },
    #[error("`webhook.{0}` is zero; make it larger, or leave it out")]
    Zero(&'static str),
    #[error("`webhook.tls.{0}` has no effect without `webhook.tls.client_ca`; set that too")]
    NeedsClientCa(&'static str),
    #[error("cluster `{0}` of `webhook.tls.clusters` is not 1 to 63 letters, digits, `.`, `_` or `-`")]
    BadCluster(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error("cannot listen on `{address}`: {source}; change `webhook.listen` or free the address")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// The webhook with its port bound; nothing runs yet.
pub struct Webhook {
    server: Server<Tls>,
    address: SocketAddr,
    reload: Reload,
}

/// What can be exchanged while the webhook runs.
#[derive(Clone, Debug)]
pub struct Reload {
    tls: Arc<ServerTls>,
    tokens: Option<Arc<Tokens>>,
    metrics: Arc<Metrics>,
}

impl Webhook {
    /// Loads certificates and tokens and takes the port.
    pub fn bind(
        config: &WebhookConfig,
        default_cluster: Option<String>,
        evaluate: Evaluate,
        publisher: Publisher,
        metrics: Arc<Metrics>,
    ) -> Result<Webhook, WebhookError> {
        check(config)?;
        let path = checked_path(&config.path)?;
        if config.takes_path_of_admission() {
            return Err(WebhookError::PathTaken(path));
        }
        let tls = Arc::new(ServerTls::load(TlsFiles::from_config(&config.tls)?)?);
        let tokens = config.token_file.clone().map(Tokens::load).transpose()?.map(Arc::new);
        let reload = Reload {
            tls: Arc::clone(&tls),
            tokens: tokens.clone(),
            metrics: Arc::clone(&metrics),
        };
        reload.metrics.reloaded("tls");
        tls.report_expiry(&metrics);
        if tokens.is_some() {
            reload.metrics.reloaded("tokens");
        }
        let access = Access {
            certificate: tls.requires_client_certificate(),
            allowed_names: config.tls.allowed_names.clone(),
            tokens,
            clusters: config.tls.clusters.clone(),
        };
        if access.is_open() && !config.listen.ip().is_loopback() {
            let address = config.listen.to_string();
            tracing::warn!(
                address,
                "anyone who reaches this address can post events and admission reviews; \
                 set `webhook.tls.client_ca` or `webhook.token_file`"
            );
        }
        let receiver = Receiver {
            path,
            access,
            default_cluster,
            bounds: Bounds {
                max_body: config.max_body,
                wait: config.body_timeout,
                budget: Budget::new(config.max_buffered, metrics.http_buffered_bytes.clone()),
                retry_after: config.retry_after,
                received: metrics.http_received_bytes.clone(),
            },
            evaluate,
            evaluations: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, usize::from),
            )),
            publisher: publisher.clone(),
            reviews: (config.admission.enabled).then(|| Reviews::new(config.admission.key, publisher)),
            metrics: Arc::clone(&metrics),
            log: LogLimit::default(),
        };
        let failed = |source| WebhookError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Server {
            name: "webhook",
            listener,
            transport: Tls::new(tls, Arc::clone(&metrics)),
            router: router(Arc::new(receiver)),
            limits: Limits {
                max_connections: config.max_connections,
                head_timeout: config.head_timeout,
                idle_timeout: IDLE_TIMEOUT,
            },
            metrics,
        };
        Ok(Webhook {
            server,
            address,
            reload,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stays usable while the webhook runs.
    pub fn reload_handle(&self) -> Reload {
        self.reload.clone()
    }

    /// Serves until `shutdown` resolves; then accepts no more, finishes the requests under way for at most `grace`, and
    /// is drained.
    pub async fn run(self, shutdown: impl Future<Output = ()>, grace: Duration) -> std::io::Result<Drained> {
        let expiry = async {
            loop {
                tokio::time::sleep(EXPIRY_LOOK).await;
                self.reload.tls.report_expiry(&self.reload.metrics);
            }
        };
        tokio::select! {
            drained = self.server.run(shutdown, grace) => drained,
            never = expiry => never,
        }
    }
}

impl Reload {
    /// New connections get the certificates that are in the files now; if those are bad, nothing changes.
    pub fn reload_tls(&self) {
        self.told("tls", self.tls.reload().map_err(|e| e.to_string()));
        self.tls.report_expiry(&self.metrics);
    }

    /// New requests need a token that is in the file now; if the file is bad, nothing changes.
    pub fn reload_tokens(&self) {
        if let Some(tokens) = &self.tokens {
            self.told("tokens", tokens.reload().map_err(|e| e.to_string()));
        }
    }

    fn told(&self, what: &'static str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.metrics.reloaded(what);
                tracing::info!(what, "reloaded");
            }
            Err(error) => {
                self.metrics.reload_failed(what);
                tracing::error!(what, error, "reload failed; what was loaded before stays in use");
            }
        }
    }
}

fn check(config: &WebhookConfig) -> Result<(), WebhookError> {
    let sizes = [
        ("max_body", config.max_body == 0),
        ("max_connections", config.max_connections == 0),
        ("head_timeout", config.head_timeout.is_zero()),
        ("body_timeout", config.body_timeout.is_zero()),
    ];
    if let Some((name, _)) = sizes.into_iter().find(|(_, zero)| *zero) {
        return Err(WebhookError::Zero(name));
    }
    if config.max_buffered < config.max_body {
        return Err(WebhookError::NoRoomForOne {
            max_buffered: config.max_buffered,
            max_body: config.max_body,
        });
    }
    if config.tls.client_ca.is_none() {
        // Left unsaid, an operator would believe that names are checked.
        if !config.tls.allowed_names.is_empty() {
            return Err(WebhookError::NeedsClientCa("allowed_names"));
        }
        if !config.tls.clusters.is_empty() {
            return Err(WebhookError::NeedsClientCa("clusters"));
        }
    }
    match config
        .tls
        .clusters
        .values()
        .find(|name| !receive::is_cluster_name(name))
    {
        Some(name) => Err(WebhookError::BadCluster(name.clone())),
        None => Ok(()),
    }
}

/// The path as the router takes it: without a slash at its end, and nothing in it that the router or a URL reads
/// differently.
fn checked_path(path: &str) -> Result<String, WebhookError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'~');
    let bad = !path.starts_with('/') || path.contains("//") || !path.bytes().all(allowed);
    if bad {
        return Err(WebhookError::BadPath(path.to_owned()));
    }
    Ok(path.strip_suffix('/').unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests;
