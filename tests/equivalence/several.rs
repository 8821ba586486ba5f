//! Fields of several values, of which any will do: every operator, alone and together, beside the naive meaning.
//!
//! All rules are loaded at once, so that the index and what rules share are at work.

use saker::engine::Evaluator;
use saker::event::Source;
use saker::event::syscall::{Header, Kind, PARTS, ProcessInfo, Record, encode};
use saker::fields::evt::Host;
use saker::fields::syscall::view::{Run, SyscallView};
use saker::processes::{Fact, Limits, Processes, Snapshot};

/// Ancestors of the process that acts, from its parent up.
const LINEAGES: &[&[&str]] = &[&["bash", "sshd", "systemd"], &["sshd", "sshd"], &["cron"], &[]];

/// A check, and whether it holds of one value.
type Check = (&'static str, fn(&str) -> bool);

const CHECKS: &[Check] = &[
    ("= bash", |v| v == "bash"),
    ("= sshd", |v| v == "sshd"),
    ("= cron", |v| v == "cron"),
    ("!= bash", |v| v != "bash"),
    ("in (bash, cron)", |v| ["bash", "cron"].contains(&v)),
    ("in (sshd, nobody)", |v| ["sshd", "nobody"].contains(&v)),
    ("in (nobody)", |v| v == "nobody"),
    ("startswith ss", |v| v.starts_with("ss")),
    ("endswith md", |v| v.ends_with("md")),
    ("contains as", |v| v.contains("as")),
    ("icontains AS", |v| v.contains("as")),
    ("glob s*d", |v| v.starts_with('s') && v.ends_with('d')),
    ("iglob S*D", |v| v.starts_with('s') && v.ends_with('d')),
    ("regex 'c.*'", |v| v.starts_with('c')),
    ("exists", |_| true),
];

type Holds = Box<dyn Fn(&[&str]) -> bool>;

/// Each check, its opposite, and each two of those in both conjunctions.
fn conditions() -> Vec<(String, Holds)> {
    let single = |&(text, holds): &Check, negated: bool| {
        let text = format!("{}proc.aname {text}", if negated { "not " } else { "" });
        (text, move |values: &[&str]| values.iter().any(|v| holds(v)) != negated)
    };
    let singles = || {
        CHECKS
            .iter()
            .flat_map(|check| [single(check, false), single(check, true)])
    };
    let mut all: Vec<(String, Holds)> = Vec::new();
    for (text, holds) in singles() {
        all.push((text, Box::new(holds)));
    }
    for (left, one) in singles() {
        for (right, other) in singles() {
            all.push((format!("{left} and {right}"), Box::new(move |v| one(v) && other(v))));
            all.push((format!("({left} or {right})"), Box::new(move |v| one(v) || other(v))));
        }
    }
    all
}

fn lineage(names: &[&str]) -> Processes {
    let mut processes = Processes::new(Limits {
        processes: 100,
        containers: 10,
    });
    let all: Vec<&str> = names.iter().rev().copied().chain(["actor"]).collect();
    for (pid, name) in (1..).zip(all) {
        let mut comm = [0; 16];
        comm[..name.len()].copy_from_slice(name.as_bytes());
        let info = ProcessInfo {
            start: u64::from(pid),
            parent_start: u64::from(pid - 1),
            pid,
            tid: pid,
            ppid: pid - 1,
            comm,
            ..ProcessInfo::default()
        };
        processes.tell(&Fact::Process(Snapshot {
            info,
            exe: b"/x".as_slice().into(),
            argv: b"x\0".as_slice().into(),
            env: b"".as_slice().into(),
            cwd: b"/".as_slice().into(),
            cgroup: 5,
            cgroup_path: b"/".as_slice().into(),
        }));
    }
    processes
}

#[test]
fn fields_of_several_values() {
    let conditions = conditions();
    let rule = |(i, (condition, _)): (usize, &(String, Holds))| {
        format!(
            "- {{rule: r{i}, desc: d, output: o, priority: INFO, condition: \"evt.type = setsid and {condition}\"}}\n"
        )
    };
    let text: String = conditions.iter().enumerate().map(rule).collect();
    let rules = super::compile(&text, saker::config::Matching::All);
    let host = Host {
        name: "node".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    for names in LINEAGES {
        let processes = lineage(names);
        let pid = names.len() as u32 + 1;
        let head = Header {
            kind: Kind::Call as u16,
            nr: nix::libc::SYS_setsid as u16,
            start: u64::from(pid),
            cgroup: 5,
            pid,
            tid: pid,
            ppid: pid - 1,
            ..Header::default()
        };
        let mut bytes = Vec::new();
        encode(head, [&[][..]; PARTS], &mut bytes);
        let record = Record::parse(&bytes).expect("a record");
        let mut view = SyscallView::new(record, &processes, &host, Run::default());
        let mut got = Vec::new();
        Evaluator::default().evaluate(&rules, Source::Syscall, &mut view, |rule, _| {
            got.push(rule.name.to_string())
        });
        let wrong: Vec<&str> = (0..)
            .zip(&conditions)
            .filter(|(i, (_, holds))| holds(names) != got.contains(&format!("r{i}")))
            .map(|(_, (condition, _))| condition.as_str())
            .collect();
        assert!(
            wrong.is_empty(),
            "{names:?}: {} wrong\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}
