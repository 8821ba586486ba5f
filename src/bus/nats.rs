//! NATS JetStream: whoever receives audit events, and the nodes, are different processes.
//!
//! - `subject`: where a message goes, and what tells two of them apart;
//! - `link`: a connection that comes back by itself, and what is wrong with it at the moment;
//! - `publisher`: a bounded queue, emptied as the stream acknowledges;
//! - `inbox`: what the stream retains and what comes, for one node.
//!
//! Only streams and consumers are used, in the forms that servers since 2.9 know.

mod identity;
mod inbox;
mod link;
mod publisher;
mod subject;

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::BusConfig;

pub use inbox::NatsInbox;
pub use publisher::NatsPublisher;

/// Why the bus cannot start. A server that cannot be reached is no reason: it may come later.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` has neither the credentials nor the seed of a NATS user", .0.display())]
    NoSeed(PathBuf),
    #[error("the seed in `{}` cannot be used: {reason}", path.display())]
    Seed { path: PathBuf, reason: String },
    #[error("no descriptor to wake the reader: {0}")]
    Wake(#[from] std::io::Error),
}

/// Starts what publishes, on the tokio runtime that this is called on. `cluster` is for messages that name none.
///
/// # Errors
/// When a file of the configuration cannot be used.
pub fn publisher(config: &BusConfig, cluster: Option<&str>) -> Result<Arc<NatsPublisher>, NatsError> {
    NatsPublisher::start(config, cluster).map(Arc::new)
}

/// Starts a node's inbox, on the tokio runtime that this is called on: messages of its cluster, or of all clusters when
/// it has no name. It begins with everything that the stream retains.
///
/// # Errors
/// When a file of the configuration cannot be used, or the kernel gives no descriptor.
pub fn inbox(config: &BusConfig, cluster: Option<&str>, node: &str) -> Result<NatsInbox, NatsError> {
    NatsInbox::start(config, cluster, node)
}
