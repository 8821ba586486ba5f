//! What a certificate says about its holder: the names that `allowed_names` and `clusters` are compared with.

use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::GeneralName;

/// Common names and subject alternative names (DNS, URI, e-mail, IP address) of a certificate, in that order.
///
/// The organisation is not a name: Kubernetes uses it for groups, and many certificates share one. A certificate whose
/// names cannot be read has none.
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|cn| cn.as_str().ok())
        .map(str::to_owned);
    let mut names: Vec<String> = common.collect();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(general_name));
    }
    names
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                Some(Ipv4Addr::from(v4).to_string())
            } else {
                <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|v6| Ipv6Addr::from(v6).to_string())
            }
        }
        _ => None,
    }
}

/// When a certificate expires, in seconds since 1970.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, parsed)) => Ok(parsed.validity().not_after.timestamp()),
        Err(error) => Err(error.to_string()),
    }
}
