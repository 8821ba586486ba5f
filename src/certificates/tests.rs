//! Certificates as rustls sees them, and files as the file system keeps them.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

fn roots(ca: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM"))
        .expect("a CA");
    roots
}

fn identity(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("PEM");
    (
        vec![cert],
        PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM"),
    )
}

/// A whole handshake with client certificates, in memory.
fn handshake(ca: &str, server: &Pair, client: &Pair, host: &str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), provider.clone())
        .build()
        .expect("a verifier");
    let (chain, key) = identity(server);
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let (chain, key) = identity(client);
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(chain, key)?;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        wire.clear();
        client.write_tls(&mut wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        client.read_tls(&mut wire.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn server_and_client_accept_each_other() {
    let (authority, ca) = Authority::make("test CA", CA_DAYS).expect("a CA");
    let mut hosts = Host::loopback();
    hosts.push(Host::parse("saker.example.org").expect("a name"));
    hosts.push(Host::parse("10.96.0.50").expect("an address"));
    let server = authority
        .issue(Role::Server { hosts: &hosts }, LEAF_DAYS)
        .expect("a leaf");
    let client = authority
        .issue(Role::Client { name: "kube-apiserver" }, LEAF_DAYS)
        .expect("a leaf");
    for host in ["localhost", "127.0.0.1", "::1", "saker.example.org", "10.96.0.50"] {
        assert_eq!(handshake(&ca.cert, &server, &client, host), Ok(()), "{host}");
    }
    assert!(
        handshake(&ca.cert, &server, &client, "example.org").is_err(),
        "another name"
    );
    assert!(
        handshake(&ca.cert, &client, &client, "localhost").is_err(),
        "a client is no server"
    );
    assert!(
        handshake(&ca.cert, &server, &server, "localhost").is_err(),
        "a server is no client"
    );
    let (_, other) = Authority::make("test CA", CA_DAYS).expect("a CA");
    assert!(
        handshake(&other.cert, &server, &client, "localhost").is_err(),
        "another CA"
    );
}

#[test]
fn certificates_say_what_they_are_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (authority, ca) = Authority::make("test CA", 10).expect("a CA");
    let path = dir.path().join("ca.crt");
    create_new(&path, &ca.cert, Mode::Public).expect("a file");
    let facts = Facts::read(&path).expect("facts");
    assert!(facts.is_ca);
    assert_eq!(facts.subject, "CN=test CA");
    let leaf = authority
        .issue(
            Role::Client {
                name: "system:odd name",
            },
            100,
        )
        .expect("a leaf");
    let leaf_path = dir.path().join("leaf.crt");
    create_new(&leaf_path, &leaf.cert, Mode::Public).expect("a file");
    let leaf = Facts::read(&leaf_path).expect("facts");
    assert_eq!(leaf.not_after, facts.not_after, "it does not outlive the CA");
    assert_eq!((leaf.is_ca, leaf.names.len()), (false, 0));
    assert_eq!(leaf.authority_key_id, facts.subject_key_id);
    assert_eq!(leaf.fingerprint.len(), 32 * 3 - 1);

    let text = fs::read_to_string(&path).expect("a file");
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).expect("PEM");
    let (_, cert) = X509Certificate::from_der(&pem.contents).expect("DER");
    let constraints = cert.basic_constraints().expect("one").expect("there").value;
    assert_eq!(constraints.path_len_constraint, Some(0));
    let usage = cert.key_usage().expect("one").expect("there").value;
    assert!(usage.key_cert_sign() && !usage.digital_signature());
    assert_eq!(cert.raw_serial().len(), 16);
}

#[test]
fn fingerprints_are_sha256() {
    assert!(fingerprint(b"abc").starts_with("BA:78:16:BF:8F:01:CF:EA:"));
}

#[test]
fn hosts_are_addresses_or_names() {
    for (text, good) in [
        ("localhost", true),
        ("*.example.org", true),
        ("saker.saker-system.svc", true),
        ("10.0.0.1", true),
        ("fe80::1", true),
        ("10.0.0.256", false),
        ("", false),
        ("a..b", false),
        ("-a", false),
        ("a b", false),
        ("https://a", false),
        ("a:9443", false),
        ("x.*.org", false),
    ] {
        assert_eq!(Host::parse(text).is_ok(), good, "{text}");
    }
}

#[test]
fn files_are_private_and_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.key");
    create_new(&path, "first", Mode::Private).expect("a file");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(create_new(&path, "second", Mode::Private).is_err());
    assert_eq!(fs::read_to_string(&path).expect("there"), "first");
}

#[test]
fn a_ca_needs_its_own_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("ca.crt"), dir.path().join("ca.key"));
    let (_, first) = Authority::make("a", 1).expect("a CA");
    let (authority, second) = Authority::make("b", 1).expect("a CA");
    fs::write(&cert, &first.cert).expect("a file");
    fs::write(&key, &second.key).expect("a file");
    assert!(matches!(
        Authority::load(&cert, &key),
        Err(CertificateError::KeyMismatch { .. })
    ));
    let leaf = authority.issue(Role::Client { name: "a" }, 1).expect("a leaf");
    fs::write(&cert, &leaf.cert).expect("a file");
    fs::write(&key, &leaf.key).expect("a file");
    assert!(matches!(Authority::load(&cert, &key), Err(CertificateError::NotACa(_))));
}

#[test]
fn the_development_certificate_is_made_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    let first = ensure_development(&certs).expect("files");
    assert!(first.created);
    let ca = fs::read_to_string(&first.ca).expect("a CA");
    let cert = fs::read_to_string(&first.cert).expect("a leaf");
    for name in ["dev-ca.key", "dev-server.key"] {
        let mode = fs::metadata(certs.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let second = ensure_development(&certs).expect("files");
    assert!(!second.created);
    assert_eq!(fs::read_to_string(&second.cert).expect("a leaf"), cert);

    fs::remove_file(&first.key).expect("removed");
    assert!(ensure_development(&certs).expect("files").created, "a key is missing");
    assert_eq!(fs::read_to_string(&first.ca).expect("a CA"), ca, "the CA stays");
}

#[test]
fn the_development_certificate_is_renewed_in_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = ensure_development(dir.path()).expect("files");
    let authority = Authority::load(&files.ca, &dir.path().join("dev-ca.key")).expect("a CA");
    let hosts = Host::loopback();
    for (days, renewed) in [(6, true), (8, false)] {
        let pair = authority.issue(Role::Server { hosts: &hosts }, days).expect("a leaf");
        replace(&files.cert, &pair.cert, Mode::Public).expect("replaced");
        replace(&files.key, &pair.key, Mode::Private).expect("replaced");
        assert_eq!(
            ensure_development(dir.path()).expect("files").created,
            renewed,
            "{days} days"
        );
    }
    // A leaf of another CA is of no use to who trusts this one.
    let (other, _) = Authority::make("Saker development CA", 100).expect("a CA");
    let pair = other.issue(Role::Server { hosts: &hosts }, 90).expect("a leaf");
    replace(&files.cert, &pair.cert, Mode::Public).expect("replaced");
    replace(&files.key, &pair.key, Mode::Private).expect("replaced");
    assert!(ensure_development(dir.path()).expect("files").created);
}
