//! Parameters of events: `evt.arg`, `evt.rawarg`, `evt.args`.
//!
//! A parameter has two forms: a number or text as the call has it, and what that stands for: `3` and `<f>/etc/shadow`,
//! `-2` and `ENOENT`, `x` and `/tmp/x`. `evt.arg` gives the second where there is one, `evt.args` both as
//! `fd=3(<f>/etc/shadow)`. Numbers of flags are the kernel's.

use nix::errno::Errno;
use nix::libc::AT_FDCWD;

use super::files::device;
use super::process::{group_name, user_name};
use super::{part, push, socket, text, written};
use crate::event::syscall::Part;
use crate::fields::syscall::calls::{Call, From, OPENAT2, Parameter, RESULT, name_of, open_bits, push_flags};
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};

/// How much of a parameter is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What it stands for, or else what it is.
    Short,
    /// What it is, and in parentheses what that stands for.
    Full,
}

/// Writes what a parameter is and what that stands for.
fn push_both(
    out: &mut Vec<u8>,
    form: Form,
    is: impl FnOnce(&mut Vec<u8>),
    means: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) {
    let start = out.len();
    if form == Form::Full {
        is(out);
        let end = out.len();
        out.push(b'(');
        if means(out).is_none() || out.len() == end + 1 {
            out.truncate(end);
        } else {
            out.push(b')');
        }
        return;
    }
    if means(out).is_none() || out.len() == start {
        out.truncate(start);
        is(out);
    }
}

/// The name of an error, given the negated number of it.
pub fn push_error(result: i64, out: &mut Vec<u8>) -> Option<()> {
    let number = i32::try_from(result.checked_neg()?).ok().filter(|n| *n > 0)?;
    push(out, format_args!("{:?}", Errno::from_raw(number)));
    Some(())
}

impl SyscallView<'_> {
    /// An argument by number from 1.
    fn argument(&self, number: u8) -> u64 {
        self.record.head.arg[usize::from(number) - 1]
    }

    /// The parameter with that name or number.
    fn parameter(&self, which: &str) -> Option<&'static Parameter> {
        let parameters = self.parameters();
        match which.parse::<usize>() {
            Ok(index) => parameters.get(index),
            Err(_) => parameters.iter().find(|p| p.name == which),
        }
    }

    /// `<f>/etc/shadow` of the descriptor that the record tells of.
    fn push_described(&self, out: &mut Vec<u8>) -> Option<()> {
        let (_, letter) = self.descriptor_type()?;
        out.push(b'<');
        out.extend_from_slice(letter.as_bytes());
        if let Some(protocol) = self.record.file().as_ref().and_then(socket::protocol) {
            out.extend_from_slice(&protocol.as_bytes()[..1]);
        }
        out.push(b'>');
        self.push_descriptor(out);
        Some(())
    }

    fn push_parameter(&self, from: From, form: Form, scratch: &mut Scratch) -> Option<()> {
        let head = &self.record.head;
        let out = &mut scratch.bytes;
        match from {
            From::Result => push_both(
                out,
                form,
                |out| push(out, head.result),
                |out| push_error(head.result, out),
            ),
            From::NewFd => push_both(
                out,
                form,
                |out| push(out, head.result),
                |out| match head.result {
                    ..0 => push_error(head.result, out),
                    _ if self.descriptor() == Some(head.result) => self.push_described(out),
                    _ => None,
                },
            ),
            From::Fd(n) => {
                let fd = self.argument(n) as i32;
                push_both(
                    out,
                    form,
                    |out| push(out, fd),
                    |out| match self.call?.read.fd {
                        RESULT => None,
                        described if described == n => self.push_described(out),
                        _ => None,
                    },
                );
            }
            From::Dir(n, path) => {
                let fd = self.argument(n) as i32;
                push_both(
                    out,
                    form,
                    |out| push(out, fd),
                    |out| {
                        if fd == AT_FDCWD {
                            out.extend_from_slice(b"AT_FDCWD");
                            return Some(());
                        }
                        let base = if path == 1 { Part::Base1 } else { Part::Base2 };
                        let base = self.record.part(base);
                        // Of an open that succeeded, the base is the file itself.
                        if base.is_empty() || self.record.file().is_some() {
                            return None;
                        }
                        out.extend_from_slice(b"<d>");
                        out.extend_from_slice(base);
                        Some(())
                    },
                );
            }
            From::Path(which) => {
                let raw = self.record.part(if which == 1 { Part::Path1 } else { Part::Path2 });
                if raw.is_empty() {
                    return self.push_path(which, out);
                }
                push_both(
                    out,
                    form,
                    |out| out.extend_from_slice(raw),
                    |out| {
                        let start = out.len();
                        self.push_path(which, out)?;
                        (form == Form::Short || &out[start..] != raw).then_some(())
                    },
                );
            }
            From::RawPath(which) => {
                let part = if which == 1 { Part::Path1 } else { Part::Path2 };
                out.extend_from_slice(self.record.part(part));
            }
            From::Text | From::Data => {
                let data = self.record.part(Part::Data);
                if data.is_empty() {
                    return None;
                }
                out.extend_from_slice(data);
            }
            From::Int(n) => push(out, self.argument(n) as i32),
            From::Pid(n) => {
                let pid = self.argument(n) as i32;
                push_both(
                    out,
                    form,
                    |out| push(out, pid),
                    |out| {
                        // In a namespace of its own the caller's numbers are others than ours.
                        let caller = self.processes.actor(&self.record).filter(|p| p.info.level == 0)?;
                        let target = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
                        let target = match target == caller.info.pid {
                            true => caller,
                            false => self.processes.by_pid(target)?,
                        };
                        out.extend_from_slice(target.name());
                        Some(())
                    },
                );
            }
            From::Uint(n) => push(out, self.argument(n)),
            From::Octal(n) => push_octal(self.argument(n), out),
            From::Mode(n, names) => {
                let mode = self.argument(n);
                push_both(
                    out,
                    form,
                    |out| push_octal(mode, out),
                    |out| {
                        push_flags(names, mode, out);
                        Some(())
                    },
                );
            }
            From::Flags(n, names) => {
                let flags = self.argument(n);
                let bits = if Some(n) == self.flags_argument() {
                    open_bits(flags)
                } else {
                    flags
                };
                push_both(
                    out,
                    form,
                    |out| push(out, flags),
                    |out| {
                        push_flags(names, bits, out);
                        Some(())
                    },
                );
            }
            From::Name(n, names) => {
                let number = self.argument(n) & 0xffff_ffff;
                push_both(
                    out,
                    form,
                    |out| push(out, number),
                    |out| {
                        out.extend_from_slice(name_of(names, number)?.as_bytes());
                        Some(())
                    },
                );
            }
            From::Uid(n) | From::Gid(n) => {
                let id = self.argument(n) as u32;
                let name: &[u8] = match from {
                    _ if id == u32::MAX => b"<NONE>",
                    From::Uid(_) => user_name(self, id),
                    _ => group_name(self, id),
                };
                push_both(
                    out,
                    form,
                    |out| push(out, id as i32),
                    |out| {
                        out.extend_from_slice(name);
                        Some(())
                    },
                );
            }
            From::Address => {
                let address = self.record.part(Part::Address);
                match socket::given(address) {
                    Some(end) => socket::push_end(out, end),
                    None => socket::push_unix(address, out)?,
                }
            }
            From::Tuple => socket::push_name(self, &self.record.file()?, out)?,
            From::Device => push(out, device(self.record.file()?.dev)),
            From::Inode => push(out, self.record.file()?.ino),
            From::Field(get) => push_value(get(self, None, scratch)?, self, scratch)?,
            From::Unread => return None,
        }
        Some(())
    }

    /// Which argument has the flags of an open.
    fn flags_argument(&self) -> Option<u8> {
        match self.call?.read.open {
            0 => None,
            OPENAT2 => Some(5),
            n => (n <= 6).then_some(n),
        }
    }

    /// Flags and mode of an open, wherever the call has them.
    pub fn opening(&self) -> Option<(u64, u64)> {
        let call: &Call = self.call.filter(|call| call.read.open != 0)?;
        Some(match self.flags_argument() {
            Some(n) => (
                self.argument(n),
                if n < 6 && call.read.path[0] != 0 {
                    self.argument(n + 1)
                } else {
                    0
                },
            ),
            // creat(2): O_WRONLY | O_CREAT | O_TRUNC.
            None => (0o1101, self.argument(2)),
        })
    }
}

/// As C writes it: with a zero before it.
fn push_octal(number: u64, out: &mut Vec<u8>) {
    push(out, format_args!("{}{number:o}", if number == 0 { "" } else { "0" }));
}

/// Writes a field's value at the end of the scratch.
fn push_value(value: Value, view: &SyscallView<'_>, scratch: &mut Scratch) -> Option<()> {
    match value {
        Value::Text(text) | Value::Bytes(text) => {
            let (start, end) = (text.start as usize, text.end as usize);
            match text.place {
                crate::fields::Place::Event => scratch.bytes.extend_from_slice(&view.record.bytes()[start..end]),
                // Already there when it was put together just now.
                crate::fields::Place::Scratch if end == scratch.bytes.len() => {}
                crate::fields::Place::Scratch => scratch.bytes.extend_from_within(start..end),
            }
        }
        Value::Uint(n) => push(&mut scratch.bytes, n),
        Value::Int(n) => push(&mut scratch.bytes, n),
        Value::Bool(b) => push(&mut scratch.bytes, b),
        _ => return None,
    }
    Some(())
}

pub const ARG: Get = |v, which, s| {
    let parameter = v.parameter(which?)?;
    let start = s.bytes.len();
    let found = v.push_parameter(parameter.from, Form::Short, s);
    if found.is_none() {
        s.bytes.truncate(start);
        return None;
    }
    Some(since(s, start))
};

fn since(scratch: &Scratch, start: usize) -> Value {
    Value::Text(crate::fields::Text {
        start: start as u32,
        end: scratch.bytes.len() as u32,
        place: crate::fields::Place::Scratch,
    })
}

/// All parameters, each followed by a blank.
pub const ARGS: Get = |v, _, s| {
    let start = s.bytes.len();
    for parameter in v.parameters() {
        let before = s.bytes.len();
        s.bytes.extend_from_slice(parameter.name.as_bytes());
        s.bytes.push(b'=');
        match v.push_parameter(parameter.from, Form::Full, s) {
            Some(()) => s.bytes.push(b' '),
            None => s.bytes.truncate(before),
        }
    }
    (s.bytes.len() > start).then(|| since(s, start))
};

/// A parameter in its own type.
pub const RAWARG: Get = |v, which, s| {
    let head = &v.record.head;
    Some(match v.parameter(which?)?.from {
        From::Result | From::NewFd => Value::Int(head.result),
        From::Fd(n) | From::Dir(n, _) | From::Int(n) | From::Pid(n) => Value::Int(i64::from(v.argument(n) as i32)),
        From::Uint(n) | From::Octal(n) | From::Mode(n, _) | From::Flags(n, _) => Value::Uint(v.argument(n)),
        From::Name(n, _) | From::Uid(n) | From::Gid(n) => Value::Uint(v.argument(n) & 0xffff_ffff),
        From::Path(1) | From::RawPath(1) => Value::Text(part(v, Part::Path1)?),
        From::Path(_) | From::RawPath(_) => Value::Text(part(v, Part::Path2)?),
        From::Text => Value::Text(part(v, Part::Data)?),
        From::Data => Value::Bytes(part(v, Part::Data)?),
        From::Address => Value::Bytes(part(v, Part::Address)?),
        From::Tuple => match socket::tuple(v, s)? {
            Value::Text(text) => Value::Bytes(text),
            other => other,
        },
        From::Device => Value::Uint(device(v.record.file()?.dev) as u64),
        From::Inode => Value::Uint(v.record.file()?.ino),
        From::Field(get) => get(v, None, s)?,
        From::Unread => return None,
    })
};

/// `SUCCESS`, or the error's name.
pub const RES: Get = |v, _, s| match v.result()? {
    result @ ..0 => written(s, |out| push_error(result, out)),
    _ => text(s, b"SUCCESS"),
};
