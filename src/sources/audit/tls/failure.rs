//! Why a handshake failed, as one of few words for a metric and a log line.

use rustls::{CertificateError, Error};

/// The reason of a failed handshake, and what to do about it where that is known.
pub fn handshake_failure(error: &std::io::Error) -> (&'static str, &'static str) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return ("closed", "the client closed the connection");
    };
    match tls {
        // A CA that was made anew has the name of the old one, so that what the old one signed has a bad signature.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            "unknown_client_ca",
            "the client's certificate is not signed by `webhook.tls.client_ca`",
        ),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            ("expired_client_certificate", "renew the client's certificate")
        }
        Error::InvalidCertificate(_) => (
            "bad_client_certificate",
            "the client's certificate must be valid now and made for client authentication",
        ),
        Error::AlertReceived(_) => (
            "refused_by_client",
            "the client does not accept our certificate; compare its CA and server name with `webhook.tls.cert`",
        ),
        Error::InvalidMessage(_) => (
            "not_tls",
            "the client does not speak TLS; its URL must begin with https://",
        ),
        Error::PeerIncompatible(_) => ("incompatible", "the client must speak TLS 1.2 or 1.3"),
        Error::NoApplicationProtocol => ("no_http", "the client must speak HTTP/1.1 or HTTP/2"),
        _ => ("other", "see the error"),
    }
}
