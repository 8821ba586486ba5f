//! From the bytes of a batch to accepted alerts: decode, evaluate, de-duplicate, offer.
//!
//! A batch is accepted only when each of its alerts is: what the outputs have no room for makes the whole batch come
//! again, and the alerts that they took the first time are known by then and not raised twice.

mod dead_letter;
mod interest;
mod repeats;
mod seen;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub use dead_letter::{DeadLetter, DeadLetterError};
use repeats::Told;
use seen::{Claim, Seen};

use super::decode::{self, BadBody};
use super::files::Chunk;
use crate::alert::{Renderer, identity};
use crate::bus::{Kind, Message, Publisher};
use crate::clock::now;
use crate::credentials::inspection::Inspector;
use crate::engine::{Evaluator, RuleSet};
use crate::event::Source;
use crate::event::audit::{AuditEvent, BadEvent, Tapes};
use crate::fields::evt::Host;
use crate::fields::ka::{AuditView, has_failed_open};
use crate::metrics::{AlertLabels, EventLabels, Metrics, RuleLabels, SourceLabels};
use crate::outputs::Outputs;
use crate::web::log_limit::{LogLimit, excerpt};

/// Outputs that must take every alert get this long to make room before a batch is refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// Nodes are told at least this often that audit events come.
const HEARD: u64 = 1_000_000_000;

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
    /// Events that went on to the nodes.
    pub published: u64,
}

/// Evaluates batches of audit events; shared by the webhook and the file sources.
pub struct AuditPipeline {
    rules: Arc<ArcSwap<RuleSet>>,
    outputs: Outputs,
    metrics: Arc<Metrics>,
    host: Arc<Host>,
    dead_letter: DeadLetter,
    seen: Seen,
    /// Items in the dead-letter file. Apart from `seen`, so that no flood of them makes an alert forgotten.
    seen_bad: Seen,
    /// Credentials that alerts have told, by rule, object and secret.
    told: Seen,
    inspector: Arc<Inspector>,
    /// Evaluation memory that no batch uses at the moment.
    idle: Mutex<Vec<Worker>>,
    /// Time of the first event of this run, for `evt.reltime`; 0 before it.
    first: AtomicU64,
    number: AtomicU64,
    /// Outputs had no room for as long as we wait, and have taken nothing since.
    ///
    /// They are not waited for again until they do: every batch would hold its turn of evaluation for as long, those
    /// that raise nothing would queue behind it, and the answers would come after the API server has stopped waiting.
    stuck: AtomicBool,
    /// Where events that lead into pods go.
    publisher: Publisher,
    /// When nodes were told last that events come.
    heard: AtomicU64,
    log: LogLimit,
}

/// The memory of one evaluation.
struct Worker {
    evaluator: Evaluator,
    tapes: Tapes,
    renderer: Renderer,
}

impl AuditPipeline {
    pub fn new(
        rules: Arc<ArcSwap<RuleSet>>,
        outputs: Outputs,
        metrics: Arc<Metrics>,
        host: Arc<Host>,
        dead_letter: DeadLetter,
        publisher: Publisher,
        inspector: Arc<Inspector>,
    ) -> AuditPipeline {
        AuditPipeline {
            rules,
            outputs,
            metrics,
            host,
            dead_letter,
            seen: Seen::new(),
            seen_bad: Seen::new(),
            told: Seen::lasting(),
            inspector,
            idle: Mutex::new(Vec::new()),
            first: AtomicU64::new(0),
            number: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            publisher,
            heard: AtomicU64::new(0),
            log: LogLimit::default(),
        }
    }

    /// Opens the dead-letter file again (SIGHUP).
    pub fn reopen(&self) {
        self.dead_letter.reopen();
    }

    /// Evaluates one body as the webhook receives it. Blocks while outputs make room.
    ///
    /// # Errors
    /// When the body is no audit JSON (nothing of it has been evaluated then), or outputs stay busy.
    pub fn process(&self, body: &[u8], cluster: Option<&str>) -> Result<BatchReport, Rejected> {
        let mut items = Vec::new();
        decode::body(body, &mut items).map_err(|e| Rejected::Unreadable(e.to_string()))?;
        let mut batch = self.begin(cluster);
        let result = items.into_iter().try_for_each(|item| batch.item(item));
        batch.end(result)
    }

    /// Evaluates a piece of a log file: a broken line costs itself.
    ///
    /// # Errors
    /// When outputs stay busy.
    pub fn chunk(&self, chunk: Chunk<'_>, cluster: Option<&str>) -> Result<(), Rejected> {
        let started = Instant::now();
        let mut batch = self.begin(cluster);
        let mut result = Ok(());
        if chunk.broken {
            // What parses inside a damaged document may be any object in it, so none counts as an event.
            batch.bad(BadEvent::NotAnEvent, chunk.bytes);
        } else {
            let read = decode::lines(chunk.bytes, |item| {
                if result.is_ok() {
                    result = batch.item(item);
                }
            });
            match read {
                Ok(()) | Err(BadBody::Empty) => {}
                Err(e) => batch.bad_text(&e.to_string(), chunk.bytes),
            }
        }
        self.metrics.saw_events(cluster);
        let labels = SourceLabels {
            source: Source::K8sAudit.name(),
        };
        self.metrics
            .evaluation_seconds
            .get_or_create(&labels)
            .observe(started.elapsed().as_secs_f64());
        batch.end(result).map(|_| ())
    }

    fn begin<'a>(&'a self, cluster: Option<&'a str>) -> Batch<'a> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let worker = idle.unwrap_or_else(|| Worker {
            evaluator: Evaluator::default(),
            tapes: Tapes::new(Arc::clone(&self.inspector)),
            renderer: Renderer::new(Arc::clone(&self.host)),
        });
        Batch {
            pipeline: self,
            rules: self.rules.load_full(),
            cluster,
            worker,
            deadline: Instant::now() + PATIENCE,
            report: BatchReport::default(),
        }
    }
}

impl AuditPipeline {
    /// Tells the nodes that events come, now and then: of what nobody has asked for they would else know no better
    /// than of what was not told.
    fn say_heard(&self, heard: bool, cluster: Option<&str>) {
        let (now, before) = (now(), self.heard.load(Ordering::Relaxed));
        let due = heard && now >= before.saturating_add(HEARD);
        if !due
            || self
                .heard
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        self.publisher.publish(Message {
            kind: Kind::Heard,
            cluster: cluster.map(Box::from),
            pod: None,
            id: format!("heard/{}/{now}", self.host.name).into(),
            at: now,
            body: Box::default(),
        });
    }
}

/// One batch under evaluation, against the rules that were there when it began.
struct Batch<'a> {
    pipeline: &'a AuditPipeline,
    rules: Arc<RuleSet>,
    cluster: Option<&'a str>,
    worker: Worker,
    deadline: Instant,
    report: BatchReport,
}

impl Batch<'_> {
    fn item(&mut self, item: decode::Item<'_>) -> Result<(), Rejected> {
        match item {
            Ok(event) => self.event(event),
            Err((why, text)) => {
                self.bad(why, text);
                Ok(())
            }
        }
    }

    fn event(&mut self, event: AuditEvent<'_>) -> Result<(), Rejected> {
        let pipeline = self.pipeline;
        // A copy that lives no longer than the cluster's name.
        let mut event: AuditEvent<'_> = event;
        event.cluster = self.cluster;
        event.number = pipeline.number.fetch_add(1, Ordering::Relaxed) + 1;
        let first = match pipeline
            .first
            .compare_exchange(0, event.time, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => event.time,
            Err(first) => first,
        };
        self.report.events += 1;
        if has_failed_open(&event) {
            pipeline.metrics.admission_failed_open.inc();
        }
        if pipeline.publisher.is_open()
            && let Some(message) = interest::message(&event, now())
        {
            pipeline.publisher.publish(message);
            self.report.published += 1;
        }
        let Worker {
            evaluator,
            tapes,
            renderer,
        } = &mut self.worker;
        tapes.begin();
        let mut view = AuditView {
            event: &event,
            tapes,
            first,
            host: &pipeline.host,
        };
        let (report, deadline) = (&mut self.report, self.deadline);
        let mut result = Ok(());
        evaluator.evaluate(&self.rules, Source::K8sAudit, &mut view, |rule, run| {
            if result.is_err() {
                return;
            }
            let matches = RuleLabels {
                rule: Arc::clone(&rule.name).into(),
                priority: rule.priority.name(),
                source: rule.source.name(),
            };
            let key = pipeline.seen.key(event.bytes(), &rule.name);
            match pipeline.seen.claim(key) {
                Claim::New => {}
                Claim::Done => {
                    pipeline.metrics.rule_matches.get_or_create(&matches).inc();
                    report.duplicates += 1;
                    return;
                }
                // Another delivery of the event is not through yet; it decides whether this one is a duplicate.
                Claim::UnderWay => {
                    result = Err(Rejected::Busy);
                    return;
                }
            }
            let told = match repeats::of(rule, run, &event, &pipeline.told) {
                Told::Before => {
                    pipeline.seen.done(key);
                    pipeline.metrics.repeated_credentials.inc();
                    return;
                }
                Told::New(digests) => digests,
            };
            let uuid = identity(event.bytes(), &rule.name);
            let alert = Arc::new(renderer.alert(rule, event.time, uuid, run));
            let deadline = match pipeline.stuck.load(Ordering::Relaxed) {
                true => Instant::now(),
                false => deadline,
            };
            match pipeline.outputs.offer(&alert, deadline) {
                Ok(()) => {
                    pipeline.stuck.store(false, Ordering::Relaxed);
                    pipeline.seen.done(key);
                    told.into_iter().for_each(|digest| pipeline.told.done(digest));
                    pipeline.metrics.rule_matches.get_or_create(&matches).inc();
                    let labels = AlertLabels {
                        source: rule.source.name(),
                        priority: rule.priority.name(),
                    };
                    pipeline.metrics.alerts.get_or_create(&labels).inc();
                    report.alerts += 1;
                }
                Err(_) => {
                    pipeline.stuck.store(true, Ordering::Relaxed);
                    pipeline.seen.release(key);
                    result = Err(Rejected::Busy);
                }
            }
        });
        result
    }

    fn bad(&mut self, why: BadEvent, text: &[u8]) {
        self.bad_text(&why.to_string(), text);
    }

    fn bad_text(&mut self, why: &str, text: &[u8]) {
        self.report.bad_items += 1;
        let seen = &self.pipeline.seen_bad;
        let key = seen.key(text, why);
        if seen.claim(key) != Claim::New {
            // A batch that comes again would otherwise fill the file with copies.
            return;
        }
        let kept = self.pipeline.dead_letter.keep(why, text, self.cluster);
        if let Err(reason) = kept {
            self.pipeline.metrics.dropped("dead_letter", reason, 1);
        }
        match kept {
            Ok(()) | Err("no_file") => seen.done(key),
            // There may be room when it comes again.
            Err(_) => seen.release(key),
        }
        if let Some(left_out) = self.pipeline.log.admit("bad item") {
            let digest = dead_letter::digest(text);
            tracing::warn!(
                why,
                digest,
                bytes = text.len(),
                left_out,
                "an item could not be read as an audit event"
            );
        }
    }

    /// Counts what was evaluated; a batch that comes again is counted when it is accepted.
    fn end(self, result: Result<(), Rejected>) -> Result<BatchReport, Rejected> {
        let Batch {
            pipeline,
            worker,
            report,
            cluster,
            ..
        } = self;
        pipeline
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(worker);
        if let Err(why) = result {
            if let Some(left_out) = pipeline.log.admit("refused") {
                tracing::warn!(left_out, "a batch was put off: {}", excerpt(&why.to_string()));
            }
            return Err(why);
        }
        pipeline.say_heard(pipeline.publisher.is_open() && report.events > 0, cluster);
        let source = Source::K8sAudit.name();
        let count = |outcome, n| {
            if n > 0 {
                pipeline
                    .metrics
                    .events
                    .get_or_create(&EventLabels { source, outcome })
                    .inc_by(n);
            }
        };
        count("ok", report.events);
        count("bad", report.bad_items);
        if report.duplicates > 0 {
            pipeline
                .metrics
                .duplicate_alerts
                .get_or_create(&SourceLabels { source })
                .inc_by(report.duplicates);
        }
        Ok(report)
    }
}
