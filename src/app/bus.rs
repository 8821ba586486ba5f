//! The ways of messages: from the audit source and admission to this node's reader, or by way of NATS.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::bus::{Local, Publisher, nats};
use crate::clock;
use crate::config::{BusKind, Config, DEFAULT_SOCKET};
use crate::fields::evt::Host;
use crate::metrics::{DropLabels, Metrics, copy_counter};
use crate::sources::syscall::reader::Reader;
use crate::sources::syscall::service::Delivery;
use crate::sources::syscall::sessions::Board;
use crate::web::readiness::Readiness;
use crate::web::sessions::{SessionsError, SessionsServer};

/// Whether messages pass is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// What publishes in this process.
#[derive(Clone, Debug, Default)]
pub struct Bus {
    pub publisher: Publisher,
    nats: Option<Arc<nats::NatsPublisher>>,
}

impl Bus {
    /// Connects what runs here: the audit source where there is one, and the reader of the probe.
    ///
    /// # Errors
    /// When a file of the configuration cannot be used, or the kernel gives no descriptor.
    pub fn connect(
        config: &Config,
        audit: bool,
        reader: Option<&mut Reader<Delivery>>,
        host: &Host,
    ) -> Result<Bus, StartError> {
        let cluster = config.cluster.as_deref();
        let reader = reader.filter(|_| config.attribution.enabled);
        match config.bus.kind {
            BusKind::Local => {
                let Some(reader) = reader else {
                    return Ok(Bus::default());
                };
                let (local, inbox) = Local::new(clock::now()).map_err(StartError::Queue)?;
                reader.attend(Box::new(inbox), config.cluster.clone());
                Ok(Bus {
                    publisher: Publisher::new(Arc::new(local)),
                    nats: None,
                })
            }
            BusKind::Nats => {
                if let Some(reader) = reader {
                    let node = config.attribution.node.as_deref().unwrap_or(&host.name);
                    let inbox = nats::inbox(&config.bus, cluster, node)?;
                    reader.attend(Box::new(inbox), config.cluster.clone());
                }
                if !audit {
                    return Ok(Bus::default());
                }
                let nats = nats::publisher(&config.bus, cluster)?;
                Ok(Bus {
                    publisher: Publisher::new(Arc::clone(&nats) as Arc<dyn crate::bus::Publish>),
                    nats: Some(nats),
                })
            }
        }
    }

    /// Messages that are lost, or wait.
    pub fn export(&self, metrics: &Metrics) {
        if !self.publisher.is_open() {
            return;
        }
        let bus = self.clone();
        metrics.on_scrape(move |metrics| {
            let dropped = |reason, n| {
                let labels = DropLabels { stage: "bus", reason };
                copy_counter(&metrics.drops.get_or_create(&labels), n);
            };
            dropped("full", bus.publisher.lost());
            if let Some(nats) = &bus.nats {
                dropped("refused", nats.dropped());
                metrics.bus_waiting.set(nats.waiting() as i64);
            }
        });
    }

    /// Says in the readiness when messages do not reach the nodes. Audit events are evaluated all the same, so that
    /// this makes nothing unready.
    pub async fn watch(self, readiness: Readiness) {
        let Some(nats) = self.nats else {
            return std::future::pending().await;
        };
        let mut before = None;
        loop {
            let trouble = self.publisher.trouble();
            if trouble != before {
                readiness.note(
                    "bus",
                    trouble
                        .clone()
                        .map(|why| format!("{why}; {} messages wait", nats.waiting())),
                );
                before = trouble;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives what waits a last chance; returns how many messages are left.
    pub async fn drain(&self, grace: Duration) -> usize {
        match &self.nats {
            Some(nats) => nats.drain(grace).await,
            None => 0,
        }
    }
}

/// The socket of `saker sessions`. Nobody has asked for the usual place: that it cannot be used stops nothing.
///
/// # Errors
/// When a place that was asked for cannot be used.
pub fn bind_sessions(config: &Config, reader: &mut Reader<Delivery>) -> Result<Option<SessionsServer>, SessionsError> {
    let board = Board::default();
    let usual = DEFAULT_SOCKET.as_ref();
    let bound = match &config.attribution.socket {
        _ if !config.attribution.enabled => return Ok(None),
        Some(path) if path.as_os_str().is_empty() => return Ok(None),
        Some(path) => Some(SessionsServer::bind(path, board.clone())?),
        None => SessionsServer::bind(usual, board.clone())
            .inspect_err(|error| tracing::warn!("{error}"))
            .ok(),
    };
    if bound.is_some() {
        reader.show(board);
    }
    Ok(bound)
}
