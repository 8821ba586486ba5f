//! Fields of the person behind a process.

use super::{text, written};
use crate::correlate::{Actor, Person};
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};

fn actor<'a>(view: &SyscallView<'a>) -> Option<&'a Actor> {
    view.who()?.actor.as_deref()
}

fn person<'a>(view: &SyscallView<'a>) -> Option<&'a Person> {
    actor(view)?.person.as_ref()
}

fn list(scratch: &mut Scratch, texts: &[Box<str>]) -> Option<Value> {
    let start = scratch.items.len();
    for item in texts {
        let text = scratch.text(|out| out.extend_from_slice(item.as_bytes()));
        scratch.items.push(Value::Text(text));
    }
    Some(scratch.list_from(start))
}

pub const USER: Get = |v, _, s| text(s, person(v)?.user.as_bytes());
pub const GROUPS: Get = |v, _, s| list(s, &person(v)?.groups);
pub const IMPERSONATOR: Get = |v, _, s| text(s, person(v)?.impersonator.as_ref()?.as_bytes());
pub const SOURCE_IPS: Get = |v, _, s| list(s, &actor(v)?.source_ips);
pub const USER_AGENT: Get = |v, _, s| text(s, actor(v)?.user_agent.as_ref()?.as_bytes());
pub const VIA: Get = |v, _, s| text(s, actor(v)?.via?.name().as_bytes());
pub const SESSION: Get = |v, _, s| text(s, actor(v)?.session.as_ref()?.as_bytes());
/// Blanks between the arguments; nothing for what has no command.
pub const COMMAND: Get = |v, _, s| {
    let command = &actor(v)?.command;
    let (first, rest) = command.split_first()?;
    written(s, |out| {
        out.extend_from_slice(first.as_bytes());
        for argument in rest {
            out.push(b' ');
            out.extend_from_slice(argument.as_bytes());
        }
        Some(())
    })
};
pub const EVIDENCE: Get = |v, _, s| text(s, actor(v)?.evidence.name().as_bytes());
pub const CANDIDATES: Get = |v, _, s| list(s, &actor(v)?.candidates);
pub const AGE: Get = |v, _, _| {
    let opened = actor(v)?.opened?;
    Some(Value::Uint(v.time.saturating_sub(opened)))
};
pub const STATE: Get = |v, _, s| text(s, v.who()?.state.name().as_bytes());
pub const REASON: Get = |v, _, s| text(s, actor(v)?.reason?.text().as_bytes());
pub const DELAY: Get = |v, _, _| {
    let who = v.who()?;
    actor(v)?;
    Some(Value::Uint(who.after))
};
