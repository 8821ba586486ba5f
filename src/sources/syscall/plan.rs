//! Which system calls the loaded rules need, and what the probe may drop before it sends anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::engine::partial::{Given, Need, PathField, Possible, Role, possible};
use crate::engine::{Program, Rule, RuleSet};
use crate::event::Source;
use crate::fields::syscall::calls::{self, CALLS, Call, Family};
use crate::fields::{Catalog, Extractor, Origin};

/// Bits of a class of calls, as the probe makes them (`CLASS_…` in `probe/wire.h`).
pub const CONTAINER: u32 = 1;
pub const FAILED: u32 = 2;
/// Times: 0 other, 1 read or IPv4, 2 write or IPv6, 3 read and write or AF_UNIX.
pub const KIND: u32 = 4;
const CLASSES: u32 = 16;

/// What is sent of one system call: a bit for each class of its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub send: u32,
    /// Sent when a component of the path is among [`Plan::names`].
    pub named: u32,
    /// Sent when the path as given has `..`.
    pub dotted: u32,
    /// The rules that ask for it.
    pub rules: Vec<Arc<str>>,
}

/// What the probe is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By the call's number.
    pub calls: BTreeMap<u16, Wanted>,
    /// Components that paths of opened files are searched for, and the classes of calls that are sent for each: a bit
    /// for each class.
    pub names: BTreeMap<Need, u32>,
    /// A rule reads environments: processes of the host bring theirs as well.
    pub environment: bool,
}

impl Plan {
    /// Looks at every rule of the syscall source.
    pub fn new(rules: &RuleSet) -> Plan {
        let program = rules.program(Source::Syscall);
        Plan::of(program, &program.rules)
    }

    /// Looks at some rules of a program.
    pub fn of(program: &Program, rules: &[Rule]) -> Plan {
        let fields = Fields::new();
        let mut plan = Plan {
            environment: rules
                .iter()
                .any(|rule| program.reads(rule, &|field| fields.is_environment(field))),
            ..Plan::default()
        };
        for call in CALLS {
            let wanted = plan.call(call, program, rules, &fields);
            if wanted.send | wanted.named | wanted.dotted != 0 {
                plan.calls.insert(call.nr, wanted);
            }
        }
        plan
    }

    fn call(&mut self, call: &'static Call, program: &Program, rules: &[Rule], fields: &Fields) -> Wanted {
        let mut wanted = Wanted::default();
        for class in 0..CLASSES {
            if class / KIND > 0 && call.family() == Family::Paths {
                break;
            }
            if class & FAILED == 0 && call.succeeds_as_exec() {
                continue;
            }
            let known = |extractor: &Extractor| fields.given(extractor, call, class);
            for rule in rules {
                let answer = possible(program, rule.node, &known);
                if answer == Possible::No {
                    continue;
                }
                if !wanted.rules.contains(&rule.name) {
                    wanted.rules.push(Arc::clone(&rule.name));
                }
                match answer {
                    // The probe looks at paths of opened files only.
                    Possible::With(needs) if call.family() == Family::Open => {
                        for need in needs {
                            match &need {
                                Need::Dots => wanted.dotted |= 1 << class,
                                Need::Component(..) => {
                                    wanted.named |= 1 << class;
                                    *self.names.entry(need).or_default() |= 1 << class;
                                }
                            }
                        }
                    }
                    _ => wanted.send |= 1 << class,
                }
            }
        }
        wanted
    }
}

impl Plan {
    /// What the kernel decides, in words: the calls that are sent, those alike together.
    pub fn describe(&self) -> Vec<String> {
        let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
        for (nr, wanted) in &self.calls {
            let Some(call) = calls::by_number(*nr) else { continue };
            let what = self.describe_call(call, wanted);
            match alike.iter_mut().find(|(text, _)| *text == what) {
                Some((_, names)) => names.push(call.name),
                None => alike.push((what, vec![call.name])),
            }
        }
        let line = |(what, names): (String, Vec<&str>)| format!("{}: {what}", names.join(", "));
        alike.into_iter().map(line).collect()
    }

    fn describe_call(&self, call: &Call, wanted: &Wanted) -> String {
        let sent = wanted.send | wanted.named | wanted.dotted;
        let any = |bits: &dyn Fn(u32) -> bool| (0..CLASSES).any(|class| sent >> class & 1 == 1 && bits(class));
        let either = |bit: u32, set: &'static str, clear: &'static str| match (
            any(&|class| class & bit != 0),
            any(&|class| class & bit == 0),
        ) {
            (true, false) => Some(set.to_owned()),
            (false, true) => Some(clear.to_owned()),
            _ => None,
        };
        let mut parts = Vec::new();
        parts.extend(either(CONTAINER, "in containers", "on the host"));
        if !call.succeeds_as_exec() {
            parts.extend(either(FAILED, "failed", "successful"));
        }
        let kinds: &[&str] = match call.family() {
            Family::Open => &["neither read nor write", "read", "write", "read and write"],
            Family::Fd => &["other descriptors", "IPv4", "IPv6", "AF_UNIX"],
            Family::Paths => &[],
        };
        let seen: Vec<&str> = (0..)
            .zip(kinds)
            .filter(|(kind, _)| any(&|class| class / KIND == *kind))
            .map(|(_, name)| *name)
            .collect();
        if seen.len() < kinds.len() {
            parts.push(seen.join(" or "));
        }
        if wanted.send == 0 {
            let names = self.names.keys().filter_map(|need| match need {
                Need::Component(role, name) => {
                    let name = String::from_utf8_lossy(name);
                    Some(match role {
                        Role::Last => format!("`{name}` at the end"),
                        Role::Parent => format!("`{name}` before the end"),
                        Role::Any => format!("`{name}` anywhere"),
                    })
                }
                Need::Dots => None,
            });
            let mut needs: Vec<String> = if wanted.named == 0 { Vec::new() } else { names.collect() };
            if wanted.dotted != 0 {
                needs.push("`..` as given".to_owned());
            }
            parts.push(format!("a path with {}", needs.join(" or ")));
        }
        match parts.is_empty() {
            true => "all".to_owned(),
            false => parts.join("; "),
        }
    }
}

/// What the class of a call says of fields.
struct Fields {
    by_number: HashMap<u32, &'static str>,
}

/// Fields that read environments; a parameter does so when it is `env`.
const ENVIRONMENT: &[&str] = &["proc.env", "proc.aenv"];
const PARAMETERS: &[&str] = &["evt.arg", "evt.rawarg"];

const NAMES: &[&str] = &[
    "evt.type",
    "syscall.type",
    "evt.dir",
    "evt.failed",
    "evt.res",
    "evt.rawres",
    "container.id",
    "evt.is_open_read",
    "evt.is_open_write",
    "fd.num",
    "fd.name",
    "fd.nameraw",
    "fd.directory",
    "fd.filename",
    "fd.type",
    "fd.typechar",
    "fd.sockfamily",
];

impl Fields {
    fn new() -> Fields {
        let catalog = Catalog::of(Source::Syscall);
        let number = |name: &&'static str| match catalog.get(name)?.origin {
            Origin::External(number) => Some((number, *name)),
            _ => None,
        };
        Fields {
            by_number: NAMES
                .iter()
                .chain(ENVIRONMENT)
                .chain(PARAMETERS)
                .filter_map(number)
                .collect(),
        }
    }

    fn is_environment(&self, field: &Extractor) -> bool {
        let Extractor::External(number, argument) = field else {
            return false;
        };
        self.by_number.get(number).is_some_and(|name| {
            ENVIRONMENT.contains(name) || PARAMETERS.contains(name) && argument.as_deref() == Some("env")
        })
    }

    fn given(&self, extractor: &Extractor, call: &Call, class: u32) -> Option<Given> {
        let Extractor::External(number, None) = extractor else {
            return None;
        };
        let failed = class & FAILED != 0;
        let kind = class / KIND;
        let open = call.family() == Family::Open;
        let socket = call.family() == Family::Fd;
        Some(match *self.by_number.get(number)? {
            "evt.type" | "syscall.type" => Given::Text(call.name),
            "evt.dir" => Given::Text("<"),
            "evt.failed" => Given::Bool(failed),
            "evt.res" if failed => Given::NotAny(&["SUCCESS"]),
            "evt.res" => Given::Text("SUCCESS"),
            "evt.rawres" => Given::Negative(failed),
            "container.id" if class & CONTAINER == 0 => Given::Text("host"),
            "container.id" => Given::NotAny(&["host"]),
            "evt.is_open_read" if open && kind > 0 => Given::Bool(kind & 1 != 0),
            "evt.is_open_write" if open && kind > 0 => Given::Bool(kind & 2 != 0),
            "fd.num" if open => Given::Negative(failed),
            "fd.name" if open => Given::Path(PathField::Whole),
            "fd.nameraw" if open => Given::Path(PathField::Raw),
            "fd.directory" if open => Given::Path(PathField::Directory),
            "fd.filename" if open => Given::Path(PathField::Name),
            "fd.type" if socket => match kind {
                0 => Given::NotAny(&["ipv4", "ipv6", "unix"]),
                1 => Given::Text("ipv4"),
                2 => Given::Text("ipv6"),
                _ => Given::Text("unix"),
            },
            "fd.typechar" if socket => match kind {
                0 => Given::NotAny(&["4", "6", "u"]),
                1 => Given::Text("4"),
                2 => Given::Text("6"),
                _ => Given::Text("u"),
            },
            "fd.sockfamily" if socket => match kind {
                0 => Given::NotAny(&["ip", "unix"]),
                3 => Given::Text("unix"),
                _ => Given::Text("ip"),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Options, RuleFile, load};

    fn plan(conditions: &[&str]) -> Plan {
        let text: String = conditions
            .iter()
            .enumerate()
            .map(|(i, c)| format!("- {{rule: r{i}, desc: d, condition: '{c}', output: o, priority: INFO}}\n"))
            .collect();
        let file = RuleFile {
            name: "r.yaml".to_owned(),
            text,
        };
        let options = Options {
            sources: vec![Source::Syscall],
            ..Options::default()
        };
        Plan::new(
            &load(vec![file], &options)
                .expect("no fields of one's own")
                .rules
                .expect("rules load"),
        )
    }

    fn of<'p>(plan: &'p Plan, name: &str) -> Option<&'p Wanted> {
        let call = CALLS.iter().find(|c| c.name == name).expect("a call");
        plan.calls.get(&call.nr)
    }

    #[test]
    fn only_calls_that_rules_name_are_wanted() {
        let plan = plan(&["evt.type = connect and proc.name = nc"]);
        assert_eq!(plan.calls.len(), 1);
        assert_eq!(of(&plan, "connect").expect("wanted").send, 0xffff);
        assert!(plan.names.is_empty());
    }

    #[test]
    fn environments_are_read_where_a_rule_asks() {
        for (condition, asks) in [
            ("proc.env contains LD_PRELOAD", true),
            ("proc.env[LD_PRELOAD] exists", true),
            ("not proc.aenv[LD_PRELOAD] exists", true),
            ("evt.arg.env contains LD_PRELOAD", true),
            ("tolower(proc.env) contains ld_preload", true),
            ("evt.arg.exe contains LD_PRELOAD", false),
            ("proc.cmdline contains LD_PRELOAD", false),
        ] {
            let plan = plan(&[&format!("evt.type = execve and {condition}")]);
            assert_eq!(plan.environment, asks, "{condition}");
        }
    }

    #[test]
    fn a_rule_that_never_matches_wants_nothing() {
        assert_eq!(
            plan(&["evt.type = connect and container.id = host and container.id != host"]),
            Plan::default()
        );
    }

    #[test]
    fn classes_follow_the_condition() {
        let opens = "evt.type in (open, openat) and evt.is_open_write=true and fd.num>=0";
        // Write alone, or read and write, or neither known; on the host, and successful.
        let classes = |kinds: &[u32], places: &[u32]| {
            let both = kinds
                .iter()
                .flat_map(|kind| places.iter().map(move |place| (kind, place)));
            both.fold(0, |all, (kind, place)| all | 1u32 << (kind * KIND + place))
        };
        let host = plan(&[&format!("{opens} and container.id = host")]);
        assert_eq!(of(&host, "openat").expect("wanted").send, classes(&[0, 2, 3], &[0]));
        let container = plan(&[&format!("{opens} and container.id != host")]);
        assert_eq!(
            of(&container, "openat").expect("wanted").send,
            classes(&[0, 2, 3], &[1])
        );
        assert_eq!(of(&container, "creat"), None);
    }

    #[test]
    fn a_name_counts_for_the_opens_whose_rule_asks_for_it() {
        let opens = "evt.type = openat and fd.num>=0";
        let plan = plan(&[
            &format!("{opens} and evt.is_open_write=true and fd.name = /a/written"),
            &format!("{opens} and evt.is_open_read=true and container.id != host and fd.name startswith /a/read/"),
            &format!("{opens} and fd.name = /a/both"),
        ]);
        let of = |role, name: &str| plan.names[&Need::Component(role, name.as_bytes().to_vec())];
        let kinds = |kinds: &[u32], places: u32| kinds.iter().fold(0, |all, kind| all | places << (kind * KIND));
        assert_eq!(of(Role::Last, "written"), kinds(&[0, 2, 3], 0b11));
        assert_eq!(of(Role::Any, "read"), kinds(&[0, 1, 3], 0b10));
        assert_eq!(of(Role::Last, "both"), kinds(&[0, 1, 2, 3], 0b11));
    }

    #[test]
    fn paths_that_rules_insist_on_go_to_the_probe() {
        let need = |role, name: &str| Need::Component(role, name.as_bytes().to_vec());
        use crate::engine::partial::Role::*;
        for (condition, want) in [
            ("fd.name = /etc/shadow", Some(vec![need(Last, "shadow")])),
            (
                "fd.name in (/etc/shadow, /a/b)",
                Some(vec![need(Last, "b"), need(Last, "shadow")]),
            ),
            ("fd.directory = /etc/pam.d", Some(vec![need(Parent, "pam.d")])),
            ("fd.filename = x", Some(vec![need(Last, "x")])),
            ("fd.name startswith /etc/pam.d/", Some(vec![need(Any, "pam.d")])),
            ("fd.name startswith /etc/pam", Some(vec![need(Any, "etc")])),
            ("fd.name startswith /etc", None),
            (
                "fd.name endswith /authorized_keys",
                Some(vec![need(Last, "authorized_keys")]),
            ),
            ("fd.name endswith keys", None),
            ("fd.name contains /.ssh/", Some(vec![need(Any, ".ssh")])),
            ("fd.name contains ssh", None),
            ("fd.nameraw contains ../", Some(vec![])),
            (
                "(fd.name = /a/x or fd.name = /b/y)",
                Some(vec![need(Last, "x"), need(Last, "y")]),
            ),
            ("(fd.name = /a/x or proc.name = y)", None),
            ("not fd.name = /a/x", None),
        ] {
            let plan = plan(&[&format!("evt.type = openat and {condition}")]);
            let wanted = of(&plan, "openat").expect("wanted");
            match want {
                None => assert_eq!((wanted.send, wanted.named), (0xffff, 0), "{condition}"),
                Some(names) => {
                    assert_eq!(wanted.send, 0, "{condition}");
                    assert_eq!(wanted.dotted, if names.is_empty() { 0xffff } else { 0 }, "{condition}");
                    assert_eq!(plan.names.keys().cloned().collect::<Vec<_>>(), names, "{condition}");
                }
            }
        }
    }
}
