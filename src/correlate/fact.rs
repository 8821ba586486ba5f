//! What the correlator is told: requests to enter a pod, reviews of such requests, the processes that came in, and
//! whether anything can be heard.
//!
//! Facts come from elsewhere as they happen to arrive; their times are those of whoever saw them.

use std::sync::Arc;

use crate::event::Timestamp;

/// How a request leads into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// `pods/exec`: a new process in a running container.
    Exec,
    /// `pods/attach`: the terminal of a container's own first process.
    Attach,
    /// `pods/ephemeralcontainers`: a new container in a running pod (`kubectl debug`).
    Debug,
    /// A pod that was made to be sat in front of: `kubectl run -it`, `kubectl debug node/…`.
    Run,
    /// `nodes/proxy` to the kubelet's `run`, or the kubelet itself: a new process in a running container.
    Kubelet,
}

impl Via {
    pub const fn name(self) -> &'static str {
        match self {
            Via::Exec => "exec",
            Via::Attach => "attach",
            Via::Debug => "debug",
            Via::Run => "run",
            Via::Kubelet => "kubelet",
        }
    }

    /// Whether it starts a process in a container that runs already.
    pub const fn starts_process(self) -> bool {
        matches!(self, Via::Exec | Via::Kubelet)
    }

    /// Whether it brings a container of its own.
    pub const fn starts_container(self) -> bool {
        matches!(self, Via::Debug | Via::Run)
    }
}

/// A pod by name; who has been deleted and made again under it is told apart by container id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

/// Who asks: the user that the request acts as, and the real one behind an impersonation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person {
    pub user: Box<str>,
    pub groups: Vec<Box<str>>,
    /// Absent where nobody is impersonated, and in reviews, which do not tell (see [`Review`]).
    pub impersonator: Option<Box<str>>,
}

/// What a request asks for; the same in the audit event and in the review.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub via: Via,
    pub pod: PodName,
    /// Absent where the client has left the choice to the kubelet.
    pub container: Option<Box<str>>,
    /// Every argument in order; empty for attach.
    pub argv: Vec<Box<str>>,
    pub tty: bool,
}

/// Stages of a request as the API server's audit tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Lacks `impersonatedUser`: it may name the wrong person.
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
}

/// Identity of a request. The Audit-ID is the client's choice and may repeat, so time and content belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

/// One audit event of a request that leads into a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: RequestId,
    /// As the client may have chosen it: shown, and never used as an identity.
    pub audit_id: Box<str>,
    pub stage: Stage,
    /// When the API server took the request.
    pub received: Timestamp,
    /// When the stage was reached.
    pub at: Timestamp,
    pub target: Target,
    pub person: Person,
    pub source_ips: Vec<Box<str>>,
    pub user_agent: Option<Box<str>>,
    /// HTTP status; absent before an answer.
    pub code: Option<u16>,
    /// Uids of our own reviews that the event carries as annotations, and of keys that a patch of ours has put in.
    pub reviews: Vec<Box<str>>,
    /// Uid of the pod that the request has made.
    pub uid: Option<Box<str>>,
}

/// One admission review: the same request before the process exists, without impersonator and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Chosen by the API server, another one for each webhook.
    pub uid: Box<str>,
    /// When it arrived here.
    pub at: Timestamp,
    pub target: Target,
    pub person: Person,
    /// The key in the command, of a review that saw what a mutating one had put there.
    pub key: Option<Box<str>>,
}

/// Identity of a process on a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    pub node: Arc<str>,
    pub pid: u32,
    /// Nanoseconds since boot.
    pub start: u64,
}

/// A process that came into a container from outside, or a container's own first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub id: ProcessId,
    pub pod: PodName,
    /// The pod's uid: who is deleted and made again under one name has another.
    pub uid: Option<Box<str>>,
    pub container: Option<Box<str>>,
    /// Arguments of its first execve; absent where they were not seen.
    pub argv: Option<Vec<Box<str>>>,
    /// The arguments are cut after some length.
    pub cut: bool,
    pub tty: bool,
    /// Time of its first execve on the node's clock.
    pub at: Timestamp,
    /// The container's own first process.
    pub first: bool,
    /// Keys in the environment of its first execve: names and values.
    pub keys: Vec<(Box<str>, Box<str>)>,
}

/// A question of the kubelet: may this user use it directly (port 10250)? It keeps the answer for some minutes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// When the API server took the question.
    pub at: Timestamp,
    pub node: Box<str>,
    pub user: Box<str>,
}

/// What a pod of that name was at some time, as the API server answered somebody who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub pod: PodName,
    pub uid: Box<str>,
    pub at: Timestamp,
}

/// One thing that the correlator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Entry(Box<Entry>),
    Review(Box<Review>),
    Access(Box<Access>),
    Looked(Box<Looked>),
    Root(Box<Root>),
    /// Since when all that was sent has come, or that nothing comes now. The first such time is when listening began.
    Bus(Option<Timestamp>),
    /// Audit events were taken at that time.
    Heard(Timestamp),
    /// The process and everything that stems from it have ended.
    Ended {
        id: ProcessId,
        at: Timestamp,
    },
}
