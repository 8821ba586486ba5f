//! TLS on an accepted socket: timed, counted by failure, and read for the names of the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::auth::Peer;
use crate::metrics::{Metrics, ReasonLabels};
use crate::sources::audit::tls::{ServerTls, certificate_names, handshake_failure};
use crate::web::connections::Transport;
use crate::web::log_limit::LogLimit;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS with the configuration of the moment.
pub struct Tls {
    tls: Arc<ServerTls>,
    metrics: Arc<Metrics>,
    log: LogLimit,
}

impl Tls {
    pub fn new(tls: Arc<ServerTls>, metrics: Arc<Metrics>) -> Tls {
        Tls {
            tls,
            metrics,
            log: LogLimit::default(),
        }
    }

    fn failed(&self, peer: SocketAddr, reason: &'static str, advice: &'static str, error: &str) {
        self.metrics
            .tls_handshake_failures
            .get_or_create(&ReasonLabels { reason })
            .inc();
        // A probe of the port closes without a word; that is no one's mistake.
        if reason != "closed"
            && let Some(left_out) = self.log.admit(reason)
        {
            tracing::warn!(peer = %peer, reason, error, advice, left_out, "TLS handshake failed");
        }
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn establish(&self, tcp: TcpStream, peer: SocketAddr) -> Option<(TlsStream<TcpStream>, Extensions)> {
        let acceptor = TlsAcceptor::from(self.tls.config());
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let (reason, advice) = handshake_failure(&error);
                self.failed(peer, reason, advice, &error.to_string());
                return None;
            }
            Err(_) => {
                self.failed(peer, "timeout", "the client began a connection and went silent", "");
                return None;
            }
        };
        let (_, session) = stream.get_ref();
        let own = session.peer_certificates().and_then(|chain| chain.first());
        let names = own.map(|certificate| Arc::from(certificate_names(certificate)));
        let mut extensions = Extensions::new();
        extensions.insert(Peer { address: peer, names });
        Some((stream, extensions))
    }
}
