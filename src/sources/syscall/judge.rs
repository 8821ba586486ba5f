//! One record through the process table and the rules: the same for what the kernel sends and for recordings.

use std::sync::Arc;

use super::attribution::{Attribution, Raised, Session};
use crate::alert::{Alert, Renderer, identity};
use crate::bus::Message;
use crate::config::AttributionConfig;
use crate::engine::{Evaluator, Rule, RuleSet, Run};
use crate::event::audit::{AuditEvent, Tapes};
use crate::event::syscall::{Header, Kind, PARTS, Record, RecordError, encode};
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::fields::ka::AuditView;
use crate::fields::session::SessionView;
use crate::fields::syscall::view::{self, Behind, SyscallView};
use crate::json::scan::Scanner;
use crate::processes::{Applied, Fact, Key, Limits, Processes};

/// The state of a node, and the memory of evaluation.
pub struct Judge {
    pub processes: Processes,
    pub attribution: Attribution,
    evaluator: Evaluator,
    tapes: Tapes,
    host: Arc<Host>,
    /// When the machine booted, nanoseconds since the Unix epoch.
    pub boot: Timestamp,
    /// Times of the first event and of the one before.
    first: Option<Timestamp>,
    before: Timestamp,
    number: u64,
}

/// What a record was judged to be, beside its alerts.
pub struct Judged {
    /// Where the process stems from, when that is an exec into a container.
    pub root: Option<Key>,
}

impl Judge {
    pub fn new(limits: Limits, host: Arc<Host>, boot: Timestamp, attribution: &AttributionConfig) -> Judge {
        Judge {
            processes: Processes::new(limits),
            attribution: Attribution::new(attribution, &host.name, boot),
            evaluator: Evaluator::default(),
            tapes: Tapes::default(),
            host,
            boot,
            first: None,
            before: 0,
            number: 0,
        }
    }

    /// The clock was set.
    pub fn set_boot(&mut self, boot: Timestamp) {
        self.boot = boot;
        self.attribution.set_boot(boot);
    }

    /// Takes in what was learnt outside the kernel.
    pub fn tell(&mut self, fact: &Fact) -> Applied {
        let applied = self.processes.tell(fact);
        if let Fact::Process(snapshot) = fact {
            self.attribution.found(&self.processes, snapshot.key());
        }
        applied
    }

    /// Takes in what the bus has brought.
    pub fn hear(&mut self, message: &Message, now: Timestamp) {
        self.attribution.hear(message, now);
    }

    /// Takes a record into the process table. What `Applied` asks for should be told before [`Judge::judge`].
    ///
    /// # Errors
    /// When the bytes are no record.
    pub fn take<'r>(&mut self, bytes: &'r [u8]) -> Result<(Record<'r>, Applied), RecordError> {
        let record = Record::parse(bytes)?;
        let applied = self.processes.apply(&record);
        Ok((record, applied))
    }

    /// Evaluates a record that was taken in, and calls `matched` for each rule that matches. What it says of sessions
    /// waits for [`Judge::sessions`].
    pub fn judge(
        &mut self,
        rules: &RuleSet,
        record: Record<'_>,
        mut matched: impl FnMut(&Rule, Timestamp, &mut Run<'_, SyscallView<'_>>),
    ) -> Judged {
        self.attribution.saw(&self.processes, &record);
        let (evaluator, mut view) = self.view(record);
        let time = view.time;
        let root = view
            .actor
            .and_then(|actor| actor.exec_root.as_ref())
            .map(|root| root.key);
        evaluator.evaluate(rules, Source::Syscall, &mut view, |rule, run| matched(rule, time, run));
        Judged { root }
    }

    /// Evaluates a record that was taken in, and hands on its alerts, each with who is behind its process.
    pub fn alerts(
        &mut self,
        rules: &RuleSet,
        record: Record<'_>,
        renderer: &mut Renderer,
        mut sink: impl FnMut(Alert),
    ) {
        let mut raised = Vec::new();
        let judged = self.judge(rules, record, |rule, time, run| {
            let uuid = identity(record.bytes(), &rule.name);
            let alert = renderer.alert(rule, time, uuid, run);
            let alert = match run.view.who() {
                Some(who) => alert.attributed(who),
                None => alert,
            };
            raised.push(Raised {
                uuid,
                rule: Arc::clone(&rule.name),
                priority: rule.priority,
                time,
            });
            sink(alert);
        });
        if let Some(root) = judged.root {
            raised
                .into_iter()
                .for_each(|raised| self.attribution.raised(root, raised));
        }
    }

    /// Judges the sessions that have changed, and hands on their alerts, each with the earlier ones of its processes.
    pub fn session_alerts(
        &mut self,
        rules: &RuleSet,
        now: Timestamp,
        renderer: &mut Renderer,
        mut sink: impl FnMut(Alert),
    ) {
        self.sessions(rules, now, |changed, rule, run| {
            let uuid = identity(&changed.identity(), &rule.name);
            let related: Vec<[u8; 16]> = changed.related.iter().map(|raised| raised.uuid).collect();
            let alert = renderer.alert(rule, now, uuid, run).attributed(&changed.session.who);
            sink(alert.related(&related));
        });
    }

    /// Shows `look` what a record that was taken in does to every rule; see [`Evaluator::inspect`].
    pub fn inspect(&mut self, rules: &RuleSet, record: Record<'_>, look: impl FnMut(&Rule, &[bool], bool)) {
        self.attribution.saw(&self.processes, &record);
        let (evaluator, mut view) = self.view(record);
        evaluator.inspect(rules, Source::Syscall, &mut view, look);
    }

    fn view<'v>(&'v mut self, record: Record<'v>) -> (&'v mut Evaluator, SyscallView<'v>) {
        let time = record.time(self.boot);
        let run = self.run(time);
        let view = SyscallView::new(record, &self.processes, &self.host, run);
        (&mut self.evaluator, view.behind(Behind::Any(self.attribution.actors())))
    }

    fn run(&mut self, time: Timestamp) -> view::Run {
        self.number += 1;
        view::Run {
            boot: self.boot,
            first: *self.first.get_or_insert(time),
            before: std::mem::replace(&mut self.before, time),
            number: self.number,
        }
    }

    /// Judges the sessions that have changed by the rules of source `k8s_exec`, and calls `matched` for each rule that
    /// matches.
    pub fn sessions(
        &mut self,
        rules: &RuleSet,
        now: Timestamp,
        mut matched: impl FnMut(&Changed<'_>, &Rule, &mut Run<'_, SessionView<'_>>),
    ) {
        self.each_session(now, |evaluator, view, changed| {
            evaluator.evaluate(rules, Source::K8sExec, view, |rule, run| matched(changed, rule, run));
        });
    }

    /// Shows `look` what the sessions that have changed do to every rule; see [`Evaluator::inspect`].
    pub fn inspect_sessions(&mut self, rules: &RuleSet, now: Timestamp, mut look: impl FnMut(&Rule, &[bool], bool)) {
        self.each_session(now, |evaluator, view, _| {
            evaluator.inspect(rules, Source::K8sExec, view, &mut look);
        });
    }

    fn each_session(
        &mut self,
        now: Timestamp,
        mut then: impl FnMut(&mut Evaluator, &mut SessionView<'_>, &Changed<'_>),
    ) {
        for session in self.attribution.changed() {
            let run = self.run(now);
            let begun = session.key.and_then(|key| self.attribution.beginning(key));
            let (bytes, cast) = begun.map_or_else(|| (nobody(), Vec::new()), |(b, cast)| (b.into(), cast.to_vec()));
            self.processes.recall(cast);
            let Judge {
                processes,
                attribution,
                evaluator,
                tapes,
                host,
                ..
            } = self;
            let Ok(record) = Record::parse(&bytes) else { continue };
            let event = session.entry.as_deref().and_then(event);
            tapes.begin();
            let mut view = SessionView {
                process: SyscallView {
                    time: now,
                    ..SyscallView::new(record, processes, host, run).behind(Behind::One(&session.who))
                },
                audit: event.as_ref().map(|event| AuditView {
                    event,
                    tapes,
                    first: run.first,
                    host,
                }),
                time: now,
                first: run.first,
                number: run.number,
            };
            let changed = Changed {
                session: &session,
                related: session.key.map_or(&[], |key| attribution.related(key)),
                node: &host.name,
            };
            then(evaluator, &mut view, &changed);
        }
        self.processes.recall(Vec::new());
    }

    /// Lets go of what the record has ended.
    pub fn settle(&mut self, record: &Record<'_>) {
        self.processes.settle(record);
    }
}

/// A session that has changed, and what rules have found in it.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    pub session: &'a Session,
    /// Alerts of its processes so far.
    pub related: &'a [Raised],
    node: &'a str,
}

impl Changed<'_> {
    /// The same for the same change, whenever and wherever it is found.
    pub fn identity(&self) -> Vec<u8> {
        let Session { who, pod, key, .. } = self.session;
        let (pid, start) = key.map_or((0, 0), |key| (key.pid, key.start));
        let session = who
            .actor
            .as_ref()
            .and_then(|actor| actor.session.as_deref())
            .unwrap_or_default();
        let (state, namespace, name) = (who.state.name(), &pod.namespace, &pod.name);
        format!("{}/{pid}/{start}/{state}/{namespace}/{name}/{session}", self.node).into_bytes()
    }
}

/// The audit event that opened a session.
fn event(body: &[u8]) -> Option<AuditEvent<'_>> {
    AuditEvent::scan(body, &mut Scanner::new(body, 0))
        .ok()?
        .with_time()
        .ok()
}

/// The record of a session that has no process.
fn nobody() -> Box<[u8]> {
    let mut bytes = Vec::new();
    let head = Header {
        kind: Kind::Exec as u16,
        ..Header::default()
    };
    encode(head, [b""; PARTS], &mut bytes);
    bytes.into()
}
