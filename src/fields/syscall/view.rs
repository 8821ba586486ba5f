//! One record of the probe as the engine sees it.

use super::calls::{self, CLONE, Call, EXEC, EXIT, Parameter};
use super::table;
use crate::correlate::{Actors, Who};
use crate::event::syscall::{Kind, Record};
use crate::event::{Source, Timestamp};
use crate::fields::evt::{self, Facts, Host};
use crate::fields::{Extractor, Scratch, Value, View};
use crate::processes::{Process, Processes};

/// A record, the processes as they were when it was made, and where the run stands.
#[derive(Clone, Copy, Debug)]
pub struct SyscallView<'a> {
    pub record: Record<'a>,
    pub processes: &'a Processes,
    pub host: &'a Host,
    pub run: Run,
    /// When it happened.
    pub time: Timestamp,
    /// The process that acted; of a fork the parent.
    pub actor: Option<&'a Process>,
    /// The row of its system call.
    pub call: Option<&'static Call>,
    pub behind: Behind<'a>,
}

/// Who is behind processes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Behind<'a> {
    /// Nobody asks.
    #[default]
    Nobody,
    /// Whoever is known to be behind the process of the event.
    Any(&'a Actors),
    /// The session that the event is about.
    One(&'a Who),
}

/// Where a run stands, for `evt.num` and the fields of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// When the machine booted, nanoseconds since the Unix epoch.
    pub boot: Timestamp,
    /// The time of the first event of the run, and of the event before.
    pub first: Timestamp,
    pub before: Timestamp,
    /// The event's number, from 1.
    pub number: u64,
}

impl<'a> SyscallView<'a> {
    /// To be made after the processes have been told of the record.
    pub fn new(record: Record<'a>, processes: &'a Processes, host: &'a Host, run: Run) -> SyscallView<'a> {
        SyscallView {
            record,
            processes,
            host,
            run,
            time: record.time(run.boot),
            actor: processes.actor(&record),
            call: match record.kind {
                Kind::Call => calls::by_number(record.head.nr),
                _ => None,
            },
            behind: Behind::Nobody,
        }
    }

    /// The same, knowing who is behind processes.
    #[must_use]
    pub fn behind(self, behind: Behind<'a>) -> SyscallView<'a> {
        SyscallView { behind, ..self }
    }

    /// Who is behind the process: by the exec that it stems from, or whoever has made its container.
    pub fn who(&self) -> Option<&'a Who> {
        let actors = match self.behind {
            Behind::Nobody => return None,
            Behind::One(who) => return Some(who),
            Behind::Any(actors) => actors,
        };
        match &self.actor?.exec_root {
            Some(root) => actors.of_root(root.key),
            None => actors.of_container(self.record.head.cgroup),
        }
    }

    /// The name as `evt.type` has it. A new process is always told as `clone`: the kernel does not say by which call.
    pub fn name(&self) -> &'static str {
        match self.record.kind {
            Kind::Call => self.call.map_or("", |call| call.name),
            Kind::Exec => calls::by_number(self.record.head.nr)
                .filter(|call| call.name == "execveat")
                .map_or("execve", |call| call.name),
            Kind::Fork => "clone",
            Kind::Exit => "procexit",
        }
    }

    pub fn parameters(&self) -> &'static [Parameter] {
        match self.record.kind {
            Kind::Call => self.call.map_or(&[], |call| call.parameters),
            Kind::Exec => EXEC,
            Kind::Fork => CLONE,
            Kind::Exit => EXIT,
        }
    }

    /// The value of a field, by its number.
    fn field(&self, number: u32, argument: Option<&str>, scratch: &mut Scratch) -> Option<Value> {
        match table::answer(number)? {
            table::Answer::By(get) => get(self, argument, scratch),
            table::Answer::Refused(_) => None,
        }
    }
}

impl View for SyscallView<'_> {
    fn bytes(&self) -> &[u8] {
        self.record.bytes()
    }

    fn extract(&mut self, extractor: &Extractor, scratch: &mut Scratch) -> Value {
        match extractor {
            Extractor::External(number, argument) => self
                .field(*number, argument.as_deref(), scratch)
                .unwrap_or(Value::Absent),
            Extractor::Evt(what) => {
                let facts = Facts {
                    source: Source::Syscall,
                    time: self.time,
                    first: self.run.first,
                    number: self.run.number,
                    plugin: None,
                    info: None,
                    host: self.host,
                };
                evt::extract(*what, &facts, scratch)
            }
            Extractor::Static(text) => Value::Text(scratch.text(|out| out.extend_from_slice(text.as_bytes()))),
            _ => Value::Absent,
        }
    }
}
