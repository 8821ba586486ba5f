//! Which alerts have been raised, so that a batch that comes again raises none twice.
//!
//! The key is a digest of the event's whole text and the rule, under a key that only this process knows: a client
//! chooses the Audit-ID, and could work towards a collision if it knew how digests are made.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use highway::{HighwayHash, HighwayHasher, Key};

/// The API server gives a batch up after about four minutes.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// About 16 MiB. Beyond that the oldest are forgotten, and could be raised again.
const MAX_ALERTS: usize = 1 << 18;

/// Digest of an event and a rule.
pub type Digest = [u64; 2];

/// Answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Raise it, then call [`Seen::done`] or [`Seen::release`].
    New,
    /// Raised before.
    Done,
    /// Being raised by another delivery at this moment.
    UnderWay,
}

#[derive(Debug)]
pub struct Seen {
    key: [u64; 4],
    /// Older ones are forgotten.
    window: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// True when the outputs have taken the alert.
    alerts: HashMap<Digest, bool>,
    order: VecDeque<(Instant, Digest)>,
}

impl Seen {
    pub fn new() -> Seen {
        // RandomState is seeded by the operating system.
        let state = RandomState::new();
        Seen {
            key: [0u64, 1, 2, 3].map(|i| state.hash_one(i)),
            window: WINDOW,
            table: Mutex::default(),
        }
    }

    /// One that forgets only for want of room.
    pub fn lasting() -> Seen {
        Seen {
            window: Duration::MAX,
            ..Seen::new()
        }
    }

    /// Whether it was done before.
    pub fn has(&self, key: Digest) -> bool {
        self.lock().alerts.get(&key) == Some(&true)
    }

    pub fn key(&self, event: &[u8], rule: &str) -> Digest {
        let mut hasher = HighwayHasher::new(Key(self.key));
        hasher.append(&(event.len() as u64).to_le_bytes());
        hasher.append(event);
        hasher.append(rule.as_bytes());
        hasher.finalize128()
    }

    pub fn claim(&self, key: Digest) -> Claim {
        let mut table = self.lock();
        table.forget(Instant::now(), self.window);
        match table.alerts.get(&key) {
            Some(true) => Claim::Done,
            Some(false) => Claim::UnderWay,
            None => {
                table.alerts.insert(key, false);
                Claim::New
            }
        }
    }

    pub fn done(&self, key: Digest) {
        let mut table = self.lock();
        if table.alerts.insert(key, true) != Some(true) {
            table.order.push_back((Instant::now(), key));
        }
    }

    pub fn release(&self, key: Digest) {
        self.lock().alerts.remove(&key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, now: Instant, window: Duration) {
        while let Some((at, key)) = self.order.front().copied() {
            if self.order.len() <= MAX_ALERTS && now.duration_since(at) < window {
                break;
            }
            self.order.pop_front();
            self.alerts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_raised_once() {
        let seen = Seen::new();
        let key = seen.key(b"event", "rule");
        assert_eq!(seen.claim(key), Claim::New);
        assert_eq!(seen.claim(key), Claim::UnderWay);
        seen.release(key);
        assert_eq!(seen.claim(key), Claim::New);
        seen.done(key);
        assert_eq!(seen.claim(key), Claim::Done);
        assert_ne!(key, seen.key(b"event", "other rule"));
        assert_ne!(key, seen.key(b"eventr", "ule"));
        assert_ne!(key, Seen::new().key(b"event", "rule"));
    }

    #[test]
    fn the_table_is_bounded() {
        let seen = Seen::new();
        for i in 0..MAX_ALERTS as u64 + 10 {
            assert_eq!(seen.claim([i, 0]), Claim::New);
            seen.done([i, 0]);
        }
        seen.claim([u64::MAX, 0]);
        assert!(seen.lock().order.len() <= MAX_ALERTS);
        assert_eq!(seen.claim([0, 0]), Claim::New);
    }
}
