//! Alerts as HTTP POST requests, one JSON object each, in order: the next one leaves when the last one is settled.
//!
//! A delivery may reach the server twice (its answer can get lost), which the alert's `uuid` makes harmless.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::ledger::Ledger;
use super::worker::DeliveryError;
use crate::alert::Alert;
use crate::config::HttpConfig;

#[cfg(test)]
mod tests;
mod tls;

const USER_AGENT: &str = concat!("saker/", env!("CARGO_PKG_VERSION"));
/// The longest pause that a server can ask for with Retry-After.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// So much of an answer's body is read, so that its connection can be used again; longer ones cost the connection.
const MAX_ANSWER: usize = 64 * 1024;
/// The rest of an answer must arrive within this.
const ANSWER_BODY: Duration = Duration::from_secs(1);
/// Shorter than what servers and load balancers commonly keep idle connections for.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("`{0}` is not a URL for alerts: write `http://HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`")]
    Url(String),
    #[error("the URL contains a user name or password: remove it and set the header `authorization`")]
    Credentials,
    #[error("`{0}` is not a header name: use letters, digits and `-`")]
    HeaderName(String),
    #[error("the value of the header `{0}` contains characters that a header cannot carry: remove them")]
    HeaderValue(String),
    #[error("the header `{0}` is set by the connection itself: remove it")]
    ReservedHeader(String),
    #[error("the time-out is zero: write e.g. `10s`")]
    Timeout,
    #[error("`{0}` is set, but the URL is not https: write `https://` or remove it")]
    TlsWithoutHttps(&'static str),
    #[error("`{0}` is set without `{1}`: a client certificate needs both")]
    HalfClientCertificate(&'static str, &'static str),
    #[error("cannot read {what} from `{}`: {error}", .path.display())]
    Pem {
        what: &'static str,
        path: PathBuf,
        error: rustls::pki_types::pem::Error,
    },
    #[error("`{}` holds no certificate that can be used: {why}", .path.display())]
    Ca { path: PathBuf, why: String },
    #[error("the system has no root certificates ({0}): set `ca`")]
    NoRoots(std::io::Error),
    #[error("the client certificate or key cannot be used: {0}")]
    ClientCertificate(rustls::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub(super) struct HttpWriter {
    config: HttpConfig,
    url: Uri,
    headers: HeaderMap,
    client: HttpClient,
    ledger: Arc<Ledger>,
}

/// Lets a request's body share the alert's memory.
struct Json(Arc<Alert>);

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.0.json.as_bytes()
    }
}

impl HttpWriter {
    /// Checks the configuration and reads the TLS files; connects to nobody.
    pub fn new(config: &HttpConfig, ledger: Arc<Ledger>) -> Result<HttpWriter, HttpError> {
        let url = parse_url(&config.url)?;
        if config.timeout.is_zero() {
            return Err(HttpError::Timeout);
        }
        Ok(HttpWriter {
            headers: headers(config)?,
            client: client(config, &url)?,
            config: config.clone(),
            url,
            ledger,
        })
    }

    pub fn max_tries(&self) -> u32 {
        self.config.max_tries
    }

    /// Reads certificates and keys again; keeps what is in use if they cannot be used.
    pub fn reopen(&mut self) {
        match client(&self.config, &self.url) {
            Ok(client) => self.client = client,
            Err(error) => tracing::error!(
                output = self.ledger.name(),
                %error,
                "TLS files of the output cannot be used, those in use are kept"
            ),
        }
    }

    pub async fn deliver(&mut self, alert: &Arc<Alert>) -> Result<(), DeliveryError> {
        let mut request = Request::new(Full::new(Bytes::from_owner(Json(Arc::clone(alert)))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let limit = self.config.timeout;
        let response = match timeout(limit, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(request_failed(&error)),
            Err(_) => return Err(DeliveryError::again(format!("no answer within {limit:?}"))),
        };
        let verdict = judge(&response);
        // The status has decided; the body is read only to free the connection for the next request.
        let _ = timeout(ANSWER_BODY, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
        verdict
    }
}

/// What the answer's status means for the alert.
fn judge(response: &Response<Incoming>) -> Result<(), DeliveryError> {
    let status = response.status();
    let why = format!("the server answered {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT => Err(DeliveryError::again(why)),
        StatusCode::TOO_MANY_REQUESTS => Err(DeliveryError::Again {
            why,
            after: retry_after(response.headers()),
        }),
        _ if status.is_server_error() => Err(DeliveryError::Again {
            why,
            after: retry_after(response.headers()),
        }),
        _ if status.is_redirection() => Err(DeliveryError::Refused(format!(
            "{why}, and redirections are not followed: configure the URL it leads to"
        ))),
        _ => Err(DeliveryError::Refused(why)),
    }
}

/// Retry-After in seconds; its form as a date is left to our own back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn request_failed(error: &dyn Error) -> DeliveryError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why.push_str(": ");
        why.push_str(&cause.to_string());
        source = cause.source();
    }
    DeliveryError::again(why)
}

fn parse_url(text: &str) -> Result<Uri, HttpError> {
    let bad = || HttpError::Url(text.to_owned());
    let url: Uri = text.parse().map_err(|_| bad())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(bad());
    }
    let authority = url.authority().ok_or_else(bad)?;
    if authority.as_str().contains('@') {
        return Err(HttpError::Credentials);
    }
    if authority.host().is_empty() {
        return Err(bad());
    }
    Ok(url)
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &config.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpError::HeaderName(name.clone()))?;
        // Overriding these would break the framing of requests.
        let reserved = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
            header::TE,
            header::TRAILER,
            header::EXPECT,
        ];
        if reserved.contains(&parsed) {
            return Err(HttpError::ReservedHeader(name.clone()));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| HttpError::HeaderValue(name.clone()))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

fn client(config: &HttpConfig, url: &Uri) -> Result<HttpClient, HttpError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(config, url.scheme_str() == Some("https"))?)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(1)
        .build(connector))
}
