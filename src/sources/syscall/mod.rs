//! The syscall source: the probe, and what user space makes of its records.

pub mod permissions;
pub mod plan;
pub mod probe;
pub mod procfs;
