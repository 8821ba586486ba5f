//! The `saker` binary: set up the allocator, parse arguments, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    return_memory();
    saker::cli::main()
}

/// Lets what a start needs for a moment, the kernel's type information above all, go back to the system.
///
/// glibc keeps a heap for each thread, and learns from the first large block that is freed to keep the next ones. Events
/// allocate nothing, so one heap is no bottleneck (mallopt(3)).
#[cfg(target_env = "gnu")]
fn return_memory() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
    for (option, value) in [
        (M_ARENA_MAX, 1),
        (M_MMAP_THRESHOLD, 1 << 20),
        (M_TRIM_THRESHOLD, 128 << 10),
    ] {
        // SAFETY: mallopt takes two numbers; no other thread runs yet that could allocate meanwhile. What it refuses
        // stays as it was.
        unsafe { mallopt(option, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn return_memory() {}
