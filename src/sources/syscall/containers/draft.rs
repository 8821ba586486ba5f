//! A container while it is put together. Names, labels and mounts are chosen by whoever started it, so all are bounded.

use crate::event::Timestamp;
use crate::processes::container::{Container, Mount, Pod};

/// Labels kept of a container, and of a pod.
pub const LABELS: usize = 64;
/// Bytes kept of a label's key, and of its value.
pub const LABEL: usize = 256;
/// Mounts kept of a container.
pub const MOUNTS: usize = 128;
/// Bytes kept of a path, a name, an image.
pub const TEXT: usize = 1024;

/// What is known so far, and how much of it did not fit.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub container: Container,
    /// Labels and mounts left out, and texts cut short.
    pub cut: u32,
    /// The container is the pod's sandbox (`pause`), which has no name and image of its own.
    pub sandbox: bool,
}

impl Draft {
    /// A text of at most `limit` bytes.
    pub fn bounded(&mut self, text: &str, limit: usize) -> Box<str> {
        if text.len() <= limit {
            return text.into();
        }
        self.cut += 1;
        start(text, limit).into()
    }

    /// A text that is absent when it is empty, as Go writes it.
    pub fn text(&mut self, text: &str) -> Option<Box<str>> {
        (!text.is_empty()).then(|| self.bounded(text, TEXT))
    }

    /// The pod, made if this is the first that is heard of it.
    pub fn pod(&mut self) -> &mut Pod {
        self.container.pod.get_or_insert_default()
    }

    /// As many labels as are kept, in the order of their keys.
    pub fn labels<'a>(&mut self, labels: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<(Box<str>, Box<str>)> {
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        self.cut += labels.len().saturating_sub(LABELS) as u32;
        labels.truncate(LABELS);
        labels
            .into_iter()
            .map(|(key, value)| (self.bounded(key, LABEL), self.bounded(value, LABEL)))
            .collect()
    }

    /// Adds a mount, if there is room.
    pub fn mount(&mut self, source: &str, destination: &str, mode: &str, writable: bool, propagation: &str) {
        if self.container.mounts.len() == MOUNTS {
            self.cut += 1;
            return;
        }
        let mount = Mount {
            source: self.bounded(source, TEXT),
            destination: self.bounded(destination, TEXT),
            mode: self.bounded(mode, LABEL),
            writable,
            propagation: self.bounded(propagation, LABEL),
        };
        self.container.mounts.push(mount);
    }
}

/// As many whole characters as fit in `limit` bytes.
pub fn start(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// An RFC 3339 time; Go's zero time and those before 1970 are none.
pub fn time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Timestamp::try_from(time.as_nanosecond()).ok().filter(|time| *time > 0)
}

/// A digest in hexadecimal without the name of its algorithm.
pub fn hexadecimal(digest: &str) -> Option<Box<str>> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hex.into())
}

/// The digest of `name@sha256:…`, with its algorithm.
pub fn digest(reference: &str) -> Option<Box<str>> {
    let (_, digest) = reference.rsplit_once('@')?;
    hexadecimal(digest)?;
    Some(digest.into())
}
