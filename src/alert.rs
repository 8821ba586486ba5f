//! An alert, rendered once in both of its forms; outputs choose one and copy nothing.

use std::sync::Arc;

use crate::event::{Priority, Source, Timestamp};

/// A finding on its way to the outputs.
///
/// Both forms end without a newline, hold no raw control characters, and are valid UTF-8.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Stable for the same event and rule, so delivering it twice is harmless.
    pub uuid: [u8; 16],
    /// When the event happened, nanoseconds since the Unix epoch.
    pub time: Timestamp,
    pub rule: Arc<str>,
    pub priority: Priority,
    pub source: Source,
    /// One JSON object on one line, with Falco's keys and ours.
    pub json: Box<str>,
    /// `HH:MM:SS.nnnnnnnnn: Priority message`.
    pub text: Box<str>,
}
