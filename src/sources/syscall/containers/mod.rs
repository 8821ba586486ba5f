//! What is known of a container, found by its id among the files that runtimes leave on the node.
//!
//! Reading blocks, for a fraction of a millisecond as a rule; callers ask again while the answer is not complete. Nothing
//! is asked over a socket here; what a runtime has answered over its own is brought along.

use std::path::{Path, PathBuf};

mod annotations;
pub mod cri;
mod docker;
mod draft;
pub mod files;
mod oci;
mod pods;
mod runc;
mod search;
mod storage;
pub mod users;

#[cfg(test)]
mod tests;

use draft::Draft;
use files::Root;
use search::Search;

use crate::processes::Container;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Known {
        container: Box<Container>,
        /// Nothing is missing that the runtime is going to write; else it is worth asking again.
        complete: bool,
        /// Labels and mounts left out, and texts cut, because there were too many or they were too long.
        cut: u32,
    },
    /// No file tells of it so far.
    NotYet,
    /// No runtime gives such an id.
    Unknown,
}

/// Finds containers on one node.
pub struct Lookup {
    root: PathBuf,
    containerd: Vec<PathBuf>,
}

impl Lookup {
    /// `root` is where the root of the node is: `/`, or the directory it is mounted on in a pod.
    pub fn new(root: &Path) -> Lookup {
        Lookup {
            root: root.into(),
            containerd: Vec::new(),
        }
    }

    /// Looks into these state directories of containerd as well, before the usual ones.
    #[must_use]
    pub fn containerd(mut self, states: &[PathBuf]) -> Lookup {
        self.containerd = states.into();
        self
    }

    /// Everything that files tell of the container `id`. `pid` is a process in it, `cgroup` the path of its control
    /// group; both help where the runtime's files leave something open.
    pub fn find(&self, id: &str, pid: Option<u32>, cgroup: &str) -> Found {
        self.find_with(id, pid, cgroup, None)
    }

    /// Likewise, together with what the runtime has answered.
    pub fn find_with(&self, id: &str, pid: Option<u32>, cgroup: &str, answer: Option<&cri::Answer>) -> Found {
        if !is_id(id) {
            return Found::Unknown;
        }
        let Ok(node) = Root::node(&self.root) else {
            return Found::NotYet;
        };
        let search = Search {
            node,
            containerd: &self.containerd,
            id,
            pid,
        };
        let mut draft = Draft::default();
        draft.container.id = id.into();
        let mut told = search.run(&mut draft);
        if let Some(answer) = answer {
            cri::fill(answer, &mut draft);
            told = Some(true);
        }
        let uid = pods::uid(cgroup);
        if let Some(uid) = &uid {
            pods::fill(&search.node, id, uid, &mut draft);
        }
        let named = draft.container.pod.as_ref().is_some_and(|pod| !pod.name.is_empty());
        if told.is_none() && !named {
            return Found::NotYet;
        }
        if draft.container.runtime.is_empty() {
            draft.container.runtime = runtime(cgroup).into();
        }
        // Where ids are not drawn by lot, they are the names that somebody has chosen (ctr, runc).
        if draft.container.name.is_none() && draft.container.pod.is_none() && draft::hexadecimal(id).is_none() {
            draft.container.name = Some(id.into());
        }
        let container = &draft.container;
        let whole = draft.sandbox || (container.name.is_some() && container.image.is_some());
        Found::Known {
            complete: told == Some(true) && (uid.is_none() || (named && whole)),
            container: Box::new(draft.container),
            cut: draft.cut,
        }
    }
}

/// Whether a runtime may have given this id; it becomes part of paths.
fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    !id.is_empty() && id.len() <= 128 && !id.starts_with('.') && id.bytes().all(plain)
}

/// The runtime, as far as the name of a control group shows it.
fn runtime(cgroup: &str) -> &'static str {
    let leaf = cgroup.rsplit('/').next().unwrap_or_default();
    let marks = [
        ("cri-containerd-", "containerd"),
        ("crio-", "cri-o"),
        ("docker-", "docker"),
        ("libpod-", "podman"),
    ];
    marks
        .iter()
        .find(|(mark, _)| leaf.starts_with(mark))
        .map_or("", |(_, runtime)| runtime)
}

/// What parsers make of a file's bytes, whichever file it is. For the fuzzer: all must bear all bytes.
#[doc(hidden)]
pub fn parse(bytes: &[u8]) -> Vec<Container> {
    let mut made = Vec::new();
    let mut with = |runtime: &str, fill: &dyn Fn(&mut Draft)| {
        let mut draft = Draft::default();
        draft.container.runtime = runtime.into();
        draft.container.image_id = Some("0".repeat(64).into());
        fill(&mut draft);
        made.push(draft.container);
    };
    if let Some(bundle) = oci::parse(bytes) {
        for runtime in ["containerd", "cri-o", "podman", "runc"] {
            with(runtime, &|draft| {
                bundle.fill("/bundle".as_ref(), draft);
                annotations::fill(&bundle.annotations, draft);
            });
        }
    }
    with("docker", &|draft| {
        docker::settings(bytes, draft);
        docker::host(bytes, draft);
        draft.container.image_digest = docker::pulled(bytes, "0");
    });
    with("podman", &|draft| {
        storage::containers(bytes, draft);
        storage::images(bytes, draft);
    });
    with("runc", &|draft| {
        draft.container.started = runc::state(bytes).and_then(|state| state.started)
    });
    with("cni", &|draft| draft.container.ip = pods::from_result(bytes));
    made
}

/// What is made of a runtime's answer alone. For the fuzzer.
#[doc(hidden)]
pub fn answered(answer: &cri::Answer) -> Container {
    let mut draft = Draft::default();
    cri::fill(answer, &mut draft);
    draft.container
}
