//! Offers chunks to the pipeline until they are taken, and accounts for those that are not.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use super::{Chunk, Counters, FilesError, StopFlag, count};
use crate::sources::audit::pipeline::Rejected;

/// A busy pipeline is asked again after this, then after twice as long, up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long anything here sleeps without looking at the stop flag.
pub(super) const STOP_CHECK: Duration = Duration::from_millis(50);

/// The way from readers to the pipeline.
pub(super) struct Delivery<'a, F> {
    sink: F,
    stop: &'a StopFlag,
    pub counters: &'a Counters,
    busy: Occasionally,
    unreadable: Occasionally,
    oversized: Occasionally,
    failures: Occasionally,
}

impl<'a, F> Delivery<'a, F>
where
    F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
{
    pub fn new(sink: F, stop: &'a StopFlag, counters: &'a Counters) -> Self {
        Delivery {
            sink,
            stop,
            counters,
            busy: Occasionally::default(),
            unreadable: Occasionally::default(),
            oversized: Occasionally::default(),
            failures: Occasionally::default(),
        }
    }

    pub fn stop(&self) -> &'a StopFlag {
        self.stop
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Returns when the chunk was taken, or with `Break` when the stop came first: then it was offered once more.
    pub fn offer(&mut self, name: &str, chunk: Chunk<'_>) -> ControlFlow<()> {
        if chunk.oversized > 0 {
            count(&self.counters.oversized_documents, chunk.oversized);
            count(&self.counters.oversized_bytes, chunk.skipped);
            if let Some(suppressed) = self.oversized.due() {
                tracing::warn!(
                    input = name,
                    documents = chunk.oversized,
                    bytes = chunk.skipped,
                    suppressed,
                    "skipped a document over the size limit"
                );
            }
        }
        if chunk.bytes.is_empty() {
            return ControlFlow::Continue(());
        }
        let bytes = chunk.bytes.len() as u64;
        let mut pause = FIRST_PAUSE;
        loop {
            let last_offer = self.is_stopped();
            match (self.sink)(chunk) {
                Ok(()) => {
                    count(&self.counters.bytes, bytes);
                    count(&self.counters.chunks, 1);
                    if chunk.broken {
                        count(&self.counters.broken_bytes, bytes);
                    }
                    return ControlFlow::Continue(());
                }
                Err(Rejected::Unreadable(reason)) => {
                    count(&self.counters.unreadable_chunks, 1);
                    if let Some(suppressed) = self.unreadable.due() {
                        let reason: String = reason.chars().take(200).collect();
                        tracing::warn!(
                            input = name,
                            bytes,
                            ?reason,
                            suppressed,
                            "left out what is not audit JSON"
                        );
                    }
                    return ControlFlow::Continue(());
                }
                Err(Rejected::Busy) if last_offer => {
                    count(&self.counters.abandoned_bytes, bytes);
                    tracing::warn!(
                        input = name,
                        bytes,
                        "stopped while outputs were busy, left out what was read last"
                    );
                    return ControlFlow::Break(());
                }
                Err(Rejected::Busy) => {
                    count(&self.counters.busy_waits, 1);
                    if pause >= LONGEST_PAUSE
                        && let Some(suppressed) = self.busy.due()
                    {
                        tracing::warn!(input = name, suppressed, "waiting for busy outputs");
                    }
                    sleep(pause, self.stop);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// A file that cannot be read; others go on.
    pub fn failed(&mut self, error: &FilesError) {
        count(&self.counters.read_errors, 1);
        if let Some(suppressed) = self.failures.due() {
            tracing::warn!(%error, suppressed, "cannot read an audit file");
        }
    }
}

/// Sleeps, but not into a stop.
fn sleep(pause: Duration, stop: &StopFlag) {
    let until = Instant::now() + pause;
    while !stop.is_set() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(STOP_CHECK));
    }
}

/// Lets one log line pass in ten seconds and counts the others.
#[derive(Debug, Default)]
struct Occasionally {
    last: Option<Instant>,
    suppressed: u64,
}

impl Occasionally {
    /// How many lines were suppressed since the last one, if it is time for another.
    fn due(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(10)) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}
