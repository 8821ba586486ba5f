//! gRPC over a unix socket, as much of it as unary calls take: one HTTP/2 request, one message each way.

use std::path::Path;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

/// Most bytes of an answer; one that is longer is refused.
const ANSWER: usize = 1 << 20;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    #[error("no HTTP/2 that can be understood: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer has the HTTP status {0}, which gRPC does not use")]
    HttpStatus(StatusCode),
    #[error("the runtime refuses with gRPC status {0}")]
    Status(u32),
    #[error("the answer is longer than {ANSWER} bytes")]
    TooLong,
    #[error("the answer is no message of the CRI")]
    Malformed,
    #[error("no answer within {} s", super::PATIENCE.as_secs())]
    TimedOut,
}

impl CriError {
    /// Number of gRPC's status NOT_FOUND.
    pub const NOT_FOUND: u32 = 5;
}

/// A connection.
pub struct Client {
    requests: SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(path: &Path) -> Result<Client, CriError> {
        let stream = tokio::net::UnixStream::connect(path).await?;
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async {
            // What ends the connection is said by the calls that it fails.
            let _ = connection.await;
        });
        Ok(Client { requests, driver })
    }

    /// Calls a method of the RuntimeService.
    ///
    /// # Errors
    /// When the runtime refuses, or answers with something else than such a message.
    pub async fn call<A: Message + Default>(&mut self, method: &str, question: &impl Message) -> Result<A, CriError> {
        let uri = format!("http://localhost/runtime.v1.RuntimeService/{method}");
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(Full::new(framed(question).into()))
            .map_err(|_| CriError::Malformed)?;
        let response = self.requests.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(CriError::HttpStatus(response.status()));
        }
        // Where there is no message, the status stands before it.
        check(response.headers(), false)?;
        let body = Limited::new(response.into_body(), ANSWER + PREFIX);
        let whole = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return CriError::TooLong;
            }
            error
                .downcast()
                .map_or(CriError::Malformed, |error| CriError::Http(*error))
        })?;
        check(whole.trailers().unwrap_or(&HeaderMap::new()), true)?;
        unframed(&whole.to_bytes())
    }
}

/// The status of a call, which must be there in the end.
fn check(headers: &HeaderMap, required: bool) -> Result<(), CriError> {
    let Some(status) = headers.get("grpc-status") else {
        return if required { Err(CriError::Malformed) } else { Ok(()) };
    };
    let status = status.to_str().ok().and_then(|status| status.parse().ok());
    match status {
        Some(0) => Ok(()),
        Some(status) => Err(CriError::Status(status)),
        None => Err(CriError::Malformed),
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The message of an answer.
///
/// # Errors
/// When it is compressed, which was not asked for, cut, followed by another, or no such message.
pub fn unframed<A: Message + Default>(bytes: &[u8]) -> Result<A, CriError> {
    match bytes {
        [0, a, b, c, d, body @ ..] if u32::from_be_bytes([*a, *b, *c, *d]) as usize == body.len() => {
            A::decode(body).map_err(|_| CriError::Malformed)
        }
        _ => Err(CriError::Malformed),
    }
}
