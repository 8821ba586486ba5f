//! Where alerts go: one file per kind, one bounded queue and one task per output.
//!
//! An alert is offered to all outputs at once. An output that must take every alert ([`WhenFull::Wait`]) makes the
//! sender wait for room, and refuse in the end; one that may lose alerts ([`WhenFull::Drop`]) counts what does not
//! fit. Neither delays the others: what an output has accepted waits in its own queue, however slow or dead it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::alert::Alert;
use crate::config::{OutputConfig, OutputKind, StdoutConfig, WhenFull};
use crate::event::Priority;

mod counters;
mod file;
mod http;
mod ledger;
mod lines;
mod offer;
mod program;
mod retry;
mod stdout;
mod syslog;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod worker;

pub use counters::{Counter, OutputCounters, OutputCounts};
pub use http::HttpError;
pub use offer::Busy;
pub use program::ProgramError;
pub use syslog::SyslogError;

use ledger::Ledger;
use worker::{Orders, Writer};

/// More alerts in a queue would be a mistake in the configuration rather than a wish.
const MAX_QUEUE: usize = 10_000_000;
/// Workers end by themselves when the grace period does; this is for the last steps of doing so.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// Why an output cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("output `{name}`: the queue must hold 1 to {MAX_QUEUE} alerts, not {queue}")]
    Queue { name: Arc<str>, queue: usize },
    #[error("output `{name}`: cannot write to standard output: {error}")]
    Stdout { name: Arc<str>, error: std::io::Error },
    #[error("output `{name}`: cannot open `{}` for appending: {error}", .path.display())]
    File {
        name: Arc<str>,
        path: std::path::PathBuf,
        error: std::io::Error,
    },
    #[error("output `{name}`: {error}")]
    Syslog { name: Arc<str>, error: SyslogError },
    #[error("output `{name}`: {error}")]
    Program { name: Arc<str>, error: ProgramError },
    #[error("output `{name}`: {error}")]
    Http { name: Arc<str>, error: HttpError },
}

/// All configured outputs, running.
#[derive(Clone)]
pub struct Outputs {
    shared: Arc<Shared>,
}

struct Shared {
    outputs: Vec<Output>,
    draining: AtomicBool,
    orders: watch::Sender<Orders>,
    /// The workers, until somebody waits for them to end.
    workers: Mutex<Vec<(Arc<Ledger>, JoinHandle<u64>)>>,
}

/// One output as a sender of alerts sees it.
struct Output {
    priority: Priority,
    when_full: WhenFull,
    queue: mpsc::Sender<Arc<Alert>>,
    ledger: Arc<Ledger>,
}

/// The state of one output, for metrics and readiness.
#[derive(Clone, Debug)]
pub struct OutputStatus {
    pub name: Arc<str>,
    pub kind: &'static str,
    /// Alerts accepted and not yet delivered; may exceed the capacity by those that are just being delivered.
    pub queued: u64,
    pub capacity: usize,
    /// Its last attempt worked, and it is not stuck.
    pub healthy: bool,
}

impl Outputs {
    /// Opens what can be opened at once, so that a wrong configuration is an error at start, then starts one task
    /// per output on the current tokio runtime. No configuration at all means alerts as text on standard output.
    pub fn start(configs: &[OutputConfig], counters: Arc<OutputCounters>) -> Result<Outputs, OutputError> {
        let fallback = [OutputConfig {
            name: None,
            priority: Priority::Debug,
            queue: 10_000,
            when_full: None,
            kind: OutputKind::Stdout(StdoutConfig::default()),
        }];
        let configs = if configs.is_empty() { &fallback } else { configs };
        let mut opened = Vec::with_capacity(configs.len());
        for (config, name) in configs.iter().zip(names(configs)) {
            if !(1..=MAX_QUEUE).contains(&config.queue) {
                return Err(OutputError::Queue {
                    name,
                    queue: config.queue,
                });
            }
            let counts = counters.register(&name, kind_name(&config.kind));
            let ledger = Arc::new(Ledger::new(counts));
            let writer = open(&config.kind, &name, &ledger)?;
            opened.push((config, ledger, writer));
        }
        Ok(Outputs::run(opened))
    }

    /// Starts the workers of outputs that are open.
    fn run(opened: Vec<(&OutputConfig, Arc<Ledger>, Writer)>) -> Outputs {
        let (orders, receiver) = watch::channel(Orders::default());
        let mut outputs = Vec::with_capacity(opened.len());
        let mut workers = Vec::with_capacity(opened.len());
        for (config, ledger, writer) in opened {
            let (queue, alerts) = mpsc::channel(config.queue);
            let worker = worker::run(writer, alerts, receiver.clone(), Arc::clone(&ledger));
            workers.push((Arc::clone(&ledger), tokio::spawn(worker)));
            outputs.push(Output {
                priority: config.priority,
                when_full: config.when_full.unwrap_or_else(|| default_when_full(&config.kind)),
                queue,
                ledger,
            });
        }
        Outputs {
            shared: Arc::new(Shared {
                outputs,
                draining: AtomicBool::new(false),
                orders,
                workers: Mutex::new(workers),
            }),
        }
    }

    /// Offers one alert to every output that admits its priority; all of them get it, or none.
    ///
    /// This blocks the calling thread, until `deadline` at most, while an output that must take every alert has no
    /// room. `Err(Busy)` means that no output received the alert.
    pub fn offer(&self, alert: &Arc<Alert>, deadline: Instant) -> Result<(), Busy> {
        offer::offer(&self.shared.outputs, alert, deadline, &self.shared.draining)
    }

    /// Reopens files, reads TLS files of http outputs again, and lets syslog connect again (SIGHUP).
    pub fn reopen(&self) {
        self.shared.orders.send_modify(|orders| orders.reopen += 1);
    }

    /// Stops accepting, delivers what is queued and flushes; returns how many alerts are undelivered after `grace`.
    pub async fn drain(&self, grace: Duration) -> u64 {
        self.shared.draining.store(true, Ordering::Release);
        let stop_by = tokio::time::Instant::now() + grace;
        self.shared.orders.send_modify(|orders| orders.stop_by = Some(stop_by));
        let workers = std::mem::take(&mut *self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut undelivered = 0;
        for (ledger, mut worker) in workers {
            undelivered += match tokio::time::timeout_at(stop_by + LAST_STEPS, &mut worker).await {
                Ok(Ok(left)) => left,
                // A worker that panicked or is stuck cannot count any more, so it is done here.
                Ok(Err(_)) | Err(_) => {
                    worker.abort();
                    let left = ledger.close(0);
                    tracing::error!(
                        output = ledger.name(),
                        undelivered = left,
                        "output did not stop in an orderly way"
                    );
                    left
                }
            };
        }
        undelivered
    }

    /// The state of each output, in the order of the configuration.
    pub fn status(&self) -> Vec<OutputStatus> {
        let status = |output: &Output| OutputStatus {
            name: Arc::clone(&output.ledger.counts.name),
            kind: output.ledger.counts.kind,
            queued: output.ledger.waiting(),
            capacity: output.queue.max_capacity(),
            healthy: output.ledger.healthy(),
        };
        self.shared.outputs.iter().map(status).collect()
    }
}

fn open(kind: &OutputKind, name: &Arc<str>, ledger: &Arc<Ledger>) -> Result<Writer, OutputError> {
    let name = Arc::clone(name);
    let ledger = Arc::clone(ledger);
    match kind {
        OutputKind::Stdout(config) => stdout::StdoutWriter::open(config, &name)
            .map(Writer::Stdout)
            .map_err(|error| OutputError::Stdout { name, error }),
        OutputKind::File(config) => file::FileWriter::open(config, ledger)
            .map(Writer::File)
            .map_err(|error| OutputError::File {
                name,
                path: config.path.clone(),
                error,
            }),
        OutputKind::Syslog(config) => syslog::SyslogWriter::new(config, ledger)
            .map(Writer::Syslog)
            .map_err(|error| OutputError::Syslog { name, error }),
        OutputKind::Program(config) => program::ProgramWriter::new(config, ledger)
            .map(|writer| Writer::Program(Box::new(writer)))
            .map_err(|error| OutputError::Program { name, error }),
        OutputKind::Http(config) => http::HttpWriter::new(config, ledger)
            .map(|writer| Writer::Http(Box::new(writer)))
            .map_err(|error| OutputError::Http { name, error }),
    }
}

fn kind_name(kind: &OutputKind) -> &'static str {
    match kind {
        OutputKind::Stdout(_) => "stdout",
        OutputKind::File(_) => "file",
        OutputKind::Syslog(_) => "syslog",
        OutputKind::Program(_) => "program",
        OutputKind::Http(_) => "http",
    }
}

/// What this machine stores itself must not be lost; what depends on others must not stop detection.
fn default_when_full(kind: &OutputKind) -> WhenFull {
    match kind {
        OutputKind::Stdout(_) | OutputKind::File(_) => WhenFull::Wait,
        OutputKind::Syslog(_) | OutputKind::Program(_) | OutputKind::Http(_) => WhenFull::Drop,
    }
}

/// The configured names, or the kinds; a name that is taken gets `#2`, `#3` and so on.
fn names(configs: &[OutputConfig]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::with_capacity(configs.len());
    for config in configs {
        let wanted = config.name.as_deref().unwrap_or_else(|| kind_name(&config.kind));
        let mut name: Arc<str> = wanted.into();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{wanted}#{number}").into();
            number += 1;
        }
        names.push(name);
    }
    names
}
