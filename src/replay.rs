//! Recorded events in, rendered alerts out: what `saker replay`, rule tests and benchmarks share.

use std::sync::Arc;

use crate::alert::{Renderer, identity};
use crate::engine::{Evaluator, Rule, RuleSet};
use crate::event::audit::Tapes;
use crate::event::syscall::Record;
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::fields::ka::AuditView;
use crate::processes::Limits;
use crate::sources::audit::decode::{self, Item};
use crate::sources::syscall::judge::Judge;
use crate::sources::syscall::recording::{self, RecordingError};

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
            record: Vec::new(),
            json,
            out: Vec::new(),
            first: None,
            events: 0,
            bad: 0,
            alerts: 0,
        }
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
        let done = if recording::is_start(line) {
            recording::start(line).map(|start| {
                let host = Host {
                    name: start.host.into(),
                    zone: self.host.zone.clone(),
                };
                self.node = Some(Judge::new(Limits::default(), Arc::new(host), start.boot));
            })
        } else {
            self.recorded(line, |replay, rules, node, record| {
                let Replay {
                    renderer,
                    out,
                    json,
                    alerts,
                    ..
                } = replay;
                node.judge(rules, *record, |rule, time, run| {
                    *alerts += 1;
                    if *json {
                        renderer.json(rule, time, identity(record.bytes(), &rule.name), run, out);
                    } else {
                        renderer.text(rule, time, run, out);
                    }
                    out.push(b'\n');
                });
            })
        };
        if let Err(why) = done {
            self.bad += 1;
            tracing::warn!(%why, "a line of a recording cannot be used");
        }
    }

    /// Takes a line into the state, and hands a record on to `then`.
    fn recorded(
        &mut self,
        line: &[u8],
        then: impl FnOnce(&mut Replay, &RuleSet, &mut Judge, &Record<'_>),
    ) -> Result<(), RecordingError> {
        let fresh = || Judge::new(Limits::default(), Arc::clone(&self.host), 0);
        let mut node = self.node.take().unwrap_or_else(fresh);
        let mut bytes = std::mem::take(&mut self.record);
        let read = recording::line(line, &mut bytes);
        match &read {
            // Whoever recorded it has asked for what was missing.
            Ok(Some(fact)) => drop(node.tell(fact)),
            Ok(None) => {
                self.events += 1;
                if let Ok((record, _)) = node.take(&bytes) {
                    let rules = std::mem::take(&mut self.rules);
                    then(self, &rules, &mut node, &record);
                    self.rules = rules;
                    node.settle(&record);
                }
            }
            Err(_) => {}
        }
        self.node = Some(node);
        self.record = bytes;
        read.map(drop)
    }

    /// Shows `look` what every event does to every rule; see [`Evaluator::inspect`].
    pub fn inspect(&mut self, text: &[u8], mut look: impl FnMut(&Rule, &[bool], bool)) {
        if recording::is_part(text) {
            for line in text.split(|b| *b == b'\n').filter(|line| !recording::is_start(line)) {
                // What cannot be read has been counted when it was evaluated.
                let _ = self.recorded(line, |_, rules, node, record| node.inspect(rules, *record, &mut look));
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
