//! What the webhook answers: every failure by name, and the one place where a failure becomes an HTTP status.
//!
//! The API server repeats a batch on *any* answer but 2xx, so an answer never means "lost"; its one line of JSON is for
//! the person who reads the API server's log or tries a request by hand.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::sources::audit::pipeline::{BatchReport, Rejected};
use crate::web::connections::CloseAfter;
use crate::web::log_limit::excerpt;

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is nothing at this path; post to `{0}` or `{0}/CLUSTER`")]
    UnknownPath(String),
    #[error("a cluster name is 1 to 63 letters, digits, `.`, `_` or `-`")]
    BadCluster,
    #[error("events are posted; use POST")]
    NotPost,
    #[error("a client certificate is required; set `client-certificate` in the webhook kubeconfig")]
    NoCertificate,
    #[error("no name of this client certificate is in `webhook.tls.allowed_names`")]
    CertificateNotAllowed,
    #[error("a bearer token is required; set `token` in the webhook kubeconfig")]
    NoToken,
    #[error("this bearer token is not known")]
    UnknownToken,
    #[error("the body must be `Content-Type: application/json`")]
    NotJson,
    #[error("the body must be sent as it is or with `Content-Encoding: gzip`")]
    UnknownEncoding,
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body is empty")]
    Empty,
    #[error("the body is not gzip")]
    BadGzip,
    #[error("the body ended before its end")]
    Broken,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("{0}")]
    Unreadable(String),
    #[error("too many bytes are waiting to be evaluated; try again later")]
    NoRoom { retry_after: u32 },
    #[error("outputs are busy; try again later")]
    OutputsBusy { retry_after: u32 },
    #[error("evaluation failed; the log has the reason")]
    Failed,
}

/// How one kind of [`Refusal`] is told.
struct Told {
    code: StatusCode,
    /// A word for logs.
    kind: &'static str,
    retry_after: Option<u32>,
    /// This client does not keep its connection.
    close: bool,
}

impl Refusal {
    /// The one place where a failure becomes an HTTP answer.
    fn told(&self) -> Told {
        let plain = |code, kind| Told {
            code,
            kind,
            retry_after: None,
            close: false,
        };
        let closing = |code, kind| Told {
            close: true,
            ..plain(code, kind)
        };
        let busy = |kind, seconds: &u32| Told {
            retry_after: Some(*seconds),
            ..plain(StatusCode::TOO_MANY_REQUESTS, kind)
        };
        match self {
            Refusal::UnknownPath(_) => plain(StatusCode::NOT_FOUND, "unknown_path"),
            Refusal::BadCluster => plain(StatusCode::NOT_FOUND, "bad_cluster"),
            Refusal::NotPost => plain(StatusCode::METHOD_NOT_ALLOWED, "not_post"),
            Refusal::NoCertificate => closing(StatusCode::UNAUTHORIZED, "no_certificate"),
            Refusal::CertificateNotAllowed => closing(StatusCode::FORBIDDEN, "certificate_not_allowed"),
            Refusal::NoToken => closing(StatusCode::UNAUTHORIZED, "no_token"),
            Refusal::UnknownToken => closing(StatusCode::UNAUTHORIZED, "unknown_token"),
            Refusal::NotJson => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Refusal::UnknownEncoding => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding"),
            Refusal::TooLarge { .. } => plain(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Refusal::Empty => plain(StatusCode::BAD_REQUEST, "empty"),
            Refusal::BadGzip => plain(StatusCode::BAD_REQUEST, "bad_gzip"),
            Refusal::Broken => closing(StatusCode::BAD_REQUEST, "broken"),
            Refusal::TooSlow => closing(StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Refusal::Unreadable(_) => plain(StatusCode::BAD_REQUEST, "unreadable"),
            Refusal::NoRoom { retry_after } => busy("no_room", retry_after),
            Refusal::OutputsBusy { retry_after } => busy("outputs_busy", retry_after),
            Refusal::Failed => plain(StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        }
    }

    /// A word for logs.
    pub fn kind(&self) -> &'static str {
        self.told().kind
    }

    pub fn from_rejected(rejected: Rejected, retry_after: u32) -> Refusal {
        match rejected {
            Rejected::Unreadable(reason) => Refusal::Unreadable(excerpt(&reason).to_owned()),
            Rejected::Busy => Refusal::OutputsBusy { retry_after },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let told = self.told();
        let body = json!({"error": self.to_string(), "code": told.code.as_u16()});
        let mut response = one_line(told.code, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = told.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Refusal::NotPost => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Refusal::NoToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::UnknownToken => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        if told.close {
            response.extensions_mut().insert(CloseAfter);
        }
        response
    }
}

/// 200: every event is evaluated and its alerts are accepted.
pub fn accepted(report: &BatchReport) -> Response {
    let body = json!({
        "events": report.events,
        "bad_items": report.bad_items,
        "alerts": report.alerts,
        "duplicates": report.duplicates,
    });
    one_line(StatusCode::OK, &body)
}

fn one_line(code: StatusCode, body: &serde_json::Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
