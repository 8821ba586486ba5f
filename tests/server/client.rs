//! A client of the webhook that does one thing at a time and can be as slow or as rude as a test wants.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::PATIENCE;

/// Who connects where.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    pub tls: Arc<ClientConfig>,
}

impl Client {
    /// Trusts `ca`; shows the certificate and key of `pair`.
    pub fn new(address: SocketAddr, ca: &Path, pair: Option<(PathBuf, PathBuf)>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match pair {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        // Every connection is a whole handshake, with the certificate of the moment.
        tls.resumption = Resumption::disabled();
        let tls = Arc::new(tls);
        Client { address, tls }
    }

    /// A TLS connection; the handshake is done when this returns.
    pub fn connect(&self) -> io::Result<Connection> {
        let mut tcp = TcpStream::connect(self.address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::from(self.address.ip());
        let mut session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        let stream = BufReader::new(StreamOwned::new(session, tcp));
        Ok(Connection { stream })
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn send(&self, request: &Request<'_>) -> Answer {
        self.connect().unwrap().send(request).unwrap()
    }

    /// One batch, posted as the API server does.
    #[track_caller]
    pub fn post(&self, body: &str) -> Answer {
        self.send(&Request::batch(body.as_bytes()))
    }
}

/// One request.
#[derive(Clone)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// As the API server posts a batch.
    pub fn batch(body: &'a [u8]) -> Request<'a> {
        Request {
            method: "POST",
            path: "/k8s-audit?timeout=30s",
            headers: vec![("Content-Type", "application/json".to_owned())],
            body,
        }
    }

    pub fn method(self, method: &'a str) -> Self {
        Request { method, ..self }
    }

    pub fn path(self, path: &'a str) -> Self {
        Request { path, ..self }
    }

    /// In the place of a header with that name.
    pub fn header(mut self, name: &'a str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: saker\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }
}

/// A TLS connection that speaks HTTP/1.1.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.stream)
    }

    pub fn send(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let mut bytes = request.head().into_bytes();
        bytes.extend_from_slice(request.body);
        self.write(bytes)?;
        self.answer()
    }

    pub fn post(&mut self, body: &str) -> io::Result<Answer> {
        self.send(&Request::batch(body.as_bytes()))
    }

    /// Whether the server has ended the connection.
    pub fn ended(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0]), Ok(1))
    }

    /// What the server showed in the handshake.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.stream.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Reads a head, and a body by its length or to the end.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let code = head.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let code = code.ok_or_else(|| io::Error::other(format!("no status line in {head:?}")))?;
        let split = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<_> = head.iter().skip(1).filter_map(split).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = Vec::new();
        match length {
            Some((_, length)) => {
                body.resize(length.parse().map_err(io::Error::other)?, 0);
                stream.read_exact(&mut body)?;
            }
            None => {
                stream.read_to_end(&mut body)?;
            }
        }
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(Answer { code, headers, body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body, which must be one line of JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.body.find('\n'), Some(self.body.len() - 1), "{:?}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// The numbers of a 200: events, bad items, alerts, duplicates.
    #[track_caller]
    pub fn accepted(&self) -> [u64; 4] {
        assert_eq!(self.code, 200, "{}", self.body);
        let json = self.json();
        ["events", "bad_items", "alerts", "duplicates"].map(|key| json[key].as_u64().unwrap())
    }
}
