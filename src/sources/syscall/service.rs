//! The syscall source as part of a server: started and stopped, its alerts delivered, its numbers shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::reader::{Reader, Sink};
use crate::alert::Alert;
use crate::correlate::{self, State};
use crate::event::Source;
use crate::event::syscall::Kind;
use crate::metrics::{AlertLabels, EventLabels, Metrics, RuleLabels, SourceLabels, StateLabels, copy_counter};
use crate::outputs::Outputs;
use crate::processes::Counts;
use crate::web::log_limit::LogLimit;

/// Outputs that must take every alert get this long to make room. The ring fills meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Alerts to the outputs, numbers to the metrics.
pub struct Delivery {
    outputs: Outputs,
    metrics: Arc<Metrics>,
    log: LogLimit,
    /// Counts that the metrics have seen.
    seen: Counts,
    /// Requests and processes that the correlator had to forget.
    evicted: u64,
}

impl Delivery {
    pub fn new(outputs: Outputs, metrics: Arc<Metrics>) -> Delivery {
        Delivery {
            outputs,
            metrics,
            log: LogLimit::default(),
            seen: Counts::default(),
            evicted: 0,
        }
    }

    fn warn(&self, what: &'static str) {
        if let Some(left_out) = self.log.admit(what) {
            tracing::warn!(left_out, "{what}");
        }
    }
}

impl Sink for Delivery {
    fn alert(&mut self, alert: Alert) {
        let source = alert.source.name();
        let priority = alert.priority.name();
        let rule = Arc::clone(&alert.rule).into();
        let matches = RuleLabels { rule, priority, source };
        self.metrics.rule_matches.get_or_create(&matches).inc();
        match self.outputs.offer(&Arc::new(alert), Instant::now() + PATIENCE) {
            Ok(()) => drop(
                self.metrics
                    .alerts
                    .get_or_create(&AlertLabels { source, priority })
                    .inc(),
            ),
            Err(_) => {
                self.metrics.dropped("syscall", "outputs_busy", 1);
                self.warn("outputs are busy: alerts of the syscall source are lost");
            }
        }
    }

    fn events(&mut self, good: u64, bad: u64) {
        let source = Source::Syscall.name();
        for (outcome, count) in [("ok", good), ("bad", bad)] {
            if count > 0 {
                self.metrics
                    .events
                    .get_or_create(&EventLabels { source, outcome })
                    .inc_by(count);
            }
        }
    }

    fn lost(&mut self, lost: [u64; 4]) {
        for (kind, count) in Kind::ALL.into_iter().zip(lost).filter(|(_, count)| *count > 0) {
            self.metrics.dropped("probe", kind.name(), count);
            tracing::error!(
                kind = kind.name(),
                count,
                "the ring was full: events are lost; make syscall.ring larger"
            );
        }
    }

    fn unanswered(&mut self, questions: u64) {
        // The thread that asks has logged why.
        if questions > 0 {
            self.metrics.dropped("cri", "unanswered", questions);
        }
    }

    fn attribution(&mut self, counts: correlate::Counts, told: &[u64]) {
        for (state, told) in State::ALL.into_iter().zip(told) {
            if *told > 0 {
                let labels = StateLabels { state: state.name() };
                copy_counter(&self.metrics.sessions.get_or_create(&labels), *told);
            }
        }
        self.metrics.session_pods.set(counts.pods as i64);
        let skew = counts.skew.unwrap_or_default() as f64 / 1e9;
        let source = Source::K8sExec.name();
        let labels = SourceLabels { source };
        self.metrics.session_clock_skew_seconds.get_or_create(&labels).set(skew);
        let evicted = counts.evicted.saturating_sub(self.evicted);
        if evicted > 0 {
            self.evicted = counts.evicted;
            self.metrics.dropped("sessions", "evicted", evicted);
            self.warn("too many requests or processes in one pod, or too many pods: some are forgotten early");
        }
    }

    fn listening(&mut self, up: bool) {
        self.metrics.bus_up.set(i64::from(up));
    }

    fn counts(&mut self, counts: Counts) {
        self.metrics.processes.set(counts.processes as i64);
        let evicted = counts.evicted.saturating_sub(self.seen.evicted);
        if evicted > 0 {
            self.metrics.dropped("processes", "evicted", evicted);
            self.warn("the process table is full: ended processes are forgotten early; raise syscall.processes");
        }
        self.seen = counts;
    }
}

/// The running thread.
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Starts reading.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(reader: Reader<Delivery>) -> std::io::Result<Service> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("syscall".to_owned())
            .spawn(move || drop(reader.run(&told)))?;
        Ok(Service { stop, thread })
    }

    /// Takes what the kernel has written by now, and takes the probe out of the kernel. Blocks until that is done.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the syscall source had failed");
        }
    }
}
