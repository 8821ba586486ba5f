//! Recorded events in, rendered alerts out: what `saker replay`, rule tests and benchmarks share.

use std::sync::Arc;

use crate::alert::{Renderer, identity};
use crate::config::AttributionConfig;
use crate::credentials::inspection::Inspector;
use crate::engine::{Evaluator, Rule, RuleSet};
use crate::event::audit::Tapes;
use crate::event::syscall::Record;
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::fields::ka::AuditView;
use crate::processes::Limits;
use crate::sources::audit::decode::{self, Item};
use crate::sources::syscall::judge::Judge;
use crate::sources::syscall::recording::{self, RecordingError, Said};

/// What a line of a recording has to be judged.
enum Due<'a> {
    Record(&'a Record<'a>),
    Sessions(Timestamp),
}

/// Evaluation with its memory, and alerts that wait to be written.
pub struct Replay {
    rules: RuleSet,
    evaluator: Evaluator,
    tapes: Tapes,
    renderer: Renderer,
    host: Arc<Host>,
    cluster: Option<String>,
    /// The node that recordings of system calls are of.
    node: Option<Judge>,
    attribution: AttributionConfig,
    /// The record at hand.
    record: Vec<u8>,
    json: bool,
    /// Rendered alerts, one a line; the caller takes them out.
    pub out: Vec<u8>,
    first: Option<Timestamp>,
    pub events: u64,
    /// Items that are no audit events.
    pub bad: u64,
    pub alerts: u64,
}

impl Replay {
    /// Alerts are rendered as JSON lines, or as text lines.
    pub fn new(rules: RuleSet, host: Host, cluster: Option<String>, json: bool) -> Replay {
        let host = Arc::new(host);
        Replay {
            rules,
            evaluator: Evaluator::default(),
            tapes: Tapes::default(),
            renderer: Renderer::new(Arc::clone(&host)),
            host,
            cluster,
            node: None,
            attribution: AttributionConfig::default(),
            record: Vec::new(),
            json,
            out: Vec::new(),
            first: None,
            events: 0,
            bad: 0,
            alerts: 0,
        }
    }

    /// Joins requests and processes with these settings.
    #[must_use]
    pub fn attributing(self, attribution: AttributionConfig) -> Replay {
        Replay { attribution, ..self }
    }

    /// Tells credentials with this allow-list.
    #[must_use]
    pub fn inspecting(self, inspector: Inspector) -> Replay {
        Replay {
            tapes: Tapes::new(Arc::new(inspector)),
            ..self
        }
    }

    /// The node of the recording at hand, as it was at the end.
    pub fn node(&self) -> Option<&Judge> {
        self.node.as_ref()
    }

    /// Evaluates the events of a text: lines, documents, or lists; what is no event is counted.
    pub fn text(&mut self, text: &[u8]) {
        if recording::is_part(text) {
            text.split(|b| *b == b'\n').for_each(|line| self.line(line));
            return;
        }
        let cluster = self.cluster.take();
        let read = decode::lines(text, |item| self.item(item, cluster.as_deref()));
        self.cluster = cluster;
        if read.is_err() && !text.trim_ascii().is_empty() {
            self.bad += 1;
        }
    }

    /// Forgets the processes of recordings: the next is of another node.
    pub fn forget(&mut self) {
        self.node = None;
    }

    /// One line of a recording of system calls.
    fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let done = match recording::is_start(line) {
            true => self.begin(line),
            false => self.recorded(line, Replay::judge),
        };
        if let Err(why) = done {
            self.bad += 1;
            tracing::warn!(%why, "a line of a recording cannot be used");
        }
    }

    /// The first line: a node of which nothing is known yet.
    fn begin(&mut self, line: &[u8]) -> Result<(), RecordingError> {
        let start = recording::start(line)?;
        let host = Host {
            name: start.host.into(),
            zone: self.host.zone.clone(),
        };
        let judge = Judge::new(Limits::default(), Arc::new(host), start.boot, &self.attribution);
        self.node = Some(judge);
        Ok(())
    }

    /// Takes a line into the state, and hands on to `then` what is to be judged: a record, or the sessions that have
    /// changed by that time.
    fn recorded(
        &mut self,
        line: &[u8],
        mut then: impl FnMut(&mut Replay, &RuleSet, &mut Judge, Due<'_>),
    ) -> Result<(), RecordingError> {
        let fresh = || Judge::new(Limits::default(), Arc::clone(&self.host), 0, &self.attribution);
        let mut node = self.node.take().unwrap_or_else(fresh);
        let mut bytes = std::mem::take(&mut self.record);
        let read = recording::line(line, &mut bytes);
        let rules = std::mem::take(&mut self.rules);
        let mut sessions = None;
        match &read {
            // Whoever recorded it has asked for what was missing.
            Ok(Said::Fact(fact)) => drop(node.tell(fact)),
            Ok(Said::Record) => {
                self.events += 1;
                if let Ok((record, _)) = node.take(&bytes) {
                    then(self, &rules, &mut node, Due::Record(&record));
                    node.settle(&record);
                    sessions = Some(record.time(node.boot));
                }
            }
            Ok(Said::Heard(now, message)) => {
                node.hear(message, *now);
                sessions = Some(*now);
            }
            Ok(Said::Listening(now, since)) => node.attribution.up(*since, *now),
            Ok(Said::Tick(now)) => {
                node.attribution.pass(*now);
                sessions = Some(*now);
            }
            Err(_) => {}
        }
        if let Some(now) = sessions.filter(|_| node.attribution.has_changed()) {
            then(self, &rules, &mut node, Due::Sessions(now));
        }
        self.rules = rules;
        self.node = Some(node);
        self.record = bytes;
        read.map(drop)
    }

    /// Renders what a record, or a session, raises.
    fn judge(&mut self, rules: &RuleSet, node: &mut Judge, due: Due<'_>) {
        let Replay { renderer, .. } = self;
        let mut alerts = Vec::new();
        match due {
            Due::Record(record) => node.alerts(rules, *record, renderer, |alert| alerts.push(alert)),
            Due::Sessions(now) => node.session_alerts(rules, now, renderer, |alert| alerts.push(alert)),
        }
        for alert in alerts {
            self.alerts += 1;
            let text = if self.json { &alert.json } else { &alert.text };
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'\n');
        }
    }

    /// Shows `look` what every event does to every rule; see [`Evaluator::inspect`].
    pub fn inspect(&mut self, text: &[u8], mut look: impl FnMut(&Rule, &[bool], bool)) {
        if recording::is_part(text) {
            for line in text.split(|b| *b == b'\n') {
                // What cannot be read has been counted when it was evaluated.
                if recording::is_start(line) {
                    let _ = self.begin(line);
                    continue;
                }
                let _ = self.recorded(line, |_, rules, node, due| match due {
                    Due::Record(record) => node.inspect(rules, *record, &mut look),
                    Due::Sessions(now) => node.inspect_sessions(rules, now, &mut look),
                });
            }
            return;
        }
        let Replay {
            rules,
            evaluator,
            tapes,
            host,
            ..
        } = self;
        // What cannot be read has been counted when it was evaluated.
        let _ = decode::lines(text, |item| {
            let Ok(event) = item else { return };
            tapes.begin();
            let mut view = AuditView {
                event: &event,
                tapes,
                first: event.time,
                host,
            };
            evaluator.inspect(rules, Source::K8sAudit, &mut view, &mut look);
        });
    }

    fn item(&mut self, item: Item<'_>, cluster: Option<&str>) {
        let mut event = match item {
            Ok(event) => event,
            Err((why, _)) => {
                self.bad += 1;
                tracing::debug!(%why, "an item is no audit event");
                return;
            }
        };
        self.events += 1;
        event.number = self.events;
        event.cluster = cluster;
        let first = *self.first.get_or_insert(event.time);
        self.tapes.begin();
        let Replay {
            rules,
            evaluator,
            tapes,
            renderer,
            host,
            out,
            json,
            alerts,
            ..
        } = self;
        let mut view = AuditView {
            event: &event,
            tapes,
            first,
            host,
        };
        evaluator.evaluate(rules, Source::K8sAudit, &mut view, |rule, run| {
            *alerts += 1;
            if *json {
                renderer.json(rule, event.time, identity(event.bytes(), &rule.name), run, out);
            } else {
                renderer.text(rule, event.time, run, out);
            }
            out.push(b'\n');
        });
    }
}
