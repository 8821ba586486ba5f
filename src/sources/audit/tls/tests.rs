//! Loading, names, expiry and reload of certificates.

use std::fs;

use rcgen::{CertificateParams, SanType};

use super::testing::Ca;
use super::*;

#[test]
fn names_are_common_name_and_alternatives_but_not_the_organisation() {
    let holder = Ca::new("ca").issue(
        "kube-apiserver",
        vec![
            SanType::DnsName("api.example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/api".try_into().unwrap()),
            SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
        ],
    );
    assert_eq!(
        certificate_names(holder.certificate.der()),
        [
            "kube-apiserver",
            "api.example.org",
            "spiffe://example.org/api",
            "ops@example.org",
            "10.0.0.1",
            "::1"
        ]
    );
    assert!(certificate_names(&CertificateDer::from(vec![1, 2, 3])).is_empty());
}

#[test]
fn bad_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let good = ca.server().write(dir.path());
    let other = tempfile::tempdir().unwrap();
    let stranger = ca.server().write(other.path());
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let torn = dir.path().join("torn");
    fs::write(&torn, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let absent = dir.path().join("absent");
    let with = |cert: &PathBuf, key: &PathBuf, ca: Option<&PathBuf>| TlsFiles {
        cert: cert.clone(),
        key: key.clone(),
        client_ca: ca.cloned(),
    };
    for (files, want) in [
        (with(&absent, &good.key, None), "absent`: No such file"),
        (
            with(&empty, &good.key, None),
            "empty` holds no certificate; it must be PEM",
        ),
        (with(&torn, &good.key, None), "torn` is not PEM"),
        (with(&good.cert, &good.cert, None), "tls.crt` holds no private key"),
        (with(&good.cert, &stranger.key, None), "cannot be used together"),
        (with(&good.cert, &good.key, Some(&empty)), "empty` holds no certificate"),
        (
            with(&good.cert, &good.key, Some(&good.key)),
            "tls.key` holds no certificate",
        ),
    ] {
        let error = ServerTls::load(files.clone()).unwrap_err().to_string();
        assert!(error.contains(want), "{files:?}: {error}");
    }
    assert!(ServerTls::load(good).is_ok());
}

#[test]
fn half_a_configuration_is_an_error() {
    let config = |cert: Option<&str>, key: Option<&str>| TlsConfig {
        cert: cert.map(PathBuf::from),
        key: key.map(PathBuf::from),
        ..TlsConfig::default()
    };
    for (config, want) in [
        (
            config(Some("a"), None),
            "`webhook.tls.cert` is set and `webhook.tls.key` is not; set both",
        ),
        (
            config(None, Some("a")),
            "`webhook.tls.key` is set and `webhook.tls.cert` is not; set both",
        ),
        (
            config(None, None),
            "no server certificate is configured; set `webhook.tls.cert` and `webhook.tls.key`",
        ),
    ] {
        assert_eq!(TlsFiles::from_config(&config).unwrap_err().to_string(), want);
    }
}

#[test]
fn a_bad_reload_keeps_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let files = ca.server().write(dir.path());
    let tls = ServerTls::load(files.clone()).unwrap();
    let before = tls.config();
    fs::write(&files.cert, "nothing").unwrap();
    assert!(tls.reload().is_err());
    assert!(Arc::ptr_eq(&before, &tls.config()));
    ca.server().write(dir.path());
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.config()));
}

#[test]
fn expiry_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let mut files = Ca::new("ca").sign(params).write(dir.path());
    let client_ca = dir.path().join("ca.crt");
    fs::write(&client_ca, Ca::new("one").pem() + &Ca::new("two").pem()).unwrap();
    files.client_ca = Some(client_ca);
    let metrics = Metrics::new();
    ServerTls::load(files).unwrap().report_expiry(&metrics);
    let text = metrics.encode();
    assert!(
        text.contains("expiry_timestamp_seconds{certificate=\"server\"} 4102444800.0"),
        "{text}"
    );
    assert!(
        text.contains("expiry_timestamp_seconds{certificate=\"client_ca\"} "),
        "{text}"
    );
}
