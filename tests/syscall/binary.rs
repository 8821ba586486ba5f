//! The binary: serving, killed and started again; recording, and replaying what was recorded.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::Value;

use crate::actor;
use crate::harness::{Live, rule, turn};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn saker(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saker"));
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SAKER_")) {
        command.env_remove(name);
    }
    command
}

/// `saker serve`, from the moment when it says that the probe is attached.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Server {
    fn start(directory: &Path) -> Server {
        Server::start_with(directory, &[])
    }

    /// The same with further arguments.
    pub fn start_with(directory: &Path, more: &[&str]) -> Server {
        let own = ["--format", "json", "--no-default-rules", "-r", "rules.yaml"];
        Server::run(directory, &[&own, more].concat())
    }

    /// With the built-in rules, unless the arguments say otherwise.
    pub fn run(directory: &Path, arguments: &[&str]) -> Server {
        Server::of(directory, "syscall", arguments)
    }

    /// With these sources.
    pub fn of(directory: &Path, sources: &str, arguments: &[&str]) -> Server {
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let mut child = saker(directory)
            .args(["serve", "--sources", sources, "--status-listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server { child, out };
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(directory.join("log")).unwrap();
            if log.contains("  syscall  exec, fork, exit") {
                return server;
            }
            let ended = server.child.try_wait().unwrap().is_some();
            assert!(!ended && began.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The next alert of a process.
    fn alert_of(&mut self, pid: u32) -> Value {
        self.alert(|alert| alert["output_fields"]["proc.pid"] == pid)
    }

    /// The next alert like this.
    #[track_caller]
    pub fn alert(&mut self, like: impl Fn(&Value) -> bool) -> Value {
        let (mut line, mut others) = (String::new(), Vec::new());
        loop {
            line.clear();
            if self.out.buffer().is_empty() {
                let mut fds = [PollFd::new(self.out.get_ref().as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut fds, PATIENCE.as_millis() as u16);
                assert_eq!(ready, Ok(1), "waited in vain for an alert; there were {others:#?}");
            }
            assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "the server has ended");
            let alert: Value = serde_json::from_str(&line).unwrap();
            if like(&alert) {
                return alert;
            }
            others.push(alert["output"].to_string());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers of the programs that a process has loaded, as the kernel tells of its descriptors.
fn loaded_by(pid: u32) -> BTreeSet<u64> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let number = |text: String| {
        text.lines()
            .find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
    };
    texts.filter_map(number).collect()
}

/// Numbers of all programs in the kernel, where bpftool can tell.
fn loaded() -> Option<BTreeSet<u64>> {
    let output = Command::new("bpftool").args(["-j", "prog", "show"]).output().ok()?;
    let all: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(
        all.as_array()?
            .iter()
            .filter_map(|program| program["id"].as_u64())
            .collect(),
    )
}

#[test]
fn a_server_that_is_killed_leaves_nothing_and_starts_again() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let rules = rule("kill", "evt.type = kill", &["proc.pid", "evt.arg.sig"]);
    std::fs::write(directory.join("rules.yaml"), rules).unwrap();
    for _ in 0..2 {
        let mut server = Server::start(directory);
        let pid = actor::run("kill p 18", directory).unwrap();
        assert_eq!(server.alert_of(pid)["output_fields"]["evt.arg.sig"], "SIGCONT");
        // Exec, fork, exit, and the program of such calls.
        let own = loaded_by(server.child.id());
        assert!(own.len() >= 4, "{own:?}");
        // SIGKILL.
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        // The kernel takes programs away a moment later.
        let began = Instant::now();
        while let Some(all) = loaded() {
            let left: Vec<_> = all.intersection(&own).collect();
            if left.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if loaded().is_none() {
        eprintln!("SKIPPED: without bpftool it is not known what a killed server leaves in the kernel");
    }
    let mut server = Server::start(directory);
    let pid = nix::unistd::Pid::from_raw(server.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(server.child.wait().unwrap().success());
}

/// The identities and texts of alerts on standard output.
fn replayed(directory: &Path, recording: &str) -> Vec<Value> {
    let output = saker(directory)
        .args(["replay", recording, "-r", "rules.yaml", "--format", "json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("line "), "{said}");
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn a_recording_gives_the_alerts_that_were_live() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let fields = [
        "evt.type",
        "evt.res",
        "proc.pid",
        "proc.cmdline",
        "proc.pname",
        "user.name",
        "fd.name",
        "container.id",
    ];
    let rules = rule(
        "all",
        "evt.type in (execve, open, kill, clone, procexit, connect)",
        &fields,
    );
    std::fs::write(directory.join("rules.yaml"), &rules).unwrap();
    let live = Live::start(&rules);
    let script =
        "open s:/etc/passwd 0 ; fork ; kill p 18 ; socket 2 1 0 ; connect $3 4:9 16 ; execve s:/bin/true a:true 0";
    actor::run(script, directory).unwrap();
    let (seen, recording) = live.finish();
    assert!(seen.alerts.len() >= 6, "{:?}", seen.alerts);
    std::fs::write(directory.join("live.jsonl"), &recording.0).unwrap();
    let mut again = replayed(directory, "live.jsonl");
    let mut live = seen.alerts;
    for alert in live.iter_mut().chain(&mut again) {
        // The host is named by who runs.
        alert.as_object_mut().unwrap().remove("hostname");
    }
    let short = |alerts: &[Value]| {
        alerts
            .iter()
            .map(|a| format!("{} {}", a["uuid"], a["output"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(short(&again), short(&live));
    assert_eq!(again, live);
}

#[test]
fn the_record_command_records() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(
        directory.join("rules.yaml"),
        rule("kill", "evt.type = kill", &["proc.pid", "proc.cmdline"]),
    )
    .unwrap();
    let mut record = saker(directory)
        .args(["record", "-r", "rules.yaml", "-o", "node.jsonl", "--for", "1s"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(record.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(
        line.starts_with("recording: exec, fork, exit and 1 system calls"),
        "{line}"
    );
    let pid = actor::run("kill p 18", directory).unwrap();
    assert!(record.wait().unwrap().success());
    let alerts = replayed(directory, "node.jsonl");
    assert!(
        alerts.iter().any(|alert| alert["output_fields"]["proc.pid"] == pid),
        "{alerts:?}"
    );
}
