//! The probe in the kernel: loading it, telling it what to send, reading what it sends.
//!
//! The object that `probe/build.sh` makes is part of the binary. Process events hang on tracepoints that cost nothing
//! while no process starts or ends; system calls on the cheapest hook there is: a tracepoint for each call where
//! tracefs has them, otherwise the tracepoint of all returns, which every call of the machine pays for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::trace_point::TracePointLinkId;
use aya::programs::{BtfTracePoint, Iter, ProgramError, TracePoint};
use aya::{Btf, BtfError, Ebpf, EbpfError, EbpfLoader};

use super::permissions;
use super::plan::{self, Plan, Wanted};
use crate::config::SyscallConfig;
use crate::engine::partial::{Need, Role};
use crate::event::syscall::Kind;
use crate::fields::syscall::calls::{self, Call, Family};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/probe/saker.bpf.o"));

/// Bytes of `struct want`, `struct name_key` and `struct settings` in `probe/wire.h`.
const WANT: usize = 24;
const NAME_KEY: usize = 40;
const SETTINGS: usize = 16;
/// Bytes of a name that the kernel compares; a final NUL takes one more.
const NAME: usize = 39;
/// What `cgroups` says of a cgroup.
const HOST: u8 = 1;
const CONTAINER: u8 = 2;

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Tracepoints that are always attached, and the program on each.
const PROCESS_EVENTS: [(&str, &str); 3] = [
    ("process_exec", "sched_process_exec"),
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
];

/// The program that lists tasks.
const TASKS: &str = "snapshot";

/// How the probe is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Bytes of the ring buffer, a power of two.
    pub ring_bytes: u32,
    /// Bytes of data that are sent with reads and writes, 256 at most.
    pub snaplen: u32,
    /// Bytes in the ring that wake the reader.
    pub wake_at: u32,
    /// Whether processes of the host bring their environment as well.
    pub environment: bool,
}

impl Setup {
    pub fn of(config: &SyscallConfig) -> Setup {
        let ring = config.ring.clamp(64 << 10, 1 << 30).next_power_of_two();
        Setup {
            ring_bytes: ring as u32,
            snaplen: config.snaplen,
            // Much at once is cheap; what is alone in the ring waits for the reader's tick.
            wake_at: (ring / 16).min(64 << 10) as u32,
            environment: config.environment,
        }
    }
}

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("the kernel has no type information: {BTF} is missing")]
    NoBtf,
    #[error("missing capabilities: {}", .0.join(", "))]
    Capabilities(Vec<&'static str>),
    #[error("the kernel's type information cannot be read: {0}")]
    Btf(#[from] BtfError),
    #[error("the probe cannot be loaded: {0}")]
    Load(#[source] Box<EbpfError>),
    #[error("program `{0}` of the probe is refused: {1}")]
    Program(&'static str, #[source] Box<ProgramError>),
    #[error("map `{0}` of the probe: {1}")]
    Map(&'static str, #[source] MapError),
    #[error("the kernel's list of tasks cannot be read: {0}")]
    Tasks(#[source] std::io::Error),
    #[error("the thread that loads the probe has failed")]
    Thread,
}

impl ProbeError {
    /// What the operator can do about it.
    pub fn help(&self) -> String {
        match self {
            ProbeError::NoBtf => "use a kernel with CONFIG_DEBUG_INFO_BTF, as all current distributions have it, and \
                                  mount /sys into the container"
                .to_owned(),
            ProbeError::Capabilities(missing) => format!(
                "run as root, or `setcap {}+ep` on the binary, or name them in the container's \
                 securityContext.capabilities.add",
                missing.join(",").to_lowercase()
            ),
            _ => "Linux 5.17 or later is needed, and no lockdown of confidentiality (/sys/kernel/security/lockdown)"
                .to_owned(),
        }
    }
}

/// Where system calls are caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `syscalls:sys_exit_NAME` of each call.
    Tracepoints,
    /// `sys_exit` of all calls.
    AllReturns,
}

/// The loaded probe. Dropping it takes everything out of the kernel.
pub struct Probe {
    ebpf: Ebpf,
    pub hook: Hook,
    pub ring_bytes: u32,
    links: BTreeMap<u16, (Family, TracePointLinkId)>,
    dispatching: bool,
    /// What `names` in the kernel holds: names, and where they must stand.
    names: BTreeMap<[u8; NAME_KEY], u32>,
    settings: [u32; SETTINGS / 4],
    /// Environments of host processes are sent whatever the rules read.
    environment: bool,
    ring: Option<RingBuf<MapData>>,
    /// Calls that the kernel offers no tracepoint for; there is nothing to see of them then.
    pub missing: Vec<&'static str>,
}

impl Probe {
    /// Loads the probe and attaches the process events.
    ///
    /// # Errors
    /// Without type information of the kernel, without permission, or on a kernel that refuses it.
    pub fn load(setup: Setup) -> Result<Probe, ProbeError> {
        if !Path::new(BTF).exists() {
            return Err(ProbeError::NoBtf);
        }
        let missing = permissions::missing();
        if !missing.is_empty() {
            return Err(ProbeError::Capabilities(missing));
        }
        // The type information takes tens of megabytes while it is read; a thread's own heap goes back to the system.
        std::thread::Builder::new()
            .name("probe-load".to_owned())
            .spawn(move || load(setup))
            .map_err(|_| ProbeError::Thread)?
            .join()
            .map_err(|_| ProbeError::Thread)?
    }

    /// Tells the kernel what to send from now on, and attaches and detaches what that asks for.
    ///
    /// # Errors
    /// When the kernel refuses a hook; what it accepted before stays.
    pub fn follow(&mut self, plan: &Plan) -> Result<(), ProbeError> {
        self.settings[3] = u32::from(self.environment || plan.environment);
        let names = Names::of(&plan.names);
        let anywhere = names.anywhere;
        self.set_names(names)?;
        for call in calls::CALLS {
            self.set_want(call, plan.calls.get(&call.nr), anywhere)?;
        }
        match self.hook {
            Hook::Tracepoints => self.attach_tracepoints(plan),
            Hook::AllReturns => self.attach_dispatch(!plan.calls.is_empty()),
        }
    }

    fn set_names(&mut self, wanted: Names) -> Result<(), ProbeError> {
        let error = |e| ProbeError::Map("names", e);
        let Names { keys, hints, .. } = wanted;
        let mut names: HashMap<&mut MapData, [u8; NAME_KEY], u32> = map(&mut self.ebpf, "names")?;
        for (key, roles) in &keys {
            names.insert(key, roles, 0).map_err(error)?;
        }
        let mut lengths: Array<&mut MapData, [u64; 3]> = map(&mut self.ebpf, "hints")?;
        for (index, hint) in hints.into_iter().enumerate() {
            lengths
                .set(index as u32, hint, 0)
                .map_err(|e| ProbeError::Map("hints", e))?;
        }
        set_settings(&mut self.ebpf, self.settings)?;
        // Old names go last: for a moment too much is sent, never too little.
        let mut names: HashMap<&mut MapData, [u8; NAME_KEY], u32> = map(&mut self.ebpf, "names")?;
        for key in self.names.keys().filter(|key| !keys.contains_key(*key)) {
            names.remove(key).map_err(error)?;
        }
        self.names = keys;
        Ok(())
    }

    fn set_want(&mut self, call: &Call, wanted: Option<&Wanted>, anywhere: u8) -> Result<(), ProbeError> {
        let mut map: Array<&mut MapData, [u8; WANT]> = map(&mut self.ebpf, "wants")?;
        let value = want(call, wanted, anywhere);
        map.set(u32::from(call.nr), value, 0)
            .map_err(|e| ProbeError::Map("wants", e))
    }

    fn attach_tracepoints(&mut self, plan: &Plan) -> Result<(), ProbeError> {
        let gone: Vec<u16> = self
            .links
            .keys()
            .filter(|nr| !plan.calls.contains_key(nr))
            .copied()
            .collect();
        for nr in gone {
            if let Some((family, link)) = self.links.remove(&nr) {
                let name = tracepoint_program(family);
                let program: &mut TracePoint = program(&mut self.ebpf, name)?;
                program
                    .detach(link)
                    .map_err(|e| ProbeError::Program(name, Box::new(e)))?;
            }
        }
        self.missing.clear();
        for call in plan.calls.keys().filter_map(|nr| calls::by_number(*nr)) {
            if self.links.contains_key(&call.nr) {
                continue;
            }
            let name = tracepoint_program(call.family());
            let program: &mut TracePoint = program(&mut self.ebpf, name)?;
            if program.fd().is_err() {
                program.load().map_err(|e| ProbeError::Program(name, Box::new(e)))?;
            }
            match program.attach("syscalls", &format!("sys_exit_{}", call.kernel_name())) {
                Ok(link) => drop(self.links.insert(call.nr, (call.family(), link))),
                Err(ProgramError::TracePointError(_)) => self.missing.push(call.name),
                Err(e) => return Err(ProbeError::Program(name, Box::new(e))),
            }
        }
        Ok(())
    }

    fn attach_dispatch(&mut self, wanted: bool) -> Result<(), ProbeError> {
        if !wanted || self.dispatching {
            // Once attached it stays: detaching would lose calls that another plan is about to want.
            return Ok(());
        }
        let btf = Btf::from_sys_fs()?;
        let error = |name| move |e| ProbeError::Program(name, Box::new(e));
        let mut fds = Vec::new();
        for name in ["open_raw", "paths_raw", "fd_raw"] {
            let program: &mut BtfTracePoint = program(&mut self.ebpf, name)?;
            program.load("sys_exit", &btf).map_err(error(name))?;
            fds.push(
                program
                    .fd()
                    .and_then(|fd| fd.try_clone().map_err(ProgramError::from))
                    .map_err(error(name))?,
            );
        }
        let mut families: ProgramArray<&mut MapData> = map(&mut self.ebpf, "families")?;
        for (index, fd) in fds.iter().enumerate() {
            families
                .set(index as u32, fd, 0)
                .map_err(|e| ProbeError::Map("families", e))?;
        }
        let program: &mut BtfTracePoint = program(&mut self.ebpf, "dispatch")?;
        program.load("sys_exit", &btf).map_err(error("dispatch"))?;
        program.attach().map_err(error("dispatch"))?;
        self.dispatching = true;
        Ok(())
    }

    /// Number of system calls that are caught.
    pub fn attached(&self, plan: &Plan) -> usize {
        match self.hook {
            Hook::Tracepoints => self.links.len(),
            Hook::AllReturns => plan.calls.len(),
        }
    }

    /// Says of a cgroup whether it is a container's; until then its calls are sent as if it were both.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is lost then.
    pub fn place(&mut self, cgroup: u64, container: bool) -> Result<(), ProbeError> {
        let mut map: HashMap<&mut MapData, u64, u8> = map(&mut self.ebpf, "cgroups")?;
        let value = if container { CONTAINER } else { HOST };
        map.insert(cgroup, value, 0).map_err(|e| ProbeError::Map("cgroups", e))
    }

    /// Records that found no room in the ring since the start, by kind.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn lost(&self) -> Result<[u64; 4], ProbeError> {
        let error = |e| ProbeError::Map("lost", e);
        let map = self
            .ebpf
            .map("lost")
            .ok_or(MapError::InvalidName { name: "lost".into() });
        let map: PerCpuArray<&MapData, u64> = map.and_then(TryFrom::try_from).map_err(error)?;
        let mut lost = [0; 4];
        for kind in Kind::ALL {
            let values = map.get(&(kind as u32), 0).map_err(error)?;
            lost[kind as usize] = values.iter().sum();
        }
        Ok(lost)
    }

    /// The processes that run, by the kernel's task iterator: records of an execve each, without command line and
    /// environment. Those of our own PID namespace and the ones below it.
    ///
    /// # Errors
    /// Where the kernel offers none.
    pub fn tasks(&mut self) -> Result<Vec<u8>, ProbeError> {
        let error = |e| ProbeError::Program(TASKS, Box::new(e));
        let program: &mut Iter = program(&mut self.ebpf, TASKS)?;
        let link = program
            .attach()
            .and_then(|link| program.take_link(link))
            .map_err(error)?;
        let mut file = link
            .into_file()
            .map_err(|e| ProbeError::Tasks(std::io::Error::other(e)))?;
        let mut tasks = Vec::new();
        file.read_to_end(&mut tasks).map_err(ProbeError::Tasks)?;
        Ok(tasks)
    }

    /// The ring of records, once; its descriptor becomes readable when the kernel wakes its reader.
    pub fn take_ring(&mut self) -> Option<RingBuf<MapData>> {
        self.ring.take()
    }
}

fn load(setup: Setup) -> Result<Probe, ProbeError> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .map_max_entries("ring", setup.ring_bytes)
        .load(OBJECT)
        .map_err(|e| ProbeError::Load(Box::new(e)))?;
    let settings = [
        std::process::id(),
        setup.snaplen.min(256),
        setup.wake_at,
        u32::from(setup.environment),
    ];
    set_settings(&mut ebpf, settings)?;
    for (name, tracepoint) in PROCESS_EVENTS {
        let error = |e| ProbeError::Program(name, Box::new(e));
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.load(tracepoint, &btf).map_err(error)?;
        program.attach().map_err(error)?;
    }
    let tasks: &mut Iter = program(&mut ebpf, TASKS)?;
    if let Err(error) = tasks.load("task", &btf) {
        tracing::info!(%error, "the kernel has no task iterator; /proc tells what runs");
    }
    let ring = ebpf
        .take_map("ring")
        .ok_or(MapError::InvalidName { name: "ring".into() });
    let ring = ring
        .and_then(RingBuf::try_from)
        .map_err(|e| ProbeError::Map("ring", e))?;
    let hook = match permissions::tracefs() {
        true => Hook::Tracepoints,
        false => Hook::AllReturns,
    };
    Ok(Probe {
        ebpf,
        hook,
        ring_bytes: setup.ring_bytes,
        links: BTreeMap::new(),
        dispatching: false,
        names: BTreeMap::new(),
        settings,
        environment: setup.environment,
        ring: Some(ring),
        missing: Vec::new(),
    })
}

fn tracepoint_program(family: Family) -> &'static str {
    match family {
        Family::Open => "open_tp",
        Family::Paths => "paths_tp",
        Family::Fd => "fd_tp",
    }
}

fn program<'e, P>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut P, ProbeError>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = ProgramError>,
{
    let unknown = || ProgramError::InvalidName { name: name.to_owned() };
    let program = ebpf.program_mut(name).ok_or_else(unknown);
    program
        .and_then(TryInto::try_into)
        .map_err(|e| ProbeError::Program(name, Box::new(e)))
}

fn map<'e, M>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<M, ProbeError>
where
    M: TryFrom<&'e mut Map, Error = MapError>,
{
    let map = ebpf
        .map_mut(name)
        .ok_or_else(|| MapError::InvalidName { name: name.into() });
    map.and_then(M::try_from).map_err(|e| ProbeError::Map(name, e))
}

/// `struct want`.
fn want(call: &Call, wanted: Option<&Wanted>, anywhere: u8) -> [u8; WANT] {
    let mut bytes = [0; WANT];
    if let Some(wanted) = wanted {
        bytes[0..4].copy_from_slice(&wanted.send.to_ne_bytes());
        bytes[4..8].copy_from_slice(&wanted.named.to_ne_bytes());
        bytes[8..12].copy_from_slice(&wanted.dotted.to_ne_bytes());
    }
    let read = &call.read;
    bytes[12..].copy_from_slice(&[
        read.path[0],
        read.path[1],
        read.dirfd[0],
        read.dirfd[1],
        read.fd,
        read.address,
        read.data,
        read.text,
        read.open,
        read.message,
        u8::from(read.rights),
        anywhere,
    ]);
    bytes
}

/// Kinds of opens: the parts of a class above [`plan::KIND`].
const KINDS: usize = 4;

/// The names of a plan as the kernel has them.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    /// `names`: for each class of opens that worked, four bits of roles.
    keys: BTreeMap<[u8; NAME_KEY], u32>,
    /// `hints`: `struct hint` for each kind of open and first byte.
    hints: Vec<[u64; 3]>,
    /// For which kinds of opens a name may stand anywhere.
    anywhere: u8,
}

impl Names {
    fn of(needs: &BTreeMap<Need, u32>) -> Names {
        let mut names = Names {
            keys: BTreeMap::new(),
            hints: vec![[0; 3]; KINDS << 8],
            anywhere: 0,
        };
        for (need, classes) in needs {
            let Need::Component(role, name) = need else { continue };
            for kind in 0..KINDS {
                let of_kind = classes >> (kind as u32 * plan::KIND);
                // There is no file to look at when the open has failed.
                let (host, container) = (of_kind & 1, of_kind >> plan::CONTAINER & 1);
                if host | container == 0 {
                    continue;
                }
                let roles = *role as u32 * (host | container << 4);
                *names.keys.entry(name_key(name)).or_default() |= roles << (kind * 8);
                let hint = &mut names.hints[kind << 8 | usize::from(name[0])];
                let length = 1 << name.len().min(63);
                match role {
                    Role::Last => hint[0] |= length,
                    Role::Parent => hint[1] |= length,
                    Role::Any => hint.iter_mut().for_each(|lengths| *lengths |= length),
                }
                if *role == Role::Any {
                    names.anywhere |= 1 << kind;
                }
            }
        }
        names
    }
}

/// `struct name_key`.
fn name_key(name: &[u8]) -> [u8; NAME_KEY] {
    let mut key = [0; NAME_KEY];
    let name = &name[..name.len().min(NAME)];
    key[..name.len()].copy_from_slice(name);
    key
}

/// `struct settings`.
fn set_settings(ebpf: &mut Ebpf, values: [u32; SETTINGS / 4]) -> Result<(), ProbeError> {
    let mut bytes = [0; SETTINGS];
    for (to, value) in bytes.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&value.to_ne_bytes());
    }
    let mut settings: Array<&mut MapData, [u8; SETTINGS]> = map(ebpf, "settings")?;
    settings.set(0, bytes, 0).map_err(|e| ProbeError::Map("settings", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_laid_out_by_kind_of_open_place_and_role() {
        let need = |role, name: &str| Need::Component(role, name.as_bytes().to_vec());
        let long = "n".repeat(70);
        let names = Names::of(&BTreeMap::from([
            // A successful read: on the host, and in containers.
            (need(Role::Last, "shadow"), 0b11 << 4),
            // A write in containers, and failed writes.
            (need(Role::Parent, "shadow"), 0b1110 << 8),
            (need(Role::Any, "etc"), 1 << 12),
            (need(Role::Last, &long), 1),
            // Failed only: no file that could be looked at.
            (need(Role::Any, "failed"), 0b1100),
            (Need::Dots, 0xffff),
        ]));
        assert_eq!(names.keys[&name_key(b"shadow")], 0x11 << 8 | 0x20 << 16);
        assert_eq!(names.keys[&name_key(b"etc")], 4 << 24);
        assert_eq!(names.keys[&name_key(long.as_bytes())], 1);
        assert_eq!(names.keys.len(), 3);
        let hint = |kind: usize, first: u8| names.hints[kind << 8 | usize::from(first)];
        assert_eq!(hint(1, b's'), [1 << 6, 0, 0]);
        assert_eq!(hint(2, b's'), [0, 1 << 6, 0]);
        assert_eq!(hint(3, b'e'), [1 << 3; 3]);
        assert_eq!(hint(0, b'n'), [1 << 63, 0, 0]);
        assert_eq!(names.hints.iter().filter(|hint| **hint != [0; 3]).count(), 4);
        assert_eq!(names.anywhere, 1 << 3);
    }
}
