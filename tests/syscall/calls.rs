//! Every system call that the probe reads, made for real: its name, result, arguments and descriptor as rules see them.
//!
//! A row is a script for the actor and what is expected of events that it causes: `TYPE: FIELD=VALUE …`. The last event
//! of that type counts. In values `{dir}` stands for the directory of the row, `{pid}` for the actor, `{port}` for a free
//! port, `{actor}` for its file; `*` for any text; `␣` for a blank; `-` for a field that is absent.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use saker::fields::syscall::calls::CALLS;

use crate::actor;
use crate::harness::{Live, field, rule, turn};

mod descriptors;
mod files;
mod kernel;
mod programs;
mod sockets;
mod users;

/// A script, and what is expected of its events.
type Row = (&'static str, &'static [&'static str]);

/// A port below those that clients get: of a connection the lower port is taken for the server's.
fn free_port(row: usize) -> u16 {
    let from = 20_000 + row as u16 * 20;
    (from..from + 20)
        .find(|port| TcpListener::bind(("::", *port)).is_ok())
        .expect("a free port")
}

/// Whether this kernel has a call at all: some are built without modules or kexec.
fn exists(call: &str) -> bool {
    // What other tracepoints tell is always there.
    let Some(row) = CALLS.iter().find(|row| row.name == call) else {
        return true;
    };
    let name = row.kernel_name();
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .any(|at| Path::new(at).join(format!("events/syscalls/sys_exit_{name}")).exists())
}

/// Whether a value is as expected.
fn fits(want: &str, value: &str) -> bool {
    match want.split_once('*') {
        None => want == value,
        Some((start, rest)) => match value.strip_prefix(start) {
            None => false,
            Some(value) => {
                rest.is_empty() || (0..=value.len()).any(|at| value.get(at..).is_some_and(|v| fits(rest, v)))
            }
        },
    }
}

fn prepare(directory: &Path) {
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("file"), "hello").unwrap();
    std::fs::write(directory.join("sub/inner"), "inner").unwrap();
    std::os::unix::fs::symlink("sub/inner", directory.join("link")).unwrap();
    std::os::unix::fs::symlink("sub", directory.join("dirlink")).unwrap();
}

struct Acted {
    row: usize,
    pid: u32,
    directory: PathBuf,
    port: u16,
}

/// Runs the scripts under one reader, and compares.
fn check(rows: &[Row]) {
    let Some(_turn) = turn() else { return };
    let expectations = || rows.iter().flat_map(|(_, expected)| expected.iter());
    let types: BTreeSet<&str> = expectations().map(|e| e.split_once(": ").expect("TYPE: …").0).collect();
    let names = expectations().flat_map(|e| e.split_once(": ").unwrap().1.split(' '));
    let fields: BTreeSet<&str> = names.map(|pair| pair.split_once('=').expect(pair).0).collect();
    let fields: Vec<&str> = ["evt.type", "proc.pid"].into_iter().chain(fields).collect();
    let types: Vec<&str> = types.into_iter().collect();
    // No condition on the process, so that nothing that is wrong there hides an event.
    let condition = format!("evt.type in ({})", types.join(", "));
    let live = Live::start(&rule("all", &condition, &fields));
    let base = tempfile::tempdir().unwrap();
    let base = base.path().canonicalize().unwrap();
    let mut acted = Vec::new();
    for (row, (script, expected)) in rows.iter().enumerate() {
        let mut kinds = expected.iter().map(|e| e.split_once(": ").unwrap().0);
        if let Some(absent) = kinds.find(|kind| !exists(kind)) {
            eprintln!("SKIPPED: {script}: this kernel has no call {absent}");
            continue;
        }
        let directory = base.join(format!("row{row}"));
        prepare(&directory);
        let port = free_port(row);
        let own = directory.display().to_string();
        let script = script.replace("{dir}", &own).replace("{port}", &port.to_string());
        let script = script.replace("{actor}", actor::program().to_str().unwrap());
        if let Some(pid) = actor::run(&script, &directory) {
            acted.push(Acted {
                row,
                pid,
                directory,
                port,
            });
        }
    }
    let (seen, _) = live.finish();
    assert_eq!(seen.lost, [0; 4]);
    let mut wrong = Vec::new();
    for Acted {
        row,
        pid,
        directory,
        port,
    } in acted
    {
        let (script, expected) = &rows[row];
        let meant = |text: &str| {
            let text = text.replace("{dir}", &directory.display().to_string());
            let text = text.replace("{pid}", &pid.to_string());
            let text = text.replace("{actor}", actor::program().to_str().unwrap());
            text.replace("{port}", &port.to_string()).replace('␣', " ")
        };
        for expected in *expected {
            let (kind, pairs) = expected.split_once(": ").unwrap();
            let own: Vec<_> = seen
                .of("all")
                .filter(|alert| alert["output_fields"]["proc.pid"] == pid)
                .collect();
            let Some(event) = own.iter().rfind(|alert| alert["output_fields"]["evt.type"] == kind) else {
                let others: Vec<String> = own.iter().map(|alert| field(alert, "evt.type")).collect();
                wrong.push(format!("{script}: no {kind} among {others:?}"));
                continue;
            };
            for (name, want) in pairs.split(' ').map(|pair| pair.split_once('=').unwrap()) {
                let (want, is) = (meant(want), field(event, name));
                if !fits(&want, &is) {
                    wrong.push(format!("{script}: {kind}: {name} is `{is}`, not `{want}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_pattern_of_values_tells_them_apart() {
    for (want, value, is) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*c", "abc", true),
        ("a*c", "ab", false),
        ("*", "", true),
    ] {
        assert_eq!(fits(want, value), is, "{want} {value}");
    }
}
