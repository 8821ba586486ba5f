//! Keeps what clients can provoke from filling the log: one line per kind and period, with the number left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line per `key` and period. Keys come from fixed sets, so the table is small.
#[derive(Debug)]
pub struct LogLimit {
    period: Duration,
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Debug)]
struct Kind {
    key: &'static str,
    last: Instant,
    left_out: u64,
}

impl LogLimit {
    pub fn new(period: Duration) -> LogLimit {
        LogLimit {
            period,
            kinds: Mutex::new(Vec::new()),
        }
    }

    /// Whether a line of this kind may be written now; if so, how many were left out since the last one.
    pub fn admit(&self, key: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kind) = kinds.iter_mut().find(|k| k.key == key) else {
            kinds.push(Kind {
                key,
                last: now,
                left_out: 0,
            });
            return Some(0);
        };
        if now.duration_since(kind.last) < self.period {
            kind.left_out += 1;
            return None;
        }
        kind.last = now;
        Some(std::mem::take(&mut kind.left_out))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        LogLimit::new(Duration::from_secs(10))
    }
}

/// The beginning of a text that a client chose. The log escapes it; this bounds it.
pub fn excerpt(text: &str) -> &str {
    const LONGEST: usize = 200;
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_kind_and_period() {
        let limit = LogLimit::new(Duration::from_secs(3600));
        assert_eq!(limit.admit("a"), Some(0));
        assert_eq!(limit.admit("a"), None);
        assert_eq!(limit.admit("b"), Some(0));
        let always = LogLimit::new(Duration::ZERO);
        assert_eq!(always.admit("a"), Some(0));
        assert_eq!(always.admit("a"), Some(0));
    }

    #[test]
    fn excerpts_end_at_a_character() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(200)).len(), 200);
        assert_eq!(excerpt(&format!("a{}", "é".repeat(200))).len(), 199);
    }
}
