//! The person behind a process, known once an exec session is tied to it.

use super::Answer::By;
use super::Row;
use crate::fields::Type::*;
use crate::fields::syscall::Shape::*;
use crate::fields::syscall::values::actor;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("actor.user", String, Plain, "user whose exec session the process belongs to", By(actor::USER)),
    ("actor.groups", String, List, "groups of that user", By(actor::GROUPS)),
    ("actor.impersonator", String, Plain, "the real user when actor.user was impersonated", By(actor::IMPERSONATOR)),
    ("actor.source_ips", String, List, "addresses the session was opened from", By(actor::SOURCE_IPS)),
    ("actor.user_agent", String, Plain, "client that opened the session", By(actor::USER_AGENT)),
    ("actor.via", String, Plain, "exec, attach, debug, run or kubelet", By(actor::VIA)),
    ("actor.session", String, Plain, "identity of the session", By(actor::SESSION)),
    ("actor.command", String, Plain, "command the session was opened with", By(actor::COMMAND)),
    ("actor.evidence", String, Plain,
        "how the session was found: request-key, unique, ordered, ambiguous, none", By(actor::EVIDENCE)),
    ("actor.candidates", String, List, "users who may be meant: the evidence is ambiguous, or they may use the kubelet directly", By(actor::CANDIDATES)),
    ("actor.age", RelTime, Plain, "time since the session opened", By(actor::AGE)),
    ("actor.state", String, Plain,
        "waiting, attributed, ambiguous, unattributed, unknown, outlived, closed or empty", By(actor::STATE)),
    ("actor.reason", String, Plain, "why nothing is known, when actor.state is unknown", By(actor::REASON)),
    ("actor.delay", RelTime, Plain, "from the first execve until the session was known", By(actor::DELAY)),
];
