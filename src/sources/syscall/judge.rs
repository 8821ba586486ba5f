//! One record through the process table and the rules: the same for what the kernel sends and for recordings.

use std::sync::Arc;

use crate::engine::{Evaluator, Rule, RuleSet, Run};
use crate::event::syscall::{Record, RecordError};
use crate::event::{Source, Timestamp};
use crate::fields::evt::Host;
use crate::fields::syscall::view::{self, SyscallView};
use crate::processes::{Applied, Fact, Limits, Processes};

/// The state of a node, and the memory of evaluation.
pub struct Judge {
    pub processes: Processes,
    evaluator: Evaluator,
    host: Arc<Host>,
    /// When the machine booted, nanoseconds since the Unix epoch.
    pub boot: Timestamp,
    /// Times of the first event and of the one before.
    first: Option<Timestamp>,
    before: Timestamp,
    number: u64,
}

impl Judge {
    pub fn new(limits: Limits, host: Arc<Host>, boot: Timestamp) -> Judge {
        Judge {
            processes: Processes::new(limits),
            evaluator: Evaluator::default(),
            host,
            boot,
            first: None,
            before: 0,
            number: 0,
        }
    }

    /// Takes in what was learnt outside the kernel.
    pub fn tell(&mut self, fact: &Fact) -> Applied {
        self.processes.tell(fact)
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

    /// Evaluates a record that was taken in, and calls `matched` for each rule that matches.
    pub fn judge(
        &mut self,
        rules: &RuleSet,
        record: Record<'_>,
        mut matched: impl FnMut(&Rule, Timestamp, &mut Run<'_, SyscallView<'_>>),
    ) {
        let (evaluator, mut view) = self.view(record);
        let time = view.time;
        evaluator.evaluate(rules, Source::Syscall, &mut view, |rule, run| matched(rule, time, run));
    }

    /// Shows `look` what a record that was taken in does to every rule; see [`Evaluator::inspect`].
    pub fn inspect(&mut self, rules: &RuleSet, record: Record<'_>, look: impl FnMut(&Rule, &[bool], bool)) {
        let (evaluator, mut view) = self.view(record);
        evaluator.inspect(rules, Source::Syscall, &mut view, look);
    }

    fn view<'v>(&'v mut self, record: Record<'v>) -> (&'v mut Evaluator, SyscallView<'v>) {
        let time = record.time(self.boot);
        self.number += 1;
        let run = view::Run {
            boot: self.boot,
            first: *self.first.get_or_insert(time),
            before: std::mem::replace(&mut self.before, time),
            number: self.number,
        };
        let view = SyscallView::new(record, &self.processes, &self.host, run);
        (&mut self.evaluator, view)
    }

    /// Lets go of what the record has ended.
    pub fn settle(&mut self, record: &Record<'_>) {
        self.processes.settle(record);
    }
}
