//! The task of one output: takes alerts from its queue in order and stays with each until it is settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::file::FileWriter;
use super::http::HttpWriter;
use super::ledger::Ledger;
use super::program::ProgramWriter;
use super::retry::Backoff;
use super::stdout::StdoutWriter;
use super::syslog::SyslogWriter;
use crate::alert::Alert;

/// Why an attempt delivered nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    /// The same attempt may work later; `after` is the destination's own wish for the pause.
    #[error("{why}")]
    Again { why: String, after: Option<Duration> },
    /// This alert will never be taken; the next one may be.
    #[error("{0}")]
    Refused(String),
    /// No alert will ever be taken again.
    #[error("{0}")]
    Gone(String),
}

impl DeliveryError {
    /// A failure that the destination said nothing about.
    pub fn again(why: impl Into<String>) -> DeliveryError {
        DeliveryError::Again {
            why: why.into(),
            after: None,
        }
    }
}

/// The kinds of destinations.
pub(super) enum Writer {
    Stdout(StdoutWriter),
    File(FileWriter),
    Syslog(SyslogWriter),
    Program(Box<ProgramWriter>),
    Http(Box<HttpWriter>),
}

impl Writer {
    /// How many alerts are worth taking from the queue at once.
    fn batch(&self) -> usize {
        match self {
            Writer::Stdout(_) | Writer::File(_) => 256,
            Writer::Syslog(_) | Writer::Program(_) | Writer::Http(_) => 1,
        }
    }

    /// Delivers some of `alerts`, the oldest first, and says how many.
    ///
    /// After `Again` it is called with the same alerts, less those it delivered. An empty slice delivers what the
    /// writer itself has left over (see [`Writer::left_over`]).
    async fn deliver(&mut self, alerts: &[Arc<Alert>]) -> Result<usize, DeliveryError> {
        let first = alerts.first();
        match self {
            Writer::Stdout(w) => w.deliver(alerts).await,
            Writer::File(w) => w.deliver(alerts).await,
            Writer::Program(w) => w.deliver(first).await,
            Writer::Syslog(w) => match first {
                Some(alert) => w.deliver(alert).await.map(|()| 1),
                None => Ok(0),
            },
            Writer::Http(w) => match first {
                Some(alert) => w.deliver(alert).await.map(|()| 1),
                None => Ok(0),
            },
        }
    }

    /// An alert is given up after this many tries; 0 never gives up.
    fn max_tries(&self) -> u32 {
        match self {
            Writer::Http(w) => w.max_tries(),
            Writer::Stdout(_) | Writer::File(_) | Writer::Syslog(_) | Writer::Program(_) => 0,
        }
    }

    /// Alerts that were handed over, and came back.
    fn left_over(&self) -> u64 {
        match self {
            Writer::Program(w) => w.left_over(),
            Writer::Stdout(_) | Writer::File(_) | Writer::Syslog(_) | Writer::Http(_) => 0,
        }
    }

    /// Runs while no alert is there to deliver; returns when something came back. Cancelling it loses nothing.
    async fn idle(&mut self) -> DeliveryError {
        match self {
            Writer::Program(w) => w.idle().await,
            Writer::Stdout(_) | Writer::File(_) | Writer::Syslog(_) | Writer::Http(_) => std::future::pending().await,
        }
    }

    /// Opens again what a signal asks to open again.
    async fn reopen(&mut self) {
        match self {
            Writer::File(w) => w.reopen().await,
            Writer::Http(w) => w.reopen(),
            Writer::Syslog(w) => w.reopen(),
            Writer::Stdout(_) | Writer::Program(_) => {}
        }
    }

    /// All is delivered: flush and close.
    async fn finish(&mut self) -> Result<(), DeliveryError> {
        match self {
            Writer::File(w) => w.finish().await,
            Writer::Program(w) => w.finish().await,
            Writer::Stdout(_) | Writer::Syslog(_) | Writer::Http(_) => Ok(()),
        }
    }

    /// Time is up: stop at once.
    fn abandon(&mut self) {
        if let Writer::Program(w) = self {
            w.abandon();
        }
    }
}

/// What the owner of the outputs tells the workers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    /// Counts the requests to reopen.
    pub reopen: u64,
    /// Take nothing more, deliver what is there, and end, at the latest at this time.
    pub stop_by: Option<Instant>,
}

/// Runs until the queue is closed and empty, or until it is told to stop and the time is up.
///
/// Returns how many alerts are left undelivered.
pub(super) async fn run(
    writer: Writer,
    queue: mpsc::Receiver<Arc<Alert>>,
    orders: watch::Receiver<Orders>,
    ledger: Arc<Ledger>,
) -> u64 {
    let deadline = time_is_up(orders.clone());
    let mut worker = Worker {
        reopened: 0,
        writer,
        queue,
        orders,
        orphaned: false,
        ledger,
        backoff: Backoff::default(),
        gone: false,
    };
    tokio::select! {
        biased;
        () = worker.work() => {}
        () = deadline => {}
    }
    worker.writer.abandon();
    let undelivered = worker.ledger.close(worker.writer.left_over());
    if undelivered > 0 {
        tracing::error!(
            output = worker.ledger.name(),
            kind = worker.ledger.counts.kind,
            undelivered,
            "output stopped before all its alerts were delivered"
        );
    }
    undelivered
}

async fn time_is_up(mut orders: watch::Receiver<Orders>) {
    match orders
        .wait_for(|orders| orders.stop_by.is_some())
        .await
        .map(|o| o.stop_by)
    {
        Ok(Some(stop_by)) => tokio::time::sleep_until(stop_by).await,
        // The owner is gone without a word: the worker ends by itself.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

struct Worker {
    writer: Writer,
    queue: mpsc::Receiver<Arc<Alert>>,
    orders: watch::Receiver<Orders>,
    /// The last request to reopen that was carried out.
    reopened: u64,
    /// Nobody is left who could stop this worker, so it must not wait for better times.
    orphaned: bool,
    ledger: Arc<Ledger>,
    backoff: Backoff,
    gone: bool,
}

impl Worker {
    async fn work(&mut self) {
        let most = self.writer.batch();
        let mut batch = Vec::with_capacity(most);
        loop {
            tokio::select! {
                biased;
                changed = self.orders.changed(), if !self.orphaned => self.obey(changed.is_err()).await,
                taken = self.queue.recv_many(&mut batch, most) => {
                    if taken == 0 {
                        break;
                    }
                    self.settle(&batch).await;
                    batch.clear();
                }
                error = self.writer.idle() => {
                    self.pause(&error).await;
                    self.settle(&[]).await;
                }
            }
        }
        while let Err(error) = self.writer.finish().await {
            self.pause(&error).await;
            if self.orphaned {
                return;
            }
            self.settle(&[]).await;
        }
    }

    /// Stays with the alerts until each is delivered or given up.
    async fn settle(&mut self, alerts: &[Arc<Alert>]) {
        let mut rest = alerts;
        let mut tries = 0u32;
        while !rest.is_empty() || self.writer.left_over() > 0 {
            if self.gone {
                self.ledger.gone(rest.len());
                return;
            }
            let error = match self.writer.deliver(rest).await {
                Ok(n) => {
                    self.backoff.reset();
                    if n > 0 {
                        self.ledger.delivered(n);
                        rest = rest.get(n..).unwrap_or_default();
                        tries = 0;
                    }
                    continue;
                }
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            let out_of_tries = self.writer.max_tries() != 0 && tries >= self.writer.max_tries();
            match &error {
                DeliveryError::Again { .. } if !out_of_tries => {
                    self.pause(&error).await;
                    if self.orphaned {
                        return;
                    }
                }
                DeliveryError::Again { why, .. } => {
                    self.ledger.failed(1, &format!("given up after {tries} tries: {why}"));
                    rest = rest.get(1..).unwrap_or_default();
                    tries = 0;
                }
                DeliveryError::Refused(why) => {
                    self.ledger.failed(1, why);
                    rest = rest.get(1..).unwrap_or_default();
                    tries = 0;
                }
                DeliveryError::Gone(why) => {
                    self.gone = true;
                    self.ledger.report_gone(why);
                }
            }
        }
    }

    /// Waits before the next attempt, obeying orders meanwhile; a reopened destination is tried at once.
    async fn pause(&mut self, error: &DeliveryError) {
        let own = self.backoff.pause();
        let pause = match error {
            DeliveryError::Again { after: Some(after), .. } => own.max(*after),
            _ => own,
        };
        self.ledger.retrying(&error.to_string(), pause);
        let until = Instant::now() + pause;
        while !self.orphaned {
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    let before = self.reopened;
                    self.obey(changed.is_err()).await;
                    if self.reopened != before {
                        return;
                    }
                }
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    async fn obey(&mut self, orphaned: bool) {
        self.orphaned |= orphaned;
        let orders = *self.orders.borrow_and_update();
        if orders.reopen != self.reopened {
            self.reopened = orders.reopen;
            self.writer.reopen().await;
        }
        if orders.stop_by.is_some() || orphaned {
            self.queue.close();
        }
    }
}
