//! Processes in numbers and in extremes: ids that are used again, ten thousand of them, deep trees, long command lines,
//! names that are no UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::actor;
use crate::harness::{Live, field, rule, turn};

const EXEC: &[&str] = &[
    "proc.pid",
    "proc.name",
    "proc.exe",
    "proc.args",
    "proc.cmdline",
    "proc.pname",
    "proc.ppid",
];

fn own(alert: &Value, pid: u32) -> bool {
    alert["output_fields"]["proc.pid"] == pid
}

/// Runs the actor under another name for itself, and returns its process id.
fn run_as(name: &str, script: &[&str]) -> u32 {
    use std::os::unix::process::CommandExt;
    let mut child = Command::new(actor::program()).arg0(name).args(script).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

#[test]
fn a_process_id_that_is_used_again_is_another_process() {
    let Some(_turn) = turn() else { return };
    let fields = [EXEC, &["evt.type"]].concat();
    let live = Live::start(&rule("all", "evt.type in (execve, kill, procexit)", &fields));
    let kill = nix::libc::SYS_kill.to_string();
    let mut same = None;
    for attempt in 0..20 {
        let first = run_as(&format!("first{attempt}"), &[&kill, "p", "0"]);
        std::fs::write("/proc/sys/kernel/ns_last_pid", (first - 1).to_string()).unwrap();
        let second = run_as(&format!("second{attempt}"), &[&kill, "p", "0"]);
        if first == second {
            same = Some((first, attempt));
            break;
        }
    }
    let (seen, _) = live.finish();
    let (pid, attempt) = same.expect("an id that is used again");
    let all: Vec<(String, String)> = seen
        .of("all")
        .filter(|alert| own(alert, pid))
        .map(|alert| (field(alert, "evt.type"), field(alert, "proc.exe")))
        .filter(|(_, exe)| exe.ends_with(&attempt.to_string()))
        .collect();
    let want = |name: &str| ["execve", "kill", "procexit"].map(|kind| (kind.to_owned(), format!("{name}{attempt}")));
    assert_eq!(all, [want("first"), want("second")].concat());
}

#[test]
fn ten_thousand_processes_leave_nothing_behind() {
    let Some(_turn) = turn() else { return };
    let live = Live::start(&rule(
        "forks",
        "evt.type = clone and proc.name = forker",
        &["proc.pid", "evt.rawres"],
    ));
    live.wait_for("the first counts", |seen| (seen.most > 0).then_some(()));
    let before = live.wait_for("counts", |seen| Some(seen.counts.processes));
    let directory = tempfile::tempdir().unwrap();
    let forker = directory.path().join("forker");
    std::os::unix::fs::symlink("/bin/sh", &forker).unwrap();
    let loops = "i=0; while [ $i -lt 10000 ]; do (:); i=$((i+1)); done";
    assert!(Command::new(&forker).args(["-c", loops]).status().unwrap().success());
    let (seen, _) = live.finish();
    assert_eq!((seen.lost, seen.of("forks").count()), ([0; 4], 10_000));
    // Others on this machine start processes as well.
    assert!(seen.counts.processes < before + 100, "{before}, {:?}", seen.counts);
    assert!(seen.most < before + 1_000, "{before}, {}", seen.most);
}

#[test]
fn ancestors_of_a_deep_tree_are_known() {
    let Some(_turn) = turn() else { return };
    let fields = [
        "proc.name",
        "proc.pname",
        "proc.aname[1]",
        "proc.aname[5]",
        "proc.aname[7]",
        "proc.aexepath[2]",
    ];
    let condition = "evt.type = execve and proc.name = leaf and proc.aname = g6";
    let live = Live::start(&rule("leaf", condition, &fields));
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["g1", "g2", "g3", "g4", "g5", "g6", "top"] {
        std::os::unix::fs::symlink("/bin/sh", at(name)).unwrap();
    }
    std::os::unix::fs::symlink(actor::program(), at("leaf")).unwrap();
    // The last command would be executed in the shell's place.
    let script = "if [ $1 -gt 0 ]; then ./g$1 ./deep $(($1-1)); else ./leaf; fi; :\n";
    std::fs::write(at("deep"), script).unwrap();
    let status = Command::new(at("top"))
        .args(["./deep", "6"])
        .current_dir(directory.path())
        .status();
    assert!(status.unwrap().success());
    let (seen, _) = live.finish();
    let leaf = seen.of("leaf").next().expect("the innermost program");
    let shell = Path::new("/bin/sh").canonicalize().unwrap();
    let is: Vec<String> = fields.iter().map(|name| field(leaf, name)).collect();
    assert_eq!(is, ["leaf", "g1", "g1", "g5", "top", shell.to_str().unwrap()]);
}

#[test]
fn long_command_lines_are_kept_to_four_kibibytes() {
    let Some(_turn) = turn() else { return };
    let live = Live::start(&rule("all", "evt.type = execve", EXEC));
    let (fits, long) = ("y".repeat(4000), "z".repeat(20_000));
    let short = run_as("s", &["sleep", "0", ";", "sleep", &fits]);
    let cut = run_as("c", &["sleep", "0", ";", "sleep", &long]);
    let (seen, _) = live.finish();
    let args = |pid| {
        field(
            seen.of("all").rfind(|alert| own(alert, pid)).expect("an execve"),
            "proc.args",
        )
    };
    assert_eq!(args(short), format!("sleep 0 ; sleep {fits}"));
    let cut = args(cut);
    assert!(
        cut.starts_with("sleep 0 ; sleep zzzz") && (4000..=4096).contains(&cut.len()),
        "{}",
        cut.len()
    );
}

#[test]
fn names_that_are_no_utf8_are_seen() {
    let Some(_turn) = turn() else { return };
    let fields = ["fd.name", "proc.pid", "proc.args", "fs.path.name"];
    let live = Live::start(
        &rule(
            "name",
            "evt.type in (openat, mkdir, mkdirat) and fd.name contains saker-odd",
            &fields,
        )
        .replace("(openat, mkdir, mkdirat)", "(openat, open, creat)"),
    );
    let directory = tempfile::tempdir().unwrap();
    let name = OsStr::from_bytes(b"saker-odd-\xff\xfe-name");
    std::fs::write(directory.path().join(name), "").unwrap();
    let output = Command::new("/bin/cat")
        .arg(name)
        .current_dir(directory.path())
        .stderr(Stdio::null())
        .output();
    assert!(output.unwrap().status.success());
    let (seen, _) = live.finish();
    let alert = seen.of("name").next().expect("the file is seen");
    for name in ["fd.name", "proc.args"] {
        let value = field(alert, name);
        assert!(
            value.contains("saker-odd-") && value.ends_with("-name"),
            "{name}: {value}"
        );
    }
}

/// The environment of the host's processes is sent from the reload on that brings a rule which reads it.
#[test]
fn environments_follow_the_rules() {
    let Some(_turn) = turn() else { return };
    let condition = "evt.type = execve and proc.pname startswith syscall and proc.args = sleep";
    let fields = ["proc.pid", "proc.env[MARK]"];
    let live = Live::start(&rule("plain", condition, &["proc.pid", "proc.cmdline"]));
    let act = || {
        let child = Command::new(actor::program())
            .args(["sleep"])
            .env("MARK", "seen")
            .spawn();
        child.unwrap().wait().unwrap();
    };
    act();
    live.reload(&rule(
        "asks",
        &format!("{condition} and proc.env[MARK] exists"),
        &fields,
    ));
    act();
    let (seen, _) = live.finish();
    assert_eq!(seen.of("plain").count(), 1);
    let marks: Vec<String> = seen.of("asks").map(|alert| field(alert, "proc.env[MARK]")).collect();
    assert_eq!(marks, ["seen"]);
}

/// A directory of /proc under something else.
struct Hidden(String);

impl Hidden {
    fn new(pid: u32) -> Option<Hidden> {
        let hidden = Hidden(format!("/proc/{pid}"));
        let status = Command::new("mount").args(["-t", "tmpfs", "none", &hidden.0]).status();
        status.is_ok_and(|status| status.success()).then_some(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // It goes with the process, if not before.
        let _ = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_process_that_a_mount_over_proc_hides_is_known() {
    let Some(_turn) = turn() else { return };
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = "read line < go; : < seen; read line < go";
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .current_dir(&dir)
        .spawn()
        .unwrap();
    std::fs::write(dir.path().join("seen"), "").unwrap();
    let Some(hidden) = Hidden::new(child.id()) else {
        eprintln!("SKIPPED: nothing can be mounted over a directory of /proc here");
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    };
    let seen = dir.path().canonicalize().unwrap().join("seen");
    let condition = format!("evt.type in (open, openat) and fd.name = {}", seen.display());
    let fields = ["proc.pid", "proc.exepath", "proc.cwd", "proc.ppid"];
    let live = Live::start(&rule("seen", &condition, &fields));
    std::fs::write(&go, "now\n").unwrap();
    live.wait_for("the open", |seen| seen.of("seen").next().cloned());
    std::fs::write(&go, "end\n").unwrap();
    child.wait().unwrap();
    drop(hidden);
    let (seen, recording) = live.finish();
    let alert = seen.of("seen").next().unwrap();
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let cwd = dir.path().canonicalize().unwrap();
    let want = [
        child.id().to_string(),
        shell.display().to_string(),
        format!("{}/", cwd.display()),
        std::process::id().to_string(),
    ];
    let is = ["proc.pid", "proc.exepath", "proc.cwd", "proc.ppid"].map(|name| field(alert, name));
    assert_eq!(is, want);
    // What it was, before anything that it did: with the start that only the kernel knows.
    let told = format!("\"pid\":{},", child.id());
    let mut facts = recording.0.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    let fact = facts
        .find(|line| line.contains("\"process\"") && line.contains(&told))
        .expect("told of at the start");
    let fact: Value = serde_json::from_str(&fact).unwrap();
    let start = fact["fact"]["process"]["info"]["start"].as_u64().unwrap();
    assert!(!start.is_multiple_of(10_000_000), "{fact}");
}
