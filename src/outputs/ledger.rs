//! The books of one output: what it accepted, what is settled, whether it is healthy, and what it has told the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counters::OutputCounts;

/// An output says the same kind of thing at most this often; the line says how many it stands for.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// An output that has alerts and settles none for this long is not healthy, whatever its last attempt said.
const STALL: Duration = Duration::from_secs(30);
/// Lines of a program's stderr passed on per interval: enough for a stack trace.
const PROGRAM_LINES: u32 = 30;
/// Longest piece of foreign text (error messages, a program's stderr) in a log field, in characters.
const LOG_TEXT: usize = 1024;

#[derive(Default)]
struct Entries {
    accepted: u64,
    closed: bool,
}

pub(super) struct Ledger {
    pub counts: Arc<OutputCounts>,
    entries: Mutex<Entries>,
    settled: AtomicU64,
    healthy: AtomicBool,
    started: Instant,
    /// Milliseconds since `started` when an alert was last settled, or first accepted by an idle output.
    progress: AtomicU64,
    drops: Mutex<LogLimit>,
    failures: Mutex<LogLimit>,
    retries: Mutex<LogLimit>,
    recoveries: Mutex<LogLimit>,
    program_lines: Mutex<LogLimit>,
    program_ends: Mutex<LogLimit>,
}

impl Ledger {
    pub fn new(counts: Arc<OutputCounts>) -> Ledger {
        Ledger {
            counts,
            entries: Mutex::default(),
            settled: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            started: Instant::now(),
            progress: AtomicU64::new(0),
            drops: Mutex::default(),
            failures: Mutex::default(),
            retries: Mutex::default(),
            recoveries: Mutex::default(),
            program_lines: Mutex::default(),
            program_ends: Mutex::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.counts.name
    }

    /// Alerts accepted and not settled, those in the writer's hands included.
    pub fn waiting(&self) -> u64 {
        self.unsettled(&self.entries())
    }

    fn unsettled(&self, entries: &Entries) -> u64 {
        entries.accepted.saturating_sub(self.settled.load(Ordering::Acquire))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn healthy(&self) -> bool {
        let since_progress = self.elapsed_ms().saturating_sub(self.progress.load(Ordering::Relaxed));
        self.healthy.load(Ordering::Relaxed) && (self.waiting() == 0 || u128::from(since_progress) < STALL.as_millis())
    }

    /// Called before an alert enters the queue, so that it is never settled before it is accepted. False when the
    /// books are closed: nobody would deliver the alert or count it as undelivered.
    pub fn accept(&self) -> bool {
        let mut entries = self.entries();
        if entries.closed {
            return false;
        }
        if self.unsettled(&entries) == 0 {
            self.progress.store(self.elapsed_ms(), Ordering::Relaxed);
        }
        entries.accepted += 1;
        true
    }

    /// Takes back an [`Ledger::accept`] whose alert did not enter the queue.
    pub fn retract(&self) {
        self.entries().accepted -= 1;
    }

    /// Accepts nothing more; counts what is not settled, and `more`, as undelivered, and returns the sum.
    pub fn close(&self, more: u64) -> u64 {
        let mut entries = self.entries();
        entries.closed = true;
        let undelivered = self.unsettled(&entries) + more;
        drop(entries);
        self.counts.undelivered.add(undelivered);
        undelivered
    }

    pub fn delivered(&self, n: usize) {
        self.counts.delivered.add(n as u64);
        self.settle(n);
        if !self.healthy.swap(true, Ordering::Relaxed)
            && let Some(suppressed) = pass(&self.recoveries)
        {
            tracing::info!(
                output = self.name(),
                kind = self.counts.kind,
                suppressed,
                "output delivers again"
            );
        }
    }

    /// `n` alerts are given up.
    pub fn failed(&self, n: usize, why: &str) {
        self.counts.failed.add(n as u64);
        self.settle(n);
        self.healthy.store(false, Ordering::Relaxed);
        if let Some(suppressed) = pass(&self.failures) {
            let error = escaped(why);
            tracing::error!(
                output = self.name(),
                kind = self.counts.kind,
                alerts = n,
                suppressed,
                %error,
                "alert not delivered"
            );
        }
    }

    /// `n` alerts are given up because the destination went away for good, which has been said once.
    pub fn gone(&self, n: usize) {
        self.counts.failed.add(n as u64);
        self.settle(n);
        self.healthy.store(false, Ordering::Relaxed);
    }

    pub fn retrying(&self, why: &str, pause: Duration) {
        self.counts.retried.add(1);
        self.healthy.store(false, Ordering::Relaxed);
        if let Some(suppressed) = pass(&self.retries) {
            let error = escaped(why);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                output = self.name(),
                kind = self.counts.kind,
                waiting = self.waiting(),
                pause_ms,
                suppressed,
                %error,
                "delivery failed, will try again"
            );
        }
    }

    pub fn dropped_full(&self, capacity: usize) {
        self.counts.dropped_full.add(1);
        if let Some(suppressed) = pass(&self.drops) {
            tracing::warn!(
                output = self.name(),
                kind = self.counts.kind,
                capacity,
                suppressed,
                "output queue is full, alert dropped for this output"
            );
        }
    }

    /// Passes on one line of a program's stderr; `cut` when it was longer than what is kept.
    pub fn program_line(&self, line: &[u8], cut: bool) {
        if let Some(suppressed) = pass_some(&self.program_lines, PROGRAM_LINES) {
            let line = escaped(&String::from_utf8_lossy(line));
            tracing::info!(output = self.name(), cut, suppressed, %line, "program wrote to stderr");
        }
    }

    /// A kept-alive program ended.
    pub fn program_ended(&self, why: &str) {
        if let Some(suppressed) = pass(&self.program_ends) {
            tracing::warn!(
                output = self.name(),
                suppressed,
                %why,
                "kept-alive program ended, the next alert starts it again"
            );
        }
    }

    /// The destination cannot take alerts any more; said when it happens, whatever else was said lately.
    pub fn report_gone(&self, why: &str) {
        let error = escaped(why);
        tracing::error!(
            output = self.name(),
            kind = self.counts.kind,
            %error,
            "output is gone, its alerts are counted as failed from now on"
        );
    }

    fn settle(&self, n: usize) {
        self.settled.fetch_add(n as u64, Ordering::AcqRel);
        self.progress.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Lets some lines through per interval and counts the rest.
#[derive(Default)]
struct LogLimit {
    interval_began: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl LogLimit {
    /// `Some(n)`: speak now, `n` lines were held back since the last one.
    fn pass(&mut self, now: Instant, burst: u32) -> Option<u64> {
        let same_interval = self
            .interval_began
            .is_some_and(|began| now.duration_since(began) < LOG_INTERVAL);
        if !same_interval {
            self.interval_began = Some(now);
            self.passed = 0;
        }
        if self.passed == burst {
            self.suppressed += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

fn pass(limit: &Mutex<LogLimit>) -> Option<u64> {
    pass_some(limit, 1)
}

fn pass_some(limit: &Mutex<LogLimit>, burst: u32) -> Option<u64> {
    limit
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pass(Instant::now(), burst)
}

/// Foreign text made fit for a log line: control characters escaped, length bounded.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LOG_TEXT));
    for (n, c) in text.chars().enumerate() {
        if n == LOG_TEXT {
            out.push('…');
            break;
        }
        match c {
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_per_interval_then_a_count_of_the_others() {
        let start = Instant::now();
        for burst in [1, 3] {
            let mut limit = LogLimit::default();
            for _ in 0..burst {
                assert_eq!(limit.pass(start, burst), Some(0));
            }
            for ms in [1, 500, 9_999] {
                assert_eq!(limit.pass(start + Duration::from_millis(ms), burst), None);
            }
            assert_eq!(limit.pass(start + LOG_INTERVAL, burst), Some(3));
            assert_eq!(limit.pass(start + 3 * LOG_INTERVAL, burst), Some(0));
        }
    }

    #[test]
    fn foreign_text_is_escaped_and_bounded() {
        for (text, want) in [
            ("plain `text` with 'quotes'", "plain `text` with 'quotes'"),
            ("two\nlines\u{1b}[31m", "two\\nlines\\u{1b}[31m"),
            ("\u{202e}reversed", "\\u{202e}reversed"),
            ("žluťoučký", "žluťoučký"),
        ] {
            assert_eq!(escaped(text), want);
        }
        assert_eq!(escaped(&"x".repeat(5_000)).chars().count(), LOG_TEXT + 1);
    }
}
