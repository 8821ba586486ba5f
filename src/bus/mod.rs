//! From whoever receives audit events and reviews to the nodes that run the probe.
//!
//! Few events lead into a pod; those, and reviews of such requests, go to every node of the cluster as they came. Each
//! node reads them itself ([`crate::correlate::read`]) and joins them with its own processes.
//!
//! - [`Message`]: what is sent;
//! - [`Publisher`]: where it goes; with one process for both sources that is a queue in memory;
//! - [`Inbox`]: where a node's reader takes it from, beside the ring of the probe.

mod local;
pub mod nats;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::event::Timestamp;
use crate::event::bytes;

pub use local::Local;

/// An answer waits this long for the bus.
const SETTLE: Duration = Duration::from_secs(1);

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An `audit.k8s.io/v1` Event.
    Audit,
    /// An `admission.k8s.io/v1` AdmissionReview.
    Review,
    /// Nothing happened, and audit events do come: said from time to time.
    Heard,
}

/// What is sent. In recordings and on the bus it is JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub kind: Kind,
    /// The cluster that it comes from, where that has a name.
    #[serde(default)]
    pub cluster: Option<Box<str>>,
    /// Namespace and name of the pod, where the request names one.
    #[serde(default)]
    pub pod: Option<(Box<str>, Box<str>)>,
    /// The same for each delivery of the same thing: Audit-ID with stage, or a review's uid.
    #[serde(default)]
    pub id: Box<str>,
    /// When it arrived, nanoseconds since the Unix epoch.
    pub at: Timestamp,
    /// The event or review as it came.
    #[serde(default, with = "bytes")]
    pub body: Box<[u8]>,
}

/// Why a message cannot go on its way now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus has no room")]
pub struct Full;

/// Something that takes messages.
pub trait Publish: Send + Sync + std::fmt::Debug {
    /// Takes a message without waiting.
    ///
    /// # Errors
    /// When there is no room for it.
    fn publish(&self, message: Message) -> Result<(), Full>;

    /// Why what is published does not reach the nodes at the moment.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Told once all that was published until now is where the end of this process does not reach it. Nothing where
    /// that is known not to come soon, or where messages do not leave the process.
    fn safe(&self) -> Option<oneshot::Receiver<()>> {
        None
    }
}

/// Where messages go. Clones share everything; without a node that listens, messages go nowhere.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    to: Option<Arc<dyn Publish>>,
    lost: Arc<AtomicU64>,
}

impl Publisher {
    pub fn new(to: Arc<dyn Publish>) -> Publisher {
        Publisher {
            to: Some(to),
            lost: Arc::default(),
        }
    }

    /// Whether anybody listens: nothing has to be looked for otherwise.
    pub fn is_open(&self) -> bool {
        self.to.is_some()
    }

    /// Sends a message, or counts it as lost.
    pub fn publish(&self, message: Message) {
        if let Some(to) = &self.to
            && to.publish(message).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was published is safe, for a second at most: a bus that is away keeps it in memory, and who
    /// posted is not held up for that.
    pub async fn settle(&self) {
        if let Some(safe) = self.to.as_ref().and_then(|to| to.safe()) {
            let _ = tokio::time::timeout(SETTLE, safe).await;
        }
    }

    /// Messages that found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Why what is published does not reach the nodes at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.to.as_ref().and_then(|to| to.trouble())
    }
}

/// Where a node takes messages from.
pub trait Inbox: Send {
    /// Readable when there is something to take.
    fn wake(&self) -> BorrowedFd<'_>;

    /// The next message, if there is one.
    fn take(&mut self) -> Option<Message>;

    /// Since when everything that was sent has come without a gap, by this machine's clock; nothing while it does not.
    fn up_since(&self) -> Option<Timestamp>;
}
