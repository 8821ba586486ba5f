//! A recording of the syscall source: JSON lines, of which the first says what the file is.
//!
//! ```json
//! {"saker_recording":1,"source":"syscall","arch":"x86_64","host":"node-1","boot":1764000000000000000}
//! {"fact":{"process":{…}}}
//! {"record":{"kind":"call","call":"openat","time":52000000,"pid":7,"path1":"shadow","base1":"/etc/shadow","file":{…}}}
//! ```
//!
//! `heard` lines hold what the bus has brought (audit events, reviews), `listening` since when nothing of it is missing,
//! `tick` when time alone has changed a session. `fact` lines hold what was learnt outside the kernel, `record` lines what the kernel sent, in the order in which they
//! were taken in: the same lines give the same state and the same alerts. Times are nanoseconds; `boot` since the Unix
//! epoch, those of records since boot. A member that is missing is 0, empty, or absent. Bytes are strings, or
//! `{"hex": "…"}` where they are not UTF-8. Readers refuse a version that they do not know.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zerocopy::IntoBytes;

use crate::bus::Message;
use crate::event::Timestamp;
use crate::event::bytes;
use crate::event::syscall::{FileInfo, Header, Kind, Part, ProcessInfo, Record, encode};
use crate::fields::syscall::calls;
use crate::processes::Fact;

/// The version that is written and read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub saker_recording: u32,
    pub source: String,
    /// As Rust calls it: `x86_64`, `aarch64`.
    pub arch: String,
    pub host: String,
    /// When the machine booted, nanoseconds since the Unix epoch.
    pub boot: Timestamp,
}

/// A line after the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Fact(Box<Fact>),
    Record(Box<Recorded>),
    /// A message, and when it was taken in.
    Heard {
        #[serde(default)]
        now: Timestamp,
        message: Box<Message>,
    },
    Listening {
        #[serde(default)]
        now: Timestamp,
        #[serde(default)]
        since: Option<Timestamp>,
    },
    Tick(Timestamp),
}

/// What a line after the first says; a record is in the buffer that was given.
#[derive(Clone, Debug)]
pub enum Said {
    Fact(Box<Fact>),
    Record,
    Heard(Timestamp, Box<Message>),
    Listening(Timestamp, Option<Timestamp>),
    Tick(Timestamp),
}

/// A record with names in the place of positions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recorded {
    /// `call`, `exec`, `fork` or `exit`.
    pub kind: String,
    /// Name of the system call; only of `call`.
    pub call: String,
    pub time: u64,
    pub start: u64,
    pub cgroup: u64,
    pub result: i64,
    pub arg: [u64; 6],
    pub pid: u32,
    pub tid: u32,
    pub ppid: u32,
    pub uid: u32,
    pub gid: u32,
    pub cpu: u16,
    pub flags: u16,
    #[serde(with = "bytes")]
    pub path1: Vec<u8>,
    #[serde(with = "bytes")]
    pub path2: Vec<u8>,
    #[serde(with = "bytes")]
    pub base1: Vec<u8>,
    #[serde(with = "bytes")]
    pub base2: Vec<u8>,
    pub file: Option<FileInfo>,
    pub process: Option<ProcessInfo>,
    #[serde(with = "bytes")]
    pub address: Vec<u8>,
    #[serde(with = "bytes")]
    pub data: Vec<u8>,
    #[serde(with = "bytes")]
    pub env: Vec<u8>,
    #[serde(with = "bytes")]
    pub cgroup_path: Vec<u8>,
}

/// Why a line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("the first line is no recording's: {0}")]
    Start(serde_json::Error),
    #[error("version {0} of the recording is not known; this saker reads version {VERSION}")]
    Version(u32),
    #[error("{0}")]
    Line(#[from] serde_json::Error),
    #[error("`{0}` is no kind of record; kinds are call, exec, fork and exit")]
    Kind(String),
    #[error("`{0}` is no system call of this machine's architecture")]
    Call(String),
}

/// Whether a line is the first of a recording.
pub fn is_start(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"{\"saker_recording\"")
}

/// Whether a text is one or more lines of a recording.
pub fn is_part(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let kinds: [&[u8]; 5] = [b"record", b"fact", b"heard", b"listening", b"tick"];
    let kind = text.strip_prefix(b"{\"");
    is_start(text) || kind.is_some_and(|text| kinds.iter().any(|kind| text.starts_with(kind)))
}

/// Reads the first line.
///
/// # Errors
/// When it is another file's, or of another version.
pub fn start(line: &[u8]) -> Result<Start, RecordingError> {
    let start: Start = serde_json::from_slice(line).map_err(RecordingError::Start)?;
    match start.saker_recording {
        VERSION => Ok(start),
        other => Err(RecordingError::Version(other)),
    }
}

/// Reads a line; of a record, its bytes are put into `bytes`.
///
/// # Errors
/// When it is malformed.
pub fn line(text: &[u8], bytes: &mut Vec<u8>) -> Result<Said, RecordingError> {
    Ok(match serde_json::from_slice(text)? {
        Line::Fact(fact) => Said::Fact(fact),
        Line::Record(recorded) => {
            recorded.encode(bytes)?;
            Said::Record
        }
        Line::Heard { now, message } => Said::Heard(now, message),
        Line::Listening { now, since } => Said::Listening(now, since),
        Line::Tick(now) => Said::Tick(now),
    })
}

/// Writes a line for a record.
pub fn write_record(record: &Record<'_>, out: &mut Vec<u8>) {
    write(&Line::Record(Box::new(Recorded::of(record))), out);
}

/// Writes a line for a fact.
pub fn write_fact(fact: &Fact, out: &mut Vec<u8>) {
    write(&Line::Fact(Box::new(fact.clone())), out);
}

/// Writes a line for a message of the bus.
pub fn write_heard(now: Timestamp, message: &Message, out: &mut Vec<u8>) {
    let message = Box::new(message.clone());
    write(&Line::Heard { now, message }, out);
}

/// Writes a line for how the bus does.
pub fn write_listening(now: Timestamp, since: Option<Timestamp>, out: &mut Vec<u8>) {
    write(&Line::Listening { now, since }, out);
}

/// Writes a line for a moment at which time alone has changed something.
pub fn write_tick(now: Timestamp, out: &mut Vec<u8>) {
    write(&Line::Tick(now), out);
}

fn write(line: &Line, out: &mut Vec<u8>) {
    // Neither has a map whose keys are no texts, and a vector takes what is written: this cannot fail.
    if let Ok(mut value) = serde_json::to_value(line) {
        drop_empty(&mut value);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b'\n');
    }
}

/// Members that say nothing make a recording long and hard to read.
fn drop_empty(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(drop_empty);
        members.retain(|_, value| match value {
            Value::Null => false,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.iter().all(|item| item.as_f64() == Some(0.0)),
            Value::Object(members) => !members.is_empty(),
            Value::Bool(_) => true,
        });
    }
}

impl Recorded {
    fn of(record: &Record<'_>) -> Recorded {
        let part = |part| record.part(part).to_vec();
        let head = record.head;
        let call = calls::by_number(head.nr).filter(|_| record.kind == Kind::Call);
        Recorded {
            kind: record.kind.name().to_owned(),
            call: call.map(|c| c.name.to_owned()).unwrap_or_default(),
            time: head.time,
            start: head.start,
            cgroup: head.cgroup,
            result: head.result,
            arg: head.arg,
            pid: head.pid,
            tid: head.tid,
            ppid: head.ppid,
            uid: head.uid,
            gid: head.gid,
            cpu: head.cpu,
            flags: head.flags,
            path1: part(Part::Path1),
            path2: part(Part::Path2),
            base1: part(Part::Base1),
            base2: part(Part::Base2),
            file: record.file(),
            process: record.process(),
            address: part(Part::Address),
            data: part(Part::Data),
            env: part(Part::Env),
            cgroup_path: part(Part::Cgroup),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), RecordingError> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let kind = kind.ok_or_else(|| RecordingError::Kind(self.kind.clone()))?;
        let call = calls::CALLS.iter().find(|call| call.name == self.call);
        if kind == Kind::Call && call.is_none() {
            return Err(RecordingError::Call(self.call.clone()));
        }
        let head = Header {
            kind: kind as u16,
            nr: call.map_or(0, |call| call.nr),
            time: self.time,
            start: self.start,
            cgroup: self.cgroup,
            result: self.result,
            arg: self.arg,
            pid: self.pid,
            tid: self.tid,
            ppid: self.ppid,
            uid: self.uid,
            gid: self.gid,
            cpu: self.cpu,
            flags: self.flags,
            ..Header::default()
        };
        let object = match (&self.file, &self.process) {
            (Some(file), None) => file.as_bytes(),
            (_, Some(process)) => process.as_bytes(),
            (None, None) => &[],
        };
        out.clear();
        encode(
            head,
            [
                &self.path1,
                &self.path2,
                &self.base1,
                &self.base2,
                object,
                &self.address,
                &self.data,
                &self.env,
                &self.cgroup_path,
            ],
            out,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_a_recording() {
        let file = FileInfo {
            mode: 0o100644,
            family: 2,
            local: [1; 16],
            ..FileInfo::default()
        };
        let process = ProcessInfo {
            pid: 3,
            comm: *b"sh\xff\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ..ProcessInfo::default()
        };
        let nr = calls::CALLS[0].nr;
        let call = Header {
            nr,
            time: 5,
            arg: [0, 7, 0, 0, 0, u64::MAX],
            result: -2,
            ..Header::default()
        };
        let exec = Header {
            kind: Kind::Exec as u16,
            pid: 3,
            ..Header::default()
        };
        for (head, object) in [(call, file.as_bytes()), (exec, process.as_bytes())] {
            let (mut bytes, mut line_bytes, mut again) = (Vec::new(), Vec::new(), Vec::new());
            encode(
                head,
                [b"\xfe/x", b"", b"/a", b"", object, b"\0\x01", b"a\0b\0", b"", b"/c"],
                &mut bytes,
            );
            write_record(&Record::parse(&bytes).expect("a record"), &mut line_bytes);
            assert!(matches!(line(&line_bytes, &mut again), Ok(Said::Record)));
            assert_eq!(bytes, again, "{}", String::from_utf8_lossy(&line_bytes));
        }
    }

    #[test]
    fn lines_that_cannot_be_used_say_why() {
        for (text, want) in [
            (
                r#"{"record":{"kind":"call","call":"nosuch"}}"#,
                "`nosuch` is no system call",
            ),
            (r#"{"record":{"kind":"sleep"}}"#, "`sleep` is no kind of record"),
            (r#"{"record":{"pidd":1}}"#, "unknown field `pidd`"),
            (r#"{"fact""#, "EOF"),
        ] {
            let error = line(text.as_bytes(), &mut Vec::new()).expect_err(text).to_string();
            assert!(error.contains(want), "{error}");
        }
        let other = br#"{"saker_recording":9,"source":"syscall","arch":"x","host":"h","boot":1}"#;
        assert!(matches!(start(other), Err(RecordingError::Version(9))));
    }
}
