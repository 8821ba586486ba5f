//! The client side of TLS for the http output: whom it trusts, and who it is.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::HttpError;
use crate::config::HttpConfig;

/// For a plain http URL nothing is read; the connector wants a configuration all the same.
pub(super) fn client_config(config: &HttpConfig, https: bool) -> Result<ClientConfig, HttpError> {
    let settings = [
        ("ca", &config.ca),
        ("client_cert", &config.client_cert),
        ("client_key", &config.client_key),
    ];
    if !https && let Some((name, _)) = settings.into_iter().find(|(_, path)| path.is_some()) {
        return Err(HttpError::TlsWithoutHttps(name));
    }
    // Named here, because the process may have no default provider, or another one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpError::Tls)?;
    let trusting = match &config.ca {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None if https => builder.with_native_roots().map_err(HttpError::NoRoots)?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&config.client_cert, &config.client_key) {
        (None, None) => Ok(trusting.with_no_client_auth()),
        (Some(_), None) => Err(HttpError::HalfClientCertificate("client_cert", "client_key")),
        (None, Some(_)) => Err(HttpError::HalfClientCertificate("client_key", "client_cert")),
        (Some(cert), Some(key)) => {
            let chain = certificates("the client certificate", cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| HttpError::Pem {
                what: "the client key",
                path: key.clone(),
                error,
            })?;
            trusting
                .with_client_auth_cert(chain, key)
                .map_err(HttpError::ClientCertificate)
        }
    }
}

fn roots(path: &Path) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificates", path)? {
        roots.add(certificate).map_err(|error| HttpError::Ca {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let bad = |error| HttpError::Pem {
        what,
        path: path.to_owned(),
        error,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(bad)?;
    if certificates.is_empty() {
        return Err(bad(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}
