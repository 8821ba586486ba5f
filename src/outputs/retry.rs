//! How long to pause after a failed attempt: exponential back-off with jitter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_secs(10);

/// The pauses between attempts, growing until a success resets them.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// Between half and all of the nominal pause, so that many instances do not return to a restarted peer at once.
    pub fn pause(&mut self) -> Duration {
        let nominal = self.next;
        self.next = MAX.min(nominal * 2);
        // Each RandomState has other keys, which makes its hash of nothing a random number without a dependency.
        let random = RandomState::new().build_hasher().finish() % 1024;
        nominal / 2 + nominal / 2 * u32::try_from(random).unwrap_or(0) / 1024
    }

    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_start_over() {
        let mut backoff = Backoff::default();
        for nominal in [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let nominal = Duration::from_millis(nominal);
            let pause = backoff.pause();
            assert!(nominal / 2 <= pause && pause <= nominal, "{pause:?} of {nominal:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
