//! The syscall source on the real kernel: real programs act, and what rules see of it is compared with what they did.
//!
//! Takes root and the kernel's type information (/sys/kernel/btf/vmlinux); says so loudly and does nothing otherwise.
//! What tests do is seen by each other, so one runs at a time.

mod actor;
mod binary;
mod calls;
#[path = "../server/client.rs"]
#[allow(dead_code, reason = "the tests of the webhook need more of it")]
mod client;
mod containerd;
mod containers;
mod harness;
mod late;
mod losses;
mod names;
mod processes;
mod sessions;
mod walkthrough;
