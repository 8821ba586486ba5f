//! How many bytes of bodies are held at once. Who finds no room is told to come back; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// A number of bytes shared by all requests.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    shown: Gauge,
}

impl Budget {
    /// `shown` follows what is used.
    pub fn new(limit: u64, shown: Gauge) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicU64::new(0),
            shown,
        })
    }

    /// Nothing taken yet.
    pub fn room(self: &Arc<Self>) -> Room {
        Room {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .is_ok();
        if taken {
            self.shown.inc_by(bytes as i64);
        }
        taken
    }

    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Room {
    /// Takes `more` bytes, or nothing when they are not there.
    pub fn grow(&mut self, more: u64) -> bool {
        let taken = self.budget.take(more);
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.shown.dec_by(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_or_nothing_and_gives_back() {
        let budget = Budget::new(100, Gauge::default());
        let mut one = budget.room();
        assert!(one.grow(60));
        let mut two = budget.room();
        assert!(!two.grow(41));
        assert!(!two.grow(u64::MAX));
        assert!(two.grow(40));
        assert!(!one.grow(1));
        drop(two);
        assert!(one.grow(40));
        assert_eq!((budget.used(), budget.shown.get()), (100, 100));
        drop(one);
        assert_eq!((budget.used(), budget.shown.get()), (0, 0));
    }
}
