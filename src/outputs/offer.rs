//! One alert to all outputs or to none: room is reserved everywhere before anything is sent.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::sync::mpsc::error::TrySendError;

use super::Output;
use crate::alert::Alert;
use crate::config::WhenFull;

/// No room in an output that must take every alert, or the outputs are stopping. No output received the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outputs are busy")]
pub struct Busy;

pub(super) fn offer(
    outputs: &[Output],
    alert: &Arc<Alert>,
    deadline: Instant,
    draining: &AtomicBool,
) -> Result<(), Busy> {
    // Queues close after this is set, so a closed queue seen later is explained by it, or by a worker's failure.
    if draining.load(Ordering::Acquire) {
        return Err(Busy);
    }
    let admits = |output: &&Output| alert.priority <= output.priority;
    let mut reserved = Vec::with_capacity(outputs.len());
    // Everybody reserves in the same order, so no two senders wait for each other. Outputs that are not waited for
    // come last: their room is not held while waiting.
    for output in outputs.iter().filter(admits).filter(|o| o.when_full == WhenFull::Wait) {
        let permit = match output.queue.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Closed(())) => return Err(Busy),
            Err(TrySendError::Full(())) => match block_on_until(output.queue.reserve(), deadline) {
                Some(Ok(permit)) => permit,
                Some(Err(_)) | None => return Err(Busy),
            },
        };
        reserved.push((output, permit));
    }
    let mut full = Vec::new();
    for output in outputs.iter().filter(admits).filter(|o| o.when_full == WhenFull::Drop) {
        match output.queue.try_reserve() {
            Ok(permit) => reserved.push((output, permit)),
            Err(TrySendError::Closed(())) if draining.load(Ordering::Acquire) => return Err(Busy),
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => full.push(output),
        }
    }
    // An output whose grace period ended this moment does not accept, and then nobody does.
    if let Some(closed) = reserved.iter().position(|(output, _)| !output.ledger.accept()) {
        for (output, _) in &reserved[..closed] {
            output.ledger.retract();
        }
        return Err(Busy);
    }
    for (_, permit) in reserved {
        permit.send(Arc::clone(alert));
    }
    for output in full {
        output.ledger.dropped_full(output.queue.max_capacity());
    }
    Ok(())
}

/// Runs `future` on this thread, which sleeps meanwhile; `None` when it is not done at `deadline`.
///
/// Not the runtime's `block_on`: that one panics when it is called from a task, and this needs no timer.
fn block_on_until<F: Future>(future: F, deadline: Instant) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
