//! The person behind a process, known once an exec session is tied to it.

use super::Answer::By;
use super::Row;
use crate::fields::Type::*;
use crate::fields::syscall::Shape::*;
use crate::fields::syscall::values::container;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("actor.user", String, Plain, "user whose exec session the process belongs to", By(container::GONE)),
    ("actor.groups", String, List, "groups of that user", By(container::GONE)),
    ("actor.impersonator", String, Plain, "the real user when actor.user was impersonated", By(container::GONE)),
    ("actor.source_ips", String, List, "addresses the session was opened from", By(container::GONE)),
    ("actor.user_agent", String, Plain, "client that opened the session", By(container::GONE)),
    ("actor.via", String, Plain, "exec, attach or debug", By(container::GONE)),
    ("actor.session", String, Plain, "identity of the session", By(container::GONE)),
    ("actor.command", String, Plain, "command the session was opened with", By(container::GONE)),
    ("actor.evidence", String, Plain,
        "how the session was found: request-key, unique, ordered, ambiguous, none", By(container::GONE)),
    ("actor.candidates", String, List, "users who may be meant when the evidence is ambiguous", By(container::GONE)),
    ("actor.age", RelTime, Plain, "time since the session opened", By(container::GONE)),
    ("actor.state", String, Plain,
        "opened, attributed, ambiguous, unattributed, closed or outlived", By(container::GONE)),
];
