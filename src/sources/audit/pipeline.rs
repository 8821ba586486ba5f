//! From the bytes of a batch to accepted alerts: decode, evaluate, de-duplicate, offer.

/// Why a batch was not taken; nothing of it is forgotten by whoever sent it.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The body as a whole is not audit JSON.
    #[error("{0}")]
    Unreadable(String),
    /// An output that must take every alert has no room.
    #[error("outputs are busy")]
    Busy,
}

/// What became of an accepted batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    pub events: u64,
    /// Items that could not be decoded: counted, logged, kept in the dead-letter file.
    pub bad_items: u64,
    pub alerts: u64,
    /// Alerts that an earlier delivery of the same event had already raised.
    pub duplicates: u64,
}
