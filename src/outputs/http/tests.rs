//! Real HTTP and HTTPS servers.

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;

use super::*;
use crate::outputs::testing::{alert, ledger, refusing, soon};

/// A status, and the value of Retry-After.
type Answer = (u16, Option<&'static str>);

/// Answers with the given statuses in turn, the last one for ever, and keeps what was posted.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<Vec<Answer>>>,
    requests: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Server {
    fn answering(answers: &[Answer]) -> Server {
        Server {
            answers: Arc::new(Mutex::new(answers.iter().rev().copied().collect())),
            requests: Arc::default(),
        }
    }

    fn router(&self) -> Router {
        Router::new().route("/alerts", post(receive)).with_state(self.clone())
    }

    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, self.router()).into_future());
        address
    }

    fn bodies(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }
}

async fn receive(
    State(server): State<Server>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    server.requests.lock().unwrap().push((headers, body));
    let mut answers = server.answers.lock().unwrap();
    let last = answers.len() <= 1;
    let answer = if last { answers.last().copied() } else { answers.pop() };
    let (status, retry_after) = answer.unwrap_or((204, None));
    let header = match (status, retry_after) {
        (_, Some(value)) => ("retry-after", value),
        (300..400, None) => ("location", "/elsewhere"),
        _ => ("x-nothing", ""),
    };
    (StatusCode::from_u16(status).unwrap(), [header])
}

fn config(url: String) -> HttpConfig {
    HttpConfig {
        url,
        headers: Default::default(),
        ca: None,
        client_cert: None,
        client_key: None,
        timeout: Duration::from_secs(10),
        max_tries: 0,
    }
}

fn writer(address: SocketAddr) -> HttpWriter {
    HttpWriter::new(&config(format!("http://{address}/alerts")), ledger("http")).unwrap()
}

#[tokio::test]
async fn posts_one_alert_per_request() {
    let server = Server::default();
    let mut config = config(format!("http://{}/alerts", server.start().await));
    config
        .headers
        .insert("Authorization".to_owned(), "Bearer secret".to_owned());
    let mut http = HttpWriter::new(&config, ledger("http")).unwrap();
    for text in ["one", "dva"] {
        soon(http.deliver(&alert(text))).await.unwrap();
    }
    assert_eq!(server.bodies(), [r#"{"output":"one"}"#, r#"{"output":"dva"}"#]);
    let requests = server.requests.lock().unwrap();
    for (name, want) in [
        ("content-type", "application/json"),
        ("user-agent", USER_AGENT),
        ("authorization", "Bearer secret"),
        ("content-length", "16"),
    ] {
        assert_eq!(requests[0].0[name], want, "{name}");
    }
}

#[tokio::test]
async fn every_answer_has_its_consequence() {
    enum Want {
        Done,
        Again(Option<u64>),
        Never,
    }
    for (status, retry_after, want) in [
        (200, None, Want::Done),
        (201, None, Want::Done),
        (204, None, Want::Done),
        (301, None, Want::Never),
        (307, None, Want::Never),
        (400, None, Want::Never),
        (401, None, Want::Never),
        (404, None, Want::Never),
        (408, None, Want::Again(None)),
        (413, None, Want::Never),
        (429, None, Want::Again(None)),
        (429, Some("7"), Want::Again(Some(7))),
        (429, Some("86400"), Want::Again(Some(60))),
        (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), Want::Again(None)),
        (500, None, Want::Again(None)),
        (503, Some("3"), Want::Again(Some(3))),
    ] {
        let server = Server::answering(&[(status, retry_after)]);
        let answer = soon(writer(server.start().await).deliver(&alert("one"))).await;
        let right = match (&answer, &want) {
            (Ok(()), Want::Done) => true,
            (Err(DeliveryError::Again { after, .. }), Want::Again(seconds)) => {
                after.map(|after| after.as_secs()) == *seconds
            }
            (Err(DeliveryError::Refused(why)), Want::Never) => why.contains(&status.to_string()),
            _ => false,
        };
        assert!(right, "{status} {retry_after:?}: {answer:?}");
        assert_eq!(server.bodies().len(), 1, "{status}: no request beside the one");
    }
}

#[tokio::test]
async fn silence_and_refused_connections_are_worth_another_try() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut slow = config(format!("http://{address}/alerts"));
    slow.timeout = Duration::from_millis(100);
    let mut http = HttpWriter::new(&slow, ledger("http")).unwrap();
    let error = soon(http.deliver(&alert("one"))).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Again { .. }), "{error}");
    assert!(error.to_string().contains("no answer within 100ms"), "{error}");

    let (_socket, address) = refusing();
    let error = soon(writer(address).deliver(&alert("one"))).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Again { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn wrong_configurations_are_named() {
    let with = |change: fn(&mut HttpConfig)| {
        let mut config = config("https://siem.example.org/in".to_owned());
        change(&mut config);
        config
    };
    let nowhere = "/nonexistent/file.pem";
    for (config, want) in [
        (
            with(|c| c.url = "siem.example.org/in".into()),
            "is not a URL for alerts",
        ),
        (
            with(|c| c.url = "ftp://siem.example.org".into()),
            "is not a URL for alerts",
        ),
        (with(|c| c.url = "http://".into()), "is not a URL for alerts"),
        (
            with(|c| c.url = "https://me:pw@siem.example.org".into()),
            "set the header `authorization`",
        ),
        (with(|c| c.timeout = Duration::ZERO), "time-out is zero"),
        (
            with(|c| drop(c.headers.insert("a b".into(), "c".into()))),
            "`a b` is not a header name",
        ),
        (
            with(|c| drop(c.headers.insert("a".into(), "b\nc".into()))),
            "the value of the header `a`",
        ),
        (
            with(|c| drop(c.headers.insert("Content-Length".into(), "5".into()))),
            "`Content-Length` is set by the connection",
        ),
        (with(|c| c.ca = Some("/nonexistent/file.pem".into())), nowhere),
        (
            with(|c| {
                c.url = "http://siem.example.org".into();
                c.ca = Some("/nonexistent/file.pem".into());
            }),
            "`ca` is set, but the URL is not https",
        ),
        (
            with(|c| {
                c.ca = Some("/dev/null".into());
            }),
            "/dev/null",
        ),
    ] {
        let error = HttpWriter::new(&config, ledger("http")).err().map(|e| e.to_string());
        assert!(
            error.as_ref().is_some_and(|e| e.contains(want)),
            "{error:?} is not {want}"
        );
        assert!(!error.unwrap().contains("pw"), "no secrets in messages");
    }
}

/// A CA with a server and a client certificate, as PEM files and in memory.
struct Pki {
    dir: tempfile::TempDir,
    ca: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Pki {
    fn new() -> Pki {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let leaf = |name: &str, usage| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let (cert, key) = leaf("saker", ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(dir.path().join("client.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("client.key"), key.serialize_pem()).unwrap();
        let (cert, key) = leaf("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        Pki {
            dir,
            ca: ca.der().clone(),
            server: (
                cert.der().clone(),
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            ),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Serves `server` over TLS that asks for a client certificate of this CA.
    async fn serve(&self, server: &Server) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.server.0.clone()], self.server.1.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = server.router();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = hyper_util::service::TowerToHyperService::new(router);
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        address
    }
}

#[tokio::test]
async fn https_with_a_private_ca_and_a_client_certificate() {
    let pki = Pki::new();
    let server = Server::default();
    let mut config = config(format!("https://{}/alerts", pki.serve(&server).await));
    config.ca = Some(pki.path("ca.pem"));
    config.client_cert = Some(pki.path("client.pem"));
    config.client_key = Some(pki.path("client.key"));
    let mut http = HttpWriter::new(&config, ledger("http")).unwrap();
    soon(http.deliver(&alert("over TLS"))).await.unwrap();
    assert_eq!(server.bodies(), [r#"{"output":"over TLS"}"#]);

    // Renewed files are read again; broken ones change nothing.
    http.reopen();
    soon(http.deliver(&alert("again"))).await.unwrap();
    std::fs::write(pki.path("client.key"), "broken").unwrap();
    http.reopen();
    soon(http.deliver(&alert("still"))).await.unwrap();
    assert_eq!(server.bodies().len(), 3);

    let error = HttpWriter::new(&config, ledger("http")).err().unwrap().to_string();
    assert!(error.contains("cannot read the client key from"), "{error}");
    config.client_key = None;
    let error = HttpWriter::new(&config, ledger("http")).err().unwrap().to_string();
    assert!(error.contains("`client_cert` is set without `client_key`"), "{error}");
}

#[tokio::test]
async fn strangers_get_no_alert_and_without_a_certificate_none_is_delivered() {
    let pki = Pki::new();
    let server = Server::default();
    let address = pki.serve(&server).await;
    let mut no_certificate = config(format!("https://{address}/alerts"));
    no_certificate.ca = Some(pki.path("ca.pem"));
    let mut other_ca = no_certificate.clone();
    let stranger = Pki::new();
    other_ca.ca = Some(stranger.path("ca.pem"));
    for config in [no_certificate, other_ca] {
        let mut http = HttpWriter::new(&config, ledger("http")).unwrap();
        let error = soon(http.deliver(&alert("one"))).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Again { .. }), "{error}");
    }
    assert!(server.bodies().is_empty());
}
