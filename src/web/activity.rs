//! What one connection is doing, so that a client can hold it neither by a head that never ends nor by silence.
//!
//! hyper's own head time-out also counts the wait for the next request, and would close the keep-alive connection of an
//! API server between two batches. Here the two waits are told apart: a head that has begun has `head_timeout`, a
//! connection that waits for its next request has `idle_timeout`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection is doing; shared by its stream, its requests and the task that drives it.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer is not ready, or whose unwanted body is still being discarded.
    in_flight: usize,
    /// When the last request ended, or the connection began.
    quiet_since: Instant,
    /// When the first byte came while nothing was in flight.
    heard_at: Option<Instant>,
    served: bool,
    http2: bool,
    close: bool,
}

/// Why a quiet connection is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    SlowHead,
    Idle,
}

impl Activity {
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity {
            state: Mutex::new(State {
                in_flight: 0,
                quiet_since: Instant::now(),
                heard_at: None,
                served: false,
                http2: false,
                close: false,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete; it is in flight until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.heard_at = None;
        state.http2 = version == Version::HTTP_2;
        InFlight(Arc::clone(self))
    }

    fn heard(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && state.heard_at.is_none() {
            state.heard_at = Some(Instant::now());
        }
    }

    /// Asks for a graceful end once the answers under way are sent.
    pub(super) fn request_close(&self) {
        self.state().close = true;
    }

    pub(super) fn close_requested(&self) -> bool {
        self.state().close
    }

    /// When the connection is overdue, and for what; `None` while a request is in flight.
    pub(super) fn due(&self, head: Duration, idle: Duration, closing: Option<Instant>) -> Option<(Instant, Overdue)> {
        let state = self.state();
        if state.in_flight > 0 {
            return None;
        }
        if let Some(closing) = closing {
            return Some((closing.max(state.quiet_since) + head, Overdue::Idle));
        }
        if !state.served {
            return Some((state.quiet_since + head, Overdue::SlowHead));
        }
        match state.heard_at {
            // Over HTTP/2 the bytes may be pings; heads are short frames there, and silence ends the connection.
            Some(at) if !state.http2 => Some((at + head, Overdue::SlowHead)),
            _ => Some((state.quiet_since + idle, Overdue::Idle)),
        }
    }
}

/// A request in flight. Whoever goes on reading a body after the answer keeps a clone of its [`Arc`].
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.served = true;
        if state.in_flight == 0 {
            state.quiet_since = Instant::now();
            state.heard_at = None;
        }
    }
}

/// A stream that tells its [`Activity`] when bytes arrive.
#[derive(Debug)]
pub(super) struct Observed<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Observed<S> {
        Observed { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.heard();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(120);

    fn due(activity: &Activity) -> Option<(Duration, Overdue)> {
        let start = activity.state().quiet_since;
        activity
            .due(HEAD, IDLE, None)
            .map(|(at, why)| (at.duration_since(start), why))
    }

    #[test]
    fn the_first_head_and_a_begun_head_are_slow_and_a_wait_is_idle() {
        let activity = Activity::new();
        assert_eq!(due(&activity), Some((HEAD, Overdue::SlowHead)), "nothing came yet");
        activity.heard();
        assert_eq!(
            due(&activity),
            Some((HEAD, Overdue::SlowHead)),
            "one byte does not buy time"
        );
        let first = activity.begin(Version::HTTP_11);
        assert_eq!(due(&activity), None, "a request is in flight");
        drop(first);
        assert_eq!(
            due(&activity),
            Some((IDLE, Overdue::Idle)),
            "waiting for the next request"
        );
        activity.heard();
        assert!(
            matches!(due(&activity), Some((_, Overdue::SlowHead))),
            "the next head has begun"
        );
    }

    #[test]
    fn pings_are_not_heads() {
        let activity = Activity::new();
        drop(activity.begin(Version::HTTP_2));
        activity.heard();
        assert_eq!(due(&activity), Some((IDLE, Overdue::Idle)));
    }

    #[test]
    fn a_body_that_is_discarded_after_the_answer_keeps_the_connection() {
        let activity = Activity::new();
        let request = Arc::new(activity.begin(Version::HTTP_11));
        let discarding = Arc::clone(&request);
        drop(request);
        assert_eq!(due(&activity), None);
        drop(discarding);
        assert!(due(&activity).is_some());
    }
}
