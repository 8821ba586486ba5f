//! What became of every alert, per output: the numbers behind the output metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// One counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// The counters of one output.
///
/// Every alert offered to the output ends in exactly one of `delivered`, `dropped_full`, `failed` and `undelivered`.
/// One exception errs on the safe side: what a kept-alive program has not read when it is killed at shutdown is
/// counted as `undelivered` although handing it over had counted as `delivered`.
#[derive(Debug)]
pub struct OutputCounts {
    pub name: Arc<str>,
    pub kind: &'static str,
    /// Handed to the destination.
    pub delivered: Counter,
    /// Dropped because the output's queue was full.
    pub dropped_full: Counter,
    /// Given up: refused by the destination, out of tries, or the destination is gone for good.
    pub failed: Counter,
    /// Attempts that failed and were made again.
    pub retried: Counter,
    /// Still waiting when the grace period of a shutdown ended.
    pub undelivered: Counter,
    /// Delivered, but cut to the largest message of the transport (syslog).
    pub truncated: Counter,
}

impl OutputCounts {
    fn new(name: Arc<str>, kind: &'static str) -> OutputCounts {
        OutputCounts {
            name,
            kind,
            delivered: Counter::default(),
            dropped_full: Counter::default(),
            failed: Counter::default(),
            retried: Counter::default(),
            undelivered: Counter::default(),
            truncated: Counter::default(),
        }
    }
}

/// The counters of all outputs. They outlive the outputs, so that a restart of an output continues its counts.
#[derive(Debug, Default)]
pub struct OutputCounters {
    outputs: RwLock<Vec<Arc<OutputCounts>>>,
}

impl OutputCounters {
    /// The counters of every output ever started, in the order of their first start.
    pub fn all(&self) -> Vec<Arc<OutputCounts>> {
        self.outputs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of the output called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<OutputCounts>> {
        self.all().into_iter().find(|counts| &*counts.name == name)
    }

    /// The counters for an output that starts: those of its earlier run, or new ones.
    pub(super) fn register(&self, name: &Arc<str>, kind: &'static str) -> Arc<OutputCounts> {
        let mut outputs = self.outputs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = outputs.iter().find(|c| c.name == *name && c.kind == kind) {
            return Arc::clone(known);
        }
        let counts = Arc::new(OutputCounts::new(Arc::clone(name), kind));
        outputs.push(Arc::clone(&counts));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_output_continues_its_counts() {
        let counters = OutputCounters::default();
        let name: Arc<str> = "siem".into();
        counters.register(&name, "http").delivered.add(3);
        counters.register(&name, "http").delivered.add(4);
        assert_eq!(counters.get("siem").unwrap().delivered.get(), 7);
        assert_eq!(counters.all().len(), 1);
        assert!(counters.get("other").is_none());
    }
}
