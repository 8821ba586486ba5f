//! TLS of the webhook: certificates, client authentication, and their reload.
//!
//! A client that shows no certificate is let through the handshake although one is required: it gets an HTTP answer that
//! says what is missing (401), which an operator reads sooner than a TLS alert; and an admission review without one is allowed
//! at once, where a failed handshake would cost the one who waits for it. A certificate that `client_ca` did not
//! sign fails the handshake itself.
//!
//! A reload exchanges the configuration that *new* connections get; a bad file changes nothing. Sessions are not resumed
//! where clients authenticate, so that a client certificate is checked against the CA of the day on every connection.

mod failure;
mod identity;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

pub use failure::handshake_failure;
pub use identity::certificate_names;

use crate::clock::since_epoch;
use crate::config::TlsConfig;
use crate::metrics::{CertificateLabels, Metrics};

/// A certificate that expires sooner than this is worth a warning.
const WARN_DAYS: i64 = 14;
const DAY: i64 = 86_400;

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, the server's own certificate first.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// PEM bundle; when set, a client certificate signed by it is required.
    pub client_ca: Option<PathBuf>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no server certificate is configured; set `webhook.tls.cert` and `webhook.tls.key`")]
    NotConfigured,
    #[error("`webhook.tls.{set}` is set and `webhook.tls.{missing}` is not; set both")]
    Half { set: &'static str, missing: &'static str },
    #[error("cannot read `{path}`: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("`{path}` is not PEM: {reason}")]
    NotPem { path: String, reason: String },
    #[error("`{path}` holds no {what}; it must be PEM")]
    Empty { path: String, what: &'static str },
    #[error("certificate of `{path}` cannot be used: {reason}")]
    BadCertificate { path: String, reason: String },
    #[error("certificate `{cert}` and key `{key}` cannot be used together: {source}")]
    Mismatch {
        cert: String,
        key: String,
        source: rustls::Error,
    },
    #[error("tls cannot be set up: {0}")]
    Provider(rustls::Error),
}

impl TlsFiles {
    /// The files that saker.yaml names. A development certificate is made by whoever starts the server, before this.
    pub fn from_config(config: &TlsConfig) -> Result<TlsFiles, TlsError> {
        let half = |set, missing| Err(TlsError::Half { set, missing });
        match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => Ok(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: config.client_ca.clone(),
            }),
            (Some(_), None) => half("cert", "key"),
            (None, Some(_)) => half("key", "cert"),
            (None, None) => Err(TlsError::NotConfigured),
        }
    }

    /// What a watcher has to watch.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.cert, &self.key]
            .into_iter()
            .chain(&self.client_ca)
            .cloned()
            .collect()
    }
}

/// The configuration that new connections get, exchangeable while connections live.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// Seconds since 1970, by what expires.
    expiries: Vec<(&'static str, i64)>,
}

impl ServerTls {
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let loaded = load(&files)?;
        Ok(ServerTls {
            files,
            current: ArcSwap::from_pointee(loaded),
        })
    }

    /// Reads the files again; on an error what was loaded before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.files)?));
        Ok(())
    }

    /// What a connection that begins now gets.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    pub fn requires_client_certificate(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Exports when the certificates expire, and warns where that is soon.
    pub fn report_expiry(&self, metrics: &Metrics) {
        let now = since_epoch().as_secs() as i64;
        for &(certificate, expiry) in &self.current.load().expiries {
            let labels = CertificateLabels { certificate };
            metrics
                .tls_certificate_expiry_timestamp_seconds
                .get_or_create(&labels)
                .set(expiry as f64);
            let left = expiry - now;
            if left < 0 {
                tracing::error!(
                    certificate,
                    "certificate has expired; clients refuse it, replace its file"
                );
            } else if left < WARN_DAYS * DAY {
                tracing::warn!(
                    certificate,
                    days_left = left / DAY,
                    "certificate expires soon; replace its file"
                );
            }
        }
    }
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = private_key(&files.key)?;
    let mut expiries = Vec::new();
    if let Some(own) = chain.first() {
        expiries.push(("server", expiry(own, &files.cert)?));
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Provider)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let bad = |reason: String| TlsError::BadCertificate {
                path: shown(path),
                reason,
            };
            let mut roots = RootCertStore::empty();
            let bundle = certificates(path)?;
            let mut earliest = i64::MAX;
            for certificate in bundle {
                earliest = earliest.min(expiry(&certificate, path)?);
                roots.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
            expiries.push(("client_ca", earliest));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| bad(e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Mismatch {
            cert: shown(&files.cert),
            key: shown(&files.key),
            source,
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if files.client_ca.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Loaded {
        config: Arc::new(config),
        expiries,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn pem_error(path: &Path, what: &'static str, error: PemError) -> TlsError {
    let path = shown(path);
    match error {
        PemError::Io(source) => TlsError::Unreadable { path, source },
        PemError::NoItemsFound => TlsError::Empty { path, what },
        other => TlsError::NotPem {
            path,
            reason: other.to_string(),
        },
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |e| pem_error(path, "certificate", e);
    let found = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    if found.is_empty() {
        return Err(pem_error(path, "certificate", PemError::NoItemsFound));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| pem_error(path, "private key", e))
}

fn expiry(certificate: &CertificateDer<'_>, path: &Path) -> Result<i64, TlsError> {
    identity::not_after(certificate).map_err(|reason| TlsError::BadCertificate {
        path: shown(path),
        reason,
    })
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
