//! The admission endpoints: who is about to enter which pod, some 40 ms before the process is there.
//!
//! A person's request waits for the answer, so it is an allow, at once, whatever came ([`review`]). Reviews have bounds
//! of their own: they wait neither for evaluations nor for the memory of audit bodies, and take nothing from them.
//! Beyond their bounds only the beginning of a body is read, which holds the uid that the answer needs; the rest is
//! thrown away behind it.
//!
//! A forged review could put a wrong name on a process. Where audit events are posted with credentials, a review counts
//! only with the same; without, it is answered and goes nowhere.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::answer::Refusal;
use super::auth::Peer;
use super::body::{Encoding, check_content_type, encoding};
use super::budget::{Budget, Room};
use super::receive::{Receiver, discard_behind, is_cluster_name};
use super::review::{self, Review};
use crate::bus::{Kind, Message, Publisher};
use crate::clock::now;
use crate::correlate::read;
use crate::metrics::OutcomeLabels;
use crate::web::connections::CloseAfter;
use crate::web::log_limit::excerpt;

/// Validating: tells the nodes.
pub const EXEC: &str = "/admission/exec";
/// Mutating: also puts a key before the command of an exec, where that is switched on.
pub const EXEC_KEY: &str = "/admission/exec-key";

/// The API server takes no object above 3 MiB, and a review of an update holds two of at most 1.5 MiB as etcd has them.
const LARGEST: usize = 3 << 20;
/// The uid stands within the first 200 bytes.
const BEGINNING: usize = 8 << 10;
/// Reviews that are read at once, and the bytes they hold.
const AT_ONCE: usize = 256;
const ROOM: u64 = 32 << 20;
/// Bytes of those of which only the beginning is read.
const ROOM_FOR_BEGINNINGS: u64 = 16 << 20;
/// The API server waits for one second.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the admission endpoints need beside the rest of the webhook.
#[derive(Debug)]
pub struct Reviews {
    /// Commands get a key.
    key: bool,
    publisher: Publisher,
    turns: Semaphore,
    room: Arc<Budget>,
    room_for_beginnings: Arc<Budget>,
}

/// What became of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Published,
    /// No node listens.
    Unheard,
    /// It leads into no pod, or nothing will come of it.
    Other,
    Unauthenticated,
    Malformed,
    Overloaded,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Published => "published",
            Outcome::Unheard => "unheard",
            Outcome::Other => "other",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::Malformed => "malformed",
            Outcome::Overloaded => "overloaded",
        }
    }
}

/// Why a review does not count.
struct Lost {
    outcome: Outcome,
    reason: String,
}

impl Lost {
    fn new(outcome: Outcome, reason: impl ToString) -> Lost {
        Lost {
            outcome,
            reason: reason.to_string(),
        }
    }
}

/// How the reading of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    TooLarge,
    TooSlow,
    Broken,
    NoRoom,
}

impl Reviews {
    pub fn new(key: bool, publisher: Publisher) -> Reviews {
        Reviews {
            key,
            publisher,
            turns: Semaphore::new(AT_ONCE),
            // What is shown as buffered is what audit events hold.
            room: Budget::new(ROOM, Gauge::default()),
            room_for_beginnings: Budget::new(ROOM_FOR_BEGINNINGS, Gauge::default()),
        }
    }
}

pub(super) async fn exec(state: State<Arc<Receiver>>, peer: Extension<Peer>, request: Request) -> Response {
    state.review(EXEC, &peer, request).await
}

pub(super) async fn exec_key(state: State<Arc<Receiver>>, peer: Extension<Peer>, request: Request) -> Response {
    state.review(EXEC_KEY, &peer, request).await
}

impl Receiver {
    async fn review(&self, path: &'static str, peer: &Peer, mut request: Request) -> Response {
        let Some(reviews) = &self.reviews else {
            return self.refuse(Refusal::UnknownPath(self.path.clone()), peer, request);
        };
        let admitted = self.admitted(path, peer, &request, reviews);
        let (most, room) = match admitted {
            Ok(_) => (LARGEST, &reviews.room),
            Err(_) => (BEGINNING, &reviews.room_for_beginnings),
        };
        let mut room = room.room();
        let (bytes, end) = self.read_review(request.body_mut(), most, &mut room).await;
        let review = review::read(&bytes);
        let taken = admitted.and_then(|(cluster, _turn)| {
            check_end(end)?;
            let cluster = cluster.or_else(|| self.access.cluster_of(peer).map(str::to_owned));
            let cluster = cluster.or_else(|| self.default_cluster.clone());
            reviews.take(&review, bytes, cluster)
        });
        let outcome = match &taken {
            Ok(outcome) => *outcome,
            Err(lost) => {
                self.log_lost(lost, peer, &request);
                lost.outcome
            }
        };
        self.count_review(outcome.name());
        let counts = matches!(outcome, Outcome::Published | Outcome::Unheard);
        let patch = (counts && path == EXEC_KEY && reviews.key)
            .then(|| review.patch())
            .flatten();
        if patch.is_some() {
            self.count_review("patched");
        }
        let answer = review.answer(counts, patch.as_deref());
        let mut response = ([(header::CONTENT_TYPE, "application/json")], answer).into_response();
        match end {
            // Nothing sensible follows on this connection.
            End::TooSlow | End::Broken => {
                response.extensions_mut().insert(CloseAfter);
            }
            End::TooLarge | End::NoRoom => discard_behind(request),
            End::Whole => {}
        }
        response
    }

    /// Whether the review may count, by what its head says; then its cluster, and its turn.
    fn admitted<'r>(
        &self,
        path: &str,
        peer: &Peer,
        request: &Request,
        reviews: &'r Reviews,
    ) -> Result<(Option<String>, SemaphorePermit<'r>), Lost> {
        let malformed = |refusal: Refusal| Lost::new(Outcome::Malformed, refusal);
        self.access
            .check(peer, request.headers())
            .map_err(|refusal| Lost::new(Outcome::Unauthenticated, refusal))?;
        if request.method() != axum::http::Method::POST {
            return Err(Lost::new(Outcome::Malformed, "reviews are posted; use POST"));
        }
        check_content_type(request.headers()).map_err(malformed)?;
        if encoding(request.headers()).map_err(malformed)? != Encoding::Identity {
            return Err(malformed(Refusal::UnknownEncoding));
        }
        let name = request.uri().path().strip_prefix(path).unwrap_or_default();
        let cluster = match name.strip_prefix('/').unwrap_or_default() {
            "" => None,
            name if is_cluster_name(name) => Some(name.to_owned()),
            _ => return Err(malformed(Refusal::BadCluster)),
        };
        // What is announced as too large is not begun.
        if request.body().size_hint().lower() > LARGEST as u64 {
            check_end(End::TooLarge)?;
        }
        match reviews.turns.try_acquire() {
            Ok(turn) => Ok((cluster, turn)),
            Err(_) => Err(Lost::new(Outcome::Overloaded, "too many reviews at once")),
        }
    }

    async fn read_review(&self, body: &mut Body, most: usize, room: &mut Room) -> (Vec<u8>, End) {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let data: Bytes = match timeout_at(deadline, body.frame()).await {
                Err(_) => return (bytes, End::TooSlow),
                Ok(None) => return (bytes, End::Whole),
                Ok(Some(Err(_))) => return (bytes, End::Broken),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            self.metrics.http_received_bytes.inc_by(data.len() as u64);
            let fits = data.len().min(most - bytes.len());
            if !room.grow(fits as u64) {
                return (bytes, End::NoRoom);
            }
            bytes.extend_from_slice(&data[..fits]);
            if fits < data.len() {
                return (bytes, End::TooLarge);
            }
        }
    }

    fn count_review(&self, outcome: &'static str) {
        let labels = OutcomeLabels { outcome };
        self.metrics.admission_reviews.get_or_create(&labels).inc();
    }

    fn log_lost(&self, lost: &Lost, peer: &Peer, request: &Request) {
        let kind = match lost.outcome {
            Outcome::Unauthenticated => "review_unauthenticated",
            Outcome::Overloaded => "review_overloaded",
            _ => "review_malformed",
        };
        if let Some(left_out) = self.log.admit(kind) {
            let (path, reason) = (excerpt(request.uri().path()), &lost.reason);
            tracing::warn!(
                kind, peer = %peer.address, path, reason, left_out,
                "admission review allowed, and told to nobody"
            );
        }
    }
}

fn check_end(end: End) -> Result<(), Lost> {
    let (outcome, reason) = match end {
        End::Whole => return Ok(()),
        End::TooLarge => (Outcome::Malformed, "the review is larger than 3 MiB"),
        End::TooSlow => (Outcome::Malformed, "the review did not arrive in time"),
        End::Broken => (Outcome::Malformed, "the review ended before its end"),
        End::NoRoom => (Outcome::Overloaded, "reviews hold too many bytes"),
    };
    Err(Lost::new(outcome, reason))
}

impl Reviews {
    /// Sends a whole review on its way to the nodes.
    fn take(&self, review: &Review, body: Vec<u8>, cluster: Option<String>) -> Result<Outcome, Lost> {
        let Some(request) = review.request() else {
            return Err(Lost::new(Outcome::Malformed, "this is no AdmissionReview"));
        };
        let Some(way) = request.way.filter(|_| !request.dry_run) else {
            return Ok(Outcome::Other);
        };
        if !self.publisher.is_open() {
            return Ok(Outcome::Unheard);
        }
        // Whole pods have secrets in them, and most are nothing to enter.
        let Some(body) = read::essence(&body) else {
            return Ok(Outcome::Other);
        };
        let names_pod = way != review::Way::NodeProxy && !request.name.is_empty();
        self.publisher.publish(Message {
            kind: Kind::Review,
            cluster: cluster.map(Into::into),
            pod: names_pod.then(|| (request.namespace.as_str().into(), request.name.as_str().into())),
            id: review.uid().into(),
            at: now(),
            body,
        });
        Ok(Outcome::Published)
    }
}
