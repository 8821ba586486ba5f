//! The generic `evt.*` fields, which events of every source have.

use super::{Field, Origin, Scratch, Type, Value};
use crate::event::time::{Civil, push_padded};
use crate::event::{Source, Timestamp};

/// The generic fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Computed {
    Num,
    Time,
    TimeS,
    TimeIso8601,
    Datetime,
    DatetimeS,
    RawTime,
    RawTimeS,
    RawTimeNs,
    RelTime,
    RelTimeS,
    RelTimeNs,
    PluginName,
    PluginInfo,
    Source,
    IsAsync,
    AsyncType,
    Hostname,
}

impl Computed {
    /// Fields that print as text and are a number of nanoseconds in `output_fields`.
    pub fn is_time_text(self) -> bool {
        use Computed::*;
        matches!(self, Time | TimeS | TimeIso8601 | Datetime | DatetimeS)
    }
}

/// The rows of the class.
pub fn table() -> Vec<Field> {
    use Computed::*;
    let row = |name: &'static str, what, kind, doc: &'static str| Field::string(name, Origin::Evt(what), doc).of(kind);
    vec![
        row("evt.num", Num, Type::Uint, "number of the event in this run, from 1").always(),
        row(
            "evt.time",
            Time,
            Type::String,
            "local time HH:MM:SS.nnnnnnnnn; nanoseconds since the epoch in output_fields",
        )
        .always(),
        row("evt.time.s", TimeS, Type::String, "local time HH:MM:SS").always(),
        row(
            "evt.time.iso8601",
            TimeIso8601,
            Type::String,
            "UTC time, ISO 8601 with nanoseconds and +0000",
        )
        .always(),
        row(
            "evt.datetime",
            Datetime,
            Type::String,
            "local YYYY-MM-DD HH:MM:SS.nnnnnnnnn",
        )
        .always(),
        row("evt.datetime.s", DatetimeS, Type::String, "local YYYY-MM-DD HH:MM:SS").always(),
        row("evt.rawtime", RawTime, Type::AbsTime, "nanoseconds since the epoch").always(),
        row("evt.rawtime.s", RawTimeS, Type::AbsTime, "seconds since the epoch").always(),
        row(
            "evt.rawtime.ns",
            RawTimeNs,
            Type::AbsTime,
            "nanoseconds within the second",
        )
        .always(),
        row(
            "evt.reltime",
            RelTime,
            Type::RelTime,
            "nanoseconds since the first event of this run",
        )
        .always(),
        row(
            "evt.reltime.s",
            RelTimeS,
            Type::RelTime,
            "seconds since the first event of this run",
        )
        .always(),
        row(
            "evt.reltime.ns",
            RelTimeNs,
            Type::RelTime,
            "nanoseconds of evt.reltime within the second",
        )
        .always(),
        row(
            "evt.pluginname",
            PluginName,
            Type::String,
            "name of the plugin that upstream would use for the source; absent for syscall",
        ),
        row(
            "evt.plugininfo",
            PluginInfo,
            Type::String,
            "the event as text; absent for syscall",
        ),
        row("evt.source", Source, Type::String, "name of the event source").always(),
        row(
            "evt.is_async",
            IsAsync,
            Type::Bool,
            "true for events that are no system call of a process",
        )
        .always(),
        row(
            "evt.asynctype",
            AsyncType,
            Type::String,
            "kind of an asynchronous event",
        ),
        row(
            "evt.hostname",
            Hostname,
            Type::String,
            "name of the host that Saker runs on",
        )
        .always(),
    ]
}

/// What generic fields need to know of an event.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub source: Source,
    pub time: Timestamp,
    /// Time of the run's first event.
    pub first: Timestamp,
    pub number: u64,
    pub plugin: Option<&'static str>,
    pub info: Option<&'a [u8]>,
    pub host: &'a Host,
}

/// The machine Saker runs on, found once at start.
#[derive(Clone, Debug)]
pub struct Host {
    pub name: Box<str>,
    pub zone: jiff::tz::TimeZone,
}

/// The value of a generic field.
pub fn extract(what: Computed, facts: &Facts<'_>, scratch: &mut Scratch) -> Value {
    const SECOND: u64 = 1_000_000_000;
    let local = || Civil::local(facts.time, &facts.host.zone);
    let relative = facts.time.saturating_sub(facts.first);
    let mut text = |write: &dyn Fn(&mut Vec<u8>)| Value::Text(scratch.text(|out| write(out)));
    match what {
        Computed::Num => Value::Uint(facts.number),
        Computed::Time => text(&|out| {
            local().push_time(out);
            local().push_nanos(out);
        }),
        Computed::TimeS => text(&|out| local().push_time(out)),
        Computed::TimeIso8601 => text(&|out| {
            Civil::utc(facts.time).push_iso8601(out);
            out.extend_from_slice(b"+0000");
        }),
        Computed::Datetime => text(&|out| {
            local().push_date(out);
            out.push(b' ');
            local().push_time(out);
            local().push_nanos(out);
        }),
        Computed::DatetimeS => text(&|out| {
            local().push_date(out);
            out.push(b' ');
            local().push_time(out);
        }),
        Computed::RawTime => Value::Uint(facts.time),
        Computed::RawTimeS => Value::Uint(facts.time / SECOND),
        Computed::RawTimeNs => Value::Uint(facts.time % SECOND),
        Computed::RelTime => Value::Uint(relative),
        Computed::RelTimeS => Value::Uint(relative / SECOND),
        Computed::RelTimeNs => Value::Uint(relative % SECOND),
        Computed::PluginName => facts.plugin.map_or(Value::Absent, |name| {
            text(&|out| out.extend_from_slice(name.as_bytes()))
        }),
        Computed::PluginInfo => facts
            .info
            .map_or(Value::Absent, |info| text(&|out| out.extend_from_slice(info))),
        Computed::Source => text(&|out| out.extend_from_slice(facts.source.name().as_bytes())),
        Computed::IsAsync => Value::Bool(false),
        Computed::AsyncType => Value::Absent,
        Computed::Hostname => text(&|out| out.extend_from_slice(facts.host.name.as_bytes())),
    }
}

/// Prints a number the way the field's text form has it: the `.ns` fields keep nine digits.
pub fn push_number(what: Computed, number: u64, out: &mut Vec<u8>) {
    let width = if matches!(what, Computed::RawTimeNs | Computed::RelTimeNs) {
        9
    } else {
        1
    };
    push_padded(out, number, width);
}
