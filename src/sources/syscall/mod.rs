//! The syscall source: the probe, and what user space makes of its records.

pub mod attribution;
pub mod containers;
pub mod cri;
pub mod held;
pub mod judge;
pub mod metadata;
pub mod permissions;
pub mod plan;
pub mod probe;
pub mod procfs;
pub mod reader;
pub mod recording;
pub mod service;
