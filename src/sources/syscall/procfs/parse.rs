//! The texts of /proc (proc(5)), as bytes.

/// What is used of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub comm: [u8; 16],
    pub ppid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub tty: u32,
    /// In clock ticks since boot.
    pub start: u64,
}

/// What is used of `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved.
    pub uid: [u32; 3],
    pub gid: [u32; 3],
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    /// The process's id in each PID namespace, from the one of the proc file system to its own.
    pub pids: Vec<u32>,
    pub vpgid: u32,
    pub vsid: u32,
}

impl Status {
    /// Depth of the PID namespace.
    pub fn level(&self) -> u32 {
        self.pids.len().saturating_sub(1) as u32
    }

    /// The id in its own namespace.
    pub fn vpid(&self) -> u32 {
        self.pids.last().copied().unwrap_or(0)
    }
}

/// A decimal number, with a line end or without.
pub fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

/// `/proc/PID/stat`. The name stands in parentheses and may hold any byte, parentheses and spaces included.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open + 1..close)?;
    let rest = str::from_utf8(&text[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbers as in proc(5), where the state is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    let unsigned = |number: usize| field(number)?.parse::<u32>().ok();
    let mut comm = [0; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name[..length]);
    Some(Stat {
        comm,
        ppid: unsigned(4)?,
        pgid: unsigned(5).unwrap_or(0),
        sid: unsigned(6).unwrap_or(0),
        // A device number, printed as a signed one.
        tty: field(7)?.parse::<i32>().ok()? as u32,
        start: field(22)?.parse().ok()?,
    })
}

/// `/proc/PID/status`. The name, the only text of others in it, is escaped by the kernel.
pub fn status(text: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    let mut known = false;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else { continue };
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let numbers = || {
            value
                .split_ascii_whitespace()
                .map_while(|number| number.parse::<u32>().ok())
        };
        let hex = || u64::from_str_radix(value.trim_ascii(), 16).unwrap_or(0);
        let three = || {
            let mut ids = [0; 3];
            ids.iter_mut().zip(numbers()).for_each(|(id, number)| *id = number);
            ids
        };
        match key {
            "Uid" => {
                status.uid = three();
                known = true;
            }
            "Gid" => status.gid = three(),
            "CapInh" => status.cap_inheritable = hex(),
            "CapPrm" => status.cap_permitted = hex(),
            "CapEff" => status.cap_effective = hex(),
            "NSpid" => status.pids = numbers().collect(),
            "NSpgid" => status.vpgid = numbers().last().unwrap_or(0),
            "NSsid" => status.vsid = numbers().last().unwrap_or(0),
            _ => {}
        }
    }
    known.then_some(status)
}

/// The inode number of a namespace in the text of its link: `pid:[4026531836]`.
pub fn namespace(link: &[u8]) -> Option<u32> {
    let link = str::from_utf8(link).ok()?;
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// The line of `/proc/PID/cgroup` that counts: whether it is of the unified hierarchy, and its path.
pub fn cgroup(text: &[u8]) -> Option<(bool, &[u8])> {
    let mut unified = None;
    let mut pids = None;
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if number == b"0" && controllers.is_empty() {
            unified = Some(path);
        } else if controllers.split(|byte| *byte == b',').any(|name| name == b"pids") {
            pids = Some(path);
        }
    }
    match (unified, pids) {
        (Some(path), None) => Some((true, path)),
        (Some(path), Some(_)) if path != b"/" => Some((true, path)),
        (_, Some(path)) => Some((false, path)),
        (None, None) => None,
    }
}

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// cgroup2, or v1 with the pids controller.
    pub unified: bool,
    /// Which cgroup is at the mount point, as seen from our own cgroup namespace.
    pub root: Vec<u8>,
    pub point: Vec<u8>,
}

impl Mount {
    /// The directory of a cgroup, and its path from the mount's root.
    pub fn directory(&self, path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let below = match &self.root[..] {
            b"/" => path,
            root => path.strip_prefix(root)?,
        };
        // Not this cgroup but one whose name begins like it; or one outside of the mount.
        let foreign = !below.is_empty() && !below.starts_with(b"/");
        if foreign || below.split(|byte| *byte == b'/').any(|name| name == b"..") {
            return None;
        }
        let from_root = if below.is_empty() { b"/" } else { below };
        Some(([&self.point[..], below].concat(), from_root.to_vec()))
    }
}

/// The cgroup hierarchies that processes are told apart by, from `/proc/self/mountinfo`. Where one is mounted more than
/// once, the mount that shows most comes first.
pub fn cgroup_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(cgroup_mount)
        .collect();
    // `/../..` is above `/`.
    mounts.sort_by_key(|mount| {
        let up = mount
            .root
            .split(|byte| *byte == b'/')
            .filter(|name| *name == b"..")
            .count();
        (std::cmp::Reverse(up), mount.root.len())
    });
    mounts
}

fn cgroup_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let options = fields.get(dash + 3)?;
    let unified = match *fields.get(dash + 1)? {
        b"cgroup2" => true,
        b"cgroup" if options.split(|byte| *byte == b',').any(|name| name == b"pids") => false,
        _ => return None,
    };
    Some(Mount {
        unified,
        root: unescape(fields.get(3)?),
        point: unescape(fields.get(4)?),
    })
}

/// Spaces and the like are written as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'\\').then(|| str::from_utf8(after.get(..3)?).ok()).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(code) => {
                out.push(code);
                rest = &after[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}
