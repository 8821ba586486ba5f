//! What time it is, for those outside of the core, which reads no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// Time since the Unix epoch; none before it.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> Timestamp {
    u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX)
}
