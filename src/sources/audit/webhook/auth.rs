//! Who may post: client certificates, bearer tokens, or both where both are configured.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use subtle::{Choice, ConstantTimeEq as _};

use super::answer::Refusal;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;
const TOKEN_FILE_BYTES: u64 = 1 << 20;

/// The other end of a connection; every request of it carries a clone.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The names of its certificate, which `client_ca` signed; `None` when it showed none.
    pub names: Option<Arc<[String]>>,
}

/// Why a token file cannot be used. Never shows a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read token file `{path}`: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("token file `{path}` is larger than {TOKEN_FILE_BYTES} bytes; it holds one token a line")]
    TooLarge { path: String },
    #[error(
        "token on line {line} of `{path}` is shorter than {SHORTEST_TOKEN} characters; \
         make one with `head -c 32 /dev/urandom | base64`"
    )]
    TooShort { path: String, line: usize },
    #[error("token on line {line} of `{path}` holds a space or a character outside ASCII; write one token a line")]
    BadCharacter { path: String, line: usize },
    #[error("token file `{path}` holds no token; write one a line")]
    NoToken { path: String },
}

/// Accepted bearer tokens, exchangeable while requests run.
///
/// Kept as SHA-256 digests: comparing digests takes the same time for tokens of any length and any common beginning.
#[derive(Debug)]
pub struct Tokens {
    file: PathBuf,
    digests: ArcSwap<Vec<[u8; 32]>>,
}

impl Tokens {
    pub fn load(file: PathBuf) -> Result<Tokens, TokenError> {
        let digests = ArcSwap::from_pointee(read_tokens(&file)?);
        Ok(Tokens { file, digests })
    }

    /// Reads the file again; on an error what was loaded before stays.
    pub fn reload(&self) -> Result<(), TokenError> {
        self.digests.store(Arc::new(read_tokens(&self.file)?));
        Ok(())
    }

    fn accept(&self, token: &[u8]) -> bool {
        let digest = sha256(token);
        // Every digest is compared, so that the time tells nothing about which one matched.
        let matched = self
            .digests
            .load()
            .iter()
            .fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
        matched.into()
    }
}

fn read_tokens(file: &Path) -> Result<Vec<[u8; 32]>, TokenError> {
    let path = || file.display().to_string();
    let unreadable = |source| TokenError::Unreadable { path: path(), source };
    let mut text = String::new();
    let opened = fs::File::open(file).map_err(unreadable)?;
    opened
        .take(TOKEN_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > TOKEN_FILE_BYTES {
        return Err(TokenError::TooLarge { path: path() });
    }
    let mut digests = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        let line = index + 1;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::BadCharacter { path: path(), line });
        }
        if token.len() < SHORTEST_TOKEN {
            return Err(TokenError::TooShort { path: path(), line });
        }
        digests.push(sha256(token.as_bytes()));
    }
    if digests.is_empty() {
        return Err(TokenError::NoToken { path: path() });
    }
    Ok(digests)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    };
    let mut digest = [0; 32];
    // INVARIANT: SHA-256 has 32 bytes; a shorter output would leave zeros, which is still a comparison of digests.
    for (to, from) in digest.iter_mut().zip(hash.hash(bytes).as_ref()) {
        *to = *from;
    }
    digest
}

/// What is asked of a client. Each mechanism that is configured must be satisfied.
#[derive(Debug, Default)]
pub struct Access {
    /// A certificate that `client_ca` signed.
    pub certificate: bool,
    /// One of its names must be among these, unless there are none.
    pub allowed_names: Vec<String>,
    pub tokens: Option<Arc<Tokens>>,
    /// Certificate name → cluster.
    pub clusters: BTreeMap<String, String>,
}

impl Access {
    pub fn check(&self, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.certificate {
            let names = peer.names.as_deref().ok_or(Refusal::NoCertificate)?;
            if !self.allowed_names.is_empty() && !names.iter().any(|name| self.allowed_names.contains(name)) {
                return Err(Refusal::CertificateNotAllowed);
            }
        }
        if let Some(tokens) = &self.tokens {
            let token = bearer_token(headers).ok_or(Refusal::NoToken)?;
            if !tokens.accept(token) {
                return Err(Refusal::UnknownToken);
            }
        }
        Ok(())
    }

    /// The cluster that the client's certificate stands for.
    pub fn cluster_of(&self, peer: &Peer) -> Option<&str> {
        let names = peer.names.as_deref()?;
        names
            .iter()
            .find_map(|name| self.clusters.get(name))
            .map(String::as_str)
    }

    pub fn is_open(&self) -> bool {
        !self.certificate && self.tokens.is_none()
    }
}

/// The token of the only Authorization header; several would leave open which one counts.
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "another-token-of-more-than-16";

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn token_files() {
        for (text, want) in [
            ("", Err("holds no token")),
            ("# only a comment\n\n", Err("holds no token")),
            ("0123456789abcde", Err("token on line 1 of")),
            ("# x\n0123456789 abcdef", Err("token on line 2 of")),
            ("0123456789abcdeé", Err("outside ASCII")),
            (ONE, Ok(1)),
            (
                "# ours\n\n  0123456789abcdef  \r\nanother-token-of-more-than-16\n",
                Ok(2),
            ),
        ] {
            let file = file_with(text);
            match (read_tokens(file.path()), want) {
                (Ok(digests), Ok(count)) => assert_eq!(digests.len(), count, "{text:?}"),
                (Err(error), Err(part)) => {
                    let message = error.to_string();
                    assert!(message.contains(part), "{text:?}: {message}");
                    assert!(
                        text.trim().is_empty() || !message.contains("0123456789"),
                        "shows a token: {message}"
                    );
                }
                (got, want) => panic!("{text:?}: {got:?} instead of {want:?}"),
            }
        }
        let absent = read_tokens(Path::new("/nonexistent/tokens")).unwrap_err().to_string();
        assert!(
            absent.starts_with("cannot read token file `/nonexistent/tokens`"),
            "{absent}"
        );
    }

    #[test]
    fn tokens_are_compared_whole_and_reload() {
        let file = file_with(ONE);
        let tokens = Tokens::load(file.path().to_owned()).unwrap();
        assert!(tokens.accept(ONE.as_bytes()));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", TWO] {
            assert!(!tokens.accept(wrong.as_bytes()), "{wrong}");
        }
        fs::write(file.path(), TWO).unwrap();
        tokens.reload().unwrap();
        assert!(!tokens.accept(ONE.as_bytes()));
        assert!(tokens.accept(TWO.as_bytes()));
        fs::write(file.path(), "short").unwrap();
        assert!(tokens.reload().is_err());
        assert!(tokens.accept(TWO.as_bytes()), "a bad file changes nothing");
    }

    #[test]
    fn digests_are_sha256() {
        // The first bytes of SHA-256 of "abc" in FIPS 180-4.
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn authorization_headers() {
        for (values, want) in [
            (&["Bearer abc"][..], Some(&b"abc"[..])),
            (&["bearer  abc "], Some(b"abc")),
            (&["BEARER abc"], Some(b"abc")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["abc"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer_token(&headers), want, "{values:?}");
        }
    }
}
