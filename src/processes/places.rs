//! Cgroups and the containers they belong to; what is known of containers, and the names of their users.
//!
//! Ids of cgroups are not used again, so what a path has told of one holds. Those that no process is in any more are
//! dropped when there are too many.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::container::Container;
use super::facts::{Fact, User};
use super::{Key, TICK, cgroup};
use crate::event::syscall::ProcessInfo;

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    Host,
    /// Nobody has told where this cgroup is.
    Unknown,
    Container {
        /// The full id.
        id: &'a str,
        /// What its runtime says, once that is known.
        about: Option<&'a Container>,
    },
}

/// Most users, and as many groups, that are kept of one container.
const USERS: usize = 1_024;

#[derive(Debug)]
struct Group {
    /// Empty where no container is.
    path: Box<[u8]>,
    container: Option<Arc<str>>,
}

/// What is known of a container, or of the host.
#[derive(Debug, Default)]
struct Known {
    about: Option<Container>,
    /// The process that was seen first.
    first: Option<Key>,
    users: HashMap<u32, User>,
    groups: HashMap<u32, Box<str>>,
}

#[derive(Debug)]
pub(super) struct Places {
    cgroups: HashMap<u64, Group>,
    containers: HashMap<Arc<str>, Known>,
    host: Known,
    /// A cgroup of the container whose first process has made a PID namespace, by the namespace's inode number and the
    /// tick of its start (numbers are used again).
    namespaces: HashMap<(u32, u64), u64>,
    limit: usize,
    /// Cgroups that have been refused since the last sweep, where that was of no use.
    since_sweep: usize,
    pub refused: u64,
}

impl Places {
    pub fn new(limit: usize) -> Self {
        Places {
            cgroups: HashMap::new(),
            containers: HashMap::new(),
            host: Known::default(),
            namespaces: HashMap::new(),
            limit: limit.max(1),
            since_sweep: usize::MAX,
            refused: 0,
        }
    }

    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    pub fn is_known(&self, cgroup: u64) -> bool {
        self.cgroups.contains_key(&cgroup)
    }

    /// The id of a cgroup's container: the outer `None` when nobody has told, the inner one for the host.
    pub fn container_of(&self, cgroup: u64) -> Option<Option<&str>> {
        Some(self.cgroups.get(&cgroup)?.container.as_deref())
    }

    pub fn id(&self, cgroup: u64) -> Option<&str> {
        self.container_of(cgroup)?
    }

    pub fn place(&self, cgroup: u64) -> Place<'_> {
        match self.container_of(cgroup) {
            None => Place::Unknown,
            Some(None) => Place::Host,
            Some(Some(id)) => Place::Container {
                id,
                about: self.containers.get(id).and_then(|known| known.about.as_ref()),
            },
        }
    }

    pub fn container(&self, cgroup: u64) -> Option<&Container> {
        self.containers.get(self.id(cgroup)?)?.about.as_ref()
    }

    pub fn path(&self, cgroup: u64) -> Option<&[u8]> {
        let group = self.cgroups.get(&cgroup)?;
        group.container.is_some().then_some(&*group.path)
    }

    pub fn user(&self, cgroup: u64, uid: u32) -> Option<&User> {
        self.known(cgroup)?.users.get(&uid)
    }

    pub fn group(&self, cgroup: u64, gid: u32) -> Option<&str> {
        self.known(cgroup)?.groups.get(&gid).map(|name| &**name)
    }

    fn known(&self, cgroup: u64) -> Option<&Known> {
        match self.container_of(cgroup)? {
            Some(id) => self.containers.get(id),
            None => Some(&self.host),
        }
    }

    /// Whether a cgroup would be one too many, and it is time to look for some that are not used.
    pub fn is_full(&mut self, cgroup: u64) -> bool {
        let full = self.cgroups.len() >= 4 * self.limit || self.containers.len() >= self.limit;
        full && !self.is_known(cgroup) && self.since_sweep > self.limit / 16
    }

    /// Drops all cgroups that are not among these, and containers without a cgroup.
    pub fn sweep(&mut self, used: &HashSet<u64>) {
        let before = self.cgroups.len();
        self.cgroups.retain(|id, _| used.contains(id));
        self.since_sweep = if self.cgroups.len() < before { usize::MAX } else { 0 };
        self.namespaces.retain(|_, cgroup| self.cgroups.contains_key(cgroup));
        let living: HashSet<&str> = self
            .cgroups
            .values()
            .filter_map(|group| group.container.as_deref())
            .collect();
        self.containers.retain(|id, _| living.contains(&**id));
    }

    /// Takes in the path of a cgroup; whether it is of a container that was not known.
    pub fn learn(&mut self, cgroup: u64, path: &[u8]) -> bool {
        if cgroup == 0 || path.is_empty() || self.is_known(cgroup) {
            return false;
        }
        let found = cgroup::parse(path);
        let id = found.map(|found| match self.containers.get_key_value(found.id) {
            Some((id, _)) => (id.clone(), false),
            None => (Arc::from(found.id), true),
        });
        let new = matches!(id, Some((_, true)));
        if self.cgroups.len() >= 4 * self.limit || new && self.containers.len() >= self.limit {
            self.refused += 1;
            self.since_sweep = self.since_sweep.saturating_add(1);
            return false;
        }
        if let Some((id, true)) = &id {
            self.containers.insert(id.clone(), Known::default());
        }
        let container = id.map(|(id, _)| id);
        let path = if container.is_some() {
            path.into()
        } else {
            Box::default()
        };
        self.cgroups.insert(cgroup, Group { path, container });
        new
    }

    /// Notes which container a PID namespace was made for.
    pub fn learn_namespace(&mut self, cgroup: u64, info: &ProcessInfo) {
        let full = self.namespaces.len() >= 4 * self.limit;
        if info.level > 0 && info.pidns_start != 0 && !full && self.id(cgroup).is_some() {
            self.namespaces.entry(namespace(info)).or_insert(cgroup);
        }
    }

    /// A cgroup of the container whose PID namespace a process is in.
    pub fn home_of(&self, info: &ProcessInfo) -> Option<u64> {
        self.namespaces.get(&namespace(info)).copied()
    }

    /// Whether this is the first process seen of the cgroup's container.
    pub fn first_of(&mut self, cgroup: u64, key: Key) -> bool {
        let Some(id) = self.cgroups.get(&cgroup).and_then(|group| group.container.as_ref()) else {
            return false;
        };
        let known = self.containers.get_mut(id);
        known.is_some_and(|known| known.first.get_or_insert(key).is(key))
    }

    /// The first process seen of the cgroup's container.
    pub fn first(&self, cgroup: u64) -> Option<Key> {
        self.containers.get(self.id(cgroup)?)?.first
    }

    /// What has been told of containers and names, as facts in a fixed order.
    pub fn facts(&self, out: &mut Vec<Fact>) {
        let mut cgroups: Vec<(u64, &Group)> = self.cgroups.iter().map(|(id, group)| (*id, group)).collect();
        cgroups.sort_unstable_by_key(|(id, _)| *id);
        for (cgroup, group) in cgroups {
            let known = group.container.as_ref().and_then(|id| self.containers.get(id));
            if let Some(container) = known.and_then(|known| known.about.clone()) {
                out.push(Fact::Container { cgroup, container });
            }
        }
        let mut places: Vec<(Option<&str>, &Known)> =
            self.containers.iter().map(|(id, known)| (Some(&**id), known)).collect();
        places.push((None, &self.host));
        places.sort_unstable_by_key(|(id, _)| *id);
        for (id, known) in places {
            let container: Option<Box<str>> = id.map(Into::into);
            let mut users: Vec<_> = known.users.iter().collect();
            users.sort_unstable_by_key(|(uid, _)| **uid);
            out.extend(users.into_iter().map(|(uid, user)| Fact::User {
                container: container.clone(),
                uid: *uid,
                user: user.clone(),
            }));
            let mut groups: Vec<_> = known.groups.iter().collect();
            groups.sort_unstable_by_key(|(gid, _)| **gid);
            out.extend(groups.into_iter().map(|(gid, name)| Fact::Group {
                container: container.clone(),
                gid: *gid,
                name: name.clone(),
            }));
        }
    }

    pub fn tell_container(&mut self, cgroup: u64, container: &Container) {
        if !self.is_known(cgroup) {
            // A runtime knows which cgroup it has made; its path may be of a form that nobody knows.
            if cgroup == 0 || self.cgroups.len() >= 4 * self.limit || self.containers.len() >= self.limit {
                self.refused += 1;
                return;
            }
            let group = Group {
                path: Box::default(),
                container: Some(Arc::from(&*container.id)),
            };
            self.cgroups.insert(cgroup, group);
        }
        let Some(group) = self.cgroups.get_mut(&cgroup) else {
            return;
        };
        let id = group.container.get_or_insert_with(|| Arc::from(&*container.id)).clone();
        self.containers.entry(id).or_default().about = Some(container.clone());
    }

    pub fn tell_user(&mut self, container: Option<&str>, uid: u32, user: &User) {
        self.names(
            container,
            |known| fits(&known.users, uid),
            |known| {
                known.users.insert(uid, user.clone());
            },
        );
    }

    pub fn tell_group(&mut self, container: Option<&str>, gid: u32, name: &str) {
        self.names(
            container,
            |known| fits(&known.groups, gid),
            |known| {
                known.groups.insert(gid, name.into());
            },
        );
    }

    fn names(&mut self, container: Option<&str>, fits: impl Fn(&Known) -> bool, add: impl Fn(&mut Known)) {
        let known = match container {
            Some(id) => self.containers.get_mut(id),
            None => Some(&mut self.host),
        };
        match known {
            Some(known) if fits(known) => add(known),
            _ => self.refused += 1,
        }
    }
}

fn fits<T>(names: &HashMap<u32, T>, id: u32) -> bool {
    names.len() < USERS || names.contains_key(&id)
}

fn namespace(info: &ProcessInfo) -> (u32, u64) {
    (info.pidns, info.pidns_start / TICK)
}
