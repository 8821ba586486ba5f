//! What the kernel must allow before the probe can be loaded, and giving it back afterwards.

use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};

/// Capabilities that loading and attaching take: their numbers (include/uapi/linux/capability.h) and names.
const NEEDED: [(u32, &str); 2] = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
const SYS_ADMIN: u32 = 21;

/// The effective capabilities of this process (`CapEff` of proc(5)).
fn effective() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn has(capabilities: u64, number: u32) -> bool {
    capabilities >> number & 1 == 1
}

/// Capabilities that the probe needs and this process does not have.
pub fn missing() -> Vec<&'static str> {
    let own = effective();
    let absent = NEEDED.iter().filter(|(number, _)| !has(own, *number));
    absent.map(|(_, name)| *name).collect()
}

/// Capabilities that stay after the probe is loaded: for hooks that a reload asks for, what /proc says of processes, and
/// ports below 1024.
const KEPT: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_NET_BIND_SERVICE,
];

/// Gives up every capability but those that are needed later, for this thread and those it starts from now on.
///
/// # Errors
/// When the kernel refuses.
pub fn reduce() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = permitted.into_iter().filter(|c| KEPT.contains(c)).collect();
    for set in [CapSet::Inheritable, CapSet::Ambient] {
        caps::clear(None, set)?;
    }
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)
}

/// Whether each system call has a tracepoint that can be attached: tracefs is there and may be read. Where it is not
/// mounted, it is mounted at its usual place, as systemd does at boot.
pub fn tracefs() -> bool {
    let found = || Path::new("/sys/kernel/tracing/events/syscalls/sys_exit_openat/id").exists();
    if found() || Path::new("/sys/kernel/debug/tracing/events/syscalls/sys_exit_openat/id").exists() {
        return true;
    }
    if !has(effective(), SYS_ADMIN) {
        return false;
    }
    use nix::mount::{MsFlags, mount};
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(
        Some("tracefs"),
        "/sys/kernel/tracing",
        Some("tracefs"),
        flags,
        None::<&str>,
    ) {
        Ok(()) => tracing::info!("tracefs mounted at /sys/kernel/tracing"),
        Err(error) => {
            tracing::info!(%error, "tracefs cannot be mounted; all returns of system calls are hooked instead")
        }
    }
    found()
}
