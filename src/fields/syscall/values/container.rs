//! Fields of the container that the process runs in, and of its pod.

use super::{push, push_joined, text, written};
use crate::fields::syscall::table::Get;
use crate::fields::syscall::view::SyscallView;
use crate::fields::{Scratch, Value};
use crate::processes::{Container, Mount, Place, Pod};

impl<'a> SyscallView<'a> {
    fn place(&self) -> Place<'a> {
        self.processes.place(self.record.head.cgroup)
    }

    fn container(&self) -> Option<&'a Container> {
        self.processes.container(self.record.head.cgroup)
    }

    fn pod(&self) -> Option<&'a Pod> {
        self.container()?.pod.as_ref()
    }
}

/// The first characters of an id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

pub fn push_id(view: &SyscallView<'_>, out: &mut Vec<u8>) -> Option<()> {
    match view.place() {
        Place::Host => out.extend_from_slice(b"host"),
        Place::Container { id, .. } => out.extend_from_slice(short(id).as_bytes()),
        Place::Unknown => return None,
    }
    Some(())
}

fn optional(scratch: &mut Scratch, found: Option<&str>) -> Option<Value> {
    text(scratch, found?.as_bytes())
}

pub const ID: Get = |v, _, s| written(s, |out| push_id(v, out));
pub const FULL_ID: Get = |v, _, s| match v.place() {
    Place::Host => text(s, b"host"),
    Place::Container { id, .. } => text(s, id.as_bytes()),
    Place::Unknown => None,
};
pub const NAME: Get = |v, _, s| match v.place() {
    Place::Host => text(s, b"host"),
    _ => optional(s, v.container()?.name.as_deref()),
};
pub const TYPE: Get = |v, _, s| match v.place() {
    Place::Host => text(s, b"host"),
    _ => optional(s, Some(&v.container()?.runtime).map(|r| &**r).filter(|r| !r.is_empty())),
};
pub const IMAGE: Get = |v, _, s| optional(s, v.container()?.image.as_deref());
pub const IMAGE_ID: Get = |v, _, s| optional(s, v.container()?.image_id.as_deref());
pub const IMAGE_DIGEST: Get = |v, _, s| optional(s, v.container()?.image_digest.as_deref());
pub const REPOSITORY: Get = |v, _, s| optional(s, v.container()?.repository());
pub const TAG: Get = |v, _, s| optional(s, v.container()?.tag());
pub const PRIVILEGED: Get = |v, _, _| v.container()?.privileged.map(Value::Bool);
pub const HOST_PID: Get = |v, _, _| v.container()?.host_pid.map(Value::Bool);
pub const HOST_NETWORK: Get = |v, _, _| v.container()?.host_network.map(Value::Bool);
pub const HOST_IPC: Get = |v, _, _| v.container()?.host_ipc.map(Value::Bool);
pub const STARTED: Get = |v, _, _| v.container()?.started.map(Value::Uint);
pub const DURATION: Get = |v, _, _| v.container()?.started.map(|at| Value::Uint(v.time.saturating_sub(at)));
pub const IP: Get = |v, _, s| optional(s, v.pod()?.ip.as_deref());

fn push_mount(out: &mut Vec<u8>, mount: &Mount) {
    let Mount {
        source,
        destination,
        mode,
        writable,
        propagation,
    } = mount;
    push(
        out,
        format_args!("{source}:{destination}:{mode}:{writable}:{propagation}"),
    );
}

pub const MOUNTS: Get = |v, _, s| {
    let mounts = &v.container()?.mounts;
    written(s, |out| {
        for (i, mount) in mounts.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            push_mount(out, mount);
        }
        Some(())
    })
};

/// The mount with that number, or whose `side` fits the key, which may be a pattern.
fn mount<'a>(view: &SyscallView<'a>, key: Option<&str>, side: fn(&Mount) -> &str) -> Option<&'a Mount> {
    let (mounts, key) = (&view.container()?.mounts, key?);
    if let Ok(index) = key.parse::<usize>() {
        return mounts.get(index);
    }
    mounts.iter().find(|mount| fits(key.as_bytes(), side(mount).as_bytes()))
}

/// `*` stands for any text, `?` for any byte. Keys are few bytes long, and so are paths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        (Some((b'?', pattern)), Some((_, text))) => fits(pattern, text),
        (Some((want, pattern)), Some((is, text))) => want == is && fits(pattern, text),
        _ => false,
    }
}

fn source(mount: &Mount) -> &str {
    &mount.source
}

fn destination(mount: &Mount) -> &str {
    &mount.destination
}

pub const MOUNT: Get = |v, key, s| {
    let mount = mount(v, key, source)?;
    written(s, |out| {
        push_mount(out, mount);
        Some(())
    })
};
pub const MOUNT_SOURCE: Get = |v, key, s| text(s, mount(v, key, destination)?.source.as_bytes());
pub const MOUNT_DEST: Get = |v, key, s| text(s, mount(v, key, source)?.destination.as_bytes());
pub const MOUNT_MODE: Get = |v, key, s| text(s, mount(v, key, source)?.mode.as_bytes());
pub const MOUNT_PROPAGATION: Get = |v, key, s| text(s, mount(v, key, source)?.propagation.as_bytes());
pub const MOUNT_RDWR: Get = |v, key, s| {
    let writable = mount(v, key, source)?.writable;
    text(s, if writable { b"true" } else { b"false" })
};

type Labels = [(Box<str>, Box<str>)];

fn label<'a>(labels: &'a Labels, key: Option<&str>) -> Option<&'a str> {
    let key = key?;
    labels
        .iter()
        .find(|(name, _)| **name == *key)
        .map(|(_, value)| &**value)
}

/// `name:value, name:value`.
fn labels(scratch: &mut Scratch, labels: &Labels) -> Option<Value> {
    if labels.is_empty() {
        return None;
    }
    written(scratch, |out| {
        for (i, (name, value)) in labels.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            push_joined(out, [name.as_bytes(), value.as_bytes()].into_iter(), b':');
        }
        Some(())
    })
}

pub const LABEL: Get = |v, key, s| optional(s, label(&v.container()?.labels, key));
pub const LABELS: Get = |v, _, s| labels(s, &v.container()?.labels);
pub const POD_NAME: Get = |v, _, s| text(s, v.pod()?.name.as_bytes());
pub const POD_UID: Get = |v, _, s| text(s, v.pod()?.uid.as_bytes());
pub const SANDBOX: Get = |v, _, s| optional(s, v.pod()?.sandbox_id.as_deref().map(short));
pub const FULL_SANDBOX: Get = |v, _, s| optional(s, v.pod()?.sandbox_id.as_deref());
pub const POD_LABEL: Get = |v, key, s| optional(s, label(&v.pod()?.labels, key));
pub const POD_LABELS: Get = |v, _, s| labels(s, &v.pod()?.labels);
pub const NAMESPACE: Get = |v, _, s| text(s, v.pod()?.namespace.as_bytes());
/// What nothing on the node knows.
pub const GONE: Get = |_, _, _| None;
